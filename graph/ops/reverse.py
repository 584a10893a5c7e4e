"""Reversing along axes, and along an axis up to a length that differs from row to row."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..constant import constant_value
from ..define import Array, define
from ..dtypes import INDEX
from ..errors import InvalidArgumentError
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import TensorShape
from .rules import arg_name, axis_index, build, ranked, same_dim

_TYPES = (*dtypes.FIXED, dtypes.string)


def _axes(where: str, axes: Any, rank: int) -> list[int]:
    """The axes counted from the front. Raises: InvalidArgumentError where one is out of range or comes twice."""
    found = [axis_index(where, "axis", int(a), rank) for a in axes]
    if len(set(found)) != len(found):
        raise InvalidArgumentError(f"[{where}] an axis comes twice in 'axis': {list(axes)}")
    return found


@define("ReverseV2(tensor: T, axis: Tidx) -> output: T", T=_TYPES, Tidx=attr("type", dtypes.int32, INDEX))
def reverse_v2(tensor: Array, axis: Array) -> Array:
    """output = tensor with the elements along each of `axis` in the opposite order. axis: (n,), in [-rank, rank)."""
    return np.ascontiguousarray(np.flip(tensor, tuple(_axes("ReverseV2", axis.ravel(), tensor.ndim))))


@reverse_v2.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 1, 1)
    axes = constant_value(op.inputs[1])
    if axes is not None and op.inputs[0].shape.rank is not None:
        _axes("ReverseV2", axes, op.inputs[0].shape.rank)
    return [op.inputs[0].shape]


reverse_v2.gradient(lambda op, grad: [build("ReverseV2", grad, op.inputs[1]), None])
reverse_v2.sample(normal(2, 3, 4), np.array([1], np.int32))
reverse_v2.sample(normal(2, 3, 4), np.array([-1, 0], np.int64))
reverse_v2.sample(normal(5), np.array([0], np.int32))
reverse_v2.sample(normal(2, 3), np.zeros(0, np.int32))
reverse_v2.sample(normal(0, 3), np.array([0, 1], np.int32))
reverse_v2.sample(normal(2, 3), np.array([2], np.int32))  # refused
reverse_v2.sample(normal(2, 3), np.array([1, -1], np.int32))  # refused


@define("ReverseSequence(input: T, seq_lengths: Tlen) -> output: T", T=_TYPES, Tlen=attr("type", dtypes.int64, INDEX),
        seq_dim=attr("int"), batch_dim=0)
def reverse_sequence_op(input: Array, seq_lengths: Array, *, seq_dim: int, batch_dim: int) -> Array:
    """Row i along `batch_dim` has its first seq_lengths[i] elements along `seq_dim` turned round, the rest kept."""
    where = "ReverseSequence"
    batch, seq = _dims(where, batch_dim, seq_dim, input.ndim)
    if seq_lengths.shape != (input.shape[batch],):
        raise InvalidArgumentError(f"[{where}] 'seq_lengths' must be of shape ({input.shape[batch]},): it has shape "
                                   f"{seq_lengths.shape}")
    output = np.array(input)
    rows, turned = np.moveaxis(input, (batch, seq), (0, 1)), np.moveaxis(output, (batch, seq), (0, 1))
    for i, n in enumerate(seq_lengths):
        if not 0 <= n <= input.shape[seq]:
            raise InvalidArgumentError(f"[{where}] seq_lengths[{i}] = {n} is not in [0, {input.shape[seq]}]")
        turned[i, :n] = rows[i, :n][::-1]
    return output


def _dims(where: str, batch: int, seq: int, rank: int) -> tuple[int, int]:
    if not 0 <= batch < rank or not 0 <= seq < rank or batch == seq:
        raise InvalidArgumentError(f"[{where}] 'batch_dim' {batch} and 'seq_dim' {seq} must be different dimensions of "
                                   f"an input of rank {rank}")
    return batch, seq


@reverse_sequence_op.shape
def _(op: Operation) -> list[TensorShape]:
    shape, lengths = op.inputs[0].shape, ranked(op, 1, 1)
    if shape.dims is None:
        return [shape]
    batch, _ = _dims(op.type, op.attrs["batch_dim"], op.attrs["seq_dim"], len(shape.dims))
    dims = list(shape.dims)
    dims[batch] = same_dim(op, f"'{arg_name(op, 1)}' needs a length for each row", dims[batch],
                           lengths.dims[0] if lengths.dims is not None else None)
    return [TensorShape(dims)]


@reverse_sequence_op.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    attrs = {name: op.attrs[name] for name in ("seq_dim", "batch_dim")}
    return [build("ReverseSequence", grad, op.inputs[1], **attrs), None]


reverse_sequence_op.sample(normal(3, 4), np.array([0, 2, 4]), seq_dim=1)
reverse_sequence_op.sample(normal(4, 3, 2), np.array([1, 4, 3], np.int32), seq_dim=0, batch_dim=1)
reverse_sequence_op.sample(normal(2, 2, 5), np.array([5, 3]), seq_dim=2, batch_dim=1)
reverse_sequence_op.sample(normal(3, 4), np.array([0, 2, 5]), seq_dim=1)  # refused
reverse_sequence_op.sample(normal(3, 4), np.array([0, 2]), seq_dim=1)  # refused


# ---- functions
def reverse(tensor: Any, axis: Any, name: str | None = None) -> Tensor:
    """`tensor` with the order of elements along each of `axis` (a number or several) turned round."""
    axes = axis if isinstance(axis, Tensor) else np.atleast_1d(np.asarray(axis, np.int32))
    result: Tensor = build("ReverseV2", tensor, axes, name=name)
    return result


def reverse_sequence(input: Any, seq_lengths: Any, seq_axis: int | None = None, batch_axis: int | None = None,
                     name: str | None = None, seq_dim: int | None = None, batch_dim: int | None = None) -> Tensor:
    """Each row along `batch_axis` (default 0) with its first seq_lengths[i] elements along `seq_axis` turned round."""
    along = seq_axis if seq_axis is not None else seq_dim
    rows = batch_axis if batch_axis is not None else batch_dim
    if along is None:
        raise InvalidArgumentError("[reverse_sequence] 'seq_axis' is needed")
    result: Tensor = build("ReverseSequence", input, seq_lengths, seq_dim=along, batch_dim=rows or 0, name=name)
    return result
