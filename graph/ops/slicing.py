"""Ops that cut out and put back rectangular parts of a tensor, and ``tensor[key]``.

StridedSlice keeps a key as three vectors (begin, end, strides), one entry for each item of the key, and bit sets that
say what an entry is: bit i of begin_mask / end_mask drops that bound, of ellipsis_mask makes entry i stand for all axes
not named, of new_axis_mask for a new axis, of shrink_axis_mask for one index whose axis goes away.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..constant import constant_shape, constant_value
from ..define import Array, convert_to_tensor, define
from ..dtypes import FIXED, INDEX, MOVABLE
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..samples import ints, normal
from ..shapes import UNKNOWN, TensorShape
from .rules import build, ranked

MASKS: dict[str, Any] = {"begin_mask": 0, "end_mask": 0, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0}


def _shape_as(x: Tensor, index: Tensor) -> Any:
    """The shape of `x` in the integer type of `index`."""
    if x.shape.is_fully_defined():
        return np.array(x.shape.known, index.dtype.as_numpy_dtype)
    return build("Shape", x, out_type=index.dtype)


# ---- Slice
@define("Slice(input: T, begin: Index, size: Index) -> output: T", T=MOVABLE, Index=INDEX)
def slice_(input: Array, begin: Array, size: Array) -> Array:
    """input[begin[0]:begin[0]+size[0], ...]; a size of -1 takes the rest. begin, size: (rank,)."""
    parts = []
    for k, (n, b, s) in enumerate(zip(input.shape, begin.tolist(), size.tolist())):
        s = n - b if s == -1 else s
        _check_slice(k, n, b, s)
        parts.append(slice(b, b + s))
    if not len(parts) == begin.size == size.size == input.ndim:
        raise InvalidArgumentError(f"[Slice] 'begin' and 'size' must have a number for each axis of {input.shape}: got "
                                   f"{begin.tolist()} and {size.tolist()}")
    return input[tuple(parts)]


def _check_slice(axis: int, n: int, begin: int, size: int) -> None:
    if not (0 <= begin <= n and 0 <= size <= n - begin):
        raise InvalidArgumentError(f"[Slice] axis {axis} has {n}: begin {begin} and size {size} are outside")


@slice_.shape
def _(op: Operation) -> list[TensorShape]:
    x, begin, size = op.inputs[0].shape, constant_value(op.inputs[1]), constant_value(op.inputs[2])
    sizes = constant_shape(op.inputs[2])
    rank = x.rank if x.rank is not None else sizes.rank
    if rank is None:
        return [UNKNOWN]
    if (sizes.rank or rank) != rank or (begin is not None and len(begin) != rank):
        raise InvalidArgumentError(f"[Slice] 'begin' and 'size' must have a number for each axis of {x}")
    dims: list[int | None] = list(sizes.dims) if sizes.dims is not None else [None] * rank
    for k in range(rank):
        n = None if x.dims is None else x.dims[k]
        if n is None or begin is None:
            continue
        if dims[k] is None and size is not None:
            dims[k] = n - int(begin[k])
        if dims[k] is not None:
            _check_slice(k, n, int(begin[k]), dims[k])  # type: ignore[arg-type]
    return [TensorShape(dims)]


@slice_.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    x, begin, _ = op.inputs
    start = constant_value(begin)
    if start is not None and x.shape.is_fully_defined() and grad.shape.is_fully_defined():
        after = np.array(x.shape.known) - start - np.array(grad.shape.known)
        paddings: Any = np.stack([start, after], 1).astype(start.dtype)
    else:
        rest = build("Sub", build("Sub", _shape_as(x, begin), _shape_as(grad, begin)), begin)
        paddings = build("Pack", [begin, rest], axis=1)
    result = build("Pad", grad, paddings)
    result.set_shape(x.shape)
    return [result, None, None]


slice_.sample(normal(3, 4), ints(1, 0), ints(2, -1))
slice_.sample(normal(5), np.array([2], np.int64), np.array([0], np.int64))
slice_.sample(normal(2, 3, 4), ints(0, 1, 2), ints(2, 1, 2))
slice_.sample(normal(), np.zeros(0, np.int32), np.zeros(0, np.int32))
slice_.sample(normal(3, 0), ints(1, 0), ints(-1, -1))


# ---- StridedSlice
def _key(begin: Sequence[Any], end: Sequence[Any], strides: Sequence[Any], masks: dict[str, int]) -> tuple[Any, ...]:
    """The NumPy key that begin, end, strides and masks stand for."""
    items: list[Any] = []
    if not len(begin) == len(end) == len(strides):
        raise InvalidArgumentError(f"[StridedSlice] lengths differ: begin has {len(begin)}, end {len(end)}, strides "
                                   f"{len(strides)}")
    for i, (b, e, s) in enumerate(zip(begin, end, strides)):
        bit = 1 << i
        if masks["ellipsis_mask"] & bit:
            if Ellipsis in items:
                raise InvalidArgumentError("[StridedSlice] only one ellipsis may be in a key")
            items.append(Ellipsis)
        elif masks["new_axis_mask"] & bit:
            items.append(None)
        elif masks["shrink_axis_mask"] & bit:
            if s is not None and s <= 0:
                raise InvalidArgumentError(f"[StridedSlice] an index must have stride 1: strides[{i}] is {s}")
            items.append(_Index(b))
        else:
            if s == 0:
                raise InvalidArgumentError(f"[StridedSlice] strides[{i}] must not be 0")
            items.append(_Range(b, bool(masks["begin_mask"] & bit), e, bool(masks["end_mask"] & bit), s))
    return tuple(items)


class _Index:
    """One index; None: not known yet."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Range:
    """begin:end:stride; None: not known yet, unless `all_before` or `all_after` say that the bound is dropped."""

    def __init__(self, begin: Any, all_before: bool, end: Any, all_after: bool, stride: Any) -> None:
        self.known = stride is not None and (all_before or begin is not None) and (all_after or end is not None)
        self.slice = slice(None if all_before else begin, None if all_after else end, stride)


