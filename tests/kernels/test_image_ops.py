"""Pooling, normalisation, bias and resizing of images against their references, on every instruction set.

Channels from 1 to 67, odd and even images, batches of 0 and 1; for pooling every window, stride and padding.
"""
import numpy as np
import pytest

pytest.importorskip("ringflow._core")
from .one_op import OneOp, check, whole  # noqa: E402
from .window_cases import MOST_CHANNELS, cases  # noqa: E402

POOLS = cases(3, MOST_CHANNELS, dilated=False)
CHANNELS = range(1, MOST_CHANNELS + 1)


def pool_attrs(window):
    return {**window.attrs(dilations=False), "ksize": [1, *window.size, 1]}


@pytest.mark.parametrize("window", POOLS, ids=str)
def test_max_pool_and_its_gradients_equal_their_references(window):
    """Few different values, so that most windows have several maxima: the first has the gradient."""
    rng, attrs = np.random.default_rng(window.channels), pool_attrs(window)
    x, dy = whole(rng, *window.x), whole(rng, *window.y(window.channels))
    pool = OneOp("MaxPool", [x], **attrs)
    pool.check(x, exact=True)
    [y] = pool.run(x)
    if window.padding == "EXPLICIT" and not np.isfinite(y).all():
        return  # a window of padding alone
    check("MaxPoolGrad", x, y, dy, exact=True, **attrs)
    if window.padding != "EXPLICIT":
        check("MaxPoolGradGrad", x, y, whole(rng, *window.x), exact=True, **attrs)


@pytest.mark.parametrize("window", [w for w in POOLS if w.padding != "EXPLICIT"], ids=str)
def test_avg_pool_and_its_gradient_equal_their_references(window):
    rng, attrs = np.random.default_rng(window.channels), pool_attrs(window)
    check("AvgPool", whole(rng, *window.x), **attrs)
    check("AvgPoolGrad", np.array(window.x, np.int32), whole(rng, *window.y(window.channels)), **attrs)


@pytest.mark.parametrize("size", [(2, 2), (3, 2)])
def test_max_pool_of_nan_is_nan(size):
    x = whole(np.random.default_rng(0), 2, 6, 6, 19)
    x[0, 3, 2, 5] = x[1, 0, 0, 18] = np.nan
    attrs = {"ksize": [1, *size, 1], "strides": [1, *size, 1], "padding": "VALID"}
    pool = OneOp("MaxPool", [x], **attrs)
    pool.check(x, exact=True)
    assert np.isnan(pool.run(x)[0]).sum() == 2


# (batch, height, width) of images: one pixel, odd, more pixels than a line, none
IMAGES = [(1, 1, 1), (1, 5, 3), (2, 3, 7), (3, 9, 11), (0, 3, 3)]


def images(rng, number, channels):
    return rng.standard_normal((*IMAGES[number % len(IMAGES)], channels)).astype(np.float32)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_equals_its_reference_for_every_number_of_channels(training):
    rng = np.random.default_rng(4)
    vectors = [np.zeros(1, np.float32)] * 4
    x = images(rng, 0, 1)
    forward = OneOp("FusedBatchNormV3", [x, *vectors], is_training=training, epsilon=0.01)
    backward = OneOp("FusedBatchNormGradV3", [x, x, *vectors], is_training=training, epsilon=0.01)
    for c in CHANNELS:
        x, dy = images(rng, c + 1, c), images(rng, c + 1, c)
        scale, variance = rng.uniform(0.5, 2, (2, c)).astype(np.float32)
        offset, mean = rng.standard_normal((2, c)).astype(np.float32)
        moments = [np.zeros(0, np.float32)] * 2 if training else [mean, variance]
        if x.size or not training:  # of nothing there is no mean
            forward.check(3 * x + 5, scale, offset, *moments, outputs=5)
        backward.check(dy, x, scale, mean, variance, np.zeros(0, np.float32), outputs=3)


def test_local_response_normalization_equals_its_reference_for_every_number_of_channels():
    rng = np.random.default_rng(5)
    x = images(rng, 0, 1)
    pairs = [(OneOp("LRN", [x], depth_radius=r), OneOp("LRNGrad", [x, x, x], depth_radius=r)) for r in (1, 5)]
    for c in CHANNELS:
        forward, backward = pairs[c % 2]
        x, dy, y = (images(rng, c, c) for _ in range(3))
        forward.check(x)
        backward.check(dy, x, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0, 2.0, 0.625])
def test_local_response_normalization_has_any_exponent_and_radius(beta, dtype):
    rng = np.random.default_rng(11)
    for radius, channels in ((0, 20), (3, 150), (70, 33)):
        attrs = {"depth_radius": radius, "beta": beta, "bias": 2.0, "alpha": 2.0**-7}
        x, dy, y = (30 * images(rng, 1, channels).astype(dtype) for _ in range(3))
        check("LRN", x, **attrs)
        check("LRNGrad", dy, x, y, **attrs)
        if beta % 1 == 0:  # norms below zero have whole powers
            check("LRN", x, **{**attrs, "bias": -1e3, "alpha": -1.0})


def test_bias_and_its_gradient_equal_their_references_for_every_number_of_channels():
    rng = np.random.default_rng(6)
    x = whole(rng, 1, 1, 1, 1)
    add, gradient = OneOp("BiasAdd", [x, x[0, 0, 0]]), OneOp("BiasAddGrad", [x])
    for c in CHANNELS:
        x = whole(rng, *IMAGES[c % len(IMAGES)], c)
        add.check(x, whole(rng, c), exact=True)
        gradient.check(x, exact=True)


@pytest.mark.parametrize("rule", [{}, {"align_corners": True}, {"half_pixel_centers": True}], ids=str)
def test_resizing_equals_its_reference_for_odd_sizes_and_every_number_of_channels(rule):
    rng, size = np.random.default_rng(7), np.zeros(2, np.int32)
    x = whole(rng, 1, 1, 1, 1)
    forward, backward = (OneOp(kind, [x, size], **rule)
                         for kind in ("ResizeNearestNeighbor", "ResizeNearestNeighborGrad"))
    for c in CHANNELS:
        batch, height, width = IMAGES[c % len(IMAGES)]
        x, size = whole(rng, batch, height, width, c), rng.integers(1, 14, 2).astype(np.int32)
        forward.check(x, size, exact=True)
        backward.check(x, size, exact=True)


def test_the_pools_cover_what_they_claim():
    assert {w.channels for w in POOLS} == set(CHANNELS) and {w.batch for w in POOLS} == {0, 1, 2, 3}
    for padding in ("SAME", "VALID", "EXPLICIT"):
        some = [w for w in POOLS if w.padding == padding and w.batch]
        assert {s for w in some for s in w.strides} == {1, 2, 3} and {k for w in some for k in w.size} == {1, 2, 3, 5}
