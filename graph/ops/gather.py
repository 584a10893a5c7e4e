"""Ops that read and write the places that an index tensor names: gather and scatter."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..constant import constant_shape, constant_value
from ..define import Array, convert_to_tensor, define
from ..dtypes import INDEX, MOVABLE, NUMBERS
from ..errors import InvalidArgumentError, UnimplementedError
from ..indexed_slices import IndexedSlices
from ..operation import Operation, Tensor
from ..samples import ints, normal
from ..shapes import UNKNOWN, TensorShape
from .rules import axis_index, build, ranked, shape_tensor
from .shape_ops import reshape, transpose_op
from .slicing import index_vector


def _check_range(where: str, indices: Array, limits: Any) -> None:
    bad = np.argwhere((indices < 0) | (indices >= limits))
    if len(bad):
        at = tuple(bad[0].tolist())
        raise InvalidArgumentError(f"[{where}] indices{list(at)} = {indices[at]} is not in [0, "
                                   f"{np.broadcast_to(limits, indices.shape)[at]})")


# ---- GatherV2
@define("GatherV2(params: Tparams, indices: Tindices, axis: Taxis) -> output: Tparams", Tparams=MOVABLE, Tindices=INDEX,
        Taxis=INDEX, batch_dims=0)
def gather_op(params: Array, indices: Array, axis: Array, *, batch_dims: int) -> Array:
    """output[b, o, i, r] = params[b, o, indices[b, i], r], with b over the `batch_dims` first axes, o over the others
    before `axis`, r over those after it. Raises: InvalidArgument for an index out of range."""
    at = axis_index("GatherV2", "axis", int(axis), params.ndim)
    batch = _batch_dims(batch_dims, indices.ndim, at)
    _check_range("GatherV2", indices, params.shape[at])
    if indices.shape[:batch] != params.shape[:batch]:
        raise InvalidArgumentError(f"[GatherV2] the {batch} batch dimensions differ: params {params.shape}, indices "
                                   f"{indices.shape}")
    if not batch:
        return np.take(params, indices, at)
    output = np.empty(params.shape[:at] + indices.shape[batch:] + params.shape[at + 1:], params.dtype)
    for b in np.ndindex(*params.shape[:batch]):
        output[b] = np.take(params[b], indices[b], at - batch)
    return output


def _batch_dims(batch_dims: int, indices_rank: int, axis: int) -> int:
    batch = batch_dims + indices_rank if batch_dims < 0 else batch_dims
    if not 0 <= batch <= min(indices_rank, axis):
        raise InvalidArgumentError(f"[GatherV2] 'batch_dims' {batch_dims} must be at most the rank of indices "
                                   f"({indices_rank}) "
                                   f"and 'axis' ({axis})")
    return batch


@gather_op.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 2, 0)
    params, indices, axis = ranked(op, 0, 1, at_least=True), op.inputs[1].shape, constant_value(op.inputs[2])
    if params.dims is None or indices.dims is None:
        return [UNKNOWN]
    if axis is None:
        return [TensorShape([None] * (len(params.dims) + len(indices.dims) - 1 - op.attrs["batch_dims"]))]
    at = axis_index(op.type, "axis", int(axis), len(params.dims))
    batch = _batch_dims(op.attrs["batch_dims"], len(indices.dims), at)
    head = TensorShape(params.dims[:batch])
    if not head.is_compatible_with(indices.dims[:batch]):
        raise InvalidArgumentError(f"[GatherV2] the {batch} batch dimensions differ: params {params}, indices "
                                   f"{indices}")
    head = head.merge_with(indices.dims[:batch])
    return [head.concatenate(params.dims[batch:at] + indices.dims[batch:] + params.dims[at + 1:])]


@gather_op.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    params, indices, axis = op.inputs
    at = constant_value(axis)
    rank = params.shape.rank
    if at is None or rank is None:
        raise UnimplementedError(f"[GatherV2] the gradient needs a constant axis and params of known rank: {op.name!r}")
    at = int(at) % rank
    if at == 0 and op.attrs["batch_dims"] == 0:
        return [_rows(params, indices, grad), None, None]
    return [_dense(op, grad, at), None, None]


def _rows(params: Tensor, indices: Tensor, grad: Tensor) -> IndexedSlices:
    """Gradient on axis 0: one row for each index."""
    shape = convert_to_tensor(shape_tensor(params))
    if indices.shape.rank == 1:
        return IndexedSlices(grad, indices, shape)
    count = indices.shape.num_elements()
    if params.shape.is_fully_defined() and count is not None:
        values = reshape(grad, np.array([count, *params.shape.known[1:]], np.int32))
    else:
        row = build("StridedSlice", shape, [1], [0], [1], end_mask=1)
        values = reshape(grad, build("ConcatV2", [build("Size", indices, out_type=dtypes.int32)[None], row], 0))
        values.set_shape(TensorShape([count]).concatenate(params.shape[1:]))
    return IndexedSlices(values, reshape(indices, [-1]), shape)


def _dense(op: Operation, grad: Tensor, at: int) -> Tensor:
    """Gradient on any axis: sums rows by UnsortedSegmentSum after the gathered axes of `grad` were moved in front."""
    params, indices, _ = op.inputs
    if indices.shape.rank is None:
        raise UnimplementedError(f"[GatherV2] the gradient needs indices of known rank: {op.name!r}")
    batch = _batch_dims(op.attrs["batch_dims"], indices.shape.rank, at)
    rank, extra = len(params.shape), indices.shape.rank - batch
    order = [*range(batch), *range(at, at + extra), *range(batch, at), *range(at + extra, rank - 1 + extra)]
    values = _permuted(grad, order)
    dims = (np.array(params.shape.known, indices.dtype.as_numpy_dtype) if params.shape.is_fully_defined()
            else build("Shape", params, out_type=indices.dtype))
    segments: Any = dims[at]
    if batch:  # segment number = batch number * n + index
        count: Any = 1
        for k in range(batch):
            count = count * dims[k]
        first = build("Mul", build("Range", 0, count, 1, Tidx=indices.dtype), segments)
        column = index_vector([*[dims[k] for k in range(batch)], *[1] * extra], indices.dtype)
        indices = build("AddV2", indices, reshape(first, column))
        segments = count * segments
    summed = build("UnsortedSegmentSum", values, indices, segments)
    moved = [*range(batch), at, *range(batch, at), *range(at + 1, rank)]
    if batch:
        summed = reshape(summed, index_vector([dims[k] for k in moved], indices.dtype))
    result = _permuted(summed, [int(k) for k in np.argsort(moved)])
    result.set_shape(params.shape)
    return result


def _permuted(x: Tensor, order: list[int]) -> Tensor:
    if order == sorted(order):
        return x
    result: Tensor = transpose_op(x, np.array(order, np.int32))
    return result


gather_op.sample(normal(5, 3), ints(0, 4, 4, 2), np.array(0, np.int32))
gather_op.sample(normal(5, 3), np.array([[1, 1], [0, 3]], np.int64), np.array(0, np.int32))
gather_op.sample(normal(2, 5, 3), ints(4, 0, 4), np.array(1, np.int32))
gather_op.sample(normal(2, 3), np.array([[0, 2], [1, 1]], np.int32), np.array(-1, np.int64))
gather_op.sample(normal(4), np.array(2, np.int32), np.array(0, np.int32))
gather_op.sample(normal(2, 4, 3), np.array([[1, 1, 3], [0, 2, 0]], np.int32), np.array(1, np.int32), batch_dims=1)
gather_op.sample(normal(2, 2, 3), np.array([[2, 2], [0, 1]], np.int32), np.array(2, np.int32), batch_dims=1)
gather_op.sample(normal(5, 2), np.zeros(0, np.int32), np.array(0, np.int32))


def gather(params: Any, indices: Any, validate_indices: Any = None, name: str | None = None, axis: Any = None,
           batch_dims: int = 0) -> Tensor:
    """The slices of `params` along `axis` (batch_dims where not given) that `indices` name."""
    result: Tensor = gather_op(params, indices, batch_dims if axis is None else axis, batch_dims=batch_dims,
                               name=name or "GatherV2")
    return result


# ---- GatherNd, ScatterNd
@define("GatherNd(params: Tparams, indices: Tindices) -> output: Tparams", Tparams=MOVABLE, Tindices=INDEX)
def gather_nd(params: Array, indices: Array) -> Array:
    """output[i, r] = params[indices[i], r]: the last axis of `indices` (..., k) names k axes of `params`."""
    k = indices.shape[-1]
    if k > params.ndim:
        raise InvalidArgumentError(f"[GatherNd] the last dimension of indices {indices.shape} exceeds the rank of "
                                   f"params {params.shape}")
    _check_range("GatherNd", indices, np.array(params.shape[:k], np.int64))
    if k == 0:
        return np.broadcast_to(params, indices.shape[:-1] + params.shape)
    rows: Array = params[tuple(np.moveaxis(indices, -1, 0))]
    return rows


@gather_nd.shape
def _(op: Operation) -> list[TensorShape]:
    params, indices = op.inputs[0].shape, ranked(op, 1, 1, at_least=True)
    if params.dims is None or indices.dims is None or indices.dims[-1] is None:
        return [UNKNOWN]
    if indices.dims[-1] > len(params.dims):
        raise InvalidArgumentError(f"[GatherNd] the last dimension of indices {indices} exceeds the rank of params "
                                   f"{params}")
    return [TensorShape(indices.dims[:-1] + params.dims[indices.dims[-1]:])]


@gather_nd.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    params, indices = op.inputs
    shape = (np.array(params.shape.known, indices.dtype.as_numpy_dtype) if params.shape.is_fully_defined()
             else build("Shape", params, out_type=indices.dtype))
    return [scatter_nd(indices, grad, shape), None]


gather_nd.sample(normal(3, 4), np.array([[0, 1], [2, 3], [2, 3]], np.int32))
gather_nd.sample(normal(3, 4), np.array([[1], [1]], np.int64))
gather_nd.sample(normal(2, 3, 4), np.array([[[0, 2]], [[1, 0]]], np.int32))
gather_nd.sample(normal(3), np.array([1], np.int32))
gather_nd.sample(normal(3, 2), np.zeros((0, 1), np.int32))


@define("ScatterNd(indices: Tindices, updates: T, shape: Tindices) -> output: T", T=NUMBERS, Tindices=INDEX)
def scatter_nd(indices: Array, updates: Array, shape: Array) -> Array:
    """Zeros of dimensions `shape` (n,), updates[i] added at indices[i]: (..., k). updates: (...) + shape[k:]."""
    output = np.zeros([int(d) for d in shape], updates.dtype)
    k = indices.shape[-1]
    if k > shape.size or updates.shape != indices.shape[:-1] + output.shape[k:]:
        raise InvalidArgumentError(f"[ScatterNd] shapes do not fit: indices {indices.shape}, updates {updates.shape}, "
                                   "shape "
                                   f"{shape.tolist()}")
    _check_range("ScatterNd", indices, shape[:k])
    np.add.at(output, tuple(np.moveaxis(indices, -1, 0)) if k else (Ellipsis,), updates)
    return output


@scatter_nd.shape
def _(op: Operation) -> list[TensorShape]:
    indices, updates, shape = ranked(op, 0, 1, at_least=True), op.inputs[1].shape, constant_shape(op.inputs[2])
    if indices.dims is not None and shape.dims is not None and indices.dims[-1] is not None:
        k = indices.dims[-1]
        if k > len(shape.dims) or not updates.is_compatible_with(indices.dims[:-1] + shape.dims[k:]):
            raise InvalidArgumentError(f"[ScatterNd] shapes do not fit: indices {indices}, updates {updates}, shape "
                                       f"{shape}")
    return [shape]


@scatter_nd.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    return [None, gather_nd(grad, op.inputs[0]), None]


scatter_nd.sample(np.array([[0], [2], [0]], np.int32), normal(3, 2), ints(4, 2))
scatter_nd.sample(np.array([[0, 1], [1, 1]], np.int64), normal(2), np.array([2, 3], np.int64))
scatter_nd.sample(np.array([[[1]], [[0]]], np.int32), normal(2, 1, 3), ints(2, 3))
scatter_nd.sample(np.zeros((0, 1), np.int32), normal(0, 2), ints(3, 2))

__all__ = ["gather", "gather_nd", "scatter_nd"]