def _numpy_key(key: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
    result: list[Any] = []
    for item, axis in zip(key, _axes(key, len(shape))):
        if isinstance(item, _Index):
            _check_index(item.value, axis, shape[axis])
            result.append(item.value)
        else:
            result.append(item.slice if isinstance(item, _Range) else item)
    return tuple(result)


def _check_index(index: int, axis: int, n: int) -> None:
    if not -n <= index < n:
        raise InvalidArgumentError(f"[StridedSlice] slice index {index} of dimension {axis} out of bounds: it has {n}")


def _axes(key: tuple[Any, ...], rank: int) -> list[int]:
    """The axis of the input at which each item of the key stands."""
    named = sum(isinstance(item, (_Index, _Range)) for item in key)
    if named > rank:
        raise InvalidArgumentError(f"[StridedSlice] the key names {named} axes, the input has {rank}")
    axes, axis = [], 0
    for item in key:
        axes.append(axis)
        axis += rank - named if item is Ellipsis else isinstance(item, (_Index, _Range))
    return axes


def _masks(op: Operation) -> dict[str, Any]:
    return {name: op.attrs[name] for name in MASKS}


@define("StridedSlice(input: T, begin: Index, end: Index, strides: Index) -> output: T", T=MOVABLE, Index=INDEX,
        **MASKS)
def strided_slice_op(input: Array, begin: Array, end: Array, strides: Array, *, begin_mask: int, end_mask: int,
                     ellipsis_mask: int, new_axis_mask: int, shrink_axis_mask: int) -> Array:
    """input[begin[0]:end[0]:strides[0], ...] by Python's rules; the masks are explained at the top of this file."""
    masks = {"begin_mask": begin_mask, "end_mask": end_mask, "ellipsis_mask": ellipsis_mask,
             "new_axis_mask": new_axis_mask, "shrink_axis_mask": shrink_axis_mask}
    key = _key(begin.tolist(), end.tolist(), strides.tolist(), masks)
    part: Array = input[_numpy_key(key, input.shape)]
    return part


@strided_slice_op.shape
def _(op: Operation) -> list[TensorShape]:
    x = op.inputs[0].shape
    begin, end, strides = (_entries(t) for t in op.inputs[1:])
    if begin is None or x.dims is None:
        return [UNKNOWN]
    nothing: list[Any] = [None] * len(begin)
    key = _key(begin, nothing if end is None else end, nothing if strides is None else strides, _masks(op))
    dims: list[int | None] = []
    rest = 0
    for item, axis in zip(key, _axes(key, len(x.dims))):
        rest = axis
        if item is None:
            dims.append(1)
        elif item is Ellipsis:
            named = sum(isinstance(i, (_Index, _Range)) for i in key)
            rest = axis + len(x.dims) - named
            dims.extend(x.dims[axis:rest])
        else:
            rest = axis + 1
            n = x.dims[axis]
            if isinstance(item, _Range):
                dims.append(len(range(n)[item.slice]) if item.known and n is not None else None)
            elif n is not None and item.value is not None:
                _check_index(item.value, axis, n)
    return [TensorShape([*dims, *x.dims[rest:]])]


def _entries(vector: Tensor) -> list[Any] | None:
    """The entries of a 1-D tensor, None for those not known; None where not even their number is."""
    value = constant_value(vector)
    if value is not None:
        entries: list[Any] = value.tolist()
        return entries
    if vector.op.type == "Pack":
        parts = [constant_value(t) for t in vector.op.inputs]
        return [None if p is None else int(p) for p in parts]
    n = vector.shape.num_elements()
    return None if n is None else [None] * n


@strided_slice_op.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    x, begin, end, strides = op.inputs
    return [strided_slice_grad(_shape_as(x, begin), begin, end, strides, grad, **_masks(op)), None, None, None]


strided_slice_op.sample(normal(4, 5), ints(0, 1), ints(4, 4), ints(2, 1))
strided_slice_op.sample(normal(4, 5), ints(-1, 3), ints(0, 0), ints(-1, -2), end_mask=1)
strided_slice_op.sample(normal(4, 5), ints(2), ints(3), ints(1), shrink_axis_mask=1)
strided_slice_op.sample(normal(4, 5), ints(-1, 0), ints(0, 9), ints(1, 1), shrink_axis_mask=1)
strided_slice_op.sample(normal(2, 3, 4, 5), ints(1, 0, 2), ints(2, 0, 4), ints(1, 1, 1), ellipsis_mask=2,
                        shrink_axis_mask=1)
strided_slice_op.sample(normal(3, 4), np.array([0, 0, 0], np.int64), np.array([0, 0, 2], np.int64),
                        np.array([1, 1, 1], np.int64), new_axis_mask=1, begin_mask=6, end_mask=2)
strided_slice_op.sample(normal(5), ints(-9), ints(9), ints(3))
strided_slice_op.sample(normal(5), ints(3), ints(1), ints(1))
strided_slice_op.sample(normal(2, 3), np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int32))


