"""Ops that make arrays: filled, zeros and ones, ranges, one-hot."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..constant import constant_shape, constant_value
from ..define import Array, define
from ..dtypes import FIXED, MOVABLE, NUMBERS
from ..errors import InvalidArgumentError
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import ints, normal
from ..shapes import UNKNOWN, TensorShape
from .rules import axis_index, build, first_shape, ranked
from .shape_ops import INDEX_ATTR, rank


@define("Fill(dims: index_type, value: T) -> output: T", T=MOVABLE, index_type=INDEX_ATTR)
def fill(dims: Array, value: Array) -> Array:
    """An array of the dimensions `dims` (n,) with `value` () everywhere."""
    if np.any(dims < 0):
        raise InvalidArgumentError(f"[Fill] 'dims' must be >= 0: got {dims.tolist()}")
    return np.full([int(d) for d in dims], value, value.dtype)


@fill.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 0, 1)
    ranked(op, 1, 0)
    return [constant_shape(op.inputs[0])]


@fill.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    return [None, build("Sum", grad, all_axes(grad))]


fill.sample(ints(2, 3), normal())
fill.sample(np.zeros(0, np.int32), normal())
fill.sample(np.array([0, 4], np.int64), normal())
fill.sample(ints(2, 3), np.array(b"each of them a long string, on the heap", object), T=dtypes.string)


def all_axes(x: Tensor) -> Any:
    """Every axis of `x`, for a reduction over all of it."""
    if x.shape.rank is not None:
        return np.arange(x.shape.rank, dtype=np.int32)
    return build("Range", 0, rank(x), 1)


@define("ZerosLike(x: T) -> y: T", T=FIXED, elementwise=True, differentiable=False, shape=first_shape)
def zeros_like(x: Array) -> Array:
    """y = 0, of x's shape and type."""
    return np.zeros_like(x)


zeros_like.sample(normal(2, 3))
zeros_like.sample(normal())
zeros_like.sample(normal(0, 2))


@define("OnesLike(x: T) -> y: T", T=FIXED, elementwise=True, differentiable=False, shape=first_shape)
def ones_like(x: Array) -> Array:
    """y = 1, of x's shape and type."""
    if x.dtype == dtypes.bfloat16.as_numpy_dtype:
        return np.full(x.shape, 0x3F80, np.uint16).view(x.dtype)
    return np.ones_like(x)


ones_like.sample(normal(2, 3))
ones_like.sample(normal())
ones_like.sample(normal(0, 2))


@define("Range(start: Tidx, limit: Tidx, delta: Tidx) -> output: Tidx", Tidx=attr("type", dtypes.int32, NUMBERS),
        differentiable=False)
def range_op(start: Array, limit: Array, delta: Array) -> Array:
    """start, start + delta, start + 2*delta, ... below `limit` (above it for a negative delta): (n,)."""
    return (start + np.arange(_count(start, limit, delta)) * delta).astype(start.dtype)


