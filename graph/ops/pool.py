"""Max and average pooling over windows of images, and their gradients."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..constant import constant_shape
from ..define import Array, define
from ..dtypes import FLOATS
from ..errors import InvalidArgumentError, UnimplementedError
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import distinct, normal
from ..shapes import TensorShape
from .rules import build, ranked, shape_tensor
from .window import (
    ANY_PADDING,
    DATA_FORMAT,
    PADDING,
    Side,
    check_attrs,
    from_nhwc,
    image_shape,
    known_sides,
    nhwc_dims,
    padded,
    places,
    sides,
    spatial,
    to_nhwc,
    unpadded,
    windows,
)

_ATTRS: dict[str, Any] = {"ksize": attr("list(int)"), "strides": attr("list(int)"), "padding": PADDING,
                          "data_format": DATA_FORMAT}
_MAX_ATTRS: dict[str, Any] = {**_ATTRS, "padding": ANY_PADDING, "explicit_paddings": attr("list(int)", []),
                              "T": attr("type", dtypes.float32, FLOATS)}


def _geometry(op: Operation, x: Array) -> tuple[Side, Side]:
    return known_sides(op.type, op.attrs, x, spatial(op.attrs["data_format"], op.attrs["ksize"]))


def _pooled(op: Operation, shape: TensorShape) -> TensorShape:
    """The shape after pooling images of `shape`. Raises: InvalidArgumentError for wrong attrs."""
    check_attrs(op.type, op.attrs)
    data_format = op.attrs["data_format"]
    n, height, width, c = nhwc_dims(data_format, shape)
    h, w = sides(op.type, op.attrs, (height, width), spatial(data_format, op.attrs["ksize"]))
    return image_shape(data_format, n, h and h.count, w and w.count, c)


def _pool_shape(op: Operation) -> list[TensorShape]:
    return [_pooled(op, ranked(op, 0, 4))]


def _same(op: Operation, name: str, shape: TensorShape, wanted: TensorShape) -> None:
    if not shape.is_compatible_with(wanted):
        raise InvalidArgumentError(f"[{op.type}] '{name}' must be {wanted}: it is {shape}")


# ---- maximum
@define("MaxPool(input: T) -> output: T", **_MAX_ATTRS, shape=_pool_shape)
def max_pool(input: Array, *, op: Operation) -> Array:
    """The largest element of each window of each channel: input (n, h, w, c), output (n, h', w', c)."""
    data_format = op.attrs["data_format"]
    x = to_nhwc(data_format, input)
    return from_nhwc(data_format, windows(x, *_geometry(op, x), -np.inf).max((4, 5)))


@max_pool.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    return [max_pool_grad(op.inputs[0], op.outputs[0], grad, **{name: op.attrs[name] for name in _MAX_ATTRS})]


@define("MaxPoolGrad(orig_input: T, orig_output: T, grad: T) -> output: T", **_MAX_ATTRS)
def max_pool_grad(orig_input: Array, orig_output: Array, grad: Array, *, op: Operation) -> Array:
    """`grad` of each window goes whole to the window's largest element, the first of them in row-major order."""
    data_format = op.attrs["data_format"]
    x, dy = to_nhwc(data_format, orig_input), to_nhwc(data_format, grad)
    h, w = _geometry(op, x)
    if dy.shape != (x.shape[0], h.count, w.count, x.shape[3]):
        raise InvalidArgumentError(f"[MaxPoolGrad] 'grad' must be of the output's shape: grad {grad.shape}, input "
                                   f"{orig_input.shape}")
    flat = windows(x, h, w, -np.inf).reshape(*dy.shape, h.size * w.size)
    first = flat.argmax(-1)
    dx = np.zeros_like(padded(x, h, w))
    for i in range(h.size):
        for j in range(w.size):
            dx[:, places(h, i), places(w, j)] += np.where(first == i * w.size + j, dy, 0)
    return from_nhwc(data_format, unpadded(dx, h, w))


@max_pool_grad.shape
def _(op: Operation) -> list[TensorShape]:
    shape = ranked(op, 0, 4)
    pooled = _pooled(op, shape)
    _same(op, "orig_output", op.inputs[1].shape, pooled)
    _same(op, "grad", op.inputs[2].shape, pooled)
    return [shape]


@max_pool_grad.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    x, y = op.inputs[:2]
    if op.attrs["padding"] == "EXPLICIT":
        raise UnimplementedError(f"[MaxPoolGrad] the gradient with explicit paddings is not defined: {op.name!r}")
    attrs = {name: op.attrs[name] for name in _ATTRS}
    return [build("ZerosLike", x), build("ZerosLike", y), max_pool_grad_grad(x, y, grad, **attrs)]


@define("MaxPoolGradGrad(orig_input: T, orig_output: T, grad: T) -> output: T", T=FLOATS, **_ATTRS)
def max_pool_grad_grad(orig_input: Array, orig_output: Array, grad: Array, *, op: Operation) -> Array:
    """For each window the element of `grad` where orig_input is largest, the first of them in row-major order."""
    data_format = op.attrs["data_format"]
    x, g = to_nhwc(data_format, orig_input), to_nhwc(data_format, grad)
    if x.shape != g.shape:
        raise InvalidArgumentError(f"[MaxPoolGradGrad] 'grad' must be of the input's shape: grad {grad.shape}, input "
                                   f"{orig_input.shape}")
    h, w = _geometry(op, x)
    flat = windows(x, h, w, -np.inf)
    first = flat.reshape(*flat.shape[:4], h.size * w.size).argmax(-1)[..., None]
    picked = np.take_along_axis(windows(g, h, w).reshape(*flat.shape[:4], h.size * w.size), first, -1)
    return from_nhwc(data_format, picked[..., 0])