@define("StridedSliceGrad(shape: Index, begin: Index, end: Index, strides: Index, dy: T) -> output: T", T=FIXED,
        Index=INDEX,
        **MASKS)
def strided_slice_grad(shape: Array, begin: Array, end: Array, strides: Array, dy: Array, *, begin_mask: int,
                       end_mask: int,
                       ellipsis_mask: int, new_axis_mask: int, shrink_axis_mask: int) -> Array:
    """Zeros of the dimensions `shape` with `dy` put where StridedSlice with these arguments reads."""
    masks = {"begin_mask": begin_mask, "end_mask": end_mask, "ellipsis_mask": ellipsis_mask,
             "new_axis_mask": new_axis_mask, "shrink_axis_mask": shrink_axis_mask}
    output = np.zeros([int(d) for d in shape], dy.dtype)
    key = _numpy_key(_key(begin.tolist(), end.tolist(), strides.tolist(), masks), output.shape)
    if output[key].shape != dy.shape:
        raise InvalidArgumentError(f"[StridedSliceGrad] 'dy' must be of the slice's shape: dy {dy.shape}, slice "
                                   f"{output[key].shape}")
    output[key] = dy
    return output


@strided_slice_grad.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 0, 1)
    return [constant_shape(op.inputs[0])]


@strided_slice_grad.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    _, begin, end, strides, _ = op.inputs
    return [None, None, None, None, strided_slice_op(grad, begin, end, strides, **_masks(op))]


