"""The functions made of several ops: names, defaults, broadcasting, errors. On every backend, against NumPy."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import InvalidArgumentError, NotFoundError
from ringflow.graph.ops import api as ops, core, reductions

RNG = np.random.default_rng(5)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def unknown(session, array, rank=True):
    """A placeholder whose dimensions are not known, and its feed."""
    x = ops.placeholder(array.dtype, [None] * array.ndim if rank else None)
    return x, {x: array}


# ---- constants, placeholders, groups
def test_constant_takes_dtype_shape_and_repeats_its_last_value(session):
    assert ops.constant(1.5).dtype is rf.float32 and ops.constant(2).dtype is rf.int32
    assert ops.constant(2**40).dtype is rf.int64 and ops.constant([True]).dtype is rf.bool
    np.testing.assert_array_equal(session.run(ops.constant([1, 2], rf.float64, [2, 2])), [[1, 2], [2, 2]])
    np.testing.assert_array_equal(session.run(ops.constant(7, shape=[3])), [7, 7, 7])
    with pytest.raises(InvalidArgumentError, match="does not fit"):
        ops.constant([1, 2, 3], shape=[2])
    with pytest.raises(InvalidArgumentError, match="does not fit"):
        ops.constant([1, 2], shape=[1, 2], verify_shape=True)
    with pytest.raises(InvalidArgumentError, match="not a rectangular array"):
        ops.constant([[1, 2], [3]])


@pytest.mark.parametrize("shape", [[], [3], [40, 50], [0, 2]])
def test_zeros_ones_and_their_likes(session, shape):
    x, feed = unknown(session, np.full(shape, 5, np.int32))
    y = ops.constant(np.full(shape, 5, np.float32))
    got = session.run([ops.zeros(shape), ops.ones(shape, rf.int64), ops.zeros_like(x), ops.ones_like(x, rf.float64),
                       ops.ones_like(y), ops.zeros_like(y, rf.bool)], feed)
    for array, value, dtype in zip(
        got, [0, 1, 0, 1, 1, 0], [np.float32, np.int64, np.int32, np.float64, np.float32, bool]
    ):
        np.testing.assert_array_equal(array, np.full(shape, value, dtype))
        assert array.dtype == dtype


def test_fill_takes_a_tensor_as_shape(session):
    n = ops.placeholder(rf.int32, [])
    np.testing.assert_array_equal(session.run(ops.fill(ops.stack([n, 2]), 3.0), {n: 1}), [[3, 3]])


def test_placeholder_with_default_can_be_left_out_or_fed(session):
    x = ops.placeholder_with_default([1.0, 2.0], [None])
    y = x * 2.0
    np.testing.assert_array_equal(session.run(y), [2, 4])
    np.testing.assert_array_equal(session.run(y, {x: [5]}), [10])
    with pytest.raises(InvalidArgumentError, match="does not fit"):
        ops.placeholder_with_default([1.0], [2, 2])


def test_group_runs_all_of_its_inputs_and_tuple_waits_for_them(session):
    v = rf.Variable(1.0)
    session.run(rf.global_variables_initializer())
    session.run(ops.group(ops.assign_add(v, 1.0), [ops.no_op(), None]))
    assert session.run(v) == 2
    a, nothing = ops.tuple([ops.constant(3.0), None], control_inputs=[ops.assign_add(v, 5.0)])
    assert nothing is None and session.run(a) == 3
    assert session.run(v) == 7


def test_prevent_gradient_refuses_with_its_message():
    with rf.Graph().as_default():
        x = ops.constant(1.0)
        with pytest.raises(NotFoundError, match="labels are data"):
            rf.gradients(core.prevent_gradient(x, message="labels are data"), x)
        assert rf.gradients(ops.stop_gradient(x), x) == [None]


# ---- arithmetic
def test_division_of_integers_is_real_and_div_is_floor(session):
    x, y = ops.constant([7, -7]), ops.constant([2, 2])
    got = session.run([x / y, ops.div(x, y), x // y, x % y, 1 / y, ops.divide(3.0, 2.0)])
    assert got[0].dtype == np.float64
    np.testing.assert_array_equal(got[0], [3.5, -3.5])
    for g in got[1:3]:
        np.testing.assert_array_equal(g, [3, -4])
    np.testing.assert_array_equal(got[3], [1, 1])
    np.testing.assert_array_equal(got[4], [0.5, 0.5])
    assert got[5] == np.float32(1.5)


def test_operators_take_python_numbers_on_either_side(session):
    x = ops.constant([1.0, 4.0])
    got = session.run([2 * x, x - 1, 1 - x, x ** 2, 2.0 ** x, -x, abs(-x), x > 2, (x > 2) | (x < 2), ~(x >= 4)])
    want = [[2, 8], [0, 3], [0, -3], [1, 16], [2, 16], [-1, -4], [1, 4], [False, True], [True, True], [True, False]]
    for g, w in zip(got, want):
        np.testing.assert_array_equal(g, w)


def test_where_selects_rows_broadcasts_or_finds_indices(session):
    c = ops.constant([True, False])
    a, b = f32(2, 3), f32(2, 3)
    got = session.run(
        [ops.where(c, a, b), ops.where([[True], [False]], a, 0.0), ops.where(c), ops.where(c, [1, 2], [3, 4])]
    )
    np.testing.assert_array_equal(got[0], [a[0], b[1]])
    np.testing.assert_array_equal(got[1], [a[0], np.zeros(3)])
    np.testing.assert_array_equal(got[2], [[0]])
    np.testing.assert_array_equal(got[3], [1, 4])
    with pytest.raises(InvalidArgumentError, match="both be given"):
        ops.where(c, a)


def test_casts_drop_fractions_and_round_keeps_integers(session):
    x = ops.constant([-2.5, 0.5, 1.5])
    got = session.run([ops.to_int32(x), ops.round(x), ops.to_int64(x), ops.to_double(x), ops.cast(x, rf.bool)])
    np.testing.assert_array_equal(got[0], [-2, 0, 1])
    np.testing.assert_array_equal(got[1], [-2, 0, 2])
    assert [g.dtype for g in got] == [np.int32, np.float32, np.int64, np.float64, np.bool_]
    i = ops.constant([1, 2])
    assert ops.round(i) is i and ops.cast(i, "int32") is i


def test_accumulate_n_and_logical_xor(session):
    assert session.run(ops.accumulate_n([ops.constant(1.0), ops.constant(2.0)], shape=[])) == 3
    got = session.run(ops.logical_xor([True, True, False], [True, False, False]))
    np.testing.assert_array_equal(got, [False, True, False])
    with pytest.raises(InvalidArgumentError, match="at least one"):
        ops.accumulate_n([])


def test_shapes_that_do_not_broadcast_name_op_shapes_and_line():
    with rf.Graph().as_default():
        a, b = ops.zeros([2, 3]), ops.zeros([4])
        with pytest.raises(InvalidArgumentError, match=r"\[AddV2\].*\(2, 3\) and \(4,\).*test_functions.py:\d+"):
            a + b
        with pytest.raises(InvalidArgumentError, match="is int32, needed float32. Fix: rf.cast"):
            a + ops.constant([1])


# ---- reductions
@pytest.mark.parametrize("known", ["static", "dimensions", "nothing"])
@pytest.mark.parametrize("axis", [None, 0, -1, [0, 2], []])
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min"])
def test_reductions_take_any_axis(session, name, axis, known):
    array = f32(2, 3, 4)
    x, feed = (ops.constant(array), {}) if known == "static" else unknown(session, array, known == "dimensions")
    f = getattr(reductions, f"reduce_{name}")
    oracle = getattr(np, name)
    numpy_axis = tuple(axis) if isinstance(axis, list) else axis
    got = session.run([f(x, axis), f(x, axis, keepdims=True), f(x, reduction_indices=axis, keep_dims=True)], feed)
    np.testing.assert_allclose(got[0], oracle(array, numpy_axis), rtol=1e-5)
    for g in got[1:]:
        np.testing.assert_allclose(g, oracle(array, numpy_axis, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("axis", [None, 1, [0, 2]])
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max"])
def test_reduction_gradients_of_unknown_rank(session, name, axis):
    array = RNG.permutation(24).reshape(2, 3, 4) / 8.0 + 0.1
    f = getattr(reductions, f"reduce_{name}")
    got = []
    for x, feed in ((ops.constant(array), {}), unknown(session, array, rank=False)):
        got.append(session.run(rf.gradients(ops.square(f(x, axis)), x)[0], feed))
    np.testing.assert_allclose(got[0], got[1], rtol=1e-12)
    assert got[0].shape == array.shape


def test_reduce_all_any_and_logsumexp(session):
    b = np.array([[True, False], [True, True]])
    x = np.array([[1000.0, 1000.0], [-1000.0, 0.0]])
    got = session.run([ops.reduce_all(b, 1), ops.reduce_any(b, 0), ops.reduce_all(b), ops.reduce_logsumexp(x, 1),
                       ops.reduce_logsumexp(x, 1, keepdims=True)])
    np.testing.assert_array_equal(got[0], [False, True])
    np.testing.assert_array_equal(got[1], [True, True])
    assert not got[2]
    np.testing.assert_allclose(got[3], [1000 + np.log(2), 0])
    assert got[4].shape == (2, 1)


def test_reductions_refuse_bad_axes_and_arguments():
    with rf.Graph().as_default():
        x = ops.zeros([2, 3])
        with pytest.raises(InvalidArgumentError, match=r"\[Sum\].*2 is not in \[-2, 2\)"):
            ops.reduce_sum(x, 2)
        with pytest.raises(TypeError, match="not both"):
            ops.reduce_sum(x, 1, reduction_indices=1)
        with pytest.raises(TypeError, match="no argument 'axes'"):
            ops.reduce_sum(x, axes=1)


def test_argmax_takes_both_names_of_the_axis(session):
    x = np.array([[1, 5, 5], [7, 2, 7]], np.float32)
    got = session.run(
        [ops.argmax(x), ops.argmax(x, 1), ops.argmax(x, dimension=1, output_type=rf.int32), ops.argmin(x, axis=-1)]
    )
    np.testing.assert_array_equal(got[0], [1, 0, 1])
    np.testing.assert_array_equal(got[1], [1, 0])
    assert got[1].dtype == np.int64 and got[2].dtype == np.int32
    np.testing.assert_array_equal(got[3], [0, 1])


# ---- products
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    "a,b,ta,tb",
    [
        ((2, 3), (3, 4), False, False),
        ((3, 2), (4, 3), True, True),
        ((5, 2, 3), (3, 4), False, False),
        ((5, 2, 3), (4, 3), False, True),
        ((5, 3, 2), (3, 4), True, False),
        ((2, 3), (5, 3, 4), False, False),
        ((2, 5, 2, 3), (2, 5, 3, 4), False, False),
        ((0, 2, 3), (3, 4), False, False),
        ((5, 0, 3), (3, 4), False, False),
    ],
)
def test_matmul_multiplies_matrices_and_batches(session, a, b, ta, tb, known):
    x, y = f32(*a).astype(np.float64), f32(*b).astype(np.float64)
    tx, feed = (ops.constant(x), {}) if known else unknown(session, x)
    ty, more = (ops.constant(y), {}) if known else unknown(session, y)
    product = ops.matmul(tx, ty, transpose_a=ta, transpose_b=tb)
    want = np.matmul(x.swapaxes(-1, -2) if ta else x, y.swapaxes(-1, -2) if tb else y)
    got, gx, gy = session.run([product, *rf.gradients(product * product, [tx, ty])], {**feed, **more})
    np.testing.assert_allclose(got, want, rtol=1e-10)
    assert product.shape.is_compatible_with(want.shape)
    # d sum(P^2) along the operands themselves: 2 sum(P^2) each
    np.testing.assert_allclose([np.sum(gx * x), np.sum(gy * y)], 2 * np.sum(want * want), rtol=1e-10)


def test_matmul_of_a_batch_and_a_matrix_is_one_product():
    with rf.Graph().as_default() as g:
        ops.matmul(ops.placeholder(rf.float32, [None, 7, 3]), ops.zeros([3, 4]))
        types = [op.type for op in g.get_operations()]
    assert "MatMul" in types and "BatchMatMulV2" not in types


def test_matmul_error_names_k_both_shapes_and_the_line():
    with rf.Graph().as_default():
        with pytest.raises(InvalidArgumentError, match=r"\[MatMul\] dimension 'k' differs: a \(32, 784\) has k=784, "
                                                       r"b \(512, 10\) has k=512.*test_functions.py:\d+"):
            ops.matmul(ops.zeros([32, 784]), ops.zeros([512, 10]))
        with pytest.raises(InvalidArgumentError, match="'x' must have rank 2 or more"):
            ops.matmul(ops.zeros([3]), ops.zeros([3]))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    "a,b,axes",
    [
        ((2, 3, 4), (4, 5), 1),
        ((2, 3, 4), (3, 4, 5), 2),
        ((2, 3, 4), (5, 2), [[0], [1]]),
        ((3, 4), (3, 4), [[0, 1], [0, 1]]),
        ((2,), (3,), 0),
        ((2, 3, 4), (4, 3, 6), [[2, 1], [0, 1]]),
    ],
)
def test_tensordot_equals_numpy(session, a, b, axes, known):
    x, y = f32(*a).astype(np.float64), f32(*b).astype(np.float64)
    tx, feed = (ops.constant(x), {}) if known else unknown(session, x)
    ty, more = (ops.constant(y), {}) if known else unknown(session, y)
    product = ops.tensordot(tx, ty, axes)
    want = np.tensordot(x, y, axes)
    np.testing.assert_allclose(session.run(product, {**feed, **more}), want, rtol=1e-10)
    assert product.shape.is_compatible_with(want.shape)


def test_unique_and_segment_sum(session):
    y, idx = session.run(ops.unique([5, 3, 5, 5, 1]))
    np.testing.assert_array_equal(y, [5, 3, 1])
    np.testing.assert_array_equal(idx, [0, 1, 0, 0, 2])
    np.testing.assert_array_equal(session.run(ops.unsorted_segment_sum([1.0, 2.0, 4.0], [0, -1, 0], 2)), [5, 0])
