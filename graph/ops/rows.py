"""Splitting and joining along the first dimension that is not 1: in the order of memory (passes/rows.py)."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..define import Array, attr, define
from ..dtypes import FIXED
from ..errors import InvalidArgumentError
from ..operation import Operation
from ..samples import normal
from ..shapes import UNKNOWN, TensorShape
from .rules import axis_index, same_dim


def _check_first(where: str, shape: Sequence[int | None], axis: int) -> None:
    if any(d not in (1, None) for d in shape[:axis]):
        raise InvalidArgumentError(f"[{where}] the dimensions before axis {axis} must be 1: the shape is {list(shape)}")


@define("_SplitRows(value: T) -> output: num_split*T", T=FIXED, axis=attr("int"), aliases=True, differentiable=False)
def split_rows(value: Array, *, num_split: int, axis: int) -> list[Array]:
    """`value` in `num_split` equal parts along `axis`, before which all dimensions are 1. The parts are its memory."""
    at = axis_index("_SplitRows", "axis", axis, value.ndim)
    _check_first("_SplitRows", value.shape, at)
    if num_split < 1 or value.shape[at] % num_split:
        raise InvalidArgumentError(f"[_SplitRows] 'num_split' must divide the dimension: axis {at} has "
                                   f"{value.shape[at]}, num_split is {num_split}")
    return np.split(value, num_split, at)


@split_rows.shape
def _(op: Operation) -> list[TensorShape]:
    n, shape = op.attrs["num_split"], op.inputs[0].shape
    if shape.dims is None:
        return [UNKNOWN] * n
    axis = axis_index(op.type, "axis", op.attrs["axis"], len(shape.dims))
    dims = list(shape.dims)
    _check_first(op.type, dims, axis)
    size = dims[axis]
    dims[axis] = None if size is None else size // n
    return [TensorShape(dims)] * n


@define("_JoinRows(values: N*T) -> output: T", T=FIXED, axis=attr("int"), differentiable=False)
def join_rows(values: list[Array], *, axis: int) -> Array:
    """The values one after another along `axis`, before which all dimensions are 1. They may be computed in place."""
    at = axis_index("_JoinRows", "axis", axis, values[0].ndim)
    _check_first("_JoinRows", values[0].shape, at)
    try:
        return np.concatenate(values, at)
    except ValueError:
        raise InvalidArgumentError(f"[_JoinRows] shapes differ outside axis {at}: "
                                   f"{', '.join(str(v.shape) for v in values)}") from None


@join_rows.shape
def _(op: Operation) -> list[TensorShape]:
    first = op.inputs[0].shape
    if first.dims is None or any(t.shape.rank != len(first.dims) for t in op.inputs):
        return [UNKNOWN]
    axis = axis_index(op.type, "axis", op.attrs["axis"], len(first.dims))
    _check_first(op.type, first.dims, axis)
    dims = list(first.dims)
    for t in op.inputs[1:]:
        for k, d in enumerate(t.shape):
            if k == axis:
                dims[k] = None if d is None or dims[k] is None else dims[k] + d  # type: ignore[operator]
            else:
                dims[k] = same_dim(op, f"dimension {k} differs outside axis {axis}", dims[k], d)
    return [TensorShape(dims)]


split_rows.sample(normal(6, 2), num_split=3, axis=0)
split_rows.sample(normal(1, 4, 3), num_split=2, axis=1)
split_rows.sample(normal(4), num_split=1, axis=-1)
split_rows.sample(normal(0, 4), num_split=2, axis=0)
split_rows.sample(normal(3, 4), num_split=2, axis=1)  # refused
join_rows.sample([normal(2, 3), normal(1, 3), normal(0, 3)], axis=0)
join_rows.sample([normal(1, 2, 3), normal(1, 2, 3)], axis=1)
join_rows.sample([normal(4)], axis=0)
join_rows.sample([normal(3, 4), normal(3, 4)], axis=1)  # refused
join_rows.sample([normal(3, 4), normal(3, 5)], axis=0)  # refused
