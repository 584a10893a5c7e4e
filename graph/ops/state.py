"""Variables and their direct updates.

A variable lives in a container of the session's resources under its shared_name, or its node's name. Update ops take a
reference, change the value behind it and give the reference back. `use_locking` is kept for other runtimes: here
control edges already order all updates of a variable in one run.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..define import Array, define
from ..dtypes import INDEX, MOVABLE, NUMBERS
from ..errors import InvalidArgumentError, OutOfRangeError
from ..interpreter import Ref, State
from ..opdef import attr
from ..operation import Operation
from ..samples import normal
from ..shapes import TensorShape
from .rules import arg_name, scalar_shape


@define("VariableV2() -> ref: &dtype", shape=attr("shape"), dtype=attr("type", allowed=MOVABLE), container="",
        shared_name="",
        stateful=True, differentiable=False)
def variable(*, container: str, shared_name: str, op: Operation, state: State) -> Ref:
    """A reference to a variable of the attr `shape`, uninitialised until the first Assign."""
    return Ref(state, container, shared_name or op.name)


@variable.shape
def _(op: Operation) -> list[TensorShape]:
    return [op.attrs["shape"]]


variable.sample(shape=TensorShape([2, 3]), dtype=dtypes.float32, gradient=False)


@define("IsVariableInitialized(ref: &dtype) -> is_initialized: bool", dtype=attr("type", allowed=MOVABLE),
        stateful=True, differentiable=False, shape=scalar_shape)
def is_variable_initialized(ref: Ref) -> Array:
    """Whether the variable has a value: output ()."""
    return np.array(ref.value is not None)


is_variable_initialized.sample(normal(2, 3))


# ---- whole values
@define("Assign(ref: &T, value: T) -> output_ref: &T", T=MOVABLE, validate_shape=True, use_locking=True, stateful=True,
        differentiable=False)
def assign(ref: Ref, value: Array, *, validate_shape: bool, op: Operation) -> Ref:
    """ref = value. Without validate_shape the variable takes any shape."""
    if validate_shape and not op.inputs[0].shape.is_compatible_with(value.shape):
        raise InvalidArgumentError(_assign_differs(op.inputs[0].shape, value.shape))
    ref.value = np.array(value)
    return ref


def _assign_differs(ref: object, value: object) -> str:
    return f"[Assign] shapes differ: 'ref' is {ref}, 'value' {value}. Fix: reshape the value, or validate_shape=False"


@assign.shape
def _(op: Operation) -> list[TensorShape]:
    ref, value = op.inputs[0].shape, op.inputs[1].shape
    if not op.attrs["validate_shape"]:
        return [value]
    if not ref.is_compatible_with(value):
        raise InvalidArgumentError(_assign_differs(ref, value))
    return [ref.merge_with(value)]


assign.sample(normal(2, 3), normal(2, 3))
assign.sample(normal(), normal())
assign.sample(normal(0, 2), normal(0, 2))
assign.sample(normal(2, 3), normal(4), validate_shape=False)


def same_as_ref(op: Operation) -> list[TensorShape]:
    """The operand after the reference has the variable's shape. Raises: InvalidArgumentError."""
    ref, value = op.inputs[0].shape, op.inputs[1].shape
    if not ref.is_compatible_with(value):
        raise InvalidArgumentError(f"[{op.type}] shapes differ: 'ref' is {ref}, '{arg_name(op, 1)}' {value}")
    return [ref.merge_with(value)]


def _fits(where: str, ref: Ref, value: Array) -> Array:
    current: Array = ref.read()
    if current.shape != value.shape:
        raise InvalidArgumentError(f"[{where}] shapes differ: the variable is {current.shape}, 'value' {value.shape}")
    return current


@define("AssignAdd(ref: &T, value: T) -> output_ref: &T", T=NUMBERS, use_locking=False, stateful=True,
        differentiable=False,
        shape=same_as_ref)
def assign_add(ref: Ref, value: Array) -> Ref:
    """ref += value, of the variable's shape."""
    ref.value = _fits("AssignAdd", ref, value) + value
    return ref


assign_add.sample(normal(2, 3), normal(2, 3))
assign_add.sample(normal(), normal())
assign_add.sample(normal(0), normal(0))


@define("AssignSub(ref: &T, value: T) -> output_ref: &T", T=NUMBERS, use_locking=False, stateful=True,
        differentiable=False,
        shape=same_as_ref)
def assign_sub(ref: Ref, value: Array) -> Ref:
    """ref -= value, of the variable's shape."""
    ref.value = _fits("AssignSub", ref, value) - value
    return ref


assign_sub.sample(normal(2, 3), normal(2, 3))
assign_sub.sample(normal(), normal())


