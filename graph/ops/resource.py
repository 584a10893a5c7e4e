"""Resource variables: a handle to the variable is an ordinary tensor of dtype resource, one per VarHandleOp.

The same variables as those behind references, and the same containers; only how nodes reach them differs. A read is a
snapshot: the value that it saw stays the same however the variable is updated in the same run.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..define import Array, define
from ..dtypes import FIXED, INDEX, NUMBERS, DType
from ..errors import InvalidArgumentError
from ..indexed_slices import IndexedSlices
from ..interpreter import Ref, State
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import UNKNOWN, TensorShape
from .rules import arg_name, build, scalar_shape, variable_shape
from .state import check_rows

_DTYPE = attr("type", allowed=FIXED)


@define("VarHandleOp() -> resource: resource", container="", shared_name="", debug_name="", dtype=_DTYPE,
        shape=attr("shape"), allowed_devices=attr("list(string)", []), stateful=True, differentiable=False)
def var_handle(*, container: str, shared_name: str, op: Operation, state: State) -> Ref:
    """A handle to a variable of the attrs `shape` and `dtype`, which has no value until it is assigned."""
    return Ref(state, container, shared_name or op.name)


var_handle.shape(scalar_shape)
var_handle.sample(shape=TensorShape([2, 3]), dtype=dtypes.float32, gradient=False)


def _value_fits(op: Operation) -> list[TensorShape]:
    """Shape rule of ops without outputs: `value` must have the variable's shape. Raises: InvalidArgumentError."""
    shape, value = variable_shape(op.inputs[0]), op.inputs[1].shape
    if not shape.is_compatible_with(value):
        raise InvalidArgumentError(f"[{op.type}] shapes differ: the variable is {shape}, 'value' {value}")
    return []


# ---- whole values
@define("ReadVariableOp(resource: resource) -> value: dtype", dtype=_DTYPE, stateful=True, aliases=True)
def read_variable(resource: Ref) -> Array:
    """value = the variable's value now. Raises: FailedPreconditionError before the first assignment."""
    return np.array(resource.read())


@read_variable.shape
def _(op: Operation) -> list[TensorShape]:
    return [variable_shape(op.inputs[0])]


read_variable.gradient(lambda op, grad: [grad])
read_variable.sample(normal(2, 3), gradient=False)
read_variable.sample(normal(), gradient=False)


@define("VarIsInitializedOp(resource: resource) -> is_initialized: bool", stateful=True, differentiable=False,
        shape=scalar_shape)
def var_is_initialized(resource: Ref) -> Array:
    """Whether the variable has a value: output ()."""
    return np.array(resource.value is not None)


var_is_initialized.sample(normal(2, 3))


@define("VariableShape(input: resource) -> output: out_type", out_type=attr("type", dtypes.int32, INDEX),
        stateful=True, differentiable=False)
def variable_shape_op(input: Ref, *, out_type: DType) -> Array:
    """output = the dimensions of the variable's value, (rank,)."""
    return np.array(input.read().shape, out_type.as_numpy_dtype)


@variable_shape_op.shape
def _(op: Operation) -> list[TensorShape]:
    return [TensorShape([variable_shape(op.inputs[0]).rank])]


variable_shape_op.sample(normal(2, 3))
variable_shape_op.sample(normal(), out_type=dtypes.int64)


@define("AssignVariableOp(resource: resource, value: dtype)", dtype=_DTYPE, validate_shape=False, stateful=True,
        differentiable=False, shape=_value_fits)
def assign_variable(resource: Ref, value: Array, *, validate_shape: bool, op: Operation) -> None:
    """The variable becomes `value`, which has its declared shape."""
    shape = variable_shape(op.inputs[0])
    if not shape.is_compatible_with(value.shape) or (
            validate_shape and resource.value is not None and resource.value.shape != value.shape):
        raise InvalidArgumentError(f"[AssignVariableOp] shapes differ: the variable is {shape}, 'value' {value.shape}")
    resource.value = np.array(value)




