"""ReLU after max pooling: where it moves, where it must not, and the same numbers."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.passes.pooling import relu_after_pooling

from .plans import kinds, nodes, optimised, run, same_bits, without

pytestmark = pytest.mark.usefixtures("graph")


def image(height=8, width=6):
    return rf.placeholder(rf.float32, (3, height, width, 5))


def pooled(x, size=2, stride=2, padding="VALID"):
    return rf.nn.max_pool(x, ksize=[1, size, size, 1], strides=[1, stride, stride, 1], padding=padding)


@pytest.mark.parametrize("backend", ["cpp", "reference"])
@pytest.mark.parametrize("size, stride, padding", [(2, 2, "VALID"), (3, 2, "SAME"), (3, 1, "VALID")])
def test_outputs_and_gradients_are_the_same_with_ties_and_negative_windows(size, stride, padding, backend):
    x = image()
    y = pooled(rf.nn.relu(x), size, stride, padding)
    dx = rf.gradients(rf.reduce_sum(y * y * 0.5 + y), [x])[0]
    program = optimised([y, dx], [x])
    [relu_gradient] = nodes(program, "ReluGrad")
    assert relu_gradient.outputs[0].shape == y.shape
    value = np.random.default_rng(5).integers(-3, 3, x.shape.as_list()).astype(np.float32)
    value[0] = -1.0
    swapped = run([y, dx], {x: value}, backend)
    with without(relu_after_pooling):
        as_written = run([y, dx], {x: value}, backend)
    for a, b in zip(swapped, as_written):
        np.testing.assert_array_equal(a, b)
    assert (swapped[1] != 0).sum() > 50


def test_two_poolings_of_one_relu_and_their_gradients_move_together():
    x = image()
    h = rf.nn.relu(x)
    loss = rf.reduce_sum(pooled(h)) + 2.0 * rf.reduce_sum(pooled(h, 4, 4))
    fetches = [loss, rf.gradients(pooled(h), [x])[0]]
    value = np.random.default_rng(6).standard_normal(x.shape.as_list()).astype(np.float32)
    assert "Relu" in kinds(optimised(fetches, [x]))
    assert same_bits(fetches, {x: value}, relu_after_pooling)


def test_a_relu_that_somebody_else_reads_stays_in_front():
    x = image()
    h = rf.nn.relu(x)
    [pool] = nodes(optimised([pooled(h), rf.reduce_sum(h)], [x]), "MaxPool")
    assert pool.inputs[0].op.type in ("Relu", "_Fused")


def test_a_relu_or_pooling_that_is_waited_for_stays():
    x = image()
    h = rf.nn.relu(x)
    y = pooled(h)
    with rf.control_dependencies([h]):
        z = rf.identity(x) * 2.0
    [pool] = nodes(optimised([y, z], [x]), "MaxPool")
    assert pool.inputs[0].op.type == "Relu"
