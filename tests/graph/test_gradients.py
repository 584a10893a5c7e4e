"""rf.gradients: sums over paths, stops, sparse gradients, errors."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import InvalidArgumentError

pytestmark = pytest.mark.usefixtures("graph")


def run(fetches, feeds=None, init=False):
    with rf.Session(graph=rf.get_default_graph()) as s:
        if init:
            s.run(rf.global_variables_initializer())
        return s.run(fetches, feeds)


def test_paths_that_meet_add_up():
    x = rf.constant(3.0)
    y = x * x + x * 2.0
    assert run(rf.gradients(y, x)[0]) == 8.0


def test_gradient_of_several_ys_is_of_their_sum_and_grad_ys_weigh_them():
    x = rf.constant(2.0)
    a, b = x * 3.0, x * x
    assert run(rf.gradients([a, b], x)[0]) == 7.0
    assert run(rf.gradients([a, b], x, grad_ys=[rf.constant(10.0), rf.constant(1.0)])[0]) == 34.0


def test_unconnected_x_gives_none_and_stop_gradient_cuts():
    x, z = rf.constant(2.0), rf.constant(1.0)
    y = rf.stop_gradient(x) * x
    assert rf.gradients(y, z) == [None]
    assert run(rf.gradients(y, x)[0]) == 2.0
    w = x * 3.0
    assert run(rf.gradients(w * x, x, stop_gradients=[w])[0]) == 6.0


def test_second_derivative():
    x = rf.constant(2.0)
    g, = rf.gradients(x * x * x, x)
    gg, = rf.gradients(g, x)
    assert run([g, gg]) == [12.0, 12.0]


def test_gradient_of_a_y_that_is_an_x_itself():
    x = rf.constant(2.0)
    y = x * 3.0
    gy, gx = rf.gradients(y, [y, x])
    assert run([gy, gx]) == [1.0, 3.0]


def test_gather_of_a_variable_gives_indexed_slices_and_sums_stay_sparse():
    table = rf.Variable(np.arange(12, dtype=np.float32).reshape(6, 2))
    a = rf.gather(table, rf.constant([1, 3, 1]))
    b = rf.gather(table, rf.constant([5]))
    g, = rf.gradients(rf.reduce_sum(a) + rf.reduce_sum(b * 2.0), table)
    assert isinstance(g, rf.IndexedSlices)
    got = run(g, init=True)
    dense = np.zeros((6, 2))
    np.add.at(dense, got.indices, got.values)
    np.testing.assert_array_equal(dense[:, 0], [0, 2, 0, 1, 0, 2])


def test_sparse_and_dense_contributions_become_dense():
    table = rf.Variable(np.ones((3, 2), np.float32))
    y = rf.reduce_sum(rf.gather(table, rf.constant([0, 0]))) + rf.reduce_sum(table * 3.0)
    g, = rf.gradients(y, table)
    np.testing.assert_array_equal(run(rf.convert_to_tensor(g), init=True), [[5, 5], [3, 3], [3, 3]])


def test_integer_y_and_non_tensor_x_are_errors():
    with pytest.raises(InvalidArgumentError, match="must be floating"):
        rf.gradients(rf.constant(1), rf.constant(1.0))
    with pytest.raises(InvalidArgumentError, match="tensor or variable"):
        rf.gradients(rf.constant(1.0), "x")


def test_broadcast_operands_with_unknown_shapes_get_gradients_of_their_own_shape():
    x = rf.placeholder(rf.float32, [None, None])
    b = rf.placeholder(rf.float32, [None])
    gx, gb = rf.gradients(rf.reduce_sum(x * b), [x, b])
    xs, bs = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, 2, 3], np.float32)
    got = run([gx, gb], {x: xs, b: bs})
    np.testing.assert_array_equal(got[0], np.broadcast_to(bs, (2, 3)))
    np.testing.assert_array_equal(got[1], xs.sum(0))
