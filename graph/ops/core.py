"""Constants, placeholders, identities and no-ops: what every graph has, and the functions that make them."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import dtypes
from ..define import Array, Op, attr, convert_to_tensor, define, to_array
from ..dtypes import DType, as_dtype
from ..errors import InvalidArgumentError, NotFoundError
from ..graph import get_default_graph
from ..indexed_slices import IndexedSlices
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import UNKNOWN, ShapeLike, TensorShape, as_shape
from .rules import build, first_shape

_CONST_ELEMENTS = 1000  # `zeros` and the like of more elements become Fill nodes, which are small on the wire


@define("Const() -> output: dtype", value=attr("tensor"), dtype=attr("type"))
def const(*, value: Array) -> Array:
    """output = value, an attr. Shape: that of the value."""
    return value


@const.shape
def _(op: Operation) -> list[TensorShape]:
    return [TensorShape(op.attrs["value"].shape)]


const.sample(value=np.float32(1.5), dtype=dtypes.float32)
const.sample(value=np.arange(6.0).reshape(2, 3), dtype=dtypes.float64)
const.sample(value=np.zeros((3, 0), np.int32), dtype=dtypes.int32)
const.sample(value=np.full((5,), 7, np.int64), dtype=dtypes.int64)
const.sample(value=np.array([True, False, True]), dtype=dtypes.bool_)
const.sample(value=np.array([1, 0, 255], np.uint8), dtype=dtypes.uint8)


@define("Placeholder() -> output: dtype", dtype=attr("type"), shape=attr("shape", UNKNOWN))
def _placeholder(*, op: Operation) -> Array:
    """A value that each run feeds; `shape` is what it must be compatible with."""
    raise InvalidArgumentError(f"[Placeholder] {op.name!r} must be fed a {op.attrs['dtype']} value of shape "
                               f"{op.attrs['shape']}. Fix: give it in feed_dict", op.name)


@_placeholder.shape
def _(op: Operation) -> list[TensorShape]:
    return [op.attrs["shape"]]


_placeholder.sample(dtype=dtypes.float32, shape=[None, 3])
_placeholder.sample(dtype=dtypes.int64)


@define("PlaceholderWithDefault(input: dtype) -> output: dtype", dtype=dtypes.MOVABLE, shape=attr("shape"))
def _placeholder_with_default(input: Array) -> Array:
    """output = input, unless a run feeds it. The input must fit the attr `shape`."""
    return input


@_placeholder_with_default.shape
def _(op: Operation) -> list[TensorShape]:
    given, wanted = op.inputs[0].shape, op.attrs["shape"]
    if not wanted.is_compatible_with(given):
        raise InvalidArgumentError(f"[PlaceholderWithDefault] 'input' does not fit 'shape': {given} and {wanted}")
    return [wanted]


_placeholder_with_default.gradient(lambda op, grad: [grad])
_placeholder_with_default.sample(normal(2, 3), shape=[None, 3])
_placeholder_with_default.sample(normal(), shape=[])
_placeholder_with_default.sample(normal(0, 3), shape=None)


def _identity_samples(op: Op, gradient: bool = True) -> None:
    for shape in ((), (7,), (2, 3), (0, 4)):
        op.sample(normal(*shape), gradient=gradient)


@define("Identity(input: T) -> output: T", T=(*dtypes.FIXED, dtypes.string, dtypes.resource, dtypes.variant),
        aliases=True, shape=first_shape)
def identity(input: Array) -> Array:
    """output = input; shares its memory."""
    return input


identity.gradient(lambda op, grad: [grad])
_identity_samples(identity)


@define("StopGradient(input: T) -> output: T", T=dtypes.FIXED, aliases=True, differentiable=False, shape=first_shape)
def stop_gradient(input: Array) -> Array:
    """output = input, a constant for `rf.gradients`."""
    return input


_identity_samples(stop_gradient)


@define("PreventGradient(input: T) -> output: T", T=dtypes.FIXED, message="", aliases=True, shape=first_shape)
def prevent_gradient(input: Array) -> Array:
    """output = input; a gradient through it is an error that says `message`."""
    return input


@prevent_gradient.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    raise NotFoundError(
        f"[PreventGradient] the gradient through {op.name!r} is not defined: {op.attrs['message']}", op.name
    )


_identity_samples(prevent_gradient, gradient=False)


@define("Snapshot(input: T) -> output: T", T=dtypes.MOVABLE, shape=first_shape)
def snapshot(input: Array) -> Array:
    """output = input, in memory of its own."""
    return np.array(input)


@snapshot.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    return [grad]


_identity_samples(snapshot)


@define("NoOp()")
def _no_op() -> None:
    """Does nothing; its control inputs make it wait for them."""


_no_op.sample()


@define("_Arg() -> output: T", T=attr("type"), index=attr("int"))
def _arg(*, op: Operation) -> Array:
    """The fed value of that index. Made by the passes that turn a graph into an executable."""
    raise InvalidArgumentError(f"[_Arg] {op.name!r} takes its value from the run", op.name)


_arg.shape(lambda op: [op.attrs["_output_shapes"][0] if "_output_shapes" in op.attrs else UNKNOWN])
_arg.sample(T=dtypes.float32, index=0)


@define("_Retval(input: T)", T=attr("type"), index=attr("int"))
def _retval(input: Array) -> None:
    """Returns `input` as the run's result of that index."""


_retval.sample(np.float32(1), index=0)


