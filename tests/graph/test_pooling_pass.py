"""ReLU after max pooling: where it moves, where it must not, and the same numbers."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph import passes
from ringflow.graph.passes import pooling
from ringflow.graph.passes.program import extract


@pytest.fixture(autouse=True)
def graph():
    g = rf.Graph()
    with g.as_default():
        yield g


def image(height=8, width=6):
    return rf.placeholder(rf.float32, (3, height, width, 5))


def pooled(x, size=2, stride=2, padding="VALID"):
    return rf.nn.max_pool(x, ksize=[1, size, size, 1], strides=[1, stride, stride, 1], padding=padding)


def optimised(fetches, feeds):
    return passes.optimise(extract(rf.get_default_graph(), fetches, [], feeds, [t.shape for t in feeds]))


def kinds(program):
    return [op.type for op in program.graph.get_operations()]


def result(fetches, x, value, monkeypatch, swapped, backend="cpp"):
    if not swapped:
        monkeypatch.setattr(passes, "PASSES", [p for p in passes.PASSES if p[1] is not pooling.relu_after_pooling])
    with rf.Session(backend=backend) as session:
        return session.run(fetches, {x: value})


@pytest.mark.parametrize("backend", ["cpp", "reference"])
@pytest.mark.parametrize("size, stride, padding", [(2, 2, "VALID"), (3, 2, "SAME"), (3, 1, "VALID")])
def test_outputs_and_gradients_are_the_same_with_ties_and_negative_windows(size, stride, padding, backend, monkeypatch):
    x = image()
    y = pooled(rf.nn.relu(x), size, stride, padding)
    dx = rf.gradients(rf.reduce_sum(y * y * 0.5 + y), [x])[0]
    program = optimised([y, dx], [x])
    [relu_gradient] = [op for op in program.graph.get_operations() if op.type == "ReluGrad"]
    assert relu_gradient.outputs[0].shape == y.shape
    value = np.random.default_rng(5).integers(-3, 3, x.shape.as_list()).astype(np.float32)
    value[0] = -1.0
    swapped = result([y, dx], x, value, monkeypatch, True, backend)
    as_written = result([y, dx], x, value, monkeypatch, False, backend)
    for a, b in zip(swapped, as_written):
        np.testing.assert_array_equal(a, b)
    assert (swapped[1] != 0).sum() > 50


def test_two_poolings_of_one_relu_and_their_gradients_move_together(monkeypatch):
    x = image()
    h = rf.nn.relu(x)
    loss = rf.reduce_sum(pooled(h)) + 2.0 * rf.reduce_sum(pooled(h, 4, 4))
    fetches = [loss, rf.gradients(pooled(h), [x])[0]]
    value = np.random.default_rng(6).standard_normal(x.shape.as_list()).astype(np.float32)
    assert "Relu" in kinds(optimised(fetches, [x]))
    for a, b in zip(result(fetches, x, value, monkeypatch, True), result(fetches, x, value, monkeypatch, False)):
        np.testing.assert_array_equal(a, b)


def test_a_relu_that_somebody_else_reads_stays_in_front():
    x = image()
    h = rf.nn.relu(x)
    program = optimised([pooled(h), rf.reduce_sum(h)], [x])
    [pool] = [op for op in program.graph.get_operations() if op.type == "MaxPool"]
    assert pool.inputs[0].op.type in ("Relu", "_Fused")


def test_a_relu_or_pooling_that_is_waited_for_stays():
    x = image()
    h = rf.nn.relu(x)
    y = pooled(h)
    with rf.control_dependencies([h]):
        z = rf.identity(x) * 2.0
    program = optimised([y, z], [x])
    [pool] = [op for op in program.graph.get_operations() if op.type == "MaxPool"]
    assert pool.inputs[0].op.type == "Relu"