assign_variable.sample(normal(2, 3), normal(2, 3))
assign_variable.sample(normal(), normal(), validate_shape=True)
assign_variable.sample(normal(0, 2), normal(0, 2))


def _updated(where: str, resource: Ref, value: Array) -> Array:
    current: Array = resource.read()
    if current.shape != value.shape:
        raise InvalidArgumentError(f"[{where}] shapes differ: the variable is {current.shape}, 'value' {value.shape}")
    return current


@define("AssignAddVariableOp(resource: resource, value: dtype)", dtype=attr("type", allowed=NUMBERS), stateful=True,
        differentiable=False, shape=_value_fits)
def assign_add_variable(resource: Ref, value: Array) -> None:
    """The variable grows by `value`, of its shape."""
    resource.value = _updated("AssignAddVariableOp", resource, value) + value


@define("AssignSubVariableOp(resource: resource, value: dtype)", dtype=attr("type", allowed=NUMBERS), stateful=True,
        differentiable=False, shape=_value_fits)
def assign_sub_variable(resource: Ref, value: Array) -> None:
    """The variable shrinks by `value`, of its shape."""
    resource.value = _updated("AssignSubVariableOp", resource, value) - value


for _op in (assign_add_variable, assign_sub_variable):
    for _dims in ((2, 3), (), (0,)):
        _op.sample(normal(*_dims), normal(*_dims))


# ---- rows
@define("ResourceGather(resource: resource, indices: Tindices) -> output: dtype", batch_dims=0, validate_indices=True,
        dtype=_DTYPE, Tindices=attr("type", allowed=INDEX), stateful=True)
def resource_gather(resource: Ref, indices: Array, *, batch_dims: int) -> Array:
    """output = the rows of the variable that `indices` name: indices' shape, then that of a row."""
    value = resource.read()
    batch = batch_dims % max(indices.ndim, 1) if batch_dims < 0 else batch_dims
    if value.ndim <= batch or value.shape[:batch] != indices.shape[:batch]:
        raise InvalidArgumentError(f"[ResourceGather] the {batch} batch dimensions differ: the variable is "
                                   f"{value.shape}, indices {indices.shape}")
    flat = value.reshape((-1, *value.shape[batch:]))
    rows = indices.reshape((len(flat), *indices.shape[batch:])) if batch else indices[None]
    flat = flat if batch else value[None]
    bad = (rows < 0) | (rows >= flat.shape[1])
    if bad.any():
        raise InvalidArgumentError(f"[ResourceGather] index {rows[bad][0]} is not in [0, {flat.shape[1]})")
    output: Array = np.stack([v[r] for v, r in zip(flat, rows)]) if len(flat) else value[..., :0]
    return output.reshape(indices.shape + value.shape[batch + 1:])


@resource_gather.shape
def _(op: Operation) -> list[TensorShape]:
    value, indices, batch = variable_shape(op.inputs[0]), op.inputs[1].shape, op.attrs["batch_dims"]
    if value.dims is None or indices.dims is None:
        return [UNKNOWN]
    batch = batch % max(len(indices.dims), 1) if batch < 0 else batch
    if len(value.dims) <= batch or not TensorShape(value.dims[:batch]).is_compatible_with(indices.dims[:batch]):
        raise InvalidArgumentError(f"[ResourceGather] the {batch} batch dimensions differ: the variable is {value}, "
                                   f"indices {indices}")
    return [indices.concatenate(value.dims[batch + 1:])]


@resource_gather.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    handle, indices = op.inputs
    if op.attrs["batch_dims"]:
        raise InvalidArgumentError(f"[ResourceGather] the gradient with batch_dims is not supported: {op.name!r}")
    shape = build("VariableShape", handle)
    static = variable_shape(handle)
    row = build("StridedSlice", shape, [1], [0], [1], end_mask=1)
    values = build("Reshape", grad, build("ConcatV2", [np.array([-1], np.int32), row], 0))
    values.set_shape(TensorShape([indices.shape.num_elements()]).concatenate(static[1:]))
    return [IndexedSlices(values, build("Reshape", indices, [-1]), shape), None]