def _count(start: Array, limit: Array, delta: Array) -> int:
    a, b, d = start.item(), limit.item(), delta.item()
    if d == 0:
        raise InvalidArgumentError("[Range] 'delta' must not be 0")
    if (b - a) * d < 0:
        raise InvalidArgumentError(f"[Range] 'delta' {d} leads away from 'limit': start {a}, limit {b}")
    return -(-abs(b - a) // abs(d)) if isinstance(a, int) else int(np.ceil(abs((b - a) / d)))


@range_op.shape
def _(op: Operation) -> list[TensorShape]:
    values = []
    for i in range(3):
        ranked(op, i, 0)
        values.append(constant_value(op.inputs[i]))
    return [TensorShape([None if any(v is None for v in values) else _count(*values)])]


range_op.sample(np.array(0, np.int32), np.array(5, np.int32), np.array(1, np.int32))
range_op.sample(np.array(7, np.int64), np.array(0, np.int64), np.array(-3, np.int64))
range_op.sample(np.array(3, np.int32), np.array(3, np.int32), np.array(1, np.int32))
range_op.sample(np.array(0.5, np.float32), np.array(2.0, np.float32), np.array(0.25, np.float32))
range_op.sample(np.array(1.0), np.array(0.0), np.array(-0.3))


def range_(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str | None = None) -> Tensor:
    """``range_(limit)`` or ``range_(start, limit, delta)``: the numbers from `start` up to `limit`, without it."""
    if limit is None:
        start, limit = 0, start
    if dtype is None:
        result: Tensor = range_op(*_one_type(start, limit, delta), name=name or "range")
    else:
        result = range_op(start, limit, delta, Tidx=dtype, name=name or "range")
    return result


def _one_type(*values: Any) -> list[Any]:
    """Python numbers as floats where one of them is a float and none is a tensor or array."""
    if any(hasattr(v, "dtype") for v in values) or not any(isinstance(v, float) for v in values):
        return list(values)
    return [np.float32(v) for v in values]


@define("OneHot(indices: TI, depth: int32, on_value: T, off_value: T) -> output: T", T=FIXED, axis=-1,
        TI=attr("type", dtypes.int64, (dtypes.uint8, dtypes.int32, dtypes.int64)), differentiable=False)
def one_hot_op(indices: Array, depth: Array, on_value: Array, off_value: Array, *, axis: int) -> Array:
    """A new axis of size `depth` at `axis`: on_value at indices[...], off_value elsewhere (everywhere for an index
    outside [0, depth))."""
    n = int(depth)
    if n < 0:
        raise InvalidArgumentError(f"[OneHot] 'depth' must be >= 0: got {n}")
    hot = indices[..., None] == np.arange(n)
    at = axis_index("OneHot", "axis", axis, indices.ndim + 1)
    return np.moveaxis(np.where(hot, on_value, off_value), -1, at)


@one_hot_op.shape
def _(op: Operation) -> list[TensorShape]:
    for i in (1, 2, 3):
        ranked(op, i, 0)
    x, depth = op.inputs[0].shape, constant_value(op.inputs[1])
    if depth is not None and depth < 0:
        raise InvalidArgumentError(f"[OneHot] 'depth' must be >= 0: got {depth}")
    if x.dims is None:
        return [UNKNOWN]
    at = axis_index("OneHot", "axis", op.attrs["axis"], len(x.dims) + 1)
    return [TensorShape([*x.dims[:at], None if depth is None else int(depth), *x.dims[at:]])]


one_hot_op.sample(ints(0, 2, -1, 3), np.array(3, np.int32), normal(), normal())
one_hot_op.sample(np.array([[0, 1], [5, 2]], np.int64), np.array(4, np.int32), normal(), normal(), axis=0)
one_hot_op.sample(np.array([[0, 1], [1, 2]], np.uint8), np.array(3, np.int32), normal(), normal(), axis=1)
one_hot_op.sample(np.array(1, np.int32), np.array(2, np.int32), normal(), normal())
one_hot_op.sample(np.zeros(0, np.int32), np.array(2, np.int32), normal(), normal())


def one_hot(indices: Any, depth: Any, on_value: Any = None, off_value: Any = None, axis: int | None = None,
            dtype: Any = None, name: str | None = None) -> Tensor:
    """`on_value` (1) at each index along a new axis of size `depth`, `off_value` (0) elsewhere; float32 unless said."""
    given = next((v.dtype for v in (on_value, off_value) if hasattr(v, "dtype")), None)
    result: Tensor = one_hot_op(indices, depth, 1 if on_value is None else on_value,
                                0 if off_value is None else off_value,
                                axis=-1 if axis is None else axis, T=dtype or given or dtypes.float32,
                                name=name or "one_hot")
    return result


__all__ = ["all_axes", "fill", "one_hot", "ones_like", "range_", "zeros_like"]
