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


def _rooms():
    """The rooms of graph/ in the order that its docstring lists: each may import from those before it."""
    text = ast.get_docstring(ast.parse((ROOT / "graph" / "__init__.py").read_text()))
    return re.findall(r"^    (\w+) +\S", text, re.MULTILINE)


def _imported_rooms(path, nodes):
    """The rooms that relative imports among `nodes` name; "" is graph/ itself."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.relative_to(ROOT / "graph").parts[:-node.level]
            for name in node.names:
                parts = (*base, *(node.module or "").split("."), name.name)
                room = next(part for part in parts if part)
                yield room if room in _rooms() else ""


@pytest.mark.parametrize("room", _rooms())
def test_rooms_of_the_graph_layer_import_one_way(room):
    allowed = {"", *_rooms()[: _rooms().index(room) + 1]}
    for path in (ROOT / "graph" / room).rglob("*.py"):
        below = set(_imported_rooms(path, ast.walk(ast.parse(path.read_text())))) - allowed
        assert not below, f"{path.relative_to(ROOT)} imports {sorted(below)}, listed below {room} in graph/__init__.py"


def test_what_a_graph_is_needs_no_room():
    for path in (ROOT / "graph").glob("*.py"):
        if path.name not in ("__init__.py", "api.py"):  # what a method imports when it is called is not counted
            rooms = set(_imported_rooms(path, ast.parse(path.read_text()).body)) - {""}
            assert not rooms, f"{path.relative_to(ROOT)} imports {sorted(rooms)}"


def test_every_room_of_the_graph_layer_is_listed():
    assert sorted(_rooms()) == sorted(p.parent.name for p in (ROOT / "graph").glob("*/__init__.py"))


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
