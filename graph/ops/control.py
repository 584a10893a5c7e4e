"""Control flow: ops that choose a branch, join branches, and carry values into, around and out of loops.

A loop is a frame. Enter brings a value into iteration 0 of a new frame, NextIteration into the next iteration, Exit out
of the frame; the cycle closes at a Merge of Enter and NextIteration. A value that was not chosen is a dead token: what
receives one does not run and passes death on, until a Merge finds another input alive.

The references say what an op does with values; when it runs, and in which frame and iteration, is the executor's affair
(interpreter/frames.py). Semantics: Yu et al., Dynamic Control Flow in Large-Scale Machine Learning (EuroSys 2018).
"""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..control_types import DEAD
from ..define import Array, define
from ..errors import InvalidArgumentError
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import SCALAR, UNKNOWN, TensorShape
from .rules import first_shape, scalar_shape

_ANY = attr("type")
_FRAME: dict[str, Any] = {"frame_name": attr("string"), "is_constant": False, "parallel_iterations": 10}


# ---- branches
def _switch_shape(op: Operation) -> list[TensorShape]:
    if op.inputs[1].shape.rank not in (None, 0):
        raise InvalidArgumentError(f"[{op.type}] 'pred' must be a scalar: it has shape {op.inputs[1].shape}")
    return [op.inputs[0].shape] * 2


def _chosen(data: Any, pred: Array) -> tuple[Any, Any]:
    if np.shape(pred) != ():
        raise InvalidArgumentError(f"[Switch] 'pred' must be a scalar: it has shape {np.shape(pred)}")
    return (DEAD, data) if pred else (data, DEAD)


@define("Switch(data: T, pred: bool) -> output_false: T, output_true: T", T=_ANY, aliases=True, shape=_switch_shape)
def switch(data: Any, pred: Array) -> tuple[Any, Any]:
    """`data` on the output that `pred` () names; the other output is dead."""
    return _chosen(data, pred)


@define("RefSwitch(data: &T, pred: bool) -> output_false: &T, output_true: &T", T=_ANY, aliases=True,
        differentiable=False, shape=_switch_shape)
def ref_switch(data: Any, pred: Array) -> tuple[Any, Any]:
    """As Switch, for a reference to a variable."""
    return _chosen(data, pred)


def _merge_shape(op: Operation) -> list[TensorShape]:
    """What all inputs have in common; the index is a scalar."""
    shape = op.inputs[0].shape
    for t in op.inputs[1:]:
        if shape.dims is None or t.shape.dims is None or len(shape.dims) != len(t.shape.dims):
            shape = UNKNOWN
        else:
            shape = TensorShape([a if a == b else None for a, b in zip(shape.dims, t.shape.dims)])
    return [shape, SCALAR]


def _first_alive(inputs: list[Any]) -> tuple[Any, Array]:
    index = next((i for i, x in enumerate(inputs) if x is not DEAD), 0)
    return inputs[index], np.array(index, np.int32)


@define("Merge(inputs: N*T) -> output: T, value_index: int32", T=_ANY, aliases=True, shape=_merge_shape)
def merge(inputs: list[Any]) -> tuple[Any, Array]:
    """The first input that arrives alive, and its index. Dead where all inputs are."""
    return _first_alive(inputs)


@define("RefMerge(inputs: &N*T) -> output: &T, value_index: int32", T=_ANY, aliases=True, differentiable=False,
        shape=_merge_shape)
def ref_merge(inputs: list[Any]) -> tuple[Any, Array]:
    """As Merge, for references to variables."""
    return _first_alive(inputs)


# ---- loops
@define("Enter(data: T) -> output: T", T=_ANY, aliases=True, shape=first_shape, **_FRAME)
def enter(data: Any) -> Any:
    """`data` in iteration 0 of the frame `frame_name`, which is a child of the frame and iteration it comes from;
    in every iteration where `is_constant`."""
    return data


@define("RefEnter(data: &T) -> output: &T", T=_ANY, aliases=True, differentiable=False, shape=first_shape, **_FRAME)
def ref_enter(data: Any) -> Any:
    """As Enter, for a reference to a variable."""
    return data


@define("Exit(data: T) -> output: T", T=_ANY, aliases=True, shape=first_shape)
def exit_(data: Any) -> Any:
    """`data` in the frame around this one."""
    return data


@define("RefExit(data: &T) -> output: &T", T=_ANY, aliases=True, differentiable=False, shape=first_shape)
def ref_exit(data: Any) -> Any:
    """As Exit, for a reference to a variable."""
    return data


@define("NextIteration(data: T) -> output: T", T=_ANY, aliases=True, shape=first_shape)
def next_iteration(data: Any) -> Any:
    """`data` in the next iteration. A dead input ends here."""
    return data


@define("RefNextIteration(data: &T) -> output: &T", T=_ANY, aliases=True, differentiable=False, shape=first_shape)
def ref_next_iteration(data: Any) -> Any:
    """As NextIteration, for a reference to a variable."""
    return data


@define("LoopCond(input: bool) -> output: bool", aliases=True, differentiable=False, shape=scalar_shape)
def loop_cond(input: Array) -> Array:
    """output = input (): whether the loop goes on. Marks the predicate of a frame."""
    return input


@define("ControlTrigger()", differentiable=False)
def control_trigger() -> None:
    """Waits for its control inputs, and is alive even where they are dead."""


def _alone(op: Operation, *grads: Any) -> list[Tensor]:
    """rf.gradients takes a branch or a loop as a whole; it comes here where the op is part of none."""
    raise InvalidArgumentError(f"[gradients] {op.name!r} ({op.type}) is not part of a whole rf.cond or rf.while_loop: "
                               f"there is no gradient through it.{op.where} Fix: build it with one of these", op.name)


for _op in (switch, merge, enter, exit_, next_iteration):
    _op.gradient(_alone)

switch.sample(normal(2, 3), np.array(True), gradient=False)
switch.sample(normal(), np.array(False), gradient=False)
ref_switch.sample(normal(2), np.array(True))
merge.sample([normal(2, 3), normal(2, 3)], gradient=False)
ref_merge.sample([normal(2), normal(2)])
for _op in (enter, ref_enter):
    _op.sample(normal(2, 3), frame_name="loop", gradient=False)
    _op.sample(normal(), frame_name="loop", is_constant=True, parallel_iterations=1, gradient=False)
for _op in (exit_, ref_exit, next_iteration, ref_next_iteration):
    _op.sample(normal(2, 3), gradient=False)
loop_cond.sample(np.array(True))
control_trigger.sample()
switch.sample(np.array([b"a", b"b"], object), np.array(True), T=dtypes.string, gradient=False)
