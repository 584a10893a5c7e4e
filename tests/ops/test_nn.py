"""The rf.nn functions against their formulas in NumPy, with gradients against differences."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.nn import nn as nn

RNG = np.random.default_rng(6)


def log_softmax(x):
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def check_gradient(session, build, array, order=1):
    """d build(x) / dx against differences, along random directions; `order` 2: of the sum of the weighted gradient."""
    x = rf.placeholder(rf.float64, [None] * array.ndim)
    y = build(x)
    for _ in range(order - 1):
        y = rf.gradients(y, x)[0] * RNG.standard_normal(array.shape)
    (g,) = rf.gradients(y, x)
    d = RNG.standard_normal(array.shape)
    up, down = (session.run(y, {x: array + h * d}).sum() for h in (1e-5, -1e-5))
    analytic = np.sum(session.run(g, {x: array}) * d)
    assert abs(analytic - (up - down) / 2e-5) < 1e-6 * (1 + abs(analytic))


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 5)])
def test_softmax_cross_entropy(session, shape):
    logits = RNG.standard_normal(shape) * 3
    labels = RNG.random(shape)
    labels /= labels.sum(-1, keepdims=True)
    want = -(labels * log_softmax(logits)).sum(-1)
    for f in (nn.softmax_cross_entropy_with_logits, nn.softmax_cross_entropy_with_logits_v2):
        loss = f(labels=labels, logits=rf.constant(logits))
        np.testing.assert_allclose(session.run(loss), want, rtol=1e-10)
        assert loss.shape == want.shape
        check_gradient(session, lambda x, f=f: f(labels=labels, logits=x), logits)
        check_gradient(session, lambda x, f=f: f(labels=labels, logits=x), logits, order=2)


def test_only_v2_sends_a_gradient_to_labels(session):
    logits = RNG.standard_normal((3, 4))
    z = rf.placeholder(rf.float64, [None, None])
    assert rf.gradients(nn.softmax_cross_entropy_with_logits(labels=z, logits=logits), z) == [None]
    (g,) = rf.gradients(nn.softmax_cross_entropy_with_logits_v2(labels=z, logits=logits), z)
    np.testing.assert_allclose(session.run(g, {z: np.ones((3, 4))}), -log_softmax(logits), rtol=1e-10)


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 5)])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_sparse_softmax_cross_entropy(session, shape, dtype):
    logits = RNG.standard_normal(shape) * 3
    labels = RNG.integers(0, 5, shape[:-1]).astype(dtype)
    loss = nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=rf.constant(logits))
    want = -np.take_along_axis(log_softmax(logits), labels[..., None].astype(np.int64), -1)[..., 0]
    np.testing.assert_allclose(session.run(loss), want, rtol=1e-10)
    assert loss.shape == want.shape
    for order in (1, 2):
        check_gradient(
            session, lambda x: nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=x), logits, order
        )


def test_cross_entropies_refuse_positions_shapes_and_labels(session):
    x, z = rf.zeros([3, 4]), rf.zeros([3], rf.int32)
    with pytest.raises(InvalidArgumentError, match="by name"):
        nn.sparse_softmax_cross_entropy_with_logits(x, z)
    with pytest.raises(InvalidArgumentError, match=r"one axis more.*\(3, 4\).*\(3, 4\)"):
        nn.sparse_softmax_cross_entropy_with_logits(labels=rf.zeros([3, 4], rf.int32), logits=x)
    with pytest.raises(InvalidArgumentError, match="differ in rows: 3 and 2"):
        nn.sparse_softmax_cross_entropy_with_logits(labels=rf.zeros([2], rf.int32), logits=x)
    loss = nn.sparse_softmax_cross_entropy_with_logits(labels=rf.constant([0, 4, 1]), logits=x)
    with pytest.raises(InvalidArgumentError, match="4"):
        session.run(loss)


def test_sigmoid_cross_entropy_is_stable_and_right_at_zero(session):
    x = np.array([0.0, 2.0, -3.0, 1000.0, -1000.0])
    z = np.array([1.0, 0.25, 0.5, 1.0, 0.0])
    p = rf.placeholder(rf.float64, [None])
    loss = nn.sigmoid_cross_entropy_with_logits(labels=z, logits=p)
    value, gradient = session.run([loss, rf.gradients(loss, p)[0]], {p: x})
    np.testing.assert_allclose(value, np.maximum(x, 0) - x * z + np.log1p(np.exp(-abs(x))), rtol=1e-12)
    np.testing.assert_allclose(gradient, 1 / (1 + np.exp(-np.clip(x, -500, 500))) - z, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("axis", [None, -1, 0, 1])
def test_softmax_along_any_axis(session, axis):
    x = RNG.standard_normal((2, 3, 4))
    moved = np.moveaxis(x, -1 if axis is None else axis, -1)
    want = np.moveaxis(log_softmax(moved), -1, -1 if axis is None else axis)
    got = session.run([nn.softmax(rf.constant(x), axis), nn.log_softmax(rf.constant(x), axis)])
    np.testing.assert_allclose(got[0], np.exp(want), rtol=1e-10)
    np.testing.assert_allclose(got[1], want, rtol=1e-10)


@pytest.mark.parametrize("keepdims", [False, True])
def test_moments_and_batch_normalization(session, keepdims):
    x = RNG.standard_normal((6, 5)) * 2 + 1
    mean, variance = nn.moments(rf.constant(x), [0], keepdims=keepdims)
    got = session.run([mean, variance, nn.batch_normalization(x, mean, variance, 0.5, 2.0, 1e-3),
                       nn.batch_normalization(x, mean, variance, None, None, 1e-3)])
    np.testing.assert_allclose(got[0], x.mean(0, keepdims=keepdims))
    np.testing.assert_allclose(got[1], x.var(0, keepdims=keepdims))
    normal = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3)
    np.testing.assert_allclose(got[2], 2 * normal + 0.5, rtol=1e-10)
    np.testing.assert_allclose(got[3], normal, rtol=1e-10)
    check_gradient(session, lambda t: nn.moments(t, [0])[1], x)


def test_l2_normalize_and_l2_loss(session):
    x = RNG.standard_normal((3, 4))
    got = session.run([nn.l2_normalize(rf.constant(x), 1), nn.l2_loss(rf.constant(x))])
    np.testing.assert_allclose(got[0], x / np.sqrt((x * x).sum(1, keepdims=True)))
    np.testing.assert_allclose(got[1], (x * x).sum() / 2)


@pytest.mark.parametrize("how", ["keep_prob", "rate", "tensor"])
def test_dropout_keeps_its_share_and_the_mean(session, how):
    x = np.ones((100, 100), np.float32)
    p = rf.placeholder(rf.float32, [])
    t = rf.constant(x)
    y = {"keep_prob": lambda: nn.dropout(t, 0.8, seed=3), "rate": lambda: nn.dropout(t, rate=0.2, seed=3),
         "tensor": lambda: nn.dropout(t, p, seed=3)}[how]()
    out, gradient = session.run([y, rf.gradients(y, t)[0]], {p: 0.8} if how == "tensor" else {})
    kept = out != 0
    assert abs(kept.mean() - 0.8) < 0.02
    np.testing.assert_allclose(out[kept], 1.25, rtol=1e-6)
    np.testing.assert_array_equal(gradient, out)  # the same choices: x is all ones


def test_dropout_options(session):
    t = rf.constant(np.ones((50, 40), np.float32))
    assert nn.dropout(t, 1.0) is t
    rows = session.run(nn.dropout(t, 0.5, noise_shape=[50, 1], seed=1))
    assert all(len(set(row)) == 1 for row in rows.tolist()) and len(np.unique(rows)) == 2
    for bad in ({"keep_prob": 0.0}, {"rate": 1.0}, {"keep_prob": 0.5, "rate": 0.5}, {}):
        with pytest.raises(InvalidArgumentError):
            nn.dropout(t, **bad)


def test_dense_layers(session):
    x, w, b = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 2)), RNG.standard_normal(2)
    got = session.run([nn.xw_plus_b(x, w, b), nn.relu_layer(x, w, b)])
    np.testing.assert_allclose(got[0], x @ w + b)
    np.testing.assert_allclose(got[1], np.maximum(x @ w + b, 0))
    with pytest.raises(InvalidArgumentError, match=r"\[BiasAdd\].*2 and 3"):
        nn.bias_add(rf.zeros([4, 2]), rf.zeros([3]))


def test_embedding_lookup_gathers_rows_with_a_sparse_gradient(session):
    table = rf.Variable(np.arange(12.0).reshape(4, 3))
    ids = rf.placeholder(rf.int32, [None, None])
    rows = nn.embedding_lookup(table, ids)
    session.run(rf.global_variables_initializer())
    np.testing.assert_array_equal(
        session.run(rows, {ids: [[1, 1], [3, 0]]}), np.arange(12.0).reshape(4, 3)[[[1, 1], [3, 0]]]
    )
    (g,) = rf.gradients(rows, table)
    assert isinstance(g, rf.IndexedSlices)
    long = session.run(nn.embedding_lookup([table], ids, max_norm=1.0), {ids: [[2, 3]]})
    np.testing.assert_allclose(np.linalg.norm(long, axis=-1), 1)
    with pytest.raises(InvalidArgumentError, match="one table"):
        nn.embedding_lookup([table, table], ids)


def test_convolution_and_pooling_take_numbers_pairs_and_fours(session):
    x = RNG.standard_normal((2, 6, 6, 3)).astype(np.float32)
    f = RNG.standard_normal((1, 1, 3, 4)).astype(np.float32)
    got = session.run([nn.conv2d(x, f, [1, 1, 1, 1], "SAME"), nn.conv2d(x, filters=f, strides=2, padding="valid"),
                       nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "VALID"), nn.avg_pool(x, 2, (2, 2), "VALID")])
    np.testing.assert_allclose(got[0], x @ f[0, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got[1], x[:, ::2, ::2] @ f[0, 0], rtol=1e-4, atol=1e-5)
    blocks = x.reshape(2, 3, 2, 3, 2, 3)
    np.testing.assert_allclose(got[2], blocks.max((2, 4)))
    np.testing.assert_allclose(got[3], blocks.mean((2, 4)), rtol=1e-4, atol=1e-5)


def test_fused_batch_norm_trains_and_infers(session):
    x = RNG.standard_normal((4, 3, 3, 2)).astype(np.float32)
    ones, zeros = np.ones(2, np.float32), np.zeros(2, np.float32)
    y, mean, variance = session.run(nn.fused_batch_norm(x, ones, zeros))
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(variance, x.var((0, 1, 2), ddof=1), rtol=1e-4)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(x.var((0, 1, 2)) + 1e-3), rtol=1e-3, atol=1e-4)
    y = session.run(nn.fused_batch_norm(x, ones, zeros, zeros, ones, is_training=False)[0])
    np.testing.assert_allclose(y, x / np.sqrt(1 + 1e-3), rtol=1e-4)
    with pytest.raises(InvalidArgumentError, match="needs 'mean'"):
        nn.fused_batch_norm(x, ones, zeros, is_training=False)


@pytest.mark.parametrize(
    "name,far",
    [
        ("relu", None),
        ("sigmoid", None),
        ("tanh", None),
        ("softplus", None),
        ("elu", None),
        ("leaky_relu", None),
        ("relu6", None),
    ],
)
def test_second_derivatives_of_activations(session, name, far):
    check_gradient(session, lambda x: getattr(nn, name)(x) * x, RNG.standard_normal(7) + 0.01, order=2)


def test_top_k_and_in_top_k(session):
    x = np.array([[1, 9, 4], [7, 7, 2]], np.float32)
    values, indices = session.run(nn.top_k(x, 2))
    np.testing.assert_array_equal(values, [[9, 4], [7, 7]])
    np.testing.assert_array_equal(indices, [[1, 2], [0, 1]])
    np.testing.assert_array_equal(session.run(nn.in_top_k(x, [2, 1], 1)), [False, True])
