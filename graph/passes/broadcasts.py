"""Broadcasts late: an elementwise op repeats its operands itself.

``x * BroadcastTo(s)`` is ``x * s``; where all operands are broadcast, ``BroadcastTo(a) * b`` is ``BroadcastTo(a * b)``,
which computes less and goes on to the next op; ``AddN`` with a broadcast among its inputs is a chain of additions. The
bits stay the same. Gradients of means and of sums along rows are full of such broadcasts.
"""
from __future__ import annotations

import numpy as np

from ..operation import Operation, Tensor
from ..shapes import broadcast_all
from ..topology import topological_order
from .memory import may_be_variable
from .program import Program

_UNARY = frozenset(("Neg", "Abs", "Square", "Sqrt", "Rsqrt", "Reciprocal", "Exp", "Log", "Tanh", "Sigmoid"))
_BINARY = frozenset(("AddV2", "Sub", "Mul", "RealDiv", "DivNoNan", "Maximum", "Minimum", "SquaredDifference"))
MOST_TERMS = 8  # of an AddN as a chain


def broadcast_late(program: Program) -> None:
    awaited = {c for op in program.graph._ops for c in op.control_inputs}
    for op in topological_order(program.graph._ops):
        if op.type not in _UNARY and op.type not in _BINARY and op.type != "AddN":
            continue
        sources = [broadcast_source(t) for t in op.inputs]
        whole = [s is t for s, t in zip(sources, op.inputs)]
        if all(whole) or op.control_inputs or op in awaited or op in program.targets:
            continue
        if not op.outputs[0].shape.is_fully_defined():
            continue
        if op.type == "AddN":
            if any(whole) and len(whole) <= MOST_TERMS:
                _chain(program, op, sources)
            continue
        shape = broadcast_all((s.shape for s in sources), op.type)
        if shape != op.outputs[0].shape:
            _broadcast_after(program, op)
            op.outputs[0].shape = shape
        for i, source in enumerate(sources):
            op._update_input(i, source)


def broadcast_source(t: Tensor) -> Tensor:
    """What a BroadcastTo repeats to give `t`, unless that is memory that somebody may change; else `t`."""
    op = t.op
    if op.type != "BroadcastTo" or op.control_inputs or not t.shape.is_fully_defined():
        return t
    x = op.inputs[0]
    return t if may_be_variable(x) or not x.shape.is_fully_defined() else x


def _broadcast_after(program: Program, op: Operation) -> None:
    """A BroadcastTo to the shape that `op` gives, for all its readers."""
    y = op.outputs[0]
    readers = [(reader, i) for reader in dict.fromkeys(y.consumers) for i, t in enumerate(reader.inputs) if t is y]
    shape = next((t.op.inputs[1] for t in op.inputs if t.op.type == "BroadcastTo" and t.shape == y.shape), None)
    if shape is None:
        shape = program.constant(np.array(y.shape.known, np.int32), f"{op.name}/_shape", op)
        shape.op.control_inputs = [op]  # so that it is in the same loop and branch
    wide = program.add("BroadcastTo", [y, shape], {"T": y.dtype, "Tidx": shape.dtype}, f"{op.name}/_wide", like=op)
    for reader, i in readers:
        reader._update_input(i, wide.outputs[0])


def _chain(program: Program, op: Operation, terms: list[Tensor]) -> None:
    """AddV2 from the left instead of an AddN."""
    total = terms[0]
    for i, term in enumerate(terms[1:], 1):
        total = program.add("AddV2", [total, term], {"T": term.dtype}, f"{op.name}/_{i}", like=op).outputs[0]
    program.replace(op.outputs[0], total)
