"""The package map, and what the built modules are linked to."""

import configparser
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def package_map():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    packages = config["options"]["packages"].split()
    folders = dict(line.split(" = ") for line in config["options"]["package_dir"].strip().splitlines())
    return packages, folders


def test_every_package_folder_is_in_the_map():
    packages, folders = package_map()
    mapped = {name: ROOT / folder for name, folder in folders.items()}
    for name in packages:
        parent, _, last = name.rpartition(".")
        mapped.setdefault(name, mapped.get(parent, ROOT) / last)
    present = {
        folder.parent
        for top in folders.values()
        for folder in (ROOT / top).rglob("__init__.py")
    }
    assert present == {mapped[name] for name in packages}


def test_nothing_in_the_tree_shadows_an_installed_copy():
    assert not (ROOT / "ringflow").exists() and not (ROOT / "ringflow.py").exists()


def bytes_of(module):
    spec = find_spec(module)
    if spec is None:
        pytest.skip(f"{module} is not built")
    assert spec.origin.endswith(tuple(EXTENSION_SUFFIXES))
    # the names in the dynamic section are plain text
    return Path(spec.origin).read_bytes()


def test_core_is_linked_to_no_mpi():
    assert b"libmpi.so" not in bytes_of("ringflow._core")


def test_modules_record_no_path_of_the_build_environment():
    for module in ("ringflow._core", "ringflow._mpi"):
        assert b"pip-build-env" not in bytes_of(module)


def test_import_works_from_the_repository_root_and_from_elsewhere(tmp_path):
    for folder in (ROOT, tmp_path):
        command = [sys.executable, "-c", "import ringflow; print(ringflow.__version__)"]
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stderr
