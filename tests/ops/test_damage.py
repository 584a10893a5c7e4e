"""Damaged graphs end in errors, never in a crash."""
import importlib.util
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ringflow._core") is None, reason="_core is not built")


@pytest.mark.parametrize("first", [0, 2050])  # 2087: an index of 2^31 - 1 wrote outside DynamicStitch's output
def test_damaged_graphs_are_refused(first):
    ran = subprocess.run([sys.executable, "-m", "ops.damage", str(first), "200"], capture_output=True, text=True,
                         timeout=120, cwd=pathlib.Path(__file__).resolve().parents[1])
    assert ran.returncode == 0 and ran.stdout.endswith("done\n"), ran.stdout[-200:] + ran.stderr[-2000:]
