"""Common subexpressions: stateless nodes with equal op, attrs, inputs, control inputs and device become one.

Nodes with equal inputs and control inputs are in one frame and one branch. Merges and what ends an iteration stay.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..control_types import EXIT, MERGE, NEXT_ITERATION
from ..opdef import OPS
from ..operation import Operation
from ..topology import topological_order
from .program import Program

_SINGLE = {"_Arg", "_Retval", "NoOp", "ControlTrigger", *MERGE, *NEXT_ITERATION, *EXIT}
_LARGEST = 4096  # bytes of constants that are compared


def join_common_subexpressions(program: Program) -> None:
    seen: dict[Any, Operation] = {}
    joined: dict[Operation, Operation] = {}
    for op in topological_order(program.graph._ops):
        if op.control_inputs:
            op.control_inputs = list(dict.fromkeys(joined.get(c, c) for c in op.control_inputs))
        if op.op_def.stateful or op.type in _SINGLE or op in program.targets:
            continue
        key = _key(op)
        if key is None:
            continue
        first = seen.setdefault(key, op)
        if first is not op:
            joined[op] = first
            for old, new in zip(op.outputs, first.outputs):
                program.replace(old, new)


def _key(op: Operation) -> Any:
    inputs = [(t.op.id, t.index) for t in op.inputs]
    if OPS[op.type].commutative:
        inputs.sort()
    attrs: list[tuple[Any, ...]] = []
    for name, value in op.attrs.items():
        if name.startswith("_") and name != "_class":
            continue
        if isinstance(value, np.ndarray):
            if value.nbytes > _LARGEST or value.dtype == object:
                return None
            attrs.append((name, value.dtype.str, value.shape, value.tobytes()))
        else:
            attrs.append((name, tuple(value) if isinstance(value, list) else value))
    attrs.sort(key=lambda a: a[0])
    return op.type, tuple(inputs), tuple(attrs), op.device, tuple(sorted(c.id for c in op.control_inputs))
