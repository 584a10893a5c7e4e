"""2-D convolution and its two gradients. filter: (height, width, channels in, channels out)."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..constant import constant_shape
from ..define import Array, define
from ..dtypes import FLOATS
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..samples import ints, normal
from ..shapes import TensorShape
from .rules import ranked, same_dim, shape_tensor
from .window import (
    CONV_ATTRS,
    Side,
    check_attrs,
    from_nhwc,
    image_shape,
    known_sides,
    nhwc_dims,
    padded,
    places,
    sides,
    to_nhwc,
    unpadded,
    windows,
)


def _attrs(op: Operation) -> dict[str, Any]:
    return {name: op.attrs[name] for name in CONV_ATTRS}


def _check_depth(where: str, x: Any, filter: Any, have: int | None, needed: int | None) -> None:
    if have is not None and needed is not None and have != needed:
        raise InvalidArgumentError(f"[{where}] channels differ: input {x} has {have}, filter {filter} needs {needed}")


def _geometry(where: str, op: Operation, x: Array, filter_shape: Any) -> tuple[Side, Side]:
    return known_sides(where, op.attrs, x, [int(d) for d in filter_shape[:2]])


def _check_backprop(where: str, dy: Array, n: int, h: Side, w: Side, channels: int) -> None:
    if dy.shape != (n, h.count, w.count, channels):
        raise InvalidArgumentError(f"[{where}] 'out_backprop' must be {(n, h.count, w.count, channels)} (NHWC): it is "
                                   f"{dy.shape}")


@define("Conv2D(input: T, filter: T) -> output: T", T=FLOATS, **CONV_ATTRS)
def conv2d(input: Array, filter: Array, *, op: Operation) -> Array:
    """output[n, y, x, o] = sum over i, j, c of input[n, y*sy + i*dy - py, x*sx + j*dx - px, c] * filter[i, j, c, o].

    input: (n, h, w, c) (NCHW with that data_format), filter: (fh, fw, c, o), output: (n, h', w', o); zeros around.
    """
    x = to_nhwc(op.attrs["data_format"], input)
    _check_depth("Conv2D", input.shape, filter.shape, x.shape[3], filter.shape[2])
    h, w = _geometry("Conv2D", op, x, filter.shape)
    y = np.tensordot(windows(x, h, w), filter, axes=([4, 5, 3], [0, 1, 2]))
    return from_nhwc(op.attrs["data_format"], y)


@conv2d.shape
def _(op: Operation) -> list[TensorShape]:
    check_attrs(op.type, op.attrs)
    data_format = op.attrs["data_format"]
    n, height, width, c = nhwc_dims(data_format, ranked(op, 0, 4))
    fh, fw, c_in, c_out = ranked(op, 1, 4)
    _check_depth(op.type, op.inputs[0].shape, op.inputs[1].shape, c, c_in)
    h, w = sides(op.type, op.attrs, (height, width), (fh, fw))
    return [image_shape(data_format, n, h and h.count, w and w.count, c_out)]


@conv2d.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    x, f = op.inputs
    return [conv2d_backprop_input(shape_tensor(x), f, grad, **_attrs(op)),
            conv2d_backprop_filter(x, shape_tensor(f), grad, **_attrs(op))]


@define("Conv2DBackpropInput(input_sizes: int32, filter: T, out_backprop: T) -> output: T", T=FLOATS, **CONV_ATTRS)
def conv2d_backprop_input(input_sizes: Array, filter: Array, out_backprop: Array, *, op: Operation) -> Array:
    """The gradient of Conv2D with respect to its input of the dimensions `input_sizes` (4,)."""
    data_format = op.attrs["data_format"]
    dy = to_nhwc(data_format, out_backprop)
    x = to_nhwc(data_format, np.broadcast_to(np.zeros((), dy.dtype), [int(d) for d in input_sizes]))
    _check_depth("Conv2DBackpropInput", tuple(input_sizes.tolist()), filter.shape, x.shape[3], filter.shape[2])
    h, w = _geometry("Conv2DBackpropInput", op, x, filter.shape)
    _check_backprop("Conv2DBackpropInput", dy, x.shape[0], h, w, filter.shape[3])
    dx = np.zeros_like(padded(x, h, w))
    for i in range(h.size):
        for j in range(w.size):
            dx[:, places(h, i), places(w, j)] += dy @ filter[i, j].T
    return from_nhwc(data_format, unpadded(dx, h, w))


@conv2d_backprop_input.shape
def _(op: Operation) -> list[TensorShape]:
    check_attrs(op.type, op.attrs)
    ranked(op, 0, 1)
    data_format = op.attrs["data_format"]
    shape = constant_shape(op.inputs[0]).with_rank(4)
    dims = nhwc_dims(data_format, shape)
    fh, fw, c_in, c_out = ranked(op, 1, 4)
    _check_depth(op.type, shape, op.inputs[1].shape, dims[3], c_in)
    _check_static(op, op.inputs[2], dims, (fh, fw), c_out)
    n, height, width, c = dims
    return [image_shape(data_format, n, height, width, c_in if c is None else c)]


def _check_static(op: Operation, dy: Tensor, dims: list[int | None], ksize: tuple[Any, Any], c_out: Any) -> None:
    h, w = sides(op.type, op.attrs, dims[1:3], ksize)
    wanted = image_shape(op.attrs["data_format"], dims[0], h and h.count, w and w.count, c_out)
    if not wanted.is_compatible_with(dy.shape):
        raise InvalidArgumentError(f"[{op.type}] 'out_backprop' must be {wanted}: it is {dy.shape}")


@conv2d_backprop_input.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    _, f, dy = op.inputs
    return [None, conv2d_backprop_filter(grad, shape_tensor(f), dy, **_attrs(op)), conv2d(grad, f, **_attrs(op))]


@define("Conv2DBackpropFilter(input: T, filter_sizes: int32, out_backprop: T) -> output: T", T=FLOATS, **CONV_ATTRS)
def conv2d_backprop_filter(input: Array, filter_sizes: Array, out_backprop: Array, *, op: Operation) -> Array:
    """The gradient of Conv2D with respect to its filter of the dimensions `filter_sizes` (4,)."""
    data_format = op.attrs["data_format"]
    x, dy = to_nhwc(data_format, input), to_nhwc(data_format, out_backprop)
    sizes = [int(d) for d in filter_sizes]
    _check_depth("Conv2DBackpropFilter", input.shape, tuple(sizes), x.shape[3], sizes[2])
    h, w = _geometry("Conv2DBackpropFilter", op, x, sizes)
    _check_backprop("Conv2DBackpropFilter", dy, x.shape[0], h, w, sizes[3])
    return np.tensordot(windows(x, h, w), dy, axes=([0, 1, 2], [0, 1, 2])).transpose(1, 2, 0, 3)


@conv2d_backprop_filter.shape
def _(op: Operation) -> list[TensorShape]:
    check_attrs(op.type, op.attrs)
    ranked(op, 1, 1)
    dims = nhwc_dims(op.attrs["data_format"], ranked(op, 0, 4))
    shape = constant_shape(op.inputs[1]).with_rank(4)
    fh, fw, c_in, c_out = shape
    _check_depth(op.type, op.inputs[0].shape, shape, dims[3], c_in)
    _check_static(op, op.inputs[2], dims, (fh, fw), c_out)
    channels = nhwc_dims(op.attrs["data_format"], ranked(op, 2, 4))[3]
    return [TensorShape([fh, fw, dims[3] if c_in is None else c_in,
                         same_dim(op, "output channels differ", c_out, channels)])]


@conv2d_backprop_filter.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    x, _, dy = op.inputs
    return [conv2d_backprop_input(shape_tensor(x), grad, dy, **_attrs(op)), None, conv2d(x, grad, **_attrs(op))]


def _sample(x: tuple[int, ...], f: tuple[int, ...], y: tuple[int, ...], **attrs: Any) -> None:
    """One sample of each of the three ops."""
    conv2d.sample(normal(*x), normal(*f), **attrs)
    conv2d_backprop_input.sample(ints(*x), normal(*f), normal(*y), **attrs)
    conv2d_backprop_filter.sample(normal(*x), ints(*f), normal(*y), **attrs)


_sample((2, 5, 6, 3), (3, 3, 3, 4), (2, 5, 6, 4), strides=[1, 1, 1, 1], padding="SAME")
_sample((1, 6, 5, 2), (3, 2, 2, 3), (1, 4, 4, 3), strides=[1, 1, 1, 1], padding="VALID")
_sample((2, 6, 7, 2), (3, 3, 2, 2), (2, 3, 4, 2), strides=[1, 2, 2, 1], padding="SAME")
_sample((1, 7, 7, 1), (3, 3, 1, 2), (1, 3, 2, 2), strides=[1, 2, 3, 1], padding="VALID")
_sample((1, 8, 8, 2), (3, 3, 2, 2), (1, 8, 8, 2), strides=[1, 1, 1, 1], padding="SAME", dilations=[1, 2, 3, 1])
_sample((1, 5, 5, 2), (3, 3, 2, 2), (1, 4, 6, 2), strides=[1, 1, 1, 1], padding="EXPLICIT",
        explicit_paddings=[0, 0, 1, 0, 2, 1, 0, 0])
_sample((2, 4, 4, 3), (1, 1, 3, 5), (2, 2, 2, 5), strides=[1, 2, 2, 1], padding="SAME")
_sample((0, 4, 4, 2), (3, 3, 2, 2), (0, 4, 4, 2), strides=[1, 1, 1, 1], padding="SAME")
_sample((1, 28, 28, 1), (5, 5, 1, 8), (1, 28, 28, 8), strides=[1, 1, 1, 1], padding="SAME")

__all__ = ["conv2d", "conv2d_backprop_filter", "conv2d_backprop_input"]
