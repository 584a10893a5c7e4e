"""Ops that make, fill, select, repeat and pad arrays."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..constant import constant_shape, constant_value
from ..define import Array, define
from ..dtypes import FIXED, INDEX, MOVABLE, NUMBERS
from ..errors import InvalidArgumentError
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import integers, normal
from ..shapes import UNKNOWN, TensorShape, broadcast
from .rules import axis_index, build, first_shape, ranked, unbroadcast
from .shape_ops import INDEX_ATTR, rank, reshape

WITH_ZERO = tuple(d for d in FIXED if d is not dtypes.bfloat16)  # types whose arrays NumPy compares with 0


def _ints(*values: int) -> Array:
    return np.array(values, np.int32)


# ---- new arrays
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


fill.sample(_ints(2, 3), normal())
fill.sample(np.zeros(0, np.int32), normal())
fill.sample(np.array([0, 4], np.int64), normal())
fill.sample(_ints(2, 3), np.array(b"each of them a long string, on the heap", object), T=dtypes.string)


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


one_hot_op.sample(_ints(0, 2, -1, 3), np.array(3, np.int32), normal(), normal())
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


# ---- choosing
@define("Where(input: T) -> index: int64", T=attr("type", dtypes.bool_, WITH_ZERO), differentiable=False)
def where_op(input: Array) -> Array:
    """The coordinates of the elements that are not 0, in row-major order: index (n, rank)."""
    return np.argwhere(input)


@where_op.shape
def _(op: Operation) -> list[TensorShape]:
    return [TensorShape([None, op.inputs[0].shape.rank])]


where_op.sample(integers(3, 4, high=2))
where_op.sample(np.array([True, False, True]))
where_op.sample(np.zeros((2, 2), np.float32))
where_op.sample(np.zeros((0, 3), np.bool_))


@define("Select(condition: bool, t: T, e: T) -> output: T", T=MOVABLE)
def select(condition: Array, t: Array, e: Array) -> Array:
    """output = t where `condition`, else e, which have one shape; condition: that shape, (), or (n,) for whole rows."""
    if t.shape != e.shape or (condition.shape != t.shape and condition.shape != t.shape[:min(condition.ndim, 1)]):
        raise InvalidArgumentError(f"[Select] shapes do not fit: condition {condition.shape}, t {t.shape}, e "
                                   f"{e.shape}. "
                                   "Fix: SelectV2 broadcasts")
    return np.where(condition.reshape(condition.shape + (1,) * (t.ndim - condition.ndim)), t, e)


@select.shape
def _(op: Operation) -> list[TensorShape]:
    c, t, e = (x.shape for x in op.inputs)
    fits = t.is_compatible_with(e)
    if fits and c.rank not in (None, 0):
        both = t.merge_with(e)
        fits = both.is_compatible_with(c) or (c.rank == 1 and both.rank != 0 and both.dims is not None
                                              and TensorShape(both.dims[:1]).is_compatible_with(c))
    if not fits:
        raise InvalidArgumentError(f"[Select] shapes do not fit: condition {c}, t {t}, e {e}. Fix: SelectV2 broadcasts")
    return [t.merge_with(e)]


@select.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    c, zero = op.inputs[0], zeros_like(grad)
    return [None, select(c, grad, zero), select(c, zero, grad)]


select.sample(np.array([[True, False], [False, True]]), normal(2, 2), normal(2, 2))
select.sample(np.array([True, False, True]), normal(3, 2), normal(3, 2))
select.sample(np.array(False), normal(2, 3), normal(2, 3))
select.sample(np.zeros((0, 2), np.bool_), normal(0, 2), normal(0, 2))


@define("SelectV2(condition: bool, t: T, e: T) -> output: T", T=MOVABLE)
def select_v2(condition: Array, t: Array, e: Array) -> Array:
    """output = t where `condition`, else e; the three broadcast as in NumPy."""
    return np.where(condition, t, e)


@select_v2.shape
def _(op: Operation) -> list[TensorShape]:
    c, t, e = (x.shape for x in op.inputs)
    return [broadcast(c, broadcast(t, e, op.type), op.type)]


@select_v2.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    c, t, e = op.inputs
    zero = zeros_like(grad)
    return [None, unbroadcast(select_v2(c, grad, zero), t, grad), unbroadcast(select_v2(c, zero, grad), e, grad)]


select_v2.sample(np.array([[True], [False]]), normal(2, 3), normal(3))
select_v2.sample(np.array([[True, False], [False, True]]), normal(2, 2), normal(2, 2))
select_v2.sample(np.array([True, False, True]), normal(), normal(2, 3))
select_v2.sample(np.array(True), normal(2), normal(2, 1))
select_v2.sample(np.array([True, False]), normal(0, 2), normal())


# ---- repeating, padding, masking
@define("Tile(input: T, multiples: Tmultiples) -> output: T", T=MOVABLE, Tmultiples=INDEX_ATTR)
def tile(input: Array, multiples: Array) -> Array:
    """`input` repeated multiples[k] times along axis k. multiples: (rank,), >= 0."""
    if multiples.shape != (input.ndim,) or np.any(multiples < 0):
        raise InvalidArgumentError(f"[Tile] 'multiples' must be one number >= 0 for each axis of {input.shape}: got "
                                   f"{multiples.tolist()}")
    return np.tile(input, [int(m) for m in multiples])


@tile.shape
def _(op: Operation) -> list[TensorShape]:
    x, m = op.inputs[0].shape, constant_shape(op.inputs[1])
    if x.dims is None or m.dims is None:
        return [TensorShape([None] * n) if (n := x.rank if x.rank is not None else m.rank) is not None else UNKNOWN]
    if len(x.dims) != len(m.dims):
        raise InvalidArgumentError(f"[Tile] 'multiples' must have a number for each axis: input {x}, multiples {m}")
    return [TensorShape([None if a is None or b is None else a * b for a, b in zip(x.dims, m.dims)])]


@tile.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    x, multiples = op.inputs[0], constant_value(op.inputs[1])
    if multiples is not None and x.shape.is_fully_defined():
        split = np.stack([multiples, x.shape.known], 1).reshape(-1).astype(np.int32)
        even: Any = np.arange(0, 2 * len(multiples), 2, dtype=np.int32)
    else:
        pair = build("Pack", [op.inputs[1], build("Shape", x, out_type=op.inputs[1].dtype)], axis=1)
        split = reshape(pair, [-1])
        even = build("Range", 0, build("Size", split), 2)
    result = build("Sum", reshape(grad, split), even)
    result.set_shape(x.shape)
    return [result, None]


tile.sample(normal(2, 3), _ints(2, 1))
tile.sample(normal(3), np.array([4], np.int64))
tile.sample(normal(2, 1, 2), _ints(1, 3, 2))
tile.sample(normal(), np.zeros(0, np.int32))
tile.sample(normal(2, 3), _ints(0, 2))


@define("Pad(input: T, paddings: Tpaddings) -> output: T", T=FIXED, Tpaddings=INDEX_ATTR)
def pad(input: Array, paddings: Array) -> Array:
    """`input` with paddings[k] = (before, after) zeros put around it along axis k. paddings: (rank, 2), >= 0."""
    if paddings.shape != (input.ndim, 2) or np.any(paddings < 0):
        raise InvalidArgumentError(f"[Pad] 'paddings' must be ({input.ndim}, 2) numbers >= 0: got {paddings.tolist()}")
    output = np.zeros([n + int(a) + int(b) for n, (a, b) in zip(input.shape, paddings)], input.dtype)
    output[tuple([slice(int(a), int(a) + n) for n, (a, _) in zip(input.shape, paddings)])] = input
    return output


@pad.shape
def _(op: Operation) -> list[TensorShape]:
    x, paddings, given = op.inputs[0].shape, constant_value(op.inputs[1]), ranked(op, 1, 2)
    n = x.rank if x.rank is not None else given[0]
    if not isinstance(n, int):
        return [UNKNOWN]
    if not given.is_compatible_with((n, 2)):
        raise InvalidArgumentError(f"[Pad] 'paddings' must be ({n}, 2) for input {x}: it is {given}")
    if paddings is None or x.dims is None:
        return [TensorShape([None] * n)]
    if np.any(paddings < 0):
        raise InvalidArgumentError(f"[Pad] 'paddings' must be >= 0: got {paddings.tolist()}")
    return [TensorShape([None if d is None else d + int(a) + int(b) for d, (a, b) in zip(x.dims, paddings)])]


@pad.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    x, paddings = op.inputs
    value = constant_value(paddings)
    if value is not None:
        begin: Any = value[:, 0]
    else:
        begin = build("StridedSlice", paddings, [0, 0], [0, 1], [1, 1], begin_mask=1, end_mask=1, shrink_axis_mask=2)
    size = np.array(x.shape.known, paddings.dtype.as_numpy_dtype) if x.shape.is_fully_defined() else build(
        "Shape", x, out_type=paddings.dtype)
    return [build("Slice", grad, begin, size), None]


pad.sample(normal(2, 3), np.array([[1, 0], [0, 2]], np.int32))
pad.sample(normal(1, 2, 2, 1), np.array([[0, 0], [1, 1], [2, 1], [0, 0]], np.int64))
pad.sample(normal(3), np.array([[0, 0]], np.int32))
pad.sample(normal(0, 2), np.array([[1, 1], [0, 0]], np.int32))


@define("MatrixBandPart(input: T, num_lower: Tindex, num_upper: Tindex) -> band: T", T=FIXED,
        Tindex=attr("type", dtypes.int64, INDEX))
def matrix_band_part(input: Array, num_lower: Array, num_upper: Array) -> Array:
    """band[..., i, j] = input[..., i, j] where -num_lower <= j - i <= num_upper, else 0; a negative number keeps that
    whole triangle. input: (..., m, n)."""
    rows, columns = input.shape[-2:]
    if num_lower > rows or num_upper > columns:
        raise InvalidArgumentError(f"[MatrixBandPart] 'num_lower' and 'num_upper' must be at most {rows} rows and "
                                   f"{columns} "
                                   f"columns: got {num_lower} and {num_upper}")
    above = np.arange(columns) - np.arange(rows)[:, None]
    keep = np.ones(above.shape, np.bool_)
    if num_lower >= 0:
        keep &= above >= -num_lower
    if num_upper >= 0:
        keep &= above <= num_upper
    return np.where(keep, input, np.zeros((), input.dtype))


@matrix_band_part.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 1, 0)
    ranked(op, 2, 0)
    return [ranked(op, 0, 2, at_least=True)]


@matrix_band_part.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    return [matrix_band_part(grad, op.inputs[1], op.inputs[2]), None, None]


matrix_band_part.sample(normal(3, 4), np.array(1, np.int64), np.array(-1, np.int64))
matrix_band_part.sample(normal(4, 4), np.array(-1, np.int32), np.array(0, np.int32))
matrix_band_part.sample(normal(2, 4, 3), np.array(0, np.int64), np.array(1, np.int64))
matrix_band_part.sample(normal(0, 2, 2), np.array(0, np.int64), np.array(0, np.int64))

__all__ = ["all_axes", "fill", "matrix_band_part", "one_hot", "ones_like", "pad", "range_", "select", "select_v2",
           "tile", "zeros_like"]
