"""Holding updates back: a small part of control flow, enough for a step that must not be taken.

A node with a control edge from a `_Gate` whose input is false does not run. Only updates of variables, which then pass
the variable on, and operations without outputs can be held back: nothing else has a value to give.
"""
from __future__ import annotations

import numpy as np

from ..define import Array, attr, define
from ..interpreter import State
from ..operation import Operation
from .rules import scalar_shape


@define("_Gate(proceed: bool)", stateful=True, differentiable=False)
def gate(proceed: Array) -> None:
    """Updates with a control edge from here run only where `proceed` () is true. See interpreter.py, executor.h."""


gate.sample(np.array(True))
gate.sample(np.array(False))


@define("_Cycle() -> position: int64", length=attr("int"), stateful=True, differentiable=False, shape=scalar_shape)
def cycle(*, length: int, state: State, op: Operation) -> Array:
    """1, 2, ..., length, 1, ...: where in a cycle of runs this one is: output ()."""
    runs = state.containers.setdefault("_cycles", {})
    runs[op.name] = runs.get(op.name, 0) + 1
    return np.array((runs[op.name] - 1) % length + 1, np.int64)


cycle.sample(length=3)
