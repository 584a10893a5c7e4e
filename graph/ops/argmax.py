"""Where the largest elements are: ArgMax, ArgMin, TopKV2, InTopKV2. The lowest index wins ties."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..constant import constant_value
from ..define import Array, Op, attr, convert_to_tensor, define
from ..dtypes import INDEX, NUMBERS, DType, int32, int64
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..samples import distinct, integers, normal
from ..shapes import UNKNOWN, TensorShape
from .rules import axis_index, build, dim, ranked, same_dim


def _shape(op: Operation) -> list[TensorShape]:
    shape, dimension = op.inputs[0].shape, constant_value(op.inputs[1])
    if shape.dims is None:
        return [UNKNOWN]
    if dimension is None:
        return [TensorShape([None] * (len(shape.dims) - 1))]
    axis = axis_index(op.type, "dimension", int(dimension), len(shape.dims))
    if shape.dims[axis] == 0:
        raise InvalidArgumentError(f"[{op.type}] 'dimension' {int(dimension)} has no elements: 'input' is {shape}")
    return [TensorShape(shape.dims[:axis] + shape.dims[axis + 1:])]


def _index_of(op_type: str, input: Array, dimension: Array, pick: Any, dtype: DType) -> Array:
    axis = axis_index(op_type, "dimension", int(dimension), input.ndim)
    if input.shape[axis] == 0:
        raise InvalidArgumentError(
            f"[{op_type}] 'dimension' {int(dimension)} has no elements: 'input' is {input.shape}"
        )
    return np.asarray(pick(input, axis), dtype.as_numpy_dtype)


_TYPES: dict[str, Any] = dict(Tidx=attr("type", int32, INDEX), output_type=attr("type", int64, INDEX))


@define(
    "ArgMax(input: T, dimension: Tidx) -> output: output_type", T=NUMBERS, **_TYPES, differentiable=False, shape=_shape
)
def _argmax(input: Array, dimension: Array, *, output_type: DType) -> Array:
    """output = index of the first largest element along `dimension`"""
    return _index_of("ArgMax", input, dimension, np.argmax, output_type)


@define(
    "ArgMin(input: T, dimension: Tidx) -> output: output_type", T=NUMBERS, **_TYPES, differentiable=False, shape=_shape
)
def _argmin(input: Array, dimension: Array, *, output_type: DType) -> Array:
    """output = index of the first smallest element along `dimension`"""
    return _index_of("ArgMin", input, dimension, np.argmin, output_type)


def _sample(op: Op) -> None:
    for shape, axis in (((7,), 0), ((37,), -1), ((3, 5), 0), ((3, 5), 1), ((2, 3, 5), 1), ((2, 3, 5), -3), ((0, 3), 1)):
        op.sample(normal(*shape), np.int32(axis))
    op.sample(normal(3, 0), np.int32(1))  # refused, and so is the next
    op.sample(normal(3, 2), np.int32(2))
    op.sample(integers(4, 65, high=3), np.int64(1), output_type=int32)  # ties


_sample(_argmax)
_sample(_argmin)


# ---- TopKV2
@define("TopKV2(input: T, k: int32) -> values: T, indices: int32", T=NUMBERS, sorted=True)
def _top_k(input: Array, k: Array) -> tuple[Array, Array]:
    """The k largest elements of each row (the last axis) and their indices, largest first."""
    n = int(k)
    if input.ndim == 0 or not 0 <= n <= input.shape[-1]:
        raise InvalidArgumentError(
            f"[TopKV2] 'input' must have at least k columns: it has shape {input.shape}, k is {n}"
        )
    # stable on the reversed rows, then reversed: descending with the lowest index first
    order = input.shape[-1] - 1 - np.argsort(input[..., ::-1], -1, kind="stable")[..., ::-1]
    indices = order[..., :n]
    return np.take_along_axis(input, indices, -1), indices.astype(np.int32)


@_top_k.shape
def _(op: Operation) -> list[TensorShape]:
    shape, k = ranked(op, 0, 1, at_least=True), constant_value(op.inputs[1])
    ranked(op, 1, 0)
    if shape.dims is None:
        return [UNKNOWN, UNKNOWN]
    last = shape.dims[-1]
    if k is not None and (k < 0 or (last is not None and k > last)):
        raise InvalidArgumentError(
            f"[TopKV2] 'input' must have at least k columns: it has shape {shape}, k is {int(k)}"
        )
    result = TensorShape([*shape.dims[:-1], None if k is None else int(k)])
    return [result, result]


@_top_k.gradient
def _(op: Operation, grad: Tensor | None, _grad_of_indices: Any) -> list[Tensor | None]:
    if grad is None:
        return [None, None]
    x, indices = op.inputs[0], op.outputs[1]
    # every value goes back to its place in the flat input
    columns = build("StridedSlice", build("Shape", x), [-1], [0], [1], end_mask=1, shrink_axis_mask=1)
    size = build("Size", x)
    rows = build("Reshape", build("Range", 0, size, columns), np.array([-1, 1], np.int32))
    k = build("StridedSlice", build("Shape", indices), [-1], [0], [1], end_mask=1)
    flat = build("Reshape", indices, build("ConcatV2", [np.array([-1], np.int32), k], 0)) + rows
    sums = build("UnsortedSegmentSum", build("Reshape", grad, [-1]), build("Reshape", flat, [-1]), size)
    return [build("Reshape", sums, build("Shape", x)), None]


for _shape_k in (((7,), 3), ((3, 5), 1), ((3, 5), 5), ((2, 3, 37), 4), ((3, 5), 0), ((0, 5), 2)):
    _top_k.sample(distinct(*_shape_k[0]), np.int32(_shape_k[1]), gradient=0 not in _shape_k[0] and _shape_k[1] > 0)
_top_k.sample(normal(2, 3), np.int32(4))  # refused, and so is the next
_top_k.sample(normal(2, 3), np.int32(-1))
_top_k.sample(integers(3, 9, high=4), np.int32(5), gradient=False)  # ties


@define("InTopKV2(predictions: float32, targets: T, k: T) -> precision: bool", T=attr("type", int32, INDEX),
        differentiable=False)
def _in_top_k(predictions: Array, targets: Array, k: Array) -> Array:
    """precision[i] = fewer than k of the predictions (n, classes) of row i are above that of targets[i].

    False for a target out of range and where a prediction of the row is not finite.
    """
    known = (targets >= 0) & (targets < predictions.shape[1])
    if not predictions.size:
        return np.zeros(targets.shape, np.bool_)
    own = predictions[np.arange(len(targets)), np.where(known, targets, 0)]
    above = (predictions > own[:, None]).sum(1)
    return np.asarray(known & np.isfinite(predictions).all(1) & (above < int(k)))


@_in_top_k.shape
def _(op: Operation) -> list[TensorShape]:
    predictions, targets = ranked(op, 0, 2), ranked(op, 1, 1)
    ranked(op, 2, 0)
    return [TensorShape([same_dim(op, "'predictions' and 'targets' differ in dimension 0", dim(predictions, 0),
                                  dim(targets, 0))])]


for _n, _classes, _k in ((1, 1, 1), (5, 7, 3), (37, 10, 1), (4, 3, 9), (0, 3, 1)):
    _in_top_k.sample(normal(_n, _classes), integers(_n, low=-1, high=_classes + 1), integers(low=_k, high=_k + 1))
_in_top_k.sample(np.array([[1, 2, 2, 0], [np.nan, 1, 2, 3], [3, np.inf, 1, 2], [1, 1, 1, 1]], np.float32),
                 np.array([1, 0, 0, 3], np.int32), np.int32(1))


# ---- functions
def argmax(
    input: Any, axis: Any = None, name: str | None = None, dimension: Any = None, output_type: Any = int64
) -> Tensor:
    """Index of the first largest element along `axis` (default 0; `dimension` is its old name)."""
    result: Tensor = _argmax(convert_to_tensor(input), _one_axis(axis, dimension), output_type=output_type, name=name)
    return result


def argmin(
    input: Any, axis: Any = None, name: str | None = None, dimension: Any = None, output_type: Any = int64
) -> Tensor:
    """Index of the first smallest element along `axis` (default 0; `dimension` is its old name)."""
    result: Tensor = _argmin(convert_to_tensor(input), _one_axis(axis, dimension), output_type=output_type, name=name)
    return result


def _one_axis(axis: Any, dimension: Any) -> Any:
    if axis is not None and dimension is not None:
        raise InvalidArgumentError("[argmax] give 'axis' or 'dimension', not both")
    return axis if axis is not None else 0 if dimension is None else dimension


def top_k(input: Any, k: Any = 1, sorted: bool = True, name: str | None = None) -> tuple[Tensor, Tensor]:
    """(values, indices) of the k largest of each row. input: (..., n), both results: (..., k)."""
    values, indices = _top_k(convert_to_tensor(input), convert_to_tensor(k, dtypes.int32), sorted=sorted, name=name)
    return values, indices


def in_top_k(predictions: Any, targets: Any, k: Any, name: str | None = None) -> Tensor:
    """Whether the class targets[i] is among the k most likely. predictions: (n, classes) float32, targets: (n,)."""
    targets = convert_to_tensor(targets)
    if not isinstance(k, Tensor):
        k = convert_to_tensor(k, targets.dtype)
    result: Tensor = _in_top_k(predictions, targets, k, name=name)
    return result