@max_pool_grad_grad.shape
def _(op: Operation) -> list[TensorShape]:
    shape = ranked(op, 0, 4)
    pooled = _pooled(op, shape)
    _same(op, "orig_output", op.inputs[1].shape, pooled)
    _same(op, "grad", op.inputs[2].shape, shape)
    return [pooled]


@max_pool_grad_grad.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    x, y = op.inputs[:2]
    attrs = {name: op.attrs[name] for name in _ATTRS}
    return [build("ZerosLike", x), build("ZerosLike", y), max_pool_grad(x, y, grad, **attrs)]


# ---- average
@define("AvgPool(value: T) -> output: T", T=FLOATS, **_ATTRS, shape=_pool_shape)
def avg_pool(value: Array, *, op: Operation) -> Array:
    """The mean of the elements of each window, padding not counted: value (n, h, w, c), output (n, h', w', c)."""
    data_format = op.attrs["data_format"]
    x = to_nhwc(data_format, value)
    h, w = _geometry(op, x)
    return from_nhwc(data_format, windows(x, h, w).sum((4, 5)) / _counts(x, h, w))


def _counts(x: Array, h: Side, w: Side) -> Array:
    """How many elements each window has within the image: (1, h', w', 1)."""
    inside = np.ones((1, *x.shape[1:3], 1), x.dtype)
    counts: Array = windows(inside, h, w).sum((4, 5))
    return counts


@avg_pool.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    return [avg_pool_grad(shape_tensor(op.inputs[0]), grad, **{name: op.attrs[name] for name in _ATTRS})]


@define("AvgPoolGrad(orig_input_shape: int32, grad: T) -> output: T", T=FLOATS, **_ATTRS)
def avg_pool_grad(orig_input_shape: Array, grad: Array, *, op: Operation) -> Array:
    """`grad` of each window, divided by its number of elements, is added to all of them. orig_input_shape: (4,)."""
    data_format = op.attrs["data_format"]
    x = to_nhwc(data_format, np.broadcast_to(np.zeros((), grad.dtype), [int(d) for d in orig_input_shape]))
    dy = to_nhwc(data_format, grad)
    h, w = _geometry(op, x)
    if dy.shape != (x.shape[0], h.count, w.count, x.shape[3]):
        raise InvalidArgumentError(f"[AvgPoolGrad] 'grad' must be of the output's shape: grad {grad.shape}, input "
                                   f"{orig_input_shape.tolist()}")
    share = dy / _counts(x, h, w)
    dx = np.zeros_like(padded(x, h, w))
    for i in range(h.size):
        for j in range(w.size):
            dx[:, places(h, i), places(w, j)] += share
    return from_nhwc(data_format, unpadded(dx, h, w))


@avg_pool_grad.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 0, 1)
    shape = constant_shape(op.inputs[0]).with_rank(4)
    _same(op, "grad", op.inputs[1].shape, _pooled(op, shape))
    return [shape]


@avg_pool_grad.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    return [None, avg_pool(grad, **{name: op.attrs[name] for name in _ATTRS})]


def _max_grad_sample(x: Array, y: tuple[int, ...], **attrs: Any) -> None:
    """A gradient sample whose orig_output is the pooled `x`, as kernels may rely on."""
    h, w = known_sides("sample", {"data_format": "NHWC", **attrs}, x, attrs["ksize"][1:3])
    best = windows(x, h, w, -np.inf).max((4, 5))
    max_pool_grad.sample(x, best, normal(*y), gradient=False, **attrs)
    if attrs["padding"] != "EXPLICIT":
        max_pool_grad_grad.sample(x, best, normal(*x.shape), gradient=False, **attrs)


def _sample(x: tuple[int, ...], y: tuple[int, ...], **attrs: Any) -> None:
    """One sample of each op; of the maximum's two without equal elements, which would be kinks."""
    max_pool.sample(distinct(*x), **attrs)
    _max_grad_sample(np.asarray(distinct(*x)(np.random.default_rng(0), dtypes.float32)), y, **attrs)
    if attrs["padding"] != "EXPLICIT":
        avg_pool.sample(normal(*x), **attrs)
        avg_pool_grad.sample(np.array(x, np.int32), normal(*y), **attrs)


_sample((2, 4, 6, 3), (2, 2, 3, 3), ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID")
_sample((1, 5, 5, 2), (1, 3, 3, 2), ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
_sample((2, 5, 4, 1), (2, 5, 4, 1), ksize=[1, 3, 3, 1], strides=[1, 1, 1, 1], padding="SAME")
_sample((1, 6, 7, 2), (1, 4, 3, 2), ksize=[1, 3, 2, 1], strides=[1, 1, 2, 1], padding="VALID")
_sample((1, 5, 5, 1), (1, 2, 3, 1), ksize=[1, 3, 3, 1], strides=[1, 3, 2, 1], padding="EXPLICIT",
        explicit_paddings=[0, 0, 1, 0, 1, 1, 0, 0])
_sample((1, 3, 3, 4), (1, 1, 1, 4), ksize=[1, 3, 3, 1], strides=[1, 1, 1, 1], padding="VALID")
_sample((0, 4, 4, 2), (0, 2, 2, 2), ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID")
_max_grad_sample(np.ones((1, 4, 4, 1), np.float32), (1, 2, 2, 1), ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1],
                 padding="SAME")  # ties: the first wins

__all__ = ["avg_pool", "avg_pool_grad", "max_pool", "max_pool_grad"]
