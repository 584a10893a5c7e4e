"""The array functions that are more than their op: tensor[key], split, where, range, gather's gradient."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.autodiff.gradients import gradients
from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.ops import api

pytestmark = pytest.mark.usefixtures("graph")

X = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


def run(fetches, feeds=None):
    with rf.Session(backend="reference") as session:
        return session.run(fetches, feeds)


KEYS = [0, -1, (1, 2), (slice(None), 1), (slice(0, 2), slice(2, 0, -1)), Ellipsis, (Ellipsis, 3),
        (0, Ellipsis, slice(1, None)),
        None, (slice(None), None, 2), (Ellipsis, None), (slice(-5, 9), slice(None, None, 2)), (1, None, Ellipsis, -2,
                                                                                               None),
        slice(None, None, -1), (slice(2, 1),), (np.int64(1), slice(np.int32(1), None))]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_getitem_is_numpys(key):
    y = rf.constant(X)[key]
    assert y.op.type == "StridedSlice"
    assert y.shape == X[key].shape
    np.testing.assert_array_equal(run(y), X[key])


@pytest.mark.parametrize("dtype", [rf.int32, rf.int64])
def test_getitem_takes_scalar_tensors(dtype):
    i = rf.placeholder(dtype, [])
    y = rf.constant(X)[:, i, i:, -1]
    assert y.shape.as_list() == [2, None]
    np.testing.assert_array_equal(run(y, {i: 1}), X[:, 1, 1:, -1])


def test_getitem_gradient_reaches_only_the_slice():
    x = rf.placeholder(rf.float32, [None, 3])
    (g,) = gradients(x[-1, ::2], x)
    np.testing.assert_array_equal(run(g, {x: np.ones((2, 3))}), [[0, 0, 0], [1, 0, 1]])


@pytest.mark.parametrize("key", ["a", 1.0, [0, 1], True, np.array([1, 2])], ids=str)
def test_getitem_refuses_what_is_no_index(key):
    with pytest.raises(TypeError, match="index"):
        rf.constant(X)[key]


def test_getitem_outside_a_known_dimension_fails_at_build():
    with pytest.raises(rf.errors.InvalidArgumentError,
                       match="slice index 3 of dimension 1 out of bounds.*test_array_api.py"):
        rf.constant(X)[0, 3]


def test_split_takes_a_number_or_sizes():
    x = rf.constant(X)
    equal, sizes = api.split(x, 2, axis=2), api.split(x, [1, -1], axis=-1)
    for got, want in zip(run(equal + sizes), np.split(X, 2, 2) + np.split(X, [1], -1)):
        np.testing.assert_array_equal(got, want)
    assert [t.shape.as_list()[-1] for t in sizes] == [1, 4]


@pytest.mark.parametrize("known", [True, False])
def test_concat_gradient_splits_unequal_parts(known):
    values = [np.ones((2, n), np.float32) for n in (1, 3, 2)]
    xs = [rf.placeholder(rf.float32, v.shape if known else [None, None]) for v in values]
    weights = np.arange(12, dtype=np.float32).reshape(2, 6)
    grads = gradients(api.concat(xs, 1), xs, weights)
    for g, want in zip(run(grads, dict(zip(xs, values))), np.split(weights, [1, 4], 1)):
        np.testing.assert_array_equal(g, want)


def test_where_gives_coordinates_or_chooses():
    c = np.array([[True, False], [False, True]])
    a, b = np.ones((2, 2), np.float32), np.zeros((2, 2), np.float32)
    places, chosen = run([api.where(c), api.where(c, a, b)])
    np.testing.assert_array_equal(places, [[0, 0], [1, 1]])
    np.testing.assert_array_equal(chosen, c.astype(np.float32))
    with pytest.raises(rf.errors.InvalidArgumentError, match="both"):
        api.where(c, a)


def test_range_counts_like_python():
    ranges = run([api.range(4), api.range(2, 9, 3), api.range(3, 0, -1), api.range(0.0, 1.0, 0.25),
                  api.range(2, dtype=rf.int64)])
    for got, want in zip(ranges,
                         [np.arange(4), np.arange(2, 9, 3), np.arange(3, 0, -1), np.arange(0, 1, 0.25), np.arange(2)]):
        np.testing.assert_array_equal(got, want)
    assert [r.dtype for r in ranges] == [np.int32, np.int32, np.int32, np.float32, np.int64]


@pytest.mark.parametrize("known", [True, False])
def test_gather_on_axis_0_has_a_sparse_gradient(known):
    table = rf.placeholder(rf.float32, [5, 2] if known else [None, 2])
    ids = rf.constant([[1, 4], [1, 0]])
    weights = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    (g,) = gradients(api.gather(table, ids), table, weights)
    assert isinstance(g, IndexedSlices)
    got = run(g, {table: np.zeros((5, 2))})
    np.testing.assert_array_equal(got.indices, [1, 4, 1, 0])
    np.testing.assert_array_equal(got.values, weights.reshape(4, 2))
    np.testing.assert_array_equal(got.dense_shape, [5, 2])


def test_transpose_without_perm_reverses_axes_of_unknown_rank_too():
    x = rf.placeholder(rf.float32, None)
    np.testing.assert_array_equal(run(api.transpose(x), {x: X}), X.T)


def test_one_hot_of_python_numbers_is_float32():
    y = run(api.one_hot([0, 2], 3))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, [[1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize("build, text", [
    (lambda: api.reshape(rf.zeros([2, 3]), [4, 2]),
     r"\[Reshape\] sizes differ: 'tensor' \(2, 3\) has 6 elements, 'shape' \(4, 2\) has 8"),
    (lambda: api.concat([rf.zeros([2, 3]), rf.zeros([3, 3])], 1),
     r"\[ConcatV2\] dimension 0 differs outside axis 1: 2 and 3"),
    (lambda: api.split(rf.zeros([2, 3]), 2, 1),
     r"\[Split\] 'num_split' must divide the dimension: axis 1 has 3, num_split is 2"),
    (lambda: api.stack([rf.zeros([2]), rf.zeros([3])]),
     r"\[Pack\] all values must have one shape: 'values\[1\]' is \(3,\)"),
    (lambda: api.transpose(rf.zeros([2, 3]), [0, 0]), r"\[Transpose\] not a permutation of 0..1: got \[0, 0\]"),
    (lambda: api.squeeze(rf.zeros([2, 1]), [0]),
     r"\[Squeeze\] a squeezed dimension must be 1: dimension 0 of \(2, 1\) is 2"),
    (lambda: api.gather(rf.zeros([2, 3]), [0], axis=2),
     r"\[GatherV2\] 'axis' is outside the rank: 2 is not in \[-2, 2\)"),
    (lambda: rf.nn.conv2d(rf.zeros([1, 4, 4, 3]), rf.zeros([3, 3, 2, 8]), 1, "SAME"),
     r"\[Conv2D\] channels differ: input \(1, 4, 4, 3\) has 3, filter \(3, 3, 2, 8\) needs 2"),
    (lambda: rf.nn.max_pool(rf.zeros([1, 2, 2, 1]), 3, 1, "VALID"),
     r"\[MaxPool\] the window must fit: it spans 3, the input has 2"),
])
def test_wrong_shapes_fail_at_build_with_rule_and_values(build, text):
    with pytest.raises(rf.errors.InvalidArgumentError, match=text + r".*Created at .*test_array_api.py"):
        build()