# ---- functions
def constant(value: Any, dtype: Any = None, shape: ShapeLike = None, name: str = "Const",
             verify_shape: bool = False) -> Tensor:
    """A tensor of `value`: numbers, nested lists or an array. Python floats become float32, ints int32.

    `shape`: the value is laid out in it, its last element repeated where there are too few (as TensorFlow does);
    `verify_shape`: the value must have that shape already. Raises: InvalidArgumentError for a value that does not fit.

    >>> constant([[1., 2.], [3., 4.]]).shape
    TensorShape([2, 2])
    """
    array = to_array(value, None if dtype is None else as_dtype(dtype))
    if shape is not None:
        dims = as_shape(shape).known
        count = int(np.prod(dims, dtype=np.int64))
        if array.size > count or (verify_shape and array.shape != dims) or (array.size == 0 and count):
            raise InvalidArgumentError(
                f"[constant] the value does not fit: it has shape {array.shape}, 'shape' is {dims}"
            )
        if array.size < count:
            array = np.concatenate([array.ravel(), np.repeat(array.ravel()[-1:], count - array.size)])
        array = array.reshape(dims)
    return convert_to_tensor(array, dtype, name)


def placeholder(dtype: Any, shape: ShapeLike = None, name: str | None = None) -> Tensor:
    """A tensor that each run is fed. `shape` may hold None for dimensions that vary, or be None.

    >>> placeholder(dtypes.float32, [None, 784]).shape
    TensorShape([None, 784])
    """
    result: Tensor = _placeholder(dtype=dtype, shape=as_shape(shape), name=name)
    return result


def placeholder_with_default(input: Any, shape: ShapeLike, name: str | None = None) -> Tensor:
    """A tensor of the value of `input` in runs that do not feed it."""
    result: Tensor = _placeholder_with_default(input, shape=as_shape(shape), name=name)
    return result


def no_op(name: str | None = None) -> Operation:
    """An operation that does nothing."""
    return get_default_graph().create_op("NoOp", [], {}, name)


def _operation(value: Any) -> Operation:
    element = get_default_graph().as_graph_element(value.values if isinstance(value, IndexedSlices) else value)
    return element.op if isinstance(element, Tensor) else element


def group(*inputs: Any, name: str | None = None) -> Operation:
    """An operation that is done when all `inputs` (operations, tensors, variables; lists of them) are."""
    waits = dict.fromkeys(_operation(x) for x in _flatten(inputs) if x is not None)
    return get_default_graph().create_op("NoOp", [], {}, name or "group_deps", control_inputs=list(waits))


def _flatten(values: Iterable[Any]) -> Iterable[Any]:
    for v in values:
        if isinstance(v, (list, tuple)):
            yield from _flatten(v)
        else:
            yield v


def tuple_(tensors: Iterable[Any], name: str | None = None, control_inputs: Iterable[Any] = ()) -> list[Any]:
    """The same tensors, none of which is ready before all of them and `control_inputs` are. None stays None."""
    values = list(tensors)
    graph = get_default_graph()
    with graph.name_scope(name or "tuple"):
        ready = group(values, list(control_inputs))
        with graph.control_dependencies([ready]):
            return [_joined(v) for v in values]


def _joined(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, IndexedSlices):
        return IndexedSlices(identity(value.values), identity(value.indices), value.dense_shape)
    return identity(convert_to_tensor(value)) if not isinstance(value, Operation) else value


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """A tensor of shape `dims` (1-D integers, also a tensor) with every element `value` (a scalar)."""
    result: Tensor = build("Fill", _dims(dims), value, name=name)
    return result


def _dims(dims: Any) -> Any:
    if isinstance(dims, TensorShape):
        dims = dims.known
    if isinstance(dims, (tuple, list)) and not any(hasattr(d, "dtype") for d in dims):
        return np.array(dims, np.int32).reshape(-1)
    return np.array([dims], np.int32) if isinstance(dims, int) else dims


def _filled(shape: Any, value: float, dtype: DType, name: str) -> Tensor:
    dims = _dims(shape)
    if isinstance(dims, np.ndarray) and np.prod(dims, dtype=np.int64) < _CONST_ELEMENTS:
        return convert_to_tensor(np.full(tuple(dims), value, dtype.as_numpy_dtype), dtype, name)
    return fill(dims, np.array(value, dtype.as_numpy_dtype), name)


def zeros(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """A tensor of zeros (False for bool). `shape`: integers, a TensorShape or a 1-D tensor."""
    return _filled(shape, 0, as_dtype(dtype), name or "zeros")


def ones(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """A tensor of ones (True for bool). `shape`: integers, a TensorShape or a 1-D tensor."""
    return _filled(shape, 1, as_dtype(dtype), name or "ones")


def zeros_like(tensor: Any, dtype: Any = None, name: str | None = None) -> Tensor:
    """Zeros of the shape of `tensor`, and of its dtype unless another is given."""
    tensor = convert_to_tensor(tensor)
    if dtype is None or as_dtype(dtype) is tensor.dtype:
        result: Tensor = build("ZerosLike", tensor, name=name)
        return result
    return _like(tensor, 0, as_dtype(dtype), name or "zeros_like")


def ones_like(tensor: Any, dtype: Any = None, name: str | None = None) -> Tensor:
    """Ones of the shape of `tensor`, and of its dtype unless another is given."""
    tensor = convert_to_tensor(tensor)
    return _like(tensor, 1, tensor.dtype if dtype is None else as_dtype(dtype), name or "ones_like")


def _like(tensor: Tensor, value: int, dtype: DType, name: str) -> Tensor:
    if tensor.shape.is_fully_defined():
        return _filled(tensor.shape, value, dtype, name)
    result = fill(build("Shape", tensor), np.array(value, dtype.as_numpy_dtype), name)
    result.set_shape(tensor.shape)
    return result


__all__ = ["constant", "fill", "group", "identity", "no_op", "ones", "ones_like", "placeholder",
           "placeholder_with_default", "prevent_gradient", "stop_gradient", "tuple_", "zeros", "zeros_like"]
