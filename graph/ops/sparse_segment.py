"""Sums and means of rows of an embedding, chosen by indices and grouped by ascending segment ids; their gradients."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..constant import constant_value
from ..define import Array, attr, define
from ..dtypes import FLOATS, INDEX, int32
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import TensorShape
from .rules import build, dim, ranked, same_dim

_TYPES: dict[str, Any] = {"T": FLOATS, "Tidx": attr("type", int32, INDEX), "Tsegmentids": attr("type", int32, INDEX)}


def _check(where: str, indices: Array, ids: Array, rows: int) -> None:
    if indices.shape != ids.shape or ids.ndim != 1:
        raise InvalidArgumentError(f"[{where}] 'indices' and 'segment_ids' must be vectors of one size: "
                                   f"{indices.shape} and {ids.shape}")
    if (np.diff(ids) < 0).any() or (len(ids) and ids[0] < 0):
        raise InvalidArgumentError(f"[{where}] segment ids must be >= 0 and ascending: got {ids.tolist()}")
    bad = (indices < 0) | (indices >= rows)
    if bad.any():
        raise InvalidArgumentError(f"[{where}] indices[{int(np.argmax(bad))}] = {indices[bad][0]} is not in "
                                   f"[0, {rows})")


def _segments(where: str, data: Array, indices: Array, ids: Array) -> tuple[Array, Array]:
    """The sums, and how many rows each is of (at least 1), shaped to divide them."""
    _check(where, indices, ids, data.shape[0])
    n = int(ids[-1]) + 1 if len(ids) else 0
    sums = np.zeros((n, *data.shape[1:]), data.dtype)
    np.add.at(sums, ids, data[indices])
    counts = np.maximum(np.bincount(ids, minlength=n), 1).astype(data.dtype) if n else np.ones(0, data.dtype)
    return sums, counts.reshape(-1, *[1] * (data.ndim - 1))


def _segment_shape(op: Operation) -> list[TensorShape]:
    data = ranked(op, 0, 1, at_least=True)
    same_dim(op, "'indices' and 'segment_ids' differ in size", dim(ranked(op, 1, 1), 0), dim(ranked(op, 2, 1), 0))
    ids = constant_value(op.inputs[2])
    n = None if ids is None else int(ids[-1]) + 1 if len(ids) else 0
    return [TensorShape([n]).concatenate(data[1:])]


@define("SparseSegmentSum(data: T, indices: Tidx, segment_ids: Tsegmentids) -> output: T", **_TYPES,
        sparse_gradient=False, shape=_segment_shape)
def sparse_segment_sum(data: Array, indices: Array, segment_ids: Array) -> Array:
    """output[s] = sum of data[indices[i]] over i with segment_ids[i] = s; 0 for a segment that does not appear.

    data: (rows, ...), indices, segment_ids: (n,), output: (last segment id + 1, ...).
    """
    return _segments("SparseSegmentSum", data, indices, segment_ids)[0]


@define("SparseSegmentMean(data: T, indices: Tidx, segment_ids: Tsegmentids) -> output: T", **_TYPES,
        sparse_gradient=False, shape=_segment_shape)
def sparse_segment_mean(data: Array, indices: Array, segment_ids: Array) -> Array:
    """output[s] = mean of data[indices[i]] over i with segment_ids[i] = s; 0 for a segment that does not appear."""
    sums, counts = _segments("SparseSegmentMean", data, indices, segment_ids)
    return sums / counts


def _row_gradients(where: str, grad: Array, indices: Array, ids: Array, rows: int, mean: bool) -> Array:
    """The gradient for each of the gathered rows, (n, ...)."""
    _check(where, indices, ids, rows)
    if len(ids) and ids[-1] >= len(grad):
        raise InvalidArgumentError(f"[{where}] segment ids must be below the rows of 'grad': {ids[-1]} and {len(grad)}")
    values: Array = grad[ids]
    if not mean:
        return values
    counts = np.bincount(ids, minlength=len(grad))[ids].astype(grad.dtype)
    values = values / counts.reshape(-1, *[1] * (grad.ndim - 1))
    return values


def _dense(where: str, grad: Array, indices: Array, ids: Array, rows: int, mean: bool) -> Array:
    output = np.zeros((rows, *grad.shape[1:]), grad.dtype)
    np.add.at(output, indices, _row_gradients(where, grad, indices, ids, rows, mean))
    return output


def _sparse(where: str, grad: Array, indices: Array, ids: Array, rows: int, mean: bool) -> tuple[Array, Array]:
    unique = np.unique(indices)
    return _dense(where, grad, indices, ids, rows, mean)[unique], unique


def _dense_shape(op: Operation) -> list[TensorShape]:
    rows = constant_value(op.inputs[3])
    ranked(op, 3, 0)
    return [TensorShape([None if rows is None else int(rows)]).concatenate(ranked(op, 0, 1, at_least=True)[1:])]


def _sparse_shape(op: Operation) -> list[TensorShape]:
    ranked(op, 3, 0)
    return [TensorShape([None]).concatenate(ranked(op, 0, 1, at_least=True)[1:]), TensorShape([None])]


@define("SparseSegmentSumGrad(grad: T, indices: Tidx, segment_ids: Tsegmentids, output_dim0: int32) -> output: T",
        **_TYPES, differentiable=False, shape=_dense_shape)
def sparse_segment_sum_grad(grad: Array, indices: Array, segment_ids: Array, output_dim0: Array) -> Array:
    """The gradient of SparseSegmentSum for data of `output_dim0` () rows: grad[segment_ids[i]] added at indices[i]."""
    return _dense("SparseSegmentSumGrad", grad, indices, segment_ids, int(output_dim0), False)


@define("SparseSegmentMeanGrad(grad: T, indices: Tidx, segment_ids: Tsegmentids, output_dim0: int32) -> output: T",
        **_TYPES, differentiable=False, shape=_dense_shape)
def sparse_segment_mean_grad(grad: Array, indices: Array, segment_ids: Array, output_dim0: Array) -> Array:
    """SparseSegmentSumGrad with each row of `grad` divided by the size of its segment."""
    return _dense("SparseSegmentMeanGrad", grad, indices, segment_ids, int(output_dim0), True)


@define("SparseSegmentSumGradV2(grad: T, indices: Tidx, segment_ids: Tsegmentids, dense_output_dim0: int32) -> "
        "output: T, sorted_unique_indices: Tidx", **_TYPES, differentiable=False, shape=_sparse_shape)
def sparse_segment_sum_grad_v2(grad: Array, indices: Array, segment_ids: Array,
                               dense_output_dim0: Array) -> tuple[Array, Array]:
    """The rows of SparseSegmentSumGrad that `indices` name, and which they are, ascending."""
    return _sparse("SparseSegmentSumGradV2", grad, indices, segment_ids, int(dense_output_dim0), False)


@define("SparseSegmentMeanGradV2(grad: T, indices: Tidx, segment_ids: Tsegmentids, dense_output_dim0: int32) -> "
        "output: T, sorted_unique_indices: Tidx", **_TYPES, differentiable=False, shape=_sparse_shape)
def sparse_segment_mean_grad_v2(grad: Array, indices: Array, segment_ids: Array,
                                dense_output_dim0: Array) -> tuple[Array, Array]:
    """The rows of SparseSegmentMeanGrad that `indices` name, and which they are, ascending."""
    return _sparse("SparseSegmentMeanGradV2", grad, indices, segment_ids, int(dense_output_dim0), True)


def _gradient(op: Operation, grad: Tensor) -> list[Any]:
    data, indices, ids = op.inputs
    rows: Any = data.shape[0] if data.shape.dims is not None else None
    if rows is None:
        rows = build("StridedSlice", build("Shape", data), [0], [1], [1], shrink_axis_mask=1)
    else:
        rows = np.array(rows, np.int32)
    return [build(op.type + "Grad", grad, indices, ids, rows), None, None]


for _op in (sparse_segment_sum, sparse_segment_mean):
    _op.gradient(_gradient)
    _op.sample(normal(5, 3), np.array([0, 4, 4, 2], np.int32), np.array([0, 0, 2, 2], np.int32))
    _op.sample(normal(5), np.array([3, 1, 1], np.int64), np.array([0, 1, 1], np.int32))
    _op.sample(normal(5, 2, 2), np.array([3], np.int32), np.array([1], np.int64))
    _op.sample(normal(5, 2), np.zeros(0, np.int32), np.zeros(0, np.int32))
    _op.sample(normal(5, 2), np.array([5], np.int32), np.array([0], np.int32))  # refused
    _op.sample(normal(5, 2), np.array([0, 1], np.int32), np.array([1, 0], np.int32))  # refused
for _op in (sparse_segment_sum_grad, sparse_segment_mean_grad, sparse_segment_sum_grad_v2, sparse_segment_mean_grad_v2):
    _rows = np.array(5, np.int32)
    _op.sample(normal(3, 3), np.array([0, 4, 4, 2], np.int32), np.array([0, 0, 2, 2], np.int32), _rows)
    _op.sample(normal(2), np.array([3, 1, 1], np.int64), np.array([0, 1, 1], np.int32), _rows)
    _op.sample(normal(2, 2), np.zeros(0, np.int32), np.zeros(0, np.int32), _rows)
    _op.sample(normal(2, 2), np.array([5], np.int32), np.array([0], np.int32), _rows)  # refused

__all__ = ["sparse_segment_mean", "sparse_segment_sum"]