resource_gather.sample(normal(5, 3), np.array([0, 4, 4, 2], np.int32))
resource_gather.sample(normal(5, 3), np.array([[1, 1], [0, 3]], np.int64))
resource_gather.sample(normal(4), np.array(2, np.int32))
resource_gather.sample(normal(2, 4, 3), np.array([[1, 1, 3], [0, 2, 0]], np.int32), batch_dims=1)
resource_gather.sample(normal(5, 2), np.zeros(0, np.int32))
resource_gather.sample(normal(5, 2), np.array([5], np.int32))  # refused


def _scatter_shape(op: Operation) -> list[TensorShape]:
    value, indices, updates = variable_shape(op.inputs[0]), op.inputs[1].shape, op.inputs[2].shape
    if value.rank == 0:
        raise InvalidArgumentError(f"[{op.type}] the variable must have rows: it is a scalar")
    wanted = indices.concatenate(TensorShape(value.dims[1:] if value.dims is not None else None))
    if updates.rank != 0 and not wanted.is_compatible_with(updates):
        raise InvalidArgumentError(f"[{op.type}] '{arg_name(op, 2)}' must be of shape {wanted} (indices {indices} + "
                                   f"rows of the variable {value}): it is {updates}")
    return []


def _scattered(where: str, resource: Ref, indices: Array, updates: Array) -> Array:
    value: Array = np.array(resource.read())
    check_rows(where, value, indices)
    if updates.shape not in ((), indices.shape + value.shape[1:]):
        raise InvalidArgumentError(f"[{where}] 'updates' {updates.shape} must be indices {indices.shape} + rows of "
                                   f"{value.shape}")
    return value


_SCATTER: dict[str, Any] = {"dtype": attr("type", allowed=NUMBERS), "Tindices": attr("type", allowed=INDEX),
                            "stateful": True, "differentiable": False, "shape": _scatter_shape}


@define("ResourceScatterAdd(resource: resource, indices: Tindices, updates: dtype)", **_SCATTER)
def resource_scatter_add(resource: Ref, indices: Array, updates: Array) -> None:
    """variable[indices[i]] += updates[i]; equal indices add up."""
    value = _scattered("ResourceScatterAdd", resource, indices, updates)
    np.add.at(value, indices, updates)
    resource.value = value


@define("ResourceScatterSub(resource: resource, indices: Tindices, updates: dtype)", **_SCATTER)
def resource_scatter_sub(resource: Ref, indices: Array, updates: Array) -> None:
    """variable[indices[i]] -= updates[i]; equal indices add up."""
    value = _scattered("ResourceScatterSub", resource, indices, updates)
    np.subtract.at(value, indices, updates)
    resource.value = value


@define("ResourceScatterUpdate(resource: resource, indices: Tindices, updates: dtype)", **_SCATTER)
def resource_scatter_update(resource: Ref, indices: Array, updates: Array) -> None:
    """variable[indices[i]] = updates[i]; the last of equal indices wins."""
    value = _scattered("ResourceScatterUpdate", resource, indices, updates)
    value[indices] = updates
    resource.value = value


for _op in (resource_scatter_add, resource_scatter_sub, resource_scatter_update):
    _op.sample(normal(5, 3), np.array([0, 4, 2], np.int32), normal(3, 3))
    _op.sample(normal(4), np.array([[1], [0]], np.int64), normal(2, 1))
    _op.sample(normal(4, 2), np.array([3, 0], np.int32), normal())
    _op.sample(normal(3, 2), np.zeros(0, np.int32), normal(0, 2))
resource_scatter_add.sample(normal(3, 2), np.array([1, 1, 2], np.int32), normal(3, 2))

__all__ = ["read_variable", "resource_gather", "var_handle"]
