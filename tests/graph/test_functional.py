"""map_fn, scan, foldl and foldr against Python loops."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import InvalidArgumentError

pytestmark = pytest.mark.usefixtures("session")

X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]])


def test_map_fn_over_rows_of_a_length_that_only_the_run_knows(session):
    x = rf.placeholder(rf.float64, [None, 2])
    y = rf.map_fn(lambda row: rf.reduce_sum(row) * row, x)
    assert y.shape.as_list() == [None, 2]
    np.testing.assert_array_equal(session.run(y, {x: X}), X.sum(1, keepdims=True) * X)
    assert session.run(y, {x: X[:0]}).shape == (0, 2)


def test_map_fn_over_structures_and_to_another_dtype(session):
    elems = {"a": rf.constant(X), "b": rf.constant([1.0, 2.0, 3.0])}
    pairs = rf.map_fn(lambda e: (e["a"] + 1, rf.cast(e["b"], rf.int32)), elems, dtype=(rf.float64, rf.int32))
    a, b = session.run(pairs)
    np.testing.assert_array_equal(a, X + 1)
    assert b.tolist() == [1, 2, 3] and b.dtype == np.int32


def test_scan_forwards_backwards_and_with_an_initial_value(session):
    x = rf.constant(X)
    forwards, backwards = (rf.scan(lambda a, row: a * 2.0 + row, x, reverse=r) for r in (False, True))
    started = rf.scan(lambda a, row: (a[0] + row, a[1] + 1), x, initializer=(np.ones(2), np.array(0, np.int32)))
    f, b, (sums, counts) = session.run([forwards, backwards, started])
    np.testing.assert_array_equal(f, [X[0], 2 * X[0] + X[1], 4 * X[0] + 2 * X[1] + X[2]])
    np.testing.assert_array_equal(b, [4 * X[2] + 2 * X[1] + X[0], 2 * X[2] + X[1], X[2]])
    np.testing.assert_array_equal(sums, X.cumsum(0) + 1)
    assert counts.tolist() == [1, 2, 3]


def test_folds_from_either_end(session):
    x = rf.constant([1.0, 2.0, 4.0])
    fetches = [rf.foldl(lambda a, v: a - v, x), rf.foldr(lambda a, v: a - v, x), rf.foldl(lambda a, v: a - v, x, 10.0),
               rf.foldr(lambda a, v: a / v, x, 16.0)]
    assert session.run(fetches) == [-5, 1, 3, 2]


def test_gradients_through_map_scan_and_fold(session):
    x = rf.constant(X)
    mapped = rf.gradients(rf.map_fn(lambda row: row ** 3.0, x), x)[0]
    scanned = rf.gradients(rf.scan(lambda a, row: a * 2.0 + row, x), x)[0]
    product = rf.gradients(rf.foldl(lambda a, row: a * row, x), x)[0]
    m, s, p = session.run([mapped, scanned, product])
    np.testing.assert_allclose(m, 3 * X ** 2)
    np.testing.assert_allclose(s, np.array([[7.0], [3.0], [1.0]]) * np.ones(2))
    np.testing.assert_allclose(p, X.prod(0) / X)


def test_what_fn_returns_must_fit(session):
    with pytest.raises(InvalidArgumentError, match="structures differ"):
        rf.scan(lambda a, v: (a, v), rf.constant([1.0, 2.0]))
    with pytest.raises(InvalidArgumentError, match="is a scalar"):
        rf.map_fn(lambda v: v, rf.constant(1.0))