strided_slice_grad.sample(ints(4, 5), ints(0, 1), ints(4, 4), ints(2, 1), normal(2, 3))
strided_slice_grad.sample(ints(4, 5), ints(3, 3), ints(0, 0), ints(-1, -2), normal(4, 2), end_mask=1)
strided_slice_grad.sample(ints(4, 5), ints(2), ints(3), ints(1), normal(5), shrink_axis_mask=1)
strided_slice_grad.sample(ints(2, 3, 4), ints(0, 2), ints(0, 4), ints(1, 1), normal(2, 3, 2), ellipsis_mask=1)
strided_slice_grad.sample(np.array([3], np.int64), np.array([0, 1], np.int64), np.array([0, 3], np.int64),
                          np.array([1, 1], np.int64), normal(1, 2), new_axis_mask=1)
strided_slice_grad.sample(ints(5), ints(3), ints(1), ints(1), normal(0))


def strided_slice(input_: Any, begin: Any, end: Any, strides: Any = None, begin_mask: int = 0, end_mask: int = 0,
                  ellipsis_mask: int = 0, new_axis_mask: int = 0, shrink_axis_mask: int = 0,
                  name: str | None = None) -> Tensor:
    """input_[begin[0]:end[0]:strides[0], ...]; strides default to 1. See the top of this file for masks."""
    begin = convert_to_tensor(begin)
    if strides is None:
        strides = np.ones(begin.shape.known, begin.dtype.as_numpy_dtype) if begin.shape.is_fully_defined() else build(
            "OnesLike", begin)
    result: Tensor = strided_slice_op(input_, begin, end, strides, begin_mask=begin_mask, end_mask=end_mask,
                                      ellipsis_mask=ellipsis_mask, new_axis_mask=new_axis_mask,
                                      shrink_axis_mask=shrink_axis_mask, name=name)
    return result


def getitem(tensor: Tensor, key: Any) -> Tensor:
    """``tensor[key]`` as one StridedSlice. key: ints, scalar tensors, slices, ``...`` and None."""
    items = key if isinstance(key, tuple) else (key,)
    begin: list[Any] = []
    end: list[Any] = []
    strides: list[Any] = []
    masks = dict(MASKS)
    for i, item in enumerate(items):
        b: Any = 0
        e: Any = 0
        s: Any = 1
        if item is Ellipsis:
            masks["ellipsis_mask"] |= 1 << i
        elif item is None:
            masks["new_axis_mask"] |= 1 << i
        elif isinstance(item, slice):
            b, e, s = (0 if item.start is None else item.start, 0 if item.stop is None else item.stop,
                       1 if item.step is None else item.step)
            masks["begin_mask"] |= (item.start is None) << i
            masks["end_mask"] |= (item.stop is None) << i
        else:
            b = _index(item)
            e = b + 1
            masks["shrink_axis_mask"] |= 1 << i
        for vector, value in ((begin, b), (end, e), (strides, s)):
            vector.append(value if isinstance(value, Tensor) else _index(value))
    # one integer type for all: that of a tensor among them
    dtype = next((v.dtype for v in (*begin, *end, *strides) if isinstance(v, Tensor)), None)
    result: Tensor = strided_slice_op(tensor, *(index_vector(v, dtype) for v in (begin, end, strides)), **masks,
                                      name="strided_slice")
    return result


def _index(item: Any) -> Any:
    """An int or a scalar integer tensor. Raises: TypeError."""
    convert = getattr(item, "_as_tensor", None)
    item = item if convert is None else convert()
    if isinstance(item, Tensor) and item.dtype in INDEX and item.shape.rank in (0, None):
        return item
    if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
        return int(item)
    if isinstance(item, np.ndarray) and item.ndim == 0 and item.dtype.kind in "iu":
        return int(item)
    raise TypeError(f"[getitem] an index must be an int, a scalar int32 or int64 tensor, a slice, ... or None: got "
                    f"{item!r}. "
                    "Fix: use rf.gather for a list of indices")


def index_vector(values: list[Any], dtype: Any = None) -> Any:
    """Ints and scalar tensors as one vector: an array, or a Pack where there is a tensor among them."""
    if not any(isinstance(v, Tensor) for v in values):
        return np.array(values, np.int32 if dtype is None else dtype.as_numpy_dtype)
    return build("Pack", values)


__all__ = ["getitem", "index_vector", "slice_", "strided_slice", "strided_slice_grad"]
