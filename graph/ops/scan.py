"""Running sums and products along an axis, and ListDiff."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..define import Array, attr, define
from ..dtypes import INDEX, NUMBERS, DType, int32
from ..operation import Operation, Tensor
from ..samples import integers, normal, positive
from ..shapes import TensorShape
from .rules import axis_index, build, ranked

_ATTRS: dict[str, Any] = {"T": NUMBERS, "Tidx": attr("type", int32, INDEX), "exclusive": False, "reverse": False}


def _scan_shape(op: Operation) -> list[TensorShape]:
    ranked(op, 1, 0)
    return [ranked(op, 0, 1, at_least=True)]


def _scanned(where: str, x: Array, axis: Array, first: int, exclusive: bool, reverse: bool) -> Array:
    at = axis_index(where, "axis", int(axis), x.ndim)
    flow = np.moveaxis(x, at, 0)[::-1 if reverse else 1]
    if exclusive and len(flow):
        flow = np.concatenate([np.full_like(flow[:1], first), flow[:-1]])
    scan = np.cumsum(flow, 0, flow.dtype) if first == 0 else np.cumprod(flow, 0, flow.dtype)
    return np.ascontiguousarray(np.moveaxis(scan[::-1 if reverse else 1], 0, at))


@define("Cumsum(x: T, axis: Tidx) -> out: T", **_ATTRS, shape=_scan_shape)
def cumsum_op(x: Array, axis: Array, *, exclusive: bool, reverse: bool) -> Array:
    """out[i] = x[0] + ... + x[i] along `axis`; without x[i] if exclusive; from the end if reverse."""
    return _scanned("Cumsum", x, axis, 0, exclusive, reverse)


@cumsum_op.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    return [cumsum_op(grad, op.inputs[1], exclusive=op.attrs["exclusive"], reverse=not op.attrs["reverse"]), None]


@define("Cumprod(x: T, axis: Tidx) -> out: T", **_ATTRS, shape=_scan_shape)
def cumprod_op(x: Array, axis: Array, *, exclusive: bool, reverse: bool) -> Array:
    """out[i] = x[0] * ... * x[i] along `axis`; without x[i] if exclusive; from the end if reverse."""
    return _scanned("Cumprod", x, axis, 1, exclusive, reverse)


@cumprod_op.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    x, axis = op.inputs
    summed = cumsum_op(op.outputs[0] * grad, axis, exclusive=op.attrs["exclusive"], reverse=not op.attrs["reverse"])
    return [build("RealDiv", summed, x), None]


for _op, _draw in ((cumsum_op, normal), (cumprod_op, positive)):
    for _dims, _axis in (((7,), 0), ((3, 5), -1), ((3, 5), 0), ((2, 3, 4), 1), ((0, 3), 1), ((3, 0), 1)):
        _op.sample(_draw(*_dims), np.array(_axis, np.int32))
    _op.sample(_draw(2, 3, 4), np.array(1, np.int64), exclusive=True)
    _op.sample(_draw(2, 3, 4), np.array(1, np.int32), reverse=True)
    _op.sample(_draw(5), np.array(0, np.int32), reverse=True, exclusive=True)
    _op.sample(_draw(2, 3), np.array(2, np.int32))  # refused


def cumsum(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Tensor:
    """Running sums of `x` along `axis`."""
    result: Tensor = cumsum_op(x, axis, exclusive=exclusive, reverse=reverse, name=name)
    return result


def cumprod(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Tensor:
    """Running products of `x` along `axis`."""
    result: Tensor = cumprod_op(x, axis, exclusive=exclusive, reverse=reverse, name=name)
    return result


@define("ListDiff(x: T, y: T) -> out: T, idx: out_idx", T=NUMBERS, out_idx=attr("type", int32, INDEX),
        differentiable=False)
def list_diff(x: Array, y: Array, *, out_idx: DType) -> tuple[Array, Array]:
    """out: the elements of x (n,) that are not in y (m,), in order; idx: where they are in x."""
    kept = np.flatnonzero(~np.isin(x, y))
    return x[kept], kept.astype(out_idx.as_numpy_dtype)


@list_diff.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 0, 1)
    ranked(op, 1, 1)
    return [TensorShape([None])] * 2


list_diff.sample(integers(9, high=6), integers(3, high=6))
list_diff.sample(integers(9, high=6), integers(0, high=6), out_idx="int64")
list_diff.sample(integers(0, high=6), integers(4, high=6))

__all__ = ["cumprod", "cumsum", "list_diff"]
