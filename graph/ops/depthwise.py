"""Depthwise convolution and its two gradients. filter: (height, width, channels, multiplier)."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..constant import constant_shape
from ..define import Array, define
from ..dtypes import FLOATS
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import TensorShape
from .rules import ranked, shape_tensor
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


def _check_depth(where: str, have: int | None, needed: int | None) -> None:
    if have is not None and needed is not None and have != needed:
        raise InvalidArgumentError(f"[{where}] channels differ: the input has {have}, the filter {needed}")


def _geometry(op: Operation, x: Array, filter_shape: Any, dy: Array | None) -> tuple[Side, Side]:
    _check_depth(op.type, x.shape[3], int(filter_shape[2]))
    h, w = known_sides(op.type, op.attrs, x, [int(d) for d in filter_shape[:2]])
    wanted = (x.shape[0], h.count, w.count, int(filter_shape[2]) * int(filter_shape[3]))
    if dy is not None and dy.shape != wanted:
        raise InvalidArgumentError(f"[{op.type}] 'out_backprop' must be {wanted} (NHWC): it is {dy.shape}")
    return h, w


@define("DepthwiseConv2dNative(input: T, filter: T) -> output: T", T=FLOATS, **CONV_ATTRS)
def depthwise_conv2d(input: Array, filter: Array, *, op: Operation) -> Array:
    """output[n, y, x, c * m + q] = sum over i, j of input[n, y*sy + i - py, x*sx + j - px, c] * filter[i, j, c, q]."""
    x = to_nhwc(op.attrs["data_format"], input)
    y = np.einsum("nhwcij,ijcq->nhwcq", windows(x, *_geometry(op, x, filter.shape, None)), filter)
    return from_nhwc(op.attrs["data_format"], y.reshape(*y.shape[:3], y.shape[3] * y.shape[4]))


def _out_channels(filter_shape: TensorShape) -> int | None:
    c, q = filter_shape.with_rank(4).as_list()[2:]
    return None if c is None or q is None else c * q


@depthwise_conv2d.shape
def _(op: Operation) -> list[TensorShape]:
    check_attrs(op.type, op.attrs)
    n, height, width, c = nhwc_dims(op.attrs["data_format"], ranked(op, 0, 4))
    fh, fw, c_in, _q = ranked(op, 1, 4)
    _check_depth(op.type, c, c_in)
    h, w = sides(op.type, op.attrs, (height, width), (fh, fw))
    return [image_shape(op.attrs["data_format"], n, h and h.count, w and w.count, _out_channels(op.inputs[1].shape))]


@depthwise_conv2d.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    x, f = op.inputs
    return [depthwise_backprop_input(shape_tensor(x), f, grad, **_attrs(op)),
            depthwise_backprop_filter(x, shape_tensor(f), grad, **_attrs(op))]


@define("DepthwiseConv2dNativeBackpropInput(input_sizes: int32, filter: T, out_backprop: T) -> output: T", T=FLOATS,
        **CONV_ATTRS)
def depthwise_backprop_input(input_sizes: Array, filter: Array, out_backprop: Array, *, op: Operation) -> Array:
    """The gradient of DepthwiseConv2dNative with respect to its input of the dimensions `input_sizes` (4,)."""
    data_format = op.attrs["data_format"]
    dy = to_nhwc(data_format, out_backprop)
    x = to_nhwc(data_format, np.broadcast_to(np.zeros((), dy.dtype), [int(d) for d in input_sizes]))
    h, w = _geometry(op, x, filter.shape, dy)
    parts = dy.reshape(*dy.shape[:3], *filter.shape[2:])
    dx = np.zeros_like(padded(x, h, w))
    for i in range(h.size):
        for j in range(w.size):
            dx[:, places(h, i), places(w, j)] += np.einsum("nhwcq,cq->nhwc", parts, filter[i, j])
    return from_nhwc(data_format, unpadded(dx, h, w))


@depthwise_backprop_input.shape
def _(op: Operation) -> list[TensorShape]:
    check_attrs(op.type, op.attrs)
    ranked(op, 0, 1)
    shape = constant_shape(op.inputs[0]).with_rank(4)
    n, height, width, c = nhwc_dims(op.attrs["data_format"], shape)
    c_in = ranked(op, 1, 4).as_list()[2]
    _check_depth(op.type, c, c_in)
    ranked(op, 2, 4)
    return [image_shape(op.attrs["data_format"], n, height, width, c_in if c is None else c)]


@depthwise_backprop_input.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    _, f, dy = op.inputs
    return [None, depthwise_backprop_filter(grad, shape_tensor(f), dy, **_attrs(op)),
            depthwise_conv2d(grad, f, **_attrs(op))]


@define("DepthwiseConv2dNativeBackpropFilter(input: T, filter_sizes: int32, out_backprop: T) -> output: T", T=FLOATS,
        **CONV_ATTRS)
def depthwise_backprop_filter(input: Array, filter_sizes: Array, out_backprop: Array, *, op: Operation) -> Array:
    """The gradient of DepthwiseConv2dNative with respect to its filter of the dimensions `filter_sizes` (4,)."""
    data_format = op.attrs["data_format"]
    x, dy = to_nhwc(data_format, input), to_nhwc(data_format, out_backprop)
    h, w = _geometry(op, x, filter_sizes, dy)
    parts = dy.reshape(*dy.shape[:3], int(filter_sizes[2]), int(filter_sizes[3]))
    return np.asarray(np.einsum("nhwcij,nhwcq->ijcq", windows(x, h, w), parts))


@depthwise_backprop_filter.shape
def _(op: Operation) -> list[TensorShape]:
    check_attrs(op.type, op.attrs)
    ranked(op, 1, 1)
    ranked(op, 2, 4)
    c = nhwc_dims(op.attrs["data_format"], ranked(op, 0, 4))[3]
    shape = constant_shape(op.inputs[1]).with_rank(4)
    fh, fw, c_in, q = shape
    _check_depth(op.type, c, c_in)
    return [TensorShape([fh, fw, c if c_in is None else c_in, q])]


@depthwise_backprop_filter.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    x, _, dy = op.inputs
    return [depthwise_backprop_input(shape_tensor(x), grad, dy, **_attrs(op)), None,
            depthwise_conv2d(x, grad, **_attrs(op))]


def _sample(x: tuple[int, ...], f: tuple[int, ...], y: tuple[int, ...], **attrs: Any) -> None:
    """One sample of each of the three ops."""
    depthwise_conv2d.sample(normal(*x), normal(*f), **attrs)
    depthwise_backprop_input.sample(np.array(x, np.int32), normal(*f), normal(*y), **attrs)
    depthwise_backprop_filter.sample(normal(*x), np.array(f, np.int32), normal(*y), **attrs)


_sample((2, 5, 6, 3), (3, 3, 3, 1), (2, 5, 6, 3), strides=[1, 1, 1, 1], padding="SAME")
_sample((1, 6, 5, 2), (3, 2, 2, 3), (1, 4, 4, 6), strides=[1, 1, 1, 1], padding="VALID")
_sample((2, 6, 7, 2), (3, 3, 2, 2), (2, 3, 4, 4), strides=[1, 2, 2, 1], padding="SAME")
_sample((1, 6, 6, 2), (3, 3, 2, 1), (1, 6, 6, 2), strides=[1, 1, 1, 1], padding="SAME", dilations=[1, 2, 2, 1])
_sample((1, 5, 5, 2), (3, 3, 2, 2), (1, 4, 6, 4), strides=[1, 1, 1, 1], padding="EXPLICIT",
        explicit_paddings=[0, 0, 1, 0, 2, 1, 0, 0])
_sample((0, 4, 4, 2), (3, 3, 2, 2), (0, 4, 4, 4), strides=[1, 1, 1, 1], padding="SAME")

__all__ = ["depthwise_backprop_filter", "depthwise_backprop_input", "depthwise_conv2d"]
