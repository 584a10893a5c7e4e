"""Graph files with older op names import as the ops that took their place."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.files.old_ops import SPELLINGS
from ringflow.graph.files.wire import attr_to_proto
from ringflow.graph.opdef import OPS
from ringflow.graph.proto import graph_pb2 as pb

RNG = np.random.default_rng(3)
IMAGE = RNG.standard_normal((2, 3, 3, 2)).astype(np.float32)
SCALE = np.array([1, 2], np.float32)
X = RNG.standard_normal((2, 3)).astype(np.float32)
TYPE = ("type", rf.float32)

CASES = {
    "Add": ([X, X], {"T": TYPE}, X + X),
    "Div": ([X, X], {"T": TYPE}, np.ones_like(X)),
    "BatchMatMul": ([X[None], X.T[None]], {"T": TYPE}, (X @ X.T)[None]),
    "BatchMatMulV3": ([X[None], X.T[None]], {"Ta": TYPE, "Tb": TYPE, "Tout": TYPE}, (X @ X.T)[None]),
    "Concat": ([np.int32(1), X, X], {"T": TYPE, "N": ("int", 2)}, np.concatenate([X, X], 1)),
    "Gather": ([X, np.array([1, 1], np.int32)], {"Tparams": TYPE, "validate_indices": ("bool", False)}, X[[1, 1]]),
    "TopK": ([X], {"T": TYPE, "k": ("int", 2)}, -np.sort(-X, 1)[:, :2]),
    "InTopK": ([X, np.array([0, 1], np.int32)], {"T": ("type", rf.int32), "k": ("int", 3)}, np.array([True, True])),
    "FusedBatchNorm": ([IMAGE, SCALE, SCALE, np.zeros(0, np.float32), np.zeros(0, np.float32)], {"T": TYPE}, None),
    "FusedBatchNormGrad": ([IMAGE, IMAGE, SCALE, SCALE, SCALE], {"T": TYPE}, None),
}


def test_every_old_name_becomes_an_op_that_exists():
    for old, spelling in SPELLINGS.items():
        assert old not in OPS and spelling.op in OPS


@pytest.mark.parametrize("name", sorted(CASES))
def test_old_op_computes(name):
    inputs, attrs, expected = CASES[name]
    message = pb.GraphDef()
    node = message.node.add(name="op", op=name)
    for key, (kind, value) in attrs.items():
        attr_to_proto(kind, value, node.attr[key])
    graph = rf.Graph()
    with graph.as_default():
        for i, value in enumerate(inputs):
            rf.constant(value, name=f"x{i}")
            node.input.append(f"x{i}")
        consts = graph.as_graph_def()
    consts.node.extend(message.node)
    loaded = rf.Graph()
    with loaded.as_default():
        rf.import_graph_def(consts.SerializeToString(), name="")
    with rf.Session(graph=loaded) as session:
        got = session.run("op:0")
    if expected is not None:
        np.testing.assert_allclose(got, expected, rtol=1e-5)
