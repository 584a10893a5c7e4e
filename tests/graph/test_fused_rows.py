"""Fusion of elementwise ops with reductions along rows and sums of columns: what is joined, and the same bits."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.ops.fused import FUSIBLE
from ringflow.graph.passes.fusion import fuse_elementwise

from .plans import nodes, normal, optimised, placeholders, same_bits

pytestmark = pytest.mark.usefixtures("graph")

ROWS, COLUMNS = 270, 96  # two blocks of rows and a rest, of which a rest of four


def layer_norm(x, gain, bias):
    mean, variance = rf.nn.moments(x, [-1], keep_dims=True)
    return (x - mean) * rf.rsqrt(variance + 1e-5) * gain + bias


@pytest.mark.parametrize("dtype", [rf.float32, rf.float64])
def test_layer_normalisation_is_one_node_and_so_is_its_gradient(dtype):
    x, w = feeds = placeholders((ROWS, COLUMNS), (COLUMNS, COLUMNS), dtype=dtype)
    gain = rf.Variable(np.linspace(0.5, 2, COLUMNS).astype(dtype.as_numpy_dtype))
    bias = rf.Variable(np.linspace(-1, 1, COLUMNS).astype(dtype.as_numpy_dtype))
    y = rf.matmul(layer_norm(x * 2.0, gain, bias), w)
    fetches = [y, *rf.gradients(y, [x, gain, bias])]
    program = optimised(fetches, feeds)
    assert [op.attrs["ops"].count("ColumnSum") for op in nodes(program, "_FusedRows")] == [0, 2]
    assert not nodes(program, "Sum", "Mean", "_Fused", *(n for n in FUSIBLE if n != "Mul"), "BroadcastTo")
    assert same_bits(fetches, normal(feeds), fuse_elementwise)


def test_the_gradient_reads_no_more_than_it_must():
    x, w = feeds = placeholders((ROWS, COLUMNS), (COLUMNS, COLUMNS))
    gain, bias = (rf.Variable(np.ones(COLUMNS, np.float32)) for _ in range(2))
    y = rf.matmul(layer_norm(x, gain, bias), w)
    forward, backward = nodes(optimised([y, *rf.gradients(y, [x, gain])], feeds), "_FusedRows")
    assert [t.shape for t in forward.outputs].count(x.shape) == 1, "the result; beside it, numbers of rows"
    assert [t.shape for t in backward.inputs].count(x.shape) == 2, "x and the gradient of the result"


def test_softmax_with_scale_and_mask_and_its_gradient():
    scores, mask, w = feeds = placeholders((2, 3, 80, 72), (80, 72), (2, 3, 72, 72))
    p = rf.nn.softmax(scores * 0.125 + mask)
    fetches = [rf.matmul(p, w), *rf.gradients(rf.matmul(p, w), scores)]
    forward, backward = nodes(optimised(fetches, feeds), "_FusedRows")
    assert forward.attrs["ops"] == ["Mul", "AddV2", "Softmax"]
    assert backward.attrs["ops"] == ["Mul", "Sum", "Sub", "Mul", "Mul"] and len(backward.outputs) == 1
    assert same_bits(fetches, normal(feeds), fuse_elementwise)


@pytest.mark.parametrize("shape", [(ROWS, COLUMNS), (5, 7, 64), (2, 1000), (1, 2048), (131, 65), (3, 43, 67)])
def test_every_reduction_keeps_its_bits(shape):
    x, row, column = feeds = placeholders(shape, shape[-1:], (*shape[:-1], 1))
    y = rf.exp((x + row) * column * 0.1)
    fetches = [y]
    for reduce in (rf.reduce_sum, rf.reduce_mean, rf.reduce_max):
        fetches.append(rf.sqrt(rf.abs(reduce(y, -1, keepdims=True))))
    fetches += [y / fetches[1], rf.reduce_sum(y, list(range(len(shape) - 1)))]
    [node] = nodes(optimised(fetches, feeds), "_FusedRows")
    assert {"Sum", "Mean", "Max", "ColumnSum"} <= set(node.attrs["ops"])
    assert same_bits(fetches, normal(feeds), fuse_elementwise)


def test_short_rows_other_dimensions_and_other_sums_stay_alone():
    x, short = feeds = placeholders((ROWS, COLUMNS), (1000, 60))
    fetches = [rf.reduce_sum(rf.exp(x), 0, keepdims=True), rf.reduce_sum(rf.exp(x), 1), rf.reduce_sum(rf.exp(x)),
               rf.reduce_min(rf.exp(x), 1, keepdims=True), rf.reduce_sum(rf.exp(short), 1, keepdims=True)]
    assert not nodes(optimised(fetches, feeds), "_FusedRows")


def test_what_needs_a_sum_of_columns_comes_after_the_node():
    x, y = feeds = placeholders((ROWS, COLUMNS), (ROWS, COLUMNS))
    h = rf.tanh(x + y)
    z = rf.exp(h - rf.reduce_sum(h, 0) * 0.01)
    program = optimised([z], feeds)
    [first] = nodes(program, "_FusedRows")
    assert first.attrs["ops"] == ["AddV2", "Tanh", "ColumnSum"]
    assert same_bits([z], normal(feeds), fuse_elementwise)


def test_sums_of_columns_that_others_only_wait_for_are_outputs_nevertheless():
    x, = feeds = placeholders((ROWS, COLUMNS))
    h = rf.tanh(x)
    sums = [rf.reduce_sum(h, 0), rf.reduce_sum(h * x, 0)]
    with rf.control_dependencies(sums):
        after = rf.exp(feeds[0])
    [node] = nodes(optimised([after], feeds), "_FusedRows")
    assert node.attrs["ops"].count("ColumnSum") == 2
    assert same_bits([after], normal(feeds), fuse_elementwise)


def test_a_variable_is_read_before_it_is_updated():
    x, = feeds = placeholders((ROWS, COLUMNS))
    v = rf.Variable(np.linspace(1, 2, COLUMNS).astype(np.float32))
    h = rf.tanh(x * v)
    gradient = rf.reduce_sum(h * x, 0)
    update = rf.assign_sub(v, gradient)
    with rf.control_dependencies([update]):
        after = rf.exp(h * v.read_value())
    fetches = [h, gradient, after]
    assert same_bits(fetches, normal(feeds), fuse_elementwise)


def test_one_node_reads_an_input_for_all_who_read_it():
    x, = feeds = placeholders((ROWS, COLUMNS))
    fetches = [rf.reduce_sum(x, 0), rf.reduce_sum(x * x, 0), x * 2.0]
    [node] = nodes(optimised(fetches, feeds), "_FusedRows")
    assert len(node.inputs) == 2
    assert same_bits(fetches, normal(feeds), fuse_elementwise)


def test_a_result_that_another_op_reads_around_the_group_is_not_joined():
    x, w = feeds = placeholders((64, 64), (64, 64))
    mean = rf.reduce_mean(rf.tanh(x), 1, keepdims=True)
    y = rf.exp(rf.tanh(x) - rf.reduce_max(rf.matmul(mean * x, w), 1, keepdims=True))  # the product lies between
    assert same_bits([y], normal(feeds), fuse_elementwise)


def test_not_a_number_travels_as_without_fusion():
    x, = feeds = placeholders((ROWS, COLUMNS))
    y = rf.sqrt(x)  # half of them NaN
    fetches = [rf.reduce_max(y, 1, keepdims=True) + y, rf.nn.softmax(y * 2.0), rf.reduce_sum(y, 0)]
    with np.errstate(invalid="ignore"):
        assert same_bits(fetches, normal(feeds), fuse_elementwise)


@pytest.mark.parametrize("shape", [(), (COLUMNS,), (ROWS, 1)], ids=["number", "row", "column"])
def test_sums_of_what_a_broadcast_repeats_count_every_row(shape):
    x, s = feeds = placeholders((ROWS, COLUMNS), shape)
    first, second = (rf.Variable(np.full(COLUMNS, 0.5, np.float32)) for _ in range(2))
    wide = rf.broadcast_to(s, [ROWS, COLUMNS])
    y = rf.nn.relu(x + first) + second  # the gradients of both read `wide`: one as it is, one through ReluGrad
    fetches = [*rf.gradients(y, [first, second], [wide]), rf.reduce_max(wide, 1, keepdims=True), rf.nn.softmax(wide)]
    assert any("ColumnSum" in op.attrs["ops"] for op in nodes(optimised(fetches, feeds), "_FusedRows"))
    assert same_bits(fetches, normal(feeds), fuse_elementwise)
