"""Elementwise fusion: what is joined, what must not be, and the same bits as without."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.opdef import OPS
from ringflow.graph.ops.fused import FUSIBLE
from ringflow.graph.passes.fusion import fuse, fuse_elementwise
from ringflow.graph.passes.program import Program
from ringflow.graph.shapes import TensorShape

from .plans import extracted, nodes, optimised, placeholders, same_bits

pytestmark = pytest.mark.usefixtures("graph")

SHAPE = (64, 32)


def positive(feeds):
    rng = np.random.default_rng(3)
    return {t: rng.uniform(0.5, 2.0, t.shape.as_list()).astype(t.dtype.as_numpy_dtype) for t in feeds}


def test_a_chain_becomes_one_node_and_keeps_its_bits():
    x, row, column, one = feeds = placeholders(SHAPE, (32,), (64, 1), ())
    y = rf.tanh(x * row + column) * one
    [node] = [op for op in optimised([y], feeds).graph.get_operations() if op.op_def.elementwise or op.type == "_Fused"]
    assert node.attrs["ops"] == ["Mul", "AddV2", "Tanh", "Mul"]
    assert len(node.outputs) == 1
    assert same_bits([y], positive(feeds), fuse_elementwise)


def test_what_others_read_is_an_output_too():
    [x] = placeholders(SHAPE)
    h = rf.exp(x)
    y = rf.tanh(h + x)
    program = optimised([y, rf.reduce_sum(h)], [x])
    [node] = nodes(program, "_Fused")
    assert len(node.outputs) == 2 and node.attrs["results"] == [2, 0]


def test_a_member_that_somebody_needs_earlier_is_left_out():
    x, w = placeholders((64, 64), (64, 64))
    h = rf.exp(x)
    y = h * rf.tanh(rf.matmul(h, w))  # the product needs h before the last two
    program = optimised([y], [x, w])
    assert [op.attrs["ops"] for op in nodes(program, "_Fused")] == [["Tanh", "Mul"]]
    assert len(nodes(program, "Exp")) == 1


def test_updates_and_what_reads_variables_before_them_keep_their_order():
    v = rf.Variable(np.full(SHAPE, 2.0, np.float32))
    y = rf.tanh(v * 0.5) + 1.0
    with rf.control_dependencies([y]):
        update = rf.assign_add(v, np.ones(SHAPE, np.float32))
    z = rf.exp(update * 0.1) + y
    with rf.Session() as session:
        session.run(rf.global_variables_initializer())
        a, b = session.run([y, z])
    np.testing.assert_allclose(a, np.tanh(1.0) + 1.0, rtol=1e-6)
    np.testing.assert_allclose(b, np.exp(0.3) + a, rtol=1e-6)


def test_cheap_results_are_computed_again_rather_than_read():
    x, w = placeholders(SHAPE, (32, 32))
    y = 0.5 * x * (1.0 + rf.tanh(0.8 * (x + 0.04 * x * x * x)))
    [dx] = rf.gradients(rf.reduce_sum(rf.matmul(y, w)), x)
    backward, forward = sorted(nodes(optimised([dx, rf.matmul(y, w)], [x, w]), "_Fused"), key=lambda n: len(n.outputs))
    assert sum(t.shape == TensorShape(SHAPE) for t in backward.inputs) == 3, "x, tanh and the gradient of y"
    assert len(forward.outputs) == 2, "y and tanh"


def test_unknown_and_small_shapes_and_double_repeats_are_left_alone():
    unknown = rf.placeholder(rf.float32, [None, 32])
    small, a, b = placeholders((8,), (8, 16, 8), (8, 1, 8))
    assert not nodes(optimised([rf.tanh(small) + 1.0], [small]), "_Fused")
    assert not nodes(optimised([rf.tanh(unknown) + 1.0], [unknown]), "_Fused")
    program = optimised([rf.tanh(a + b) * 2.0], [a, b])
    assert [op.attrs["ops"] for op in nodes(program, "_Fused")] == [["Tanh", "Mul"]]


def test_sums_of_many_fuse_as_additions_from_the_left():
    feeds = placeholders(*[SHAPE] * 6)
    y = rf.exp(rf.add_n(feeds) * 0.1)
    [node] = nodes(optimised([y], feeds), "_Fused")
    assert node.attrs["ops"] == ["AddV2"] * 5 + ["Mul", "Exp"]
    assert same_bits([y], positive(feeds), fuse_elementwise)


def test_branches_are_not_joined_with_what_always_runs():
    x, take = rf.placeholder(rf.float32, SHAPE), rf.placeholder(rf.bool, [])
    no, yes = OPS["Switch"](x, take)
    h = rf.exp(x) * 0.5
    program = optimised([rf.tanh(yes) + h, no], [x, take])  # the sum is dead where the branch is not taken
    assert sorted(op.attrs["ops"] for op in nodes(program, "_Fused")) == [["Exp", "Mul"], ["Tanh", "AddV2"]]


@pytest.mark.parametrize("name", sorted(FUSIBLE))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_op_keeps_its_bits(name, dtype):
    x, y = placeholders((67, 35), (67, 35), dtype=dtype)
    z = OPS[name](*[x * y, y][:len(OPS[name].inputs)]) * y
    assert nodes(optimised([z], [x, y]), "_Fused")
    assert same_bits([z], positive([x, y]), fuse_elementwise)


def test_a_bias_of_channels_last_images_joins_what_follows():
    x, bias = feeds = placeholders((4, 6, 6, 16), (16,))
    y = rf.tanh(rf.nn.bias_add(x, bias))
    [node] = nodes(optimised([y], feeds), "_Fused")
    assert node.attrs["ops"] == ["AddV2", "Tanh"]
    assert same_bits([y], positive(feeds), fuse_elementwise)


def test_many_readers_of_one_tensor_are_tried_with_few_groups(monkeypatch):
    x, w = feeds = placeholders((32, 32), (32, 32))
    tried, removed = [], []
    fits, remove = fuse.fits, Program.remove
    monkeypatch.setattr(fuse, "fits", lambda group: tried.append(1) or fits(group))
    monkeypatch.setattr(Program, "remove", lambda self, dead: removed.append(1) or remove(self, dead))
    fetches = [rf.matmul(rf.tanh(x * float(i)), w) for i in range(300)]
    program = extracted(fetches, feeds)
    fuse.fuse_elementwise(program)
    assert len(nodes(program, "_Fused")) == 300
    assert len(tried) < 20 * 300 and len(removed) < 5


def test_small_ops_are_not_even_tried(monkeypatch):
    x, = feeds = placeholders((4,))
    monkeypatch.setattr(fuse, "fits", lambda group: pytest.fail("a group of small ops was made"))
    fuse.fuse_elementwise(extracted([rf.tanh(x * 2.0) + x], feeds))
