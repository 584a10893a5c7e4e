"""The layers import one way, and nothing outside its folder names MPI, CUDA or the environment."""
import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
LAYERS = ["graph", "kernels", "collectives", "train", "launch"]
CPP_ALLOWED = {
    "base": {"base"},
    "io": {"base", "io"},
    "kernels": {"base", "io", "kernels"},
    "collectives": {"base", "collectives"},
    "runtime": {"base", "io", "kernels", "collectives", "runtime"},
    "bindings": {"base", "io", "kernels", "collectives", "runtime", "bindings"},
    "mpi": {"base", "collectives", "mpi"},
}


def _imported_layers(path: pathlib.Path) -> set[str]:
    layer = path.relative_to(ROOT).parts[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                depth = len(path.relative_to(ROOT).parts) - node.level
                names = [f"ringflow.{layer}"] if depth >= 1 else [f"ringflow.{node.module}"]
            else:
                names = [node.module or ""]
                if node.module == "ringflow":
                    names = [f"ringflow.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "ringflow" and len(parts) > 1 and parts[1] in LAYERS:
                found.add(parts[1])
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_only_to_lower_layers(layer):
    allowed = set(LAYERS[: LAYERS.index(layer) + 1])
    for path in (ROOT / layer).rglob("*.py"):
        above = _imported_layers(path) - allowed
        assert not above, f"{path.relative_to(ROOT)} imports {sorted(above)}, which lie above {layer}"


@pytest.mark.parametrize("folder", CPP_ALLOWED)
def test_cpp_includes_go_only_to_lower_folders(folder):
    for path in (ROOT / "csrc" / folder).glob("*.*"):
        for included in re.findall(r'#include "(\w+)/', path.read_text()):
            assert included in CPP_ALLOWED[folder], f"{path.relative_to(ROOT)} includes {included}/"


def test_mpi_h_and_pybind11_each_have_one_place():
    for path in (ROOT / "csrc").rglob("*.*"):
        text, folder = path.read_text(errors="replace"), path.relative_to(ROOT / "csrc").parts[0]
        if folder != "mpi":
            assert "<mpi.h>" not in text, path
        if folder not in ("mpi", "bindings"):
            assert "pybind11" not in text, path


def test_one_module_reads_the_environment():
    for layer in LAYERS:
        for path in (ROOT / layer).rglob("*.py"):
            if path.relative_to(ROOT).as_posix() == "graph/config.py":
                continue
            assert not re.search(r"os\.(environ|getenv)", path.read_text()), path
    for path in (ROOT / "csrc").rglob("*.*"):
        if path.relative_to(ROOT / "csrc").parts[0] != "tests":
            assert "getenv" not in path.read_text(errors="replace"), path


def test_graph_layer_needs_nothing_compiled():
    for path in (ROOT / "graph").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [a.name for a in node.names] + [getattr(node, "module", "") or ""]
                assert not any("_core" in n or "mpi4py" in n for n in names), path
