"""Functions on arrays against NumPy."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import InvalidArgumentError

pytestmark = pytest.mark.usefixtures("session")

X = np.arange(24.0).reshape(2, 3, 4)


def test_ranges_matrices_and_masks(session):
    pairs = [
        (rf.linspace(1.0, 2.0, 5), np.linspace(1, 2, 5)),
        (rf.linspace(3.0, 9.0, 1), [3]),
        (rf.eye(2, 3), np.eye(2, 3)),
        (rf.diag([1.0, 2.0]), np.diag([1, 2])),
        (rf.diag_part(X[0, :, :3]), [0, 5, 10]),
        (rf.trace(X[0, :, :3]), 15),
        (rf.sequence_mask([1, 3, 0], 4), [[1, 0, 0, 0], [1, 1, 1, 0], [0] * 4]),
        (rf.sequence_mask([[1], [2]], dtype=rf.float32), [[[1, 0]], [[1, 1]]]),
        (rf.boolean_mask(X, [True, False]), X[:1]),
        (rf.boolean_mask(X, X[:, :, 0] > 5), X[X[:, :, 0] > 5]),
        (rf.boolean_mask(X, [True, False, True], axis=1), X[:, [0, 2]]),
        (rf.count_nonzero(X), 23),
        (rf.count_nonzero(X, axis=[0, 1]), [5, 6, 6, 6]),
        (rf.norm([3.0, 4.0]), 5),
        (rf.norm(X, ord=1, axis=2), X.sum(2)),
        (rf.norm(X, ord=np.inf, axis=1, keepdims=True), X.max(1, keepdims=True)),
        (rf.rank(X), 3),
        (rf.size(X), 24),
        (rf.reverse(X, axis=[0, 2]), X[::-1, :, ::-1]),
    ]
    for got, expected in zip(session.run([t for t, _ in pairs]), [e for _, e in pairs]):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("indexing", ["xy", "ij"])
def test_meshgrid(session, indexing):
    axes = [np.array([1, 2, 3]), np.array([4, 5])]
    got = session.run(rf.meshgrid(*axes, indexing=indexing))
    for a, b in zip(got, np.meshgrid(*axes, indexing=indexing)):
        np.testing.assert_array_equal(a, b)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InvalidArgumentError, match="shapes differ"):
        rf.boolean_mask(X, [True, False, True])
    with pytest.raises(InvalidArgumentError, match="'num' must be at least 1"):
        rf.linspace(0.0, 1.0, 0)
    with pytest.raises(InvalidArgumentError, match="must be \\(n,\\)"):
        rf.diag([[1.0]])
