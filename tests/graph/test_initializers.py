"""Initializers: values, shapes, dtypes, and the spread that fan in and fan out ask for."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.state import initializers as init


def value(initializer, shape, dtype=None):
    with rf.Graph().as_default() as graph, rf.Session(graph=graph, backend="reference") as session:
        t = initializer(shape, dtype)
        assert t.shape == tuple(shape)
        return session.run(t)


@pytest.mark.parametrize("make, want", [(init.zeros_initializer, 0), (init.ones_initializer, 1),
                                        (lambda: init.constant_initializer(2.5), 2.5)])
def test_constants_fill(make, want):
    for dtype in (rf.float32, rf.float64):
        got = value(make(), [2, 3], dtype)
        assert got.dtype == dtype.as_numpy_dtype
        np.testing.assert_array_equal(got, np.full((2, 3), want))
    assert value(init.zeros_initializer(), [], rf.int64).dtype == np.int64


def test_constant_takes_the_elements_of_a_list():
    np.testing.assert_array_equal(value(init.constant_initializer([1, 2, 3, 4]), [2, 2]), [[1, 2], [3, 4]])
    with pytest.raises(rf.errors.InvalidArgumentError, match="sizes differ"):
        value(init.constant_initializer([1, 2]), [3])


def test_fans_of_dense_and_convolution_weights():
    assert init.fans([]) == (1, 1)
    assert init.fans([7]) == (7, 7)
    assert init.fans([3, 4]) == (3, 4)
    assert init.fans([5, 5, 3, 8]) == (75, 200)


@pytest.mark.parametrize("name, variance, limit", [
    ("glorot_uniform", 2 / 500, np.sqrt(6 / 500)), ("glorot_normal", 2 / 500, None), ("he_normal", 2 / 200, None),
    ("he_uniform", 2 / 200, np.sqrt(6 / 200)), ("lecun_normal", 1 / 200, None)])
def test_spread_follows_the_fan(name, variance, limit):
    got = value(getattr(init, name + "_initializer")(seed=3), [200, 300])
    assert abs(got.mean()) < 0.001
    assert got.var() == pytest.approx(variance, rel=0.03)
    if limit is not None:
        assert abs(got).max() <= limit


@pytest.mark.parametrize("make", [init.random_uniform_initializer, init.random_normal_initializer,
                                  init.truncated_normal_initializer, init.variance_scaling_initializer])
def test_a_seed_repeats(make):
    np.testing.assert_array_equal(value(make(seed=5), [50]), value(make(seed=5), [50]))


def test_get_variable_takes_classes_and_instances():
    with rf.Graph().as_default() as graph, rf.Session(graph=graph, backend="reference") as session:
        a = rf.get_variable("a", [2], initializer=init.ones_initializer)
        b = rf.get_variable("b", [2], initializer=init.constant_initializer(3))
        c = rf.get_variable("c", [4, 4])
        session.run(rf.global_variables_initializer())
        got = session.run([a, b, c])
    np.testing.assert_array_equal(got[0], [1, 1])
    np.testing.assert_array_equal(got[1], [3, 3])
    assert got[2].any()