# ---- rows
def _scatter_shape(op: Operation) -> list[TensorShape]:
    """updates: indices' shape + the variable's rows, or a scalar."""
    ref, indices, updates = (t.shape for t in op.inputs)
    if ref.rank == 0:
        raise InvalidArgumentError(f"[{op.type}] 'ref' must have rows: it is a scalar")
    wanted = indices.concatenate(TensorShape(ref.dims[1:] if ref.dims is not None else None))
    if updates.rank != 0 and not wanted.is_compatible_with(updates):
        raise InvalidArgumentError(f"[{op.type}] 'updates' must be of shape {wanted} (indices {indices} + rows of ref "
                                   f"{ref}): "
                                   f"it is {updates}")
    return [ref]


def _rows(where: str, ref: Ref, indices: Array, updates: Array) -> Array:
    """A copy of the variable's value, once indices and updates are found to fit it."""
    value: Array = np.array(ref.read())
    check_rows(where, value, indices)
    if updates.shape not in ((), indices.shape + value.shape[1:]):
        raise InvalidArgumentError(f"[{where}] 'updates' {updates.shape} must be indices {indices.shape} + rows of "
                                   f"{value.shape}")
    return value


def check_rows(where: str, value: Array, indices: Array) -> None:
    """Raises: InvalidArgumentError where an index names no row of `value`."""
    bad = np.argwhere((indices < 0) | (indices >= value.shape[0]))
    if len(bad):
        at = tuple(bad[0].tolist())
        raise InvalidArgumentError(f"[{where}] indices{list(at)} = {indices[at]} is not in [0, {value.shape[0]})")


@define("ScatterAdd(ref: &T, indices: Tindices, updates: T) -> output_ref: &T", T=NUMBERS, Tindices=INDEX,
        use_locking=False,
        stateful=True, differentiable=False, shape=_scatter_shape)
def scatter_add(ref: Ref, indices: Array, updates: Array) -> Ref:
    """ref[indices[i]] += updates[i]; equal indices add up. Raises: InvalidArgument for an index out of range."""
    value = _rows("ScatterAdd", ref, indices, updates)
    np.add.at(value, indices, updates)
    ref.value = value
    return ref


@define("ScatterSub(ref: &T, indices: Tindices, updates: T) -> output_ref: &T", T=NUMBERS, Tindices=INDEX,
        use_locking=False,
        stateful=True, differentiable=False, shape=_scatter_shape)
def scatter_sub(ref: Ref, indices: Array, updates: Array) -> Ref:
    """ref[indices[i]] -= updates[i]; equal indices add up. Raises: InvalidArgument for an index out of range."""
    value = _rows("ScatterSub", ref, indices, updates)
    np.subtract.at(value, indices, updates)
    ref.value = value
    return ref


@define("ScatterUpdate(ref: &T, indices: Tindices, updates: T) -> output_ref: &T", T=NUMBERS, Tindices=INDEX,
        use_locking=True,
        stateful=True, differentiable=False, shape=_scatter_shape)
def scatter_update(ref: Ref, indices: Array, updates: Array) -> Ref:
    """ref[indices[i]] = updates[i]; the last of equal indices wins. Raises: InvalidArgument for one out of range."""
    value = _rows("ScatterUpdate", ref, indices, updates)
    value[indices] = updates
    ref.value = value
    return ref


@define("CountUpTo(ref: &T) -> output: T", limit=attr("int"), T=INDEX, stateful=True, differentiable=False,
        shape=scalar_shape)
def count_up_to(ref: Ref, *, limit: int) -> Array:
    """output = ref () before ref += 1. Raises: OutOfRangeError, and leaves ref, where it has reached `limit`."""
    value: Array = ref.read()
    if value.ndim:
        raise InvalidArgumentError(f"[CountUpTo] ref must be a scalar: got {value.shape}")
    if value >= limit:
        raise OutOfRangeError(f"Reached limit of {limit}")
    ref.value = value + value.dtype.type(1)
    return value


count_up_to.sample(np.array(3), limit=5, T="int64")
count_up_to.sample(np.array([3]), limit=5, T="int64")  # refused


def _sample_rows(op: Any) -> None:
    op.sample(normal(5, 3), np.array([0, 4, 2], np.int32), normal(3, 3))
    op.sample(normal(4), np.array([[1], [0]], np.int64), normal(2, 1))
    op.sample(normal(4, 2), np.array(3, np.int32), normal(2))
    op.sample(normal(3, 2), np.zeros(0, np.int32), normal(0, 2))


_sample_rows(scatter_add)
_sample_rows(scatter_sub)
_sample_rows(scatter_update)
scatter_add.sample(normal(3, 2), np.array([1, 1, 2], np.int32), normal(3, 2))
scatter_sub.sample(normal(3, 2), np.array([1, 1, 1], np.int32), normal(3, 2))
scatter_update.sample(normal(3, 2), np.array([1, 0, 1], np.int32), normal(3, 2))

__all__ = ["assign", "assign_add", "assign_sub", "count_up_to", "is_variable_initialized", "scatter_add", "scatter_sub",
           "scatter_update",
           "variable"]
