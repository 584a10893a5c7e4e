"""Functions of rf.nn that are made of several ops, against NumPy."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.errors import InvalidArgumentError

pytestmark = pytest.mark.usefixtures("session")

X = np.array([-40.0, -1.5, 0.0, 0.5, 3.0])


def test_activations_and_weighted_entropy(session):
    z = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    softplus = np.logaddexp(0, X)
    pairs = [
        (rf.nn.log_sigmoid(X), -np.logaddexp(0, -X)),
        (rf.nn.softsign(X), X / (1 + np.abs(X))),
        (rf.nn.selu(X), 1.0507009873554805 * np.where(X > 0, X, 1.6732632423543772 * np.expm1(np.minimum(X, 0)))),
        (rf.nn.zero_fraction(X), 0.2),
        (rf.nn.weighted_cross_entropy_with_logits(targets=z, logits=rf.constant(X), pos_weight=3.0),
         3 * z * (softplus - X) + (1 - z) * softplus),
    ]
    for got, expected in zip(session.run([t for t, _ in pairs]), [e for _, e in pairs]):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-12)


def test_transposed_convolution_is_the_gradient_of_convolution(session):
    rng = np.random.default_rng(0)
    value, kernel = rf.constant(rng.standard_normal((2, 3, 3, 4))), rf.constant(rng.standard_normal((3, 3, 5, 4)))
    up = rf.nn.conv2d_transpose(value, kernel, [2, 6, 6, 5], [1, 2, 2, 1], "SAME")
    x = rf.placeholder(rf.float64, [2, 6, 6, 5])
    down = rf.nn.conv2d(x, kernel, [1, 2, 2, 1], "SAME")
    by_gradient = rf.gradients(down, x, grad_ys=value)[0]
    assert up.shape == [2, 6, 6, 5]
    np.testing.assert_allclose(*session.run([up, by_gradient], {x: np.zeros((2, 6, 6, 5))}))
    with pytest.raises(InvalidArgumentError, match="channels differ"):
        rf.nn.conv2d_transpose(value, rf.zeros([3, 3, 4, 5]), [2, 6, 6, 4], 2)


def test_depthwise_convolution_and_normalisation_across_channels(session):
    rng = np.random.default_rng(1)
    x, k = rng.standard_normal((1, 4, 4, 2)), rng.standard_normal((1, 1, 2, 3))
    y, n = session.run([rf.nn.depthwise_conv2d(x, k, [1, 1, 1, 1], "SAME"),
                        rf.nn.lrn(x.astype(np.float32), depth_radius=1, bias=2.0, alpha=0.5, beta=0.75)])
    np.testing.assert_allclose(y, (x[..., None] * k[0, 0]).reshape(1, 4, 4, 6))
    np.testing.assert_allclose(n, x / (2 + 0.5 * (x ** 2).sum(-1, keepdims=True)) ** 0.75, rtol=1e-5)
