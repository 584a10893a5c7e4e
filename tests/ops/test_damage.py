"""Damaged graphs end in errors, never in a crash."""
import importlib.util
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.files.wire import to_graph_def

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ringflow._core") is None, reason="_core is not built")


FUSED = ("_Fused", "_FusedRows", "_MatMulOfViews")


@pytest.mark.parametrize("first, only", [
    (0, ()), (2050, ()),  # 2087: an index of 2^31 - 1 wrote outside DynamicStitch's output
    (0, FUSED)], ids=str)
def test_damaged_graphs_are_refused(first, only):
    ran = subprocess.run([sys.executable, "-m", "ops.damage", str(first), "200", *only], capture_output=True, text=True,
                         timeout=120, cwd=pathlib.Path(__file__).resolve().parents[1])
    assert ran.returncode == 0 and ran.stdout.endswith("done\n"), ran.stdout[-200:] + ran.stderr[-2000:]


@pytest.mark.parametrize("kind", ["_Fused", "_FusedRows"])
@pytest.mark.parametrize("damage", [
    lambda node: (setattr(node.attr["N"], "i", 2**32 + 2), node.attr["args"].list.i.__setitem__(0, 2**31)),
    lambda node: node.attr["results"].list.i.__setitem__(0, node.attr["results"].list.i[1]),
    lambda node: node.ClearField("input")], ids=["too many inputs", "one result twice", "no input"])
def test_a_damaged_recipe_is_refused(kind, damage):
    from ringflow import _core

    graph = rf.Graph()
    with graph.as_default():
        inputs = [rf.constant(np.ones((5, 67), np.float32)), rf.constant(np.ones(67, np.float32))]
        graph.create_op(kind, inputs, {"T": rf.float32, "N": 2, "M": 2, "ops": ["AddV2", "Tanh"], "args": [0, 1, 2, 2],
                                       "results": [1, 0]}, "fused")
    graph_def = to_graph_def(graph, annotate=True)
    damage(next(node for node in graph_def.node if node.name == "fused"))
    with pytest.raises(_core.Error):
        _core.Executable(graph_def.SerializeToString(), _core.Resources()).run([], 300)
