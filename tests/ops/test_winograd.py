"""3x3 convolutions at stride 1, which are computed by tiles of 4x4 outputs (csrc/kernels/winograd.h)."""
import numpy as np
import pytest
import ringflow as rf
from ringflow.graph.opdef import OPS

pytest.importorskip("ringflow._core")

# Of the largest value: of it the sums of the direct kernels are 1e-6 and 2e-15 off, those by tiles twice that.
TOLERANCE = {np.float32: 4e-6, np.float64: 1e-14}

SAME, VALID = ((1, 1), (1, 1)), ((0, 0), (0, 0))
WIDE = ((2, 1), (0, 3))
BEYOND = ((5, 0), (3, 4))  # more than the filter reaches: border outputs that read padding alone

# images (batch, height, width, channels), channels out, padding (rows, columns)
CASES = [
    ((2, 8, 8, 16), 16, SAME),
    ((1, 32, 32, 16), 16, SAME),
    ((3, 13, 9, 17), 32, SAME),
    ((2, 10, 11, 24), 67, VALID),
    ((5, 7, 7, 67), 8, SAME),
    ((2, 15, 6, 33), 40, WIDE),
    ((2, 9, 12, 8), 31, BEYOND),
    ((40, 5, 6, 48), 9, SAME),
    ((9, 28, 28, 12), 15, SAME),
    ((1, 14, 14, 128), 96, SAME),
    ((0, 8, 8, 16), 16, SAME),
    ((2, 4, 17, 16), 64, VALID),
    ((3, 3, 3, 16), 16, VALID),
]


def direct(x, w, dy, padding):
    """y, dx and dw in float64."""
    x, w, dy = (a.astype(np.float64) for a in (x, w, dy))
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    y, dpadded, dw = np.zeros(dy.shape), np.zeros(padded.shape), np.zeros(w.shape)
    for i, j in np.ndindex(3, 3):
        window = np.s_[:, i:i + dy.shape[1], j:j + dy.shape[2]]
        y += padded[window] @ w[i, j]
        dpadded[window] += dy @ w[i, j].T
        dw[i, j] = np.einsum("nhwc,nhwd->cd", padded[window], dy, optimize=True)
    (top, _), (left, _) = padding
    return y, dpadded[:, top:top + x.shape[1], left:left + x.shape[2]], dw


def attrs(padding):
    if padding in (SAME, VALID):
        return {"strides": [1, 1, 1, 1], "padding": "SAME" if padding == SAME else "VALID"}
    (top, bottom), (left, right) = padding
    return {"strides": [1, 1, 1, 1], "padding": "EXPLICIT", "explicit_paddings": [0, 0, top, bottom, left, right, 0, 0]}


class Convolution:
    """y, dx and dw of images of any batch."""

    def __init__(self, session, image_shape, out_channels, padding, dtype):
        x, w = rf.placeholder(dtype, [None, *image_shape]), rf.placeholder(dtype, [3, 3, image_shape[-1], out_channels])
        dy = rf.placeholder(dtype, [None, None, None, out_channels])
        y = OPS["Conv2D"](x, w, **attrs(padding))
        self.run = session.make_callable([y, *rf.gradients(y, [x, w], dy)], [x, w, dy])

    def __call__(self, x, w, dy):
        y, dx, dw = self.run(x, w, dy)
        return y, dx, dw


@pytest.fixture
def session():
    with rf.Graph().as_default() as graph, rf.Session(graph=graph) as s:
        yield s


def arrays_of(images, out_channels, padding, dtype=np.float32):
    n, height, width, channels = images
    out = (n, height + sum(padding[0]) - 2, width + sum(padding[1]) - 2, out_channels)
    rng = np.random.default_rng(channels)
    return [rng.standard_normal(shape).astype(dtype) for shape in (images, (3, 3, channels, out_channels), out)]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("images, out_channels, padding", CASES, ids=str)
def test_values_and_gradients_equal_the_direct_sums(session, images, out_channels, padding, dtype):
    x, w, dy = arrays_of(images, out_channels, padding, dtype)
    convolve = Convolution(session, images[1:], out_channels, padding, dtype)
    for got, want in zip(convolve(x, w, dy), direct(x, w, dy, padding)):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE[dtype] * np.abs(want).max(initial=0))


@pytest.mark.parametrize("images, out_channels, padding", [((7, 8, 8, 64), 64, SAME), ((9, 28, 28, 16), 24, SAME),
                                                           ((40, 5, 6, 48), 9, VALID)], ids=str)
def test_an_image_has_the_same_bits_in_any_batch(session, images, out_channels, padding):
    x, w, dy = arrays_of(images, out_channels, padding)
    convolve = Convolution(session, images[1:], out_channels, padding, np.float32)
    y, dx, _ = convolve(x, w, dy)
    last = convolve(x[-1:], w, dy[-1:])
    turned = convolve(x[::-1].copy(), w, dy[::-1].copy())
    for whole, one, other in zip((y, dx), last, turned):
        assert one.tobytes() == whole[-1:].tobytes()
        assert other[::-1].tobytes() == whole.tobytes()


def test_an_image_that_is_not_finite_leaves_the_others_alone(session):
    x, w, dy = arrays_of((6, 5, 7, 19), 21, SAME)
    convolve = Convolution(session, x.shape[1:], 21, SAME, np.float32)
    before = convolve(x, w, dy)
    x[2], dy[2] = np.nan, np.inf
    for clean, got in zip(before[:2], convolve(x, w, dy)):
        assert np.isnan(got[2]).all()
        assert np.delete(got, 2, 0).tobytes() == np.delete(clean, 2, 0).tobytes()


@pytest.mark.parametrize("channels, out_channels", [(16, 7), (7, 16), (1, 8), (3, 3)])
def test_few_channels_equal_the_direct_sums(session, channels, out_channels):
    x, w, dy = arrays_of((2, 9, 8, channels), out_channels, SAME)
    convolve = Convolution(session, x.shape[1:], out_channels, SAME, np.float32)
    for got, want in zip(convolve(x, w, dy), direct(x, w, dy, SAME)):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * np.abs(want).max())
