"""Tensor arrays: lists of tensors that loops read and write by index.

Every op takes the handle and a flow, a float scalar that carries no information: it orders what is done with the
array, and gradients find their way along it. What an array does is in tensor_array_reference.py. The gradient of a read
is a write into the gradient array and the other way round; all rules of one call of ``gradients`` share one gradient
array, named by the scope of that call. Source: TensorFlow's data_flow_ops and tensor_array_grad.
Reads and writes of many elements: tensor_array_rows.py.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..define import Array, define
from ..errors import InvalidArgumentError
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import Made, normal
from ..shapes import SCALAR, UNKNOWN, TensorShape
from .rules import build, ranked, scalar_shape
from .tensor_array_reference import ArrayState

TYPES = (*dtypes.FIXED, dtypes.string)
DTYPE = attr("type", allowed=TYPES)
FLOW = np.zeros((), np.float32)


def element_shape(handle: Tensor) -> TensorShape:
    """The shape of the elements behind a handle, where the op that made it is in sight."""
    op = handle.op
    while op.type != "TensorArrayV3" and op.inputs and op.inputs[0].dtype is dtypes.resource:
        op = op.inputs[0].op
    shape: TensorShape = op.attrs["element_shape"] if op.type == "TensorArrayV3" else UNKNOWN
    return shape


def checked(op: Operation, flow: int, index_rank: int | None = None) -> None:
    """The flow is a scalar, and input 1 an index or a list of them."""
    ranked(op, flow, 0)
    if index_rank is not None:
        ranked(op, 1, index_rank)


def merged(op: Operation, known: TensorShape, given: TensorShape, what: str) -> TensorShape:
    if not known.is_compatible_with(given):
        raise InvalidArgumentError(f"[{op.type}] the elements of the array have shape {known}: {what} is {given}")
    return known.merge_with(given)


# ---- making one
@define("TensorArrayV3(size: int32) -> handle: resource, flow: float32", dtype=DTYPE, element_shape=UNKNOWN,
        dynamic_size=False, clear_after_read=True, identical_element_shapes=False, tensor_array_name="", stateful=True,
        differentiable=False)
def tensor_array(size: Array, *, dtype: dtypes.DType, element_shape: TensorShape, dynamic_size: bool,
                 clear_after_read: bool, identical_element_shapes: bool, tensor_array_name: str, op: Operation
                 ) -> tuple[ArrayState, Array]:
    """An array of `size` tensors, none written yet; with `dynamic_size` it grows as it is written."""
    if size.ndim or size < 0:
        raise InvalidArgumentError(f"[TensorArrayV3] 'size' must be a scalar >= 0: got {size.tolist()}")
    made = ArrayState(tensor_array_name or op.name, dtype, int(size), element_shape=element_shape,
                      dynamic_size=dynamic_size, clear_after_read=clear_after_read,
                      identical_element_shapes=identical_element_shapes)
    return made, FLOW


@tensor_array.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 0, 0)
    return scalar_shape(op)


tensor_array.sample(np.array(3, np.int32), dtype=dtypes.float32)
tensor_array.sample(np.array(-1, np.int32), dtype=dtypes.float32)  # refused


@define("TensorArrayGradV3(handle: resource, flow_in: float32) -> grad_handle: resource, flow_out: float32",
        source=attr("string"), stateful=True, differentiable=False)
def tensor_array_grad(handle: ArrayState, flow_in: Array, *, source: str) -> tuple[ArrayState, Array]:
    """The array that adds up gradients of the elements for that source; the same one at every call.

    Made at the first call, after which the array does not grow any more.
    """
    return handle.gradient(source), flow_in


@tensor_array_grad.shape
def _(op: Operation) -> list[TensorShape]:
    checked(op, flow=1)
    return scalar_shape(op)


# ---- one element
@define("TensorArrayWriteV3(handle: resource, index: int32, value: T, flow_in: float32) -> flow_out: float32", T=TYPES,
        stateful=True)
def tensor_array_write(handle: ArrayState, index: Array, value: Array, flow_in: Array, *, T: dtypes.DType) -> Array:
    """Element `index` becomes `value`; in a gradient array `value` is added to it."""
    handle.check_dtype("TensorArrayWriteV3", T)
    handle.write("TensorArrayWriteV3", _scalar("TensorArrayWriteV3", index), value)
    return flow_in


def _scalar(where: str, index: Array) -> int:
    if index.ndim:
        raise InvalidArgumentError(f"[{where}] 'index' must be a scalar: it has shape {index.shape}")
    return int(index)


@tensor_array_write.shape
def _(op: Operation) -> list[TensorShape]:
    checked(op, flow=3, index_rank=0)
    merged(op, element_shape(op.inputs[0]), op.inputs[2].shape, "'value'")
    return [SCALAR]


@define("TensorArrayReadV3(handle: resource, index: int32, flow_in: float32) -> value: dtype", dtype=DTYPE,
        stateful=True)
def tensor_array_read(handle: ArrayState, index: Array, flow_in: Array, *, dtype: dtypes.DType) -> Array:
    """Element `index`, which is cleared unless the array keeps what was read."""
    handle.check_dtype("TensorArrayReadV3", dtype)
    return handle.read("TensorArrayReadV3", _scalar("TensorArrayReadV3", index))


@tensor_array_read.shape
def _(op: Operation) -> list[TensorShape]:
    checked(op, flow=2, index_rank=0)
    return [element_shape(op.inputs[0])]


# ---- the array itself
@define("TensorArraySizeV3(handle: resource, flow_in: float32) -> size: int32", stateful=True, differentiable=False)
def tensor_array_size(handle: ArrayState, flow_in: Array) -> Array:
    """The number of elements, written or not."""
    handle.check_open("TensorArraySizeV3")
    return np.array(len(handle.elements), np.int32)


@tensor_array_size.shape
def _(op: Operation) -> list[TensorShape]:
    checked(op, flow=1)
    return [SCALAR]


@define("TensorArrayCloseV3(handle: resource)", stateful=True, differentiable=False)
def tensor_array_close(handle: ArrayState) -> None:
    """Drops the elements. Using the array afterwards is an error."""
    handle.close()


tensor_array_close.shape(lambda op: [])


# ---- gradients: along the flow
def gradient_array(op: Operation, flow: Any) -> tuple[Tensor, Tensor]:
    """Handle and flow of the gradient array; `flow`: what must have been done before it is made."""
    graph = op.graph
    handle, _ = build("TensorArrayGradV3", op.inputs[0], flow, source=graph.gradient_source, name="TensorArrayGrad")
    with graph.control_dependencies([handle]):
        return handle, build("Identity", flow, name="gradient_flow")


def written_gradients(op: Operation, flow: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient array of an op that writes: made when this and all other writes are done."""
    done = build("Identity", op.outputs[0], name="flow_out")
    with op.graph.control_dependencies([done]):
        return gradient_array(op, build("Identity", flow, name="write_barrier"))


