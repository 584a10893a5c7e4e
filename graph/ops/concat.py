"""Ops that join tensors along an axis, and take them apart: concatenation and splitting."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..constant import constant_value
from ..define import Array, convert_to_tensor, define
from ..dtypes import FIXED, INDEX, MOVABLE, string
from ..errors import InvalidArgumentError
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import UNKNOWN, TensorShape
from .rules import all_gradients, axis_index, build, ranked, same_dim
from .shape_ops import INDEX_ATTR


@define("ConcatV2(values: N*T, axis: Tidx) -> output: T", T=(*FIXED, string), Tidx=INDEX_ATTR)
def concat_op(values: list[Array], axis: Array) -> Array:
    """The values one after another along `axis` (); their other dimensions are equal."""
    at = axis_index("ConcatV2", "axis", int(axis), values[0].ndim)
    try:
        return np.concatenate(values, at)
    except ValueError:
        raise InvalidArgumentError(f"[ConcatV2] shapes differ outside axis {at}: "
                                   f"{', '.join(str(v.shape) for v in values)}"
                                   ) from None


@concat_op.shape
def _(op: Operation) -> list[TensorShape]:
    values, axis = op.inputs[:-1], constant_value(op.inputs[-1])
    ranked(op, len(values), 0)
    rank = next((t.shape.rank for t in values if t.shape.rank is not None), None)
    if rank is None:
        return [UNKNOWN]
    shapes = [ranked(op, i, rank) for i in range(len(values))]
    if axis is None:
        return [shapes[0] if len(shapes) == 1 else TensorShape([None] * rank)]
    at = axis_index(op.type, "axis", int(axis), rank)
    dims = list(shapes[0])
    for shape in shapes[1:]:
        for k, d in enumerate(shape):
            if k == at:
                dims[k] = None if d is None or dims[k] is None else dims[k] + d  # type: ignore[operator]
            else:
                dims[k] = same_dim(op, f"dimension {k} differs outside axis {at}", dims[k], d)
    return [TensorShape(dims)]


@concat_op.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    values, axis = op.inputs[:-1], op.inputs[-1]
    if len(values) == 1:
        return [grad, None]
    at = constant_value(axis)
    sizes = [None if at is None or t.shape.rank is None else t.shape[int(at)] for t in values]
    if None not in sizes:
        if len(set(sizes)) == 1:
            return [*split_op(np.int32(at), grad, num_split=len(values)), None]
        return [*split_v(grad, np.array(sizes, np.int64), np.int32(at), num_split=len(values)), None]
    shapes = build("ShapeN", values)
    if axis.dtype is not dtypes.int32:
        axis = build("Cast", axis, DstT=dtypes.int32)
    return [*[build("Slice", grad, begin, size) for begin, size in zip(concat_offset(axis, shapes), shapes)], None]


concat_op.sample([normal(2, 3), normal(2, 2)], np.array(1, np.int32))
concat_op.sample([normal(1, 3), normal(2, 3), normal(0, 3)], np.array(0, np.int32))
concat_op.sample([normal(2, 2, 3), normal(2, 2, 3)], np.array(-2, np.int64))
concat_op.sample([normal(4)], np.array(0, np.int32))

concat_op.sample([np.array([[b"a"]], object), np.array([[b"", b"bc"]], object)], np.array(1, np.int32), T=string)


@define("ConcatOffset(concat_dim: int32, shape: N*shape_type) -> offset: N*shape_type", shape_type=INDEX_ATTR,
        differentiable=False)
def concat_offset(concat_dim: Array, shape: list[Array]) -> list[Array]:
    """Where each part begins in the concatenation of N tensors of these shapes: offset[i] (rank,)."""
    at = axis_index("ConcatOffset", "concat_dim", int(concat_dim), shape[0].size)
    offsets, total = [], 0
    for s in shape:
        if s.size != shape[0].size or any(a != b for k, (a, b) in enumerate(zip(s, shape[0])) if k != at):
            raise InvalidArgumentError(f"[ConcatOffset] shapes differ outside axis {at}: {s.tolist()} and "
                                       f"{shape[0].tolist()}")
        offset = np.zeros_like(s)
        offset[at] = total
        total += int(s[at])
        offsets.append(offset)
    return offsets


@concat_offset.shape
def _(op: Operation) -> list[TensorShape]:
    return [t.shape.with_rank(1) for t in op.inputs[1:]]


concat_offset.sample(np.array(1, np.int32), [np.array(s, np.int32) for s in ([2, 3], [2, 5], [2, 0])])
concat_offset.sample(np.array(-1, np.int32), [np.array([2, 3], np.int64), np.array([2, 5], np.int64)])
concat_offset.sample(np.array(0, np.int32), [np.array([4], np.int32)])


@define("Split(split_dim: int32, value: T) -> output: num_split*T", T=MOVABLE)
def split_op(split_dim: Array, value: Array, *, num_split: int) -> list[Array]:
    """`value` in `num_split` equal parts along `split_dim` ()."""
    at = axis_index("Split", "split_dim", int(split_dim), value.ndim)
    _check_divides(value.shape[at], num_split, at)
    return np.split(value, num_split, at)


def _check_divides(size: int, parts: int, axis: int) -> None:
    if parts < 1 or size % parts:
        raise InvalidArgumentError(f"[Split] 'num_split' must divide the dimension: axis {axis} has {size}, num_split "
                                   f"is {parts}")


@split_op.shape
def _(op: Operation) -> list[TensorShape]:
    x, at, n = op.inputs[1].shape, constant_value(op.inputs[0]), op.attrs["num_split"]
    ranked(op, 0, 0)
    if x.dims is None:
        return [UNKNOWN] * n
    if at is None:
        return [TensorShape([None] * len(x.dims))] * n
    axis = axis_index(op.type, "split_dim", int(at), len(x.dims))
    dims = list(x.dims)
    size = dims[axis]
    if size is not None:
        _check_divides(size, n, axis)
        dims[axis] = size // n
    return [TensorShape(dims)] * n


@split_op.gradient
def _(op: Operation, *grads: Tensor | None) -> list[Any]:
    return [None, concat_op(all_gradients(op, grads), op.inputs[0])]


split_op.sample(np.array(1, np.int32), normal(2, 6), num_split=3)
split_op.sample(np.array(-2, np.int32), normal(4, 3), num_split=2)
split_op.sample(np.array(0, np.int32), normal(3, 2, 2), num_split=1)
split_op.sample(np.array(1, np.int32), normal(2, 0), num_split=2)


@define("SplitV(value: T, size_splits: Tlen, split_dim: int32) -> output: num_split*T", T=MOVABLE,
        Tlen=attr("type", dtypes.int64, INDEX))
def split_v(value: Array, size_splits: Array, split_dim: Array, *, num_split: int) -> list[Array]:
    """`value` in parts of size_splits[i] along `split_dim` (). size_splits: (num_split,), one may be -1: the rest."""
    at = axis_index("SplitV", "split_dim", int(split_dim), value.ndim)
    sizes = _sizes([int(s) for s in size_splits], value.shape[at], num_split)
    return np.split(value, np.cumsum(sizes)[:-1], at)


def _sizes(sizes: list[int], total: int, parts: int) -> list[int]:
    rest = total - sum(s for s in sizes if s != -1)
    filled = [rest if s == -1 else s for s in sizes]
    if len(sizes) != parts or sizes.count(-1) > 1 or min(filled, default=0) < 0 or sum(filled) != total:
        raise InvalidArgumentError(f"[SplitV] 'size_splits' must be {parts} sizes that add up to {total}: got {sizes}")
    return filled


@split_v.shape
def _(op: Operation) -> list[TensorShape]:
    x, n = op.inputs[0].shape, op.attrs["num_split"]
    sizes, at = constant_value(op.inputs[1]), constant_value(op.inputs[2])
    if x.dims is None:
        return [UNKNOWN] * n
    if at is None:
        return [TensorShape([None] * len(x.dims))] * n
    axis = axis_index(op.type, "split_dim", int(at), len(x.dims))
    parts: list[int | None] = [None] * n
    total = x.dims[axis]
    if sizes is not None and total is not None:
        parts = list(_sizes(sizes.tolist(), total, n))
    elif sizes is not None:
        parts = [None if s < 0 else s for s in sizes.tolist()]
    return [TensorShape([*x.dims[:axis], p, *x.dims[axis + 1:]]) for p in parts]


@split_v.gradient
def _(op: Operation, *grads: Tensor | None) -> list[Any]:
    return [concat_op(all_gradients(op, grads), op.inputs[2]), None, None]


split_v.sample(normal(2, 6), np.array([1, 0, 5], np.int64), np.array(1, np.int32), num_split=3)
split_v.sample(normal(5, 2), np.array([2, -1], np.int32), np.array(0, np.int32), num_split=2)
split_v.sample(normal(2, 3), np.array([3], np.int64), np.array(-1, np.int32), num_split=1)


# ---- TensorFlow's names where the call differs from the op's
def concat(values: Any, axis: Any, name: str | None = None) -> Tensor:
    """The list `values` one after another along `axis`."""
    if isinstance(values, Tensor):
        values = [values]
    result: Tensor = concat_op(values, axis, name=name or "concat")
    return result


def split(value: Any, num_or_size_splits: Any, axis: Any = 0, num: int | None = None,
          name: str | None = None) -> list[Tensor]:
    """`value` along `axis`: in that many equal parts (an int), or in parts of these sizes (a list or tensor)."""
    if isinstance(num_or_size_splits, (int, np.integer)):
        equal: list[Tensor] = split_op(axis, value, num_split=int(num_or_size_splits), name=name or "split")
        return equal
    sizes = convert_to_tensor(num_or_size_splits)
    n = num if num is not None else sizes.shape.num_elements()
    if n is None:
        raise InvalidArgumentError(f"[split] the number of parts is not known from {sizes!r}. Fix: give num=")
    parts: list[Tensor] = split_v(value, sizes, axis, num_split=n, name=name or "split")
    return parts


__all__ = ["concat", "concat_offset", "split"]
