"""Stacks of tensors: what a loop's forward pass keeps for its gradient, pushed and popped in opposite orders.

A stack belongs to the run of the StackV2 node that made it. It orders nothing itself: pushes and pops of one stack are
ordered by the edges of the graph. Source: TensorFlow's stack kernels.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..define import Array, define
from ..errors import InvalidArgumentError
from ..opdef import attr
from ..operation import Operation
from ..samples import Made, normal
from ..shapes import TensorShape
from .rules import build, ranked, scalar_shape, unknown_shape

_TYPES = (*dtypes.FIXED, dtypes.string)


class Stack:
    """What a handle stands for in the interpreter."""

    def __init__(self, name: str, dtype: dtypes.DType, max_size: int) -> None:
        self.name, self.dtype, self.max_size = name, dtype, max_size
        self.values: list[Array] = []
        self.closed = False

    def check(self, where: str, dtype: dtypes.DType) -> None:
        """Raises: InvalidArgumentError where it is closed or holds another dtype."""
        if self.closed:
            raise InvalidArgumentError(f"[{where}] stack {self.name!r} has been closed")
        if dtype is not self.dtype:
            raise InvalidArgumentError(f"[{where}] stack {self.name!r} holds {self.dtype}: got {dtype}")


@define("StackV2(max_size: int32) -> handle: resource", elem_type=attr("type", allowed=_TYPES), stack_name="",
        stateful=True, differentiable=False)
def stack_v2(max_size: Array, *, elem_type: dtypes.DType, stack_name: str, op: Operation) -> Stack:
    """An empty stack of tensors of `elem_type`, at most `max_size` of them (negative: any number)."""
    if max_size.ndim:
        raise InvalidArgumentError(f"[StackV2] 'max_size' must be a scalar: it has shape {max_size.shape}")
    return Stack(stack_name or op.name, elem_type, int(max_size))


@stack_v2.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 0, 0)
    return scalar_shape(op)


stack_v2.sample(np.array(-1, np.int32), elem_type=dtypes.float32)
stack_v2.sample(np.array(3, np.int32), elem_type=dtypes.int64, stack_name="kept")


@define("StackPushV2(handle: resource, elem: T) -> output: T", T=_TYPES, swap_memory=False, stateful=True,
        differentiable=False)
def stack_push(handle: Stack, elem: Array, *, T: dtypes.DType) -> Array:
    """Puts `elem` on top; output = elem. Raises: InvalidArgumentError where the stack is full or of another dtype."""
    handle.check("StackPushV2", T)
    if 0 <= handle.max_size <= len(handle.values):
        raise InvalidArgumentError(f"[StackPushV2] stack {handle.name!r} overflowed its max_size ({handle.max_size})")
    handle.values.append(np.array(elem))
    return elem


stack_push.shape(lambda op: [op.inputs[1].shape])


@define("StackPopV2(handle: resource) -> elem: elem_type", elem_type=attr("type", allowed=_TYPES), stateful=True,
        differentiable=False, shape=unknown_shape)
def stack_pop(handle: Stack, *, elem_type: dtypes.DType) -> Array:
    """Takes the top element away. Raises: InvalidArgumentError where the stack is empty or of another dtype."""
    handle.check("StackPopV2", elem_type)
    if not handle.values:
        raise InvalidArgumentError(f"[StackPopV2] stack {handle.name!r} is empty when calling Pop()")
    return handle.values.pop()


@define("StackCloseV2(handle: resource)", stateful=True, differentiable=False)
def stack_close(handle: Stack) -> None:
    """Drops the elements. Using the stack afterwards is an error."""
    handle.closed = True
    handle.values.clear()


stack_close.shape(lambda op: [])


def _stack(pushed: int = 0, max_size: int = -1, closed: bool = False) -> Made:
    """A stack of (2,) elements of the type under test."""
    def make(attrs: dict[str, Any]) -> Any:
        dtype = attrs.get("T", attrs.get("elem_type", dtypes.float32))
        handle = build("StackV2", np.array(max_size, np.int32), elem_type=dtype, name="stack")
        for i in range(pushed):
            build("StackPushV2", handle, build("Cast", np.array([i, i + 1], np.int32), DstT=dtype))
        if closed:
            build("StackCloseV2", handle)
        return handle
    return Made(make)


stack_push.sample(_stack(), normal(2, 3))
stack_push.sample(_stack(1), normal())
stack_push.sample(_stack(1, max_size=2), normal(0, 2))
stack_push.sample(_stack(1, max_size=1), normal())  # refused
stack_pop.sample(_stack(1))
stack_pop.sample(_stack(0), elem_type=dtypes.float32)  # refused
stack_pop.sample(_stack(1, closed=True), elem_type=dtypes.float32)  # refused
stack_close.sample(_stack(1))

__all__ = ["stack_close", "stack_pop", "stack_push", "stack_v2"]
