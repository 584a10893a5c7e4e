"""Ops that choose elements by a condition: where, select."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..define import Array, define
from ..dtypes import FIXED, MOVABLE
from ..errors import InvalidArgumentError
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import integers, normal
from ..shapes import TensorShape, broadcast
from .array import zeros_like
from .rules import unbroadcast

_WITH_ZERO = tuple(d for d in FIXED if d is not dtypes.bfloat16)  # types whose arrays NumPy compares with 0


@define("Where(input: T) -> index: int64", T=attr("type", dtypes.bool_, _WITH_ZERO), differentiable=False)
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


__all__ = ["select", "select_v2"]
