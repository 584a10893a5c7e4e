"""Arithmetic and structural identities: nodes that give back their input, or do nothing for the shapes at hand.

A node that is dead where its input is alive stays.
"""
from __future__ import annotations

from ..constant import literal
from ..operation import Operation, Tensor
from ..places import find_places
from ..topology import topological_order
from .program import Program

_SAME = ("Identity", "StopGradient", "PreventGradient")


def simplify(program: Program) -> None:
    loose: dict[Operation, set[Operation]] = program.notes.get("loose", {})
    kept = {c for op in program.graph._ops for c in op.control_inputs
            if c.type not in _SAME or c not in loose.get(op, ())}
    kept.update(program.targets)
    places = find_places(program.graph._ops)
    for op in topological_order(program.graph._ops):
        if op.control_inputs or op in kept or not op.outputs or not op.outputs[0].consumers:
            continue
        same = _same_as(op)
        if same is not None and (places is None or places.output(same) == places[op]):
            program.replace(op.outputs[0], same)


def _same_as(op: Operation) -> Tensor | None:
    """The tensor that output 0 equals, where that is plain from the node alone."""
    kind = op.type
    if kind in _SAME:
        return op.inputs[0]
    if kind in ("Reshape", "ExpandDims", "Squeeze", "BroadcastTo"):
        x, y = op.inputs[0], op.outputs[0]
        return x if y.shape.is_fully_defined() and x.shape == y.shape else None
    if kind in ("Sum", "Mean", "Prod", "Max", "Min", "All", "Any"):
        axes = literal(op.inputs[1])
        return op.inputs[0] if axes is not None and axes.size == 0 else None
    if kind == "Transpose":
        perm = literal(op.inputs[1])
        if perm is not None and list(perm) == list(range(len(perm))):
            return op.inputs[0]
        before = op.inputs[0].op  # a transpose that this one takes back
        first = literal(before.inputs[1]) if before.type == "Transpose" else None
        undone = perm is not None and first is not None and list(first[perm]) == list(range(len(perm)))
        return before.inputs[0] if undone else None
    if kind == "AddN" and len(op.inputs) == 1:
        return op.inputs[0]
    if kind == "Cast" and op.inputs[0].dtype is op.outputs[0].dtype:
        return op.inputs[0]
    if kind in ("Mul", "RealDiv") and _is(op.inputs[1], 1) and op.inputs[0].shape == op.outputs[0].shape:
        return op.inputs[0] if op.outputs[0].shape.is_fully_defined() else None
    if kind == "Mul" and _is(op.inputs[0], 1) and op.inputs[1].shape == op.outputs[0].shape:
        return op.inputs[1] if op.outputs[0].shape.is_fully_defined() else None
    return None


def _is(t: Tensor, number: int) -> bool:
    value = literal(t)
    return value is not None and value.size == 1 and value.item() == number

