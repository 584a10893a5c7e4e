"""BiasAdd and BiasAddGrad: a vector along the channel axis (the last one; the second one for NCHW)."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..define import Array, attr, define
from ..dtypes import FLOATS, NUMBERS
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import TensorShape
from .rules import build, dim, ranked, same_dim, shape_tensor

_FORMAT: Any = attr("string", "NHWC", ("NHWC", "NCHW"))


def _channel_axis(data_format: str) -> int:
    return -1 if data_format == "NHWC" else 1


def _along_channel(bias: Array, rank: int, data_format: str) -> Array:
    return bias if data_format == "NHWC" else bias.reshape((-1,) + (1,) * (rank - 2))


@define("BiasAdd(value: T, bias: T) -> output: T", T=NUMBERS, data_format=_FORMAT)
def _bias_add(value: Array, bias: Array, *, data_format: str) -> Array:
    """output = value + bias along the channels. value: (..., c), or (n, c, ...) for NCHW; bias: (c,)"""
    if bias.ndim != 1 or value.ndim < 2 or value.shape[_channel_axis(data_format)] != bias.size:
        raise InvalidArgumentError(
            f"[BiasAdd] 'bias' must be a vector of the channels of 'value': value {value.shape}, "
            f"bias {bias.shape}, {data_format}"
        )
    return np.add(value, _along_channel(bias, value.ndim, data_format))


@_bias_add.shape
def _(op: Operation) -> list[TensorShape]:
    value, bias = ranked(op, 0, 2, at_least=True), ranked(op, 1, 1)
    axis = _channel_axis(op.attrs["data_format"])
    channels = same_dim(op, "the channels of 'value' and 'bias' differ", dim(value, axis), dim(bias, 0))
    if value.dims is None:
        return [value]
    dims = list(value.dims)
    dims[axis] = channels
    return [TensorShape(dims)]


@_bias_add.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    return [grad, build("BiasAddGrad", grad, data_format=op.attrs["data_format"])]


@define("BiasAddGrad(out_backprop: T) -> output: T", T=FLOATS, data_format=_FORMAT)
def _bias_add_grad(out_backprop: Array, *, data_format: str) -> Array:
    """output = sum over all axes but that of the channels. out_backprop: (..., c), output: (c,)"""
    axis = _channel_axis(data_format) % out_backprop.ndim
    others = tuple(i for i in range(out_backprop.ndim) if i != axis)
    return np.asarray(np.sum(out_backprop, others, out_backprop.dtype))


@_bias_add_grad.shape
def _(op: Operation) -> list[TensorShape]:
    return [TensorShape([dim(ranked(op, 0, 2, at_least=True), _channel_axis(op.attrs["data_format"]))])]


@_bias_add_grad.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    x = op.inputs[0]
    if op.attrs["data_format"] == "NCHW":
        if x.shape.rank is None:
            raise InvalidArgumentError("[BiasAddGrad] the gradient for NCHW needs the rank of 'out_backprop'")
        grad = build("Reshape", grad, np.array([-1] + [1] * (x.shape.rank - 2), np.int32))
    return [build("BroadcastTo", grad, shape_tensor(x))]


_CASES: list[tuple[tuple[int, ...], str]] = [
    ((3, 5), "NHWC"),
    ((1, 37), "NHWC"),
    ((2, 3, 5), "NHWC"),
    ((2, 3, 4, 5), "NHWC"),
    ((0, 5), "NHWC"),
    ((3, 0), "NHWC"),
    ((3, 5), "NCHW"),
    ((2, 5, 3, 4), "NCHW"),
]
for _dims, _data_format in _CASES:
    _bias_add.sample(normal(*_dims), normal(_dims[_channel_axis(_data_format)]), data_format=_data_format)
    _bias_add_grad.sample(normal(*_dims), data_format=_data_format)
_bias_add.sample(normal(3, 5), normal(4))  # refused


def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Tensor:
    """value + bias along the channels. value: (..., c), or (n, c, ...) for "NCHW"; bias: (c,)"""
    result: Tensor = _bias_add(value, bias, data_format=data_format or "NHWC", name=name)
    return result
