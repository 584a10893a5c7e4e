"""Runs the C++ test executables (csrc/tests/*.cc) that `make test` has built."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(ROOT.glob("csrc/tests/*.cc"))
BUILT = {path.name: path for path in ROOT.glob("build/*/tests/*") if os.access(path, os.X_OK)}


@pytest.mark.parametrize("name", [source.stem for source in SOURCES])
def test_cpp(name):
    if name not in BUILT:
        pytest.skip("not built: CMAKE_ARGS=-DRINGFLOW_BUILD_TESTS=ON python setup.py build_ext --inplace")
    ran = subprocess.run([BUILT[name]], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
