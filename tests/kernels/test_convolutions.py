"""Convolutions, depthwise ones and the gradients of both against their references, on every instruction set.

Channels from 1 to 67, odd and even images, windows of 1 to 5, strides and dilations of 1 to 3, every padding, batches
of 0 to 3. Of whole numbers, whose sums are exact: an error is at least 1.
"""
import numpy as np
import pytest

pytest.importorskip("ringflow._core")
from .one_op import check, whole  # noqa: E402
from .window_cases import MOST_CHANNELS, PADDINGS, Window, cases, draw  # noqa: E402

CASES, DEPTHWISE = cases(1), cases(2, MOST_CHANNELS)


def check_convolutions(w, dtype=np.float32):
    rng = np.random.default_rng(w.channels)
    filters = (*w.size, w.channels, w.out_channels)
    x, f, dy = (whole(rng, *shape, dtype=dtype) for shape in (w.x, filters, w.y(w.out_channels)))
    check("Conv2D", x, f, **w.attrs())
    check("Conv2DBackpropInput", np.array(w.x, np.int32), f, dy, **w.attrs())
    check("Conv2DBackpropFilter", x, np.array(filters, np.int32), dy, **w.attrs())


@pytest.mark.parametrize("window", CASES, ids=str)
def test_convolutions_equal_their_references(window):
    check_convolutions(window)


@pytest.mark.parametrize("window", CASES[::7], ids=str)
def test_convolutions_of_doubles_equal_their_references(window):
    check_convolutions(window, np.float64)


def check_depthwise(w, dtype=np.float32):
    rng = np.random.default_rng(w.channels)
    filters = (*w.size, w.channels, 1 + w.out_channels % 3)
    x, f, dy = (whole(rng, *shape, dtype=dtype) for shape in (w.x, filters, w.y(filters[2] * filters[3])))
    check("DepthwiseConv2dNative", x, f, **w.attrs())
    check("DepthwiseConv2dNativeBackpropInput", np.array(w.x, np.int32), f, dy, **w.attrs())
    check("DepthwiseConv2dNativeBackpropFilter", x, np.array(filters, np.int32), dy, **w.attrs())


@pytest.mark.parametrize("window", DEPTHWISE, ids=str)
def test_depthwise_convolutions_equal_their_references(window):
    check_depthwise(window)


@pytest.mark.parametrize("window", DEPTHWISE[::5], ids=str)
def test_depthwise_convolutions_of_doubles_equal_their_references(window):
    check_depthwise(window, np.float64)


@pytest.mark.parametrize("width", range(8, 35))
def test_depthwise_convolutions_of_wide_rows_and_many_images_equal_their_references(width):
    stride, channels = 1 + width % 2, (3, 16, 21)[width % 3]
    check_depthwise(Window(19 + width, (4, width), (3, 3), (1, stride), (1, 1), "SAME", (0, 0, 0, 0), channels, 3))


@pytest.mark.parametrize("image, size, channels, out_channels", [
    ((28, 28), (5, 5), 1, 32), ((14, 14), (5, 5), 32, 64), ((33, 31), (3, 3), 16, 16), ((17, 15), (3, 3), 64, 64),
    ((67, 65), (3, 3), 3, 17)])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_of_many_tiles_and_bands_equal_their_references(image, size, channels, out_channels, stride):
    check_convolutions(Window(3, image, size, (stride, stride), (1, 1), "SAME", (0, 0, 0, 0), channels, out_channels))


@pytest.mark.parametrize("strides, dilations", [((1, 1), (1, 1)), ((1, 1), (3, 2)), ((2, 3), (1, 1)), ((3, 2), (2, 3))])
@pytest.mark.parametrize("channels, pads", [(1, (3, 0, 1, 4)), (2, (0, 2, 6, 0)), (3, (0, 0, 2, 2))])
def test_gradients_to_few_channels_in_many_bands_equal_their_references(channels, pads, strides, dilations):
    check_convolutions(Window(2, (61, 500 // channels), (5, 3), strides, dilations, "EXPLICIT", pads, channels, 5))


@pytest.mark.parametrize("windows", [CASES, DEPTHWISE], ids=["full", "depthwise"])
def test_the_cases_cover_what_they_claim(windows):
    assert {w.channels for w in windows} == {w.out_channels for w in windows} == set(range(1, MOST_CHANNELS + 1))
    assert {w.padding for w in windows} == set(PADDINGS) and {w.batch for w in windows} == {0, 1, 2, 3}
    for padding in PADDINGS:
        some = [w for w in windows if w.padding == padding and w.batch]
        for axis in (0, 1):
            assert {w.strides[axis] for w in some} == {w.dilations[axis] for w in some} == {1, 2, 3}
            assert {w.size[axis] for w in some} == {1, 2, 3, 5}
            assert {w.image[axis] % 2 for w in some} == {0, 1}


@pytest.mark.slow
@pytest.mark.parametrize("channels", range(1, MOST_CHANNELS + 1))
def test_every_pair_of_channels_equals_the_reference(channels):
    rng = np.random.default_rng(channels)
    for out_channels in range(1, MOST_CHANNELS + 1):
        check_convolutions(draw(rng, int(rng.integers(1000)), channels, out_channels))
