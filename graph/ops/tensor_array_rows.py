"""Tensor arrays (tensor_array.py): many elements read or written at once, as the rows of one tensor."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..define import Array, define
from ..errors import InvalidArgumentError, UnimplementedError
from ..operation import Operation, Tensor
from ..samples import ints, normal
from ..shapes import SCALAR, UNKNOWN, TensorShape
from .rules import build, dim, ranked, same_dim
from .tensor_array import (
    DTYPE,
    FLOW,
    TYPES,
    checked,
    element_shape,
    gradient_array,
    merged,
    sample_array,
    written_gradients,
)
from .tensor_array_reference import ArrayState


@define("TensorArrayGatherV3(handle: resource, indices: int32, flow_in: float32) -> value: dtype", dtype=DTYPE,
        element_shape=UNKNOWN, stateful=True)
def tensor_array_gather(handle: ArrayState, indices: Array, flow_in: Array, *, dtype: dtypes.DType,
                        element_shape: TensorShape) -> Array:
    """value[i] = element indices[i]: (n, element..). They must be of one shape, known where there are none."""
    where = "TensorArrayGatherV3"
    handle.check_dtype(where, dtype)
    row = handle.row_shape(where, element_shape)
    if not indices.size:
        return np.zeros((0, *_known(where, row)), dtype.as_numpy_dtype)
    rows = [handle.read(where, int(i)) for i in indices]
    if any(r.shape != rows[0].shape or not row.is_compatible_with(r.shape) for r in rows):
        raise handle.error(where, f"must have elements of one shape, {row}: got {sorted({r.shape for r in rows})}")
    return np.stack(rows)


def _known(where: str, shape: TensorShape) -> tuple[int, ...]:
    if not shape.is_fully_defined():
        raise UnimplementedError(f"[{where}] the shape of no elements at all must be known: it is {shape}")
    return shape.known


@tensor_array_gather.shape
def _(op: Operation) -> list[TensorShape]:
    checked(op, flow=2, index_rank=1)
    row = merged(op, element_shape(op.inputs[0]), op.attrs["element_shape"], "'element_shape'")
    return [TensorShape([None]).merge_with(op.inputs[1].shape).concatenate(row)]


@define("TensorArrayScatterV3(handle: resource, indices: int32, value: T, flow_in: float32) -> flow_out: float32",
        T=TYPES, stateful=True)
def tensor_array_scatter(handle: ArrayState, indices: Array, value: Array, flow_in: Array, *, T: dtypes.DType) -> Array:
    """Element indices[i] becomes value[i]."""
    where = "TensorArrayScatterV3"
    handle.check_dtype(where, T)
    if indices.ndim != 1 or not value.ndim or len(indices) != len(value):
        raise InvalidArgumentError(f"[{where}] each row of 'value' {value.shape} needs one of 'indices' "
                                   f"{indices.shape}")
    for i, row in zip(indices, value):
        handle.write(where, int(i), np.asarray(row, value.dtype))
    return flow_in


@tensor_array_scatter.shape
def _(op: Operation) -> list[TensorShape]:
    checked(op, flow=3, index_rank=1)
    value = ranked(op, 2, 1, at_least=True)
    if value.dims is not None:
        same_dim(op, "each row of 'value' needs one of 'indices'", dim(op.inputs[1].shape, 0), value.dims[0])
        merged(op, element_shape(op.inputs[0]), TensorShape(value.dims[1:]), "a row of 'value'")
    return [SCALAR]


# ---- elements of different lengths, one after another
@define("TensorArrayConcatV3(handle: resource, flow_in: float32) -> value: dtype, lengths: int64", dtype=DTYPE,
        element_shape_except0=UNKNOWN, stateful=True)
def tensor_array_concat(handle: ArrayState, flow_in: Array, *, dtype: dtypes.DType, element_shape_except0: TensorShape
                        ) -> tuple[Array, Array]:
    """All elements joined along their first dimension, and how long each is there."""
    where = "TensorArrayConcatV3"
    handle.check_dtype(where, dtype)
    handle.check_open(where)
    if not handle.elements:
        return np.zeros((0, *_known(where, element_shape_except0)), dtype.as_numpy_dtype), np.zeros(0, np.int64)
    rows = [handle.read(where, i) for i in range(len(handle.elements))]
    for i, row in enumerate(rows):
        if not row.ndim:
            raise handle.error(where, f"has a scalar at index {i}: there is nothing to join it along")
        if row.shape[1:] != rows[0].shape[1:] or not element_shape_except0.is_compatible_with(row.shape[1:]):
            raise handle.error(where, f"has an element of shape {row.shape} at index {i}: at 0 it is {rows[0].shape}, "
                                      f"'element_shape_except0' {element_shape_except0}")
    return np.concatenate(rows), np.array([len(r) for r in rows], np.int64)


@tensor_array_concat.shape
def _(op: Operation) -> list[TensorShape]:
    checked(op, flow=1)
    return [TensorShape([None]).concatenate(op.attrs["element_shape_except0"]), TensorShape([None])]


@define("TensorArraySplitV3(handle: resource, value: T, lengths: int64, flow_in: float32) -> flow_out: float32",
        T=TYPES, stateful=True)
def tensor_array_split(handle: ArrayState, value: Array, lengths: Array, flow_in: Array, *, T: dtypes.DType) -> Array:
    """Element i becomes the next lengths[i] rows of `value`."""
    where = "TensorArraySplitV3"
    handle.check_dtype(where, T)
    if lengths.ndim != 1 or not value.ndim or (lengths < 0).any() or lengths.sum() != len(value):
        raise InvalidArgumentError(f"[{where}] 'lengths' must add up to the rows of 'value' {value.shape}: got "
                                   f"{lengths.tolist()}")
    handle.check_open(where)
    handle.check_size(where, len(lengths))
    for i, end in enumerate(np.cumsum(lengths)):
        handle.write(where, i, value[end - lengths[i]:end])
    return flow_in


@tensor_array_split.shape
def _(op: Operation) -> list[TensorShape]:
    checked(op, flow=3)
    ranked(op, 1, 1, at_least=True)
    ranked(op, 2, 1)
    return [SCALAR]


# ---- gradients: along the flow
@tensor_array_gather.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    handle, flow = gradient_array(op, op.inputs[2])
    return [None, None, build("TensorArrayScatterV3", handle, op.inputs[1], grad, flow)]


@tensor_array_scatter.gradient
def _(op: Operation, flow: Tensor) -> list[Any]:
    handle, ready = written_gradients(op, flow)
    grad = build("TensorArrayGatherV3", handle, op.inputs[1], ready, dtype=op.attrs["T"])
    return [None, None, grad, flow]


@tensor_array_concat.gradient
def _(op: Operation, grad: Tensor, _: Any) -> list[Any]:
    handle, flow = gradient_array(op, op.inputs[1])
    return [None, build("TensorArraySplitV3", handle, grad, op.outputs[1], flow)]


@tensor_array_split.gradient
def _(op: Operation, flow: Tensor) -> list[Any]:
    handle, ready = written_gradients(op, flow)
    grad, _lengths = build("TensorArrayConcatV3", handle, ready, dtype=op.attrs["T"])
    return [None, grad, None, flow]


# ---- samples
tensor_array_gather.sample(sample_array(written=3), ints(2, 0), FLOW)
tensor_array_gather.sample(sample_array(written=3, shape=(2, 2), clear_after_read=False), ints(0, 1, 1), FLOW)
tensor_array_gather.sample(sample_array(size=0), ints(), FLOW, element_shape=TensorShape([4]))
tensor_array_gather.sample(sample_array(written=1), ints(0), FLOW, dtype=dtypes.float32,
                           element_shape=TensorShape([3]))  # refused

tensor_array_scatter.sample(sample_array(), ints(2, 0), normal(2, 3), FLOW)
tensor_array_scatter.sample(sample_array(size=0, dynamic_size=True), ints(0, 1, 2), normal(3), FLOW)
tensor_array_scatter.sample(sample_array(), ints(0, 0), normal(2, 3), FLOW)  # refused
tensor_array_scatter.sample(sample_array(), ints(0, 1), normal(3), FLOW)  # refused

tensor_array_concat.sample(sample_array(written=3, shape=(2, 2)), FLOW)
tensor_array_concat.sample(sample_array(size=0), FLOW, element_shape_except0=TensorShape([3]))
tensor_array_concat.sample(sample_array(size=1, written=1, shape=()), FLOW, dtype=dtypes.float32)  # refused

tensor_array_split.sample(sample_array(), normal(4, 2), np.array([1, 0, 3]), FLOW)
tensor_array_split.sample(sample_array(size=0, dynamic_size=True), normal(4), np.array([1, 3]), FLOW)
tensor_array_split.sample(sample_array(), normal(4, 2), np.array([1, 3]), FLOW)  # refused
tensor_array_split.sample(sample_array(size=2), normal(4, 2), np.array([1, 2]), FLOW)  # refused
