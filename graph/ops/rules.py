"""What the shape rules and gradients of many families share: common shape rules, broadcasting and its reverse.

Shape rules raise InvalidArgumentError as ``[Op] the rule that failed: values``; the creation site is appended by the
caller. Ops of other families are reached by name (``build``), so that families import in any order.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InvalidArgumentError
from ..opdef import OPS
from ..operation import Operation, Tensor
from ..shapes import SCALAR, UNKNOWN, TensorShape, broadcast

Dims = tuple["int | None", ...]


def build(op_name: str, *inputs: Any, **attrs: Any) -> Any:
    """Adds a node of the op named `op_name`, wherever that is defined."""
    return OPS[op_name](*inputs, **attrs)  # type: ignore[operator]


# ---- shape rules
def first_shape(op: Operation) -> list[TensorShape]:
    """Every output has the shape of the first input."""
    return [op.inputs[0].shape] * len(op.outputs)


def merged_shape(op: Operation) -> list[TensorShape]:
    """All inputs have one shape, and so have the outputs. Raises: InvalidArgumentError where they differ."""
    shape = op.inputs[0].shape
    for i, t in enumerate(op.inputs):
        if not shape.is_compatible_with(t.shape):
            raise InvalidArgumentError(f"[{op.type}] all inputs must have one shape: '{arg_name(op, i)}' is {t.shape}, "
                                       f"those before it {shape}")
        shape = shape.merge_with(t.shape)
    return [shape] * len(op.outputs)


def broadcast_shape(op: Operation) -> list[TensorShape]:
    """The two first inputs broadcast as in NumPy. Raises: InvalidArgumentError where they do not."""
    return [broadcast(op.inputs[0].shape, op.inputs[1].shape, op.type)]


def scalar_shape(op: Operation) -> list[TensorShape]:
    return [SCALAR] * len(op.outputs)


def unknown_shape(op: Operation) -> list[TensorShape]:
    return [UNKNOWN] * len(op.outputs)


def variable_shape(handle: Tensor) -> TensorShape:
    """The shape of the variable behind a handle (where its VarHandleOp is in sight) or a reference."""
    op = handle.op
    while op.type != "VarHandleOp" and op.inputs and op.inputs[0].dtype is handle.dtype and handle.dtype.kind == "h":
        op = op.inputs[0].op
    if op.type == "VarHandleOp":
        shape: TensorShape = op.attrs["shape"]
        return shape
    return UNKNOWN if handle.dtype.kind == "h" else handle.shape


# ---- checks for shape rules
def arg_name(op: Operation, index: int) -> str:
    """The name in the signature of flat input `index`; ``values[2]`` inside a list."""
    for a in op.op_def.inputs:
        span = op.span(a.name)
        if span.start <= index < span.stop:
            return f"{a.name}[{index - span.start}]" if a.is_list else a.name
    return str(index)


def ranked(op: Operation, index: int, rank: int, at_least: bool = False) -> TensorShape:
    """The shape of flat input `index`, which must have rank `rank` (or more with `at_least`; then it may stay unknown).

    Raises: InvalidArgumentError naming the input.
    """
    shape = op.inputs[index].shape
    if shape.rank is None:
        return shape if at_least else TensorShape([None] * rank)
    if shape.rank < rank or (shape.rank > rank and not at_least):
        raise InvalidArgumentError(
            f"[{op.type}] '{arg_name(op, index)}' must have rank {rank}{' or more' if at_least else ''}: "
            f"it has shape {shape}, rank {shape.rank}"
        )
    return shape


def dim(shape: TensorShape, axis: int) -> int | None:
    """Dimension `axis`; None where it or the rank is not known."""
    return None if shape.dims is None else shape.dims[axis]


def same_dim(op: Operation, rule: str, a: int | None, b: int | None) -> int | None:
    """What two dimensions that must be equal say together. Raises: InvalidArgumentError, beginning with `rule`."""
    if a is not None and b is not None and a != b:
        shapes = ", ".join(f"{arg_name(op, i)} {t.shape}" for i, t in enumerate(op.inputs))
        raise InvalidArgumentError(f"[{op.type}] {rule}: {a} and {b}. Inputs: {shapes}")
    return b if a is None else a


def axis_index(op_type: str, name: str, axis: int, rank: int) -> int:
    """`axis` counted from the front. Raises: InvalidArgumentError where it is outside [-rank, rank)."""
    if not -rank <= axis < rank:
        raise InvalidArgumentError(f"[{op_type}] '{name}' is outside the rank: {axis} is not in [{-rank}, {rank})")
    return axis % rank


# ---- gradients
def unbroadcast(grad: Tensor, x: Tensor, other: Tensor, own: int = 0) -> Tensor:
    """`grad` of the shape of broadcast(x, other), summed over the axes along which `x` was repeated, to x's shape.

    `own`: that many last axes take no part, as the matrices of a batch do. Decided while building where the static
    shapes suffice, else by Shape, BroadcastGradientArgs, Sum and Reshape.
    """
    axes = _repeated_axes(_batch(x.shape, own), _batch(other.shape, own))
    if axes is None:
        s0, s1 = build("Shape", x), build("Shape", other)
        b0, b1 = (s0, s1) if not own else (s[:-own] for s in (s0, s1))
        reduced: Tensor = build("Sum", grad, build("BroadcastGradientArgs", b0, b1)[0])
        return _reshaped(reduced, s0, x.shape)
    if not axes:
        return grad
    extra = len(other.shape) - len(x.shape)
    wanted = [a for a in axes if a >= extra]
    if not wanted or extra <= 0:  # whole leading axes go away, or axes of size 1 stay
        result: Tensor = build("Sum", grad, np.array(axes, np.int32), keep_dims=bool(wanted))
        return result
    reduced = build("Sum", grad, np.array(axes, np.int32))
    return _reshaped(reduced, shape_tensor(x), x.shape)


def _batch(shape: TensorShape, own: int) -> TensorShape:
    return shape if not own or shape.dims is None else TensorShape(shape.dims[:-own])


def _repeated_axes(x: TensorShape, other: TensorShape) -> list[int] | None:
    """Axes of broadcast(x, other) that must be summed for x; None where the static shapes do not decide."""
    if x.dims is None or other.dims is None:
        return None
    rank = max(len(x.dims), len(other.dims))
    a: Dims = (-1,) * (rank - len(x.dims)) + x.dims  # -1: x has no such axis
    b: Dims = (1,) * (rank - len(other.dims)) + other.dims
    axes: list[int] = []
    for i, (m, n) in enumerate(zip(a, b)):
        if m == -1 or (m == 1 and n != 1):
            axes.append(i)
        elif m is None and n != 1:
            return None
    return axes


def _reshaped(value: Tensor, shape: Any, static: TensorShape) -> Tensor:
    result: Tensor = build("Reshape", value, shape)
    result.set_shape(static)
    return result


def shape_tensor(x: Tensor) -> Any:
    """The shape of `x` as an int32 constant where it is known, else as a Shape node."""
    return np.array(x.shape.known, np.int32) if x.shape.is_fully_defined() else build("Shape", x)


def unbroadcast_both(op: Operation, grad_x: Tensor, grad_y: Tensor, own: int = 0) -> list[Tensor]:
    """Gradients of the two operands of an op that broadcasts them."""
    x, y = op.inputs[0], op.inputs[1]
    return [unbroadcast(grad_x, x, y, own), unbroadcast(grad_y, y, x, own)]


def all_gradients(op: Operation, grads: Sequence[Tensor | None]) -> list[Tensor]:
    """The gradients of all outputs: zeros for outputs that nothing depends on."""
    return [build("ZerosLike", t) if g is None else g for g, t in zip(grads, op.outputs)]


def no_gradient(op: Operation, *grads: Any) -> Sequence[None]:
    """None of the inputs gets a gradient."""
    return [None] * len(op.inputs)
