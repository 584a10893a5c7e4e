"""Ops that repeat arrays, put zeros around them, and keep a band of matrices."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..constant import constant_shape, constant_value
from ..define import Array, define
from ..dtypes import FIXED, INDEX, MOVABLE
from ..errors import InvalidArgumentError
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import ints, normal
from ..shapes import UNKNOWN, TensorShape
from .rules import build, ranked
from .shape_ops import INDEX_ATTR, reshape


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


tile.sample(normal(2, 3), ints(2, 1))
tile.sample(normal(3), np.array([4], np.int64))
tile.sample(normal(2, 1, 2), ints(1, 3, 2))
tile.sample(normal(), np.zeros(0, np.int32))
tile.sample(normal(2, 3), ints(0, 2))


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


__all__ = ["matrix_band_part", "pad", "tile"]
