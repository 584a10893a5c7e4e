"""Convolutions of 3x3 and 5x5 taps at stride 1, which are computed by tiles of 4x4 and 2x2 outputs
(csrc/kernels/winograd.h)."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.opdef import OPS

pytest.importorskip("ringflow._core")

# Of the largest value: of it the sums of the direct kernels are 1e-6 and 2e-15 off, those by tiles twice that.
TOLERANCE = {np.float32: 4e-6, np.float64: 1e-14}

WIDE = ((2, 1), (0, 3))
BEYOND = ((6, 0), (4, 5))  # more than the filter reaches: border outputs that read padding alone

# taps along one axis, images (batch, height, width, channels), channels out, padding (rows, columns)
CASES = [
    (3, (2, 8, 8, 16), 16, "SAME"),
    (3, (1, 32, 32, 16), 16, "SAME"),
    (3, (3, 13, 9, 17), 32, "SAME"),
    (3, (2, 10, 11, 24), 67, "VALID"),
    (3, (5, 7, 7, 67), 8, "SAME"),
    (3, (2, 15, 6, 33), 40, WIDE),
    (3, (2, 9, 12, 8), 31, BEYOND),
    (3, (40, 5, 6, 48), 9, "SAME"),
    (3, (9, 28, 28, 12), 15, "SAME"),
    (3, (1, 14, 14, 128), 96, "SAME"),
    (3, (0, 8, 8, 16), 16, "SAME"),
    (3, (2, 5, 17, 16), 64, "VALID"),
    (3, (3, 5, 5, 16), 16, "VALID"),
    (5, (2, 14, 14, 32), 64, "SAME"),
    (5, (1, 9, 13, 17), 33, "SAME"),
    (5, (3, 12, 11, 24), 67, "VALID"),
    (5, (5, 7, 7, 67), 8, "SAME"),
    (5, (2, 15, 6, 33), 40, WIDE),
    (5, (2, 9, 12, 12), 31, BEYOND),
    (5, (70, 6, 5, 48), 9, "SAME"),
    (5, (20, 28, 28, 16), 19, "SAME"),
    (5, (1, 14, 14, 128), 96, "SAME"),
    (5, (0, 8, 8, 16), 16, "SAME"),
    (5, (3, 7, 9, 16), 16, "VALID"),
]


def pads(padding, taps):
    """Rows and columns of zeros."""
    same = taps // 2
    return {"SAME": ((same, same), (same, same)), "VALID": ((0, 0), (0, 0))}.get(padding, padding)


def direct(x, w, dy, padding):
    """y, dx and dw in float64."""
    x, w, dy = (a.astype(np.float64) for a in (x, w, dy))
    (top, bottom), (left, right) = pads(padding, len(w))
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    y, dpadded, dw = np.zeros(dy.shape), np.zeros(padded.shape), np.zeros(w.shape)
    for i, j in np.ndindex(w.shape[:2]):
        window = np.s_[:, i:i + dy.shape[1], j:j + dy.shape[2]]
        y += padded[window] @ w[i, j]
        dpadded[window] += dy @ w[i, j].T
        dw[i, j] = np.einsum("nhwc,nhwd->cd", padded[window], dy, optimize=True)
    return y, dpadded[:, top:top + x.shape[1], left:left + x.shape[2]], dw


def attrs(padding):
    if isinstance(padding, str):
        return {"strides": [1, 1, 1, 1], "padding": padding}
    (top, bottom), (left, right) = padding
    return {"strides": [1, 1, 1, 1], "padding": "EXPLICIT", "explicit_paddings": [0, 0, top, bottom, left, right, 0, 0]}


class Convolution:
    """y, dx and dw of images of any batch."""

    def __init__(self, session, filter_shape, image_shape, padding, dtype):
        x, w = rf.placeholder(dtype, [None, *image_shape]), rf.placeholder(dtype, filter_shape)
        dy = rf.placeholder(dtype, [None, None, None, filter_shape[-1]])
        y = OPS["Conv2D"](x, w, **attrs(padding))
        self.run = session.make_callable([y, *rf.gradients(y, [x, w], dy)], [x, w, dy])

    def __call__(self, x, w, dy):
        y, dx, dw = self.run(x, w, dy)
        return y, dx, dw


@pytest.fixture
def session(graph):
    with rf.Session(graph=graph) as s:
        yield s


def arrays_of(taps, images, out_channels, padding, dtype=np.float32):
    n, height, width, channels = images
    rows, columns = pads(padding, taps)
    out = (n, height + sum(rows) - taps + 1, width + sum(columns) - taps + 1, out_channels)
    rng = np.random.default_rng(channels)
    return [rng.standard_normal(shape).astype(dtype) for shape in (images, (taps, taps, channels, out_channels), out)]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("taps, images, out_channels, padding", CASES, ids=str)
def test_values_and_gradients_equal_the_direct_sums(session, taps, images, out_channels, padding, dtype):
    x, w, dy = arrays_of(taps, images, out_channels, padding, dtype)
    convolve = Convolution(session, w.shape, images[1:], padding, dtype)
    for got, want in zip(convolve(x, w, dy), direct(x, w, dy, padding)):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE[dtype] * np.abs(want).max(initial=0))


@pytest.mark.parametrize("taps, images, out_channels, padding", [
    (3, (7, 8, 8, 64), 64, "SAME"), (3, (9, 28, 28, 16), 24, "SAME"), (3, (40, 5, 6, 48), 9, "VALID"),
    (5, (7, 8, 8, 64), 64, "SAME"), (5, (9, 14, 14, 16), 24, "SAME"), (5, (40, 8, 9, 48), 9, "VALID")], ids=str)
def test_an_image_has_the_same_bits_in_any_batch(session, taps, images, out_channels, padding):
    x, w, dy = arrays_of(taps, images, out_channels, padding)
    convolve = Convolution(session, w.shape, images[1:], padding, np.float32)
    y, dx, _ = convolve(x, w, dy)
    last = convolve(x[-1:], w, dy[-1:])
    turned = convolve(x[::-1].copy(), w, dy[::-1].copy())
    for whole, one, other in zip((y, dx), last, turned):
        assert one.tobytes() == whole[-1:].tobytes()
        assert other[::-1].tobytes() == whole.tobytes()


@pytest.mark.parametrize("taps", [3, 5])
def test_an_image_that_is_not_finite_leaves_the_others_alone(session, taps):
    x, w, dy = arrays_of(taps, (6, 5, 7, 19), 21, "SAME")
    convolve = Convolution(session, w.shape, x.shape[1:], "SAME", np.float32)
    before = convolve(x, w, dy)
    x[2], dy[2] = np.nan, np.inf
    for clean, got in zip(before[:2], convolve(x, w, dy)):
        assert np.isnan(got[2]).all()
        assert np.delete(got, 2, 0).tobytes() == np.delete(clean, 2, 0).tobytes()


@pytest.mark.parametrize("taps", [3, 5])
@pytest.mark.parametrize("channels, out_channels", [(16, 7), (7, 16), (1, 8), (3, 3), (8, 8)])
def test_few_channels_equal_the_direct_sums(session, taps, channels, out_channels):
    x, w, dy = arrays_of(taps, (2, 9, 8, channels), out_channels, "SAME")
    convolve = Convolution(session, w.shape, x.shape[1:], "SAME", np.float32)
    for got, want in zip(convolve(x, w, dy), direct(x, w, dy, "SAME")):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * np.abs(want).max())
