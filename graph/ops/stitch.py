"""Ops that take rows apart and join them by indices: partition and stitch."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..constant import constant_value
from ..define import Array, define
from ..dtypes import FIXED, MOVABLE
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import UNKNOWN, TensorShape
from .rules import all_gradients, build, ranked, shape_tensor
from .shape_ops import reshape


@define("DynamicStitch(indices: N*int32, data: N*T) -> merged: T", T=FIXED)
def dynamic_stitch(indices: list[Array], data: list[Array]) -> Array:
    """merged[indices[m][i, ...]] = data[m][i, ...]; of equal indices the last wins, rows without an index are 0.

    indices[m]: any shape S; data[m]: S + R; merged: (largest index + 1,) + R.
    """
    n = max((int(i.max()) + 1 for i in indices if i.size), default=0)
    row = data[0].shape[indices[0].ndim:]
    merged = np.zeros((n, *row), data[0].dtype)
    for i, d in zip(indices, data):
        if d.shape != i.shape + row:
            raise InvalidArgumentError(f"[DynamicStitch] data {d.shape} does not begin with its indices' shape "
                                       f"{i.shape} and "
                                       f"end with {row}")
        if i.size and i.min() < 0:
            raise InvalidArgumentError(f"[DynamicStitch] an index is negative: {int(i.min())}")
        merged[i] = d
    return merged


@dynamic_stitch.shape
def _(op: Operation) -> list[TensorShape]:
    n = op.attrs["N"]
    row, largest = UNKNOWN, -1
    for m in range(n):
        i, d = op.inputs[m], op.inputs[n + m]
        value = constant_value(i)
        largest = -2 if value is None or largest == -2 else max(largest, int(value.max(initial=-1)))
        if i.shape.rank is not None and d.shape.dims is not None:
            ranked(op, n + m, i.shape.rank, at_least=True)
            if not i.shape.is_compatible_with(d.shape.dims[:i.shape.rank]):
                raise InvalidArgumentError(f"[DynamicStitch] data[{m}] {d.shape} does not begin with indices[{m}]'s "
                                           f"shape {i.shape}")
            row = row.merge_with(d.shape.dims[i.shape.rank:])
    return [TensorShape([None if largest == -2 else largest + 1]).concatenate(row)]


@dynamic_stitch.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    n = op.attrs["N"]
    return [None] * n + [build("GatherV2", grad, i, 0) for i in op.inputs[:n]]


dynamic_stitch.sample([np.array([0, 2], np.int32), np.array([1, 3], np.int32)], [normal(2, 3), normal(2, 3)])
dynamic_stitch.sample([np.array([[0], [1]], np.int32), np.array(2, np.int32)], [normal(2, 1, 2), normal(2)])
dynamic_stitch.sample([np.array([0, 1], np.int32), np.array([1], np.int32)], [normal(2), normal(1)], gradient=False)
dynamic_stitch.sample([np.zeros(0, np.int32)], [normal(0, 2)])


@define("ParallelDynamicStitch(indices: N*int32, data: N*T) -> merged: T", T=FIXED)
def parallel_dynamic_stitch(indices: list[Array], data: list[Array]) -> Array:
    """DynamicStitch for callers who promise that no index comes twice; here the last of equal ones still wins."""
    return np.asarray(dynamic_stitch.reference(indices, data))


parallel_dynamic_stitch.shape_rule = dynamic_stitch.shape_rule
parallel_dynamic_stitch.gradient_rule = dynamic_stitch.gradient_rule
parallel_dynamic_stitch.sample([np.array([0, 2], np.int32), np.array([1, 3], np.int32)],
                               [normal(2, 3), normal(2, 3)])
parallel_dynamic_stitch.sample([np.array(1, np.int32), np.array([2, 0], np.int32)], [normal(), normal(2)])


@define("DynamicPartition(data: T, partitions: int32) -> outputs: num_partitions*T", T=MOVABLE)
def dynamic_partition(data: Array, partitions: Array, *, num_partitions: int) -> list[Array]:
    """outputs[i] = the rows of `data` with partitions == i, in order.

    partitions: any shape S, in [0, num_partitions); data: S + R; outputs[i]: (n_i,) + R.
    """
    if data.shape[:partitions.ndim] != partitions.shape:
        raise InvalidArgumentError(f"[DynamicPartition] data {data.shape} does not begin with the partitions' shape "
                                   f"{partitions.shape}")
    if partitions.size and not (0 <= partitions.min() and partitions.max() < num_partitions):
        raise InvalidArgumentError(f"[DynamicPartition] partitions must be in [0, {num_partitions}): they span "
                                   f"[{partitions.min()}, {partitions.max()}]")
    return [data[partitions == i] for i in range(num_partitions)]


@dynamic_partition.shape
def _(op: Operation) -> list[TensorShape]:
    data, partitions = op.inputs[0].shape, op.inputs[1].shape
    rows = UNKNOWN
    if partitions.rank is not None and data.dims is not None:
        ranked(op, 0, partitions.rank, at_least=True)
        if not partitions.is_compatible_with(data.dims[:partitions.rank]):
            raise InvalidArgumentError(f"[DynamicPartition] data {data} does not begin with the partitions' shape "
                                       f"{partitions}")
        rows = TensorShape([None, *data.dims[partitions.rank:]])
    return [rows] * op.attrs["num_partitions"]


@dynamic_partition.gradient
def _(op: Operation, *grads: Tensor | None) -> list[Any]:
    data, partitions = op.inputs
    order = reshape(build("Range", 0, build("Size", partitions), 1), shape_tensor(partitions))
    places = dynamic_partition(order, partitions, num_partitions=op.attrs["num_partitions"])
    return [reshape(dynamic_stitch(places, all_gradients(op, grads)), shape_tensor(data)), None]


dynamic_partition.sample(normal(4, 2), np.array([1, 0, 1, 2], np.int32), num_partitions=4)
dynamic_partition.sample(normal(2, 2), np.array([[0, 1], [1, 1]], np.int32), num_partitions=2)
dynamic_partition.sample(normal(0), np.zeros(0, np.int32), num_partitions=2)


__all__ = ["dynamic_partition", "dynamic_stitch", "parallel_dynamic_stitch"]
