"""Constant folding: what depends on constants and static shapes alone is computed now, by the reference.

The new constant is where the operation was: it waits for what the operation waited for, so it is in the same iteration
and the same branch.
"""
from __future__ import annotations

import numpy as np

from ..constant import constant_value
from ..control_types import CONTROL_FLOW, SWITCH
from ..errors import Error
from ..interpreter import evaluate
from ..operation import Operation
from ..places import ROOT, find_places
from ..topology import topological_order
from .program import Program

LARGEST = 1 << 20  # bytes of a folded result; larger ones are cheaper to compute than to keep
LARGEST_FIRST_VALUE = 1 << 10  # of one that only goes to variables, which is needed once

_SHAPES = ("Shape", "ShapeN", "Size", "Rank")
_KEPT = {"Const", "_Arg", "_Retval", "NoOp", "ReadFile", "MatchingFiles", *CONTROL_FLOW}  # files may change


def fold_constants(program: Program) -> None:
    places = find_places(program.graph._ops)
    for op in topological_order(program.graph._ops):
        if op.type in _KEPT or op.op_def.stateful or op in program.targets:
            continue
        if op.type in _SHAPES:
            anchors = []
            if places is not None and op in places and places[op] != ROOT:
                if any(t.op.type in SWITCH for t in op.inputs):
                    continue  # a control edge from a Switch does not say which branch
                anchors = [t.op for t in op.inputs]
            for t in op.outputs:
                value = constant_value(t)
                if value is not None and t.consumers:
                    _become(program, op, t.index, value, anchors)
            continue
        if not op.inputs or any(t.op.type != "Const" for t in op.inputs) or op.control_inputs or not _small(op):
            continue
        try:
            values = evaluate(op, [t.op.attrs["value"] for t in op.inputs])
        except Error:
            continue  # an error of the run stays one: it is reported only if the node really runs
        anchors = [c for t in op.inputs for c in t.op.control_inputs]
        for t, value in zip(op.outputs, values):
            if t.consumers:
                _become(program, op, t.index, value, anchors)


def _small(op: Operation) -> bool:
    readers = {c.type for t in op.outputs for c in t.consumers}
    largest = LARGEST_FIRST_VALUE if readers <= {"Assign", "AssignVariableOp"} else LARGEST
    sizes = [t.shape.num_elements() for t in op.outputs]
    if any(n is None for n in sizes):
        return bool(sum(t.op.attrs["value"].nbytes for t in op.inputs) <= largest // 64)
    return sum(n * t.dtype.size for n, t in zip(sizes, op.outputs) if n is not None) <= largest


def _become(program: Program, op: Operation, index: int, value: object, anchors: list[Operation]) -> None:
    t = op.outputs[index]
    array = np.asarray(value, t.dtype.as_numpy_dtype)
    attrs = {"value": array, "dtype": t.dtype}
    controls = list(dict.fromkeys([*op.control_inputs, *anchors]))
    const = program.add("Const", [], attrs, f"{op.name}/_folded_{index}", controls, op)
    program.replace(t, const.outputs[0])