@tensor_array_read.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    handle, flow = gradient_array(op, op.inputs[2])
    return [None, None, build("TensorArrayWriteV3", handle, op.inputs[1], grad, flow)]


@tensor_array_write.gradient
def _(op: Operation, flow: Tensor) -> list[Any]:
    handle, ready = written_gradients(op, flow)
    grad = build("TensorArrayReadV3", handle, op.inputs[1], ready, dtype=op.attrs["T"])
    return [None, None, grad, flow]


# ---- samples
def sample_array(size: int = 3, shape: Any = (2,), written: int = 0, read: int = -1, closed: bool = False,
           gradient: bool = False, **attrs: Any) -> Made:
    """An array of elements of the type under test, some of them written, one read."""
    def make(under_test: dict[str, Any]) -> Any:
        dtype = under_test.get("T", under_test.get("dtype", dtypes.float32))
        handle, flow = build("TensorArrayV3", np.array(size, np.int32), dtype=dtype, name="array", **attrs)
        if gradient:
            handle, flow = build("TensorArrayGradV3", handle, flow, source="gradients")
        for i in range(written):
            value = build("Cast", (np.arange(np.prod(shape)) + i).reshape(shape).astype(np.int32), DstT=dtype)
            flow = build("TensorArrayWriteV3", handle, np.array(i, np.int32), value, flow)
        if read >= 0:
            build("TensorArrayReadV3", handle, np.array(read, np.int32), flow, dtype=dtype)
        if closed:
            build("TensorArrayCloseV3", handle)
        return handle
    return Made(make)


_I0, _I1, _I3 = (np.array(i, np.int32) for i in (0, 1, 3))

tensor_array_grad.sample(sample_array(written=2), FLOW, source="gradients")
tensor_array_grad.sample(sample_array(closed=True), FLOW, source="gradients")  # refused

tensor_array_write.sample(sample_array(), _I1, normal(2, 3), FLOW)
tensor_array_write.sample(sample_array(dynamic_size=True), _I3, normal(), FLOW)
tensor_array_write.sample(sample_array(element_shape=TensorShape([None, 3])), _I0, normal(2, 3), FLOW)
tensor_array_write.sample(sample_array(written=1, gradient=True), _I0, normal(2), FLOW, T=dtypes.float32)
for _refused in (sample_array(), sample_array(closed=True, written=1), sample_array(written=1, size=1)):
    tensor_array_write.sample(_refused, _I3, normal(2), FLOW)
for _refused in (sample_array(written=1), sample_array(read=0, written=1),
                 sample_array(identical_element_shapes=True, written=2), sample_array(written=1, gradient=True),
                 sample_array(element_shape=TensorShape([3]))):
    tensor_array_write.sample(_refused, _I0, normal(3, 2), FLOW)

tensor_array_read.sample(sample_array(written=2), _I1, FLOW)
tensor_array_read.sample(sample_array(read=1, written=2, clear_after_read=False), _I1, FLOW)
tensor_array_read.sample(sample_array(element_shape=TensorShape([2, 1])), _I0, FLOW)  # zeros
tensor_array_read.sample(sample_array(), _I0, FLOW, dtype=dtypes.float32)  # refused
tensor_array_read.sample(sample_array(read=1, written=2), _I1, FLOW, dtype=dtypes.float32)  # refused
tensor_array_read.sample(sample_array(written=2), _I3, FLOW, dtype=dtypes.float32)  # refused

tensor_array_size.sample(sample_array(), FLOW)
tensor_array_size.sample(sample_array(closed=True), FLOW)  # refused
tensor_array_close.sample(sample_array(written=1))
