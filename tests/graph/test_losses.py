"""Losses, sampled losses and clipping against NumPy."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import InvalidArgumentError

pytestmark = pytest.mark.usefixtures("session")

RNG = np.random.default_rng(5)
Z, Y = RNG.integers(0, 2, (4, 3)).astype(np.float64), RNG.uniform(0.1, 0.9, (4, 3))


def log_softmax(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


CASES = {
    "mean_squared_error": (Y - Z) ** 2,
    "absolute_difference": np.abs(Y - Z),
    "huber_loss": np.where(np.abs(Y - Z) <= 1, 0.5 * (Y - Z) ** 2, np.abs(Y - Z) - 0.5),
    "log_loss": -Z * np.log(Y + 1e-7) - (1 - Z) * np.log(1 - Y + 1e-7),
    "hinge_loss": np.maximum(0, 1 - (2 * Z - 1) * Y),
    "sigmoid_cross_entropy": np.log1p(np.exp(Y)) - Z * Y,
}


@pytest.mark.parametrize("name", CASES)
def test_loss_equals_numpy_with_weights_and_without(session, name):
    weights = np.array([[1.0], [0.0], [2.0], [0.5]])
    make = getattr(rf.losses, name)
    plain, weighted = make(Z, rf.constant(Y)), make(Z, rf.constant(Y), weights=weights)
    np.testing.assert_allclose(session.run(plain), CASES[name].mean(), rtol=1e-9)
    np.testing.assert_allclose(session.run(weighted), (CASES[name] * weights).sum() / 9, rtol=1e-9)
    assert rf.losses.get_losses() == [plain, weighted]


def test_reductions_and_the_total(session):
    kinds = rf.losses.Reduction
    values, weights = rf.constant([1.0, 2.0, 3.0]), [0.0, 1.0, 3.0]
    results = [rf.losses.compute_weighted_loss(values, weights, reduction=r) for r in kinds.all()]
    got = session.run(results)
    assert got[0].tolist() == [0, 2, 9] and got[1:] == [11, 2.75, np.float32(11 / 3), 5.5]
    with pytest.raises(InvalidArgumentError, match="no reduction is called 'median'"):
        rf.losses.compute_weighted_loss(values, reduction="median")
    rf.get_variable("w", initializer=[2.0], regularizer=lambda w: rf.reduce_sum(w * w))
    session.run(rf.global_variables_initializer())
    rf.get_default_graph().get_collection_ref(rf.GraphKeys.LOSSES)[:] = results[1:3]
    assert session.run(rf.losses.get_total_loss()) == 11 + 2.75 + 4


def test_softmax_losses(session):
    logits, classes = RNG.standard_normal((5, 4)), np.array([0, 3, 1, 1, 2])
    onehot = np.eye(4)[classes]
    expected = -(onehot * log_softmax(logits)).sum(1).mean()
    smooth = -((onehot * 0.9 + 0.025) * log_softmax(logits)).sum(1).mean()
    got = session.run([rf.losses.softmax_cross_entropy(onehot, rf.constant(logits)),
                       rf.losses.sparse_softmax_cross_entropy(classes[:, None], rf.constant(logits)),
                       rf.losses.softmax_cross_entropy(onehot, rf.constant(logits), label_smoothing=0.1)])
    np.testing.assert_allclose(got, [expected, expected, smooth], rtol=1e-12)


@pytest.mark.parametrize("remove", [False, True], ids=["hits kept", "hits removed"])
def test_sampled_losses_equal_their_formula_for_given_samples(session, remove):
    weights, biases, x = RNG.standard_normal((7, 3)), RNG.standard_normal(7), RNG.standard_normal((4, 3))
    labels, sampled = np.array([[1], [5], [2], [2]]), np.array([5, 0, 2])
    true_count, sampled_count = RNG.uniform(0.1, 1, (4, 1)), RNG.uniform(0.1, 1, 3)
    w = rf.constant(weights)
    arguments = {"weights": w, "biases": rf.constant(biases), "labels": labels, "inputs": rf.constant(x),
                 "num_sampled": 3, "num_classes": 7, "remove_accidental_hits": remove,
                 "sampled_values": (rf.constant(sampled), rf.constant(true_count), rf.constant(sampled_count))}
    logits = np.hstack([(x * weights[labels[:, 0]]).sum(1, keepdims=True) + biases[labels] - np.log(true_count),
                        x @ weights[sampled].T + biases[sampled] - np.log(sampled_count)])
    if remove:
        logits[:, 1:][labels == sampled] = -np.finfo(np.float32).max
    targets = np.eye(4)[[0] * 4]
    nce = np.where(logits < -1e30, 0, np.log1p(np.exp(logits)) - targets * logits).sum(1)
    got = session.run([rf.nn.nce_loss(**arguments), rf.nn.sampled_softmax_loss(**arguments)])
    np.testing.assert_allclose(got[0], nce, rtol=1e-9)
    np.testing.assert_allclose(got[1], -log_softmax(logits)[:, 0], rtol=1e-9)


def test_nce_draws_its_own_samples_and_reaches_only_their_rows(session):
    table = rf.Variable(np.zeros((50, 2), np.float32))
    loss = rf.nn.nce_loss(table, rf.zeros([50]), [[3], [4]], rf.ones([2, 2]), num_sampled=5, num_classes=50)
    rows = rf.gradients(loss, table)[0]
    session.run(rf.global_variables_initializer())
    losses, touched = session.run([loss, rows.indices])
    assert losses.shape == (2,) and np.all(losses > 0)
    assert 2 <= len(set(touched)) <= 7 and {3, 4} <= set(touched)


def test_clipping(session):
    a, b = rf.constant([3.0, 4.0]), rf.IndexedSlices(rf.constant([[12.0]]), rf.constant([0]), rf.constant([2, 1]))
    clipped, norm = rf.clip_by_global_norm([a, None, b], 6.5)
    assert session.run(rf.clip_by_value(a, 3.5, 3.75)).tolist() == [3.5, 3.75]
    np.testing.assert_allclose(session.run([rf.clip_by_norm(a, 2.5), rf.clip_by_norm(a, 50.0)]), [[1.5, 2], [3, 4]])
    assert session.run(norm) == 13 and clipped[1] is None
    np.testing.assert_allclose(session.run(clipped[0]), [1.5, 2])
    np.testing.assert_allclose(session.run(clipped[2].values), [[6]])
    with pytest.raises(InvalidArgumentError, match="no tensor"):
        rf.global_norm([None])
