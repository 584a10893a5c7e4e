"""Constant folding: what depends on constants and static shapes alone is computed now, by the reference."""
from __future__ import annotations

import numpy as np

from ..constant import constant_value
from ..errors import Error
from ..interpreter import evaluate
from ..operation import Operation
from ..topology import topological_order
from .program import Program

LARGEST = 1 << 20  # bytes of a folded result; larger ones are cheaper to compute than to keep

_SHAPES = ("Shape", "ShapeN", "Size", "Rank")
_KEPT = ("Const", "_Arg", "_Retval", "NoOp")


def fold_constants(program: Program) -> None:
    for op in topological_order(program.graph._ops):
        if op.type in _KEPT or op.op_def.stateful or op in program.targets:
            continue
        if op.type in _SHAPES:
            for t in op.outputs:
                value = constant_value(t)
                if value is not None and t.consumers:
                    _become(program, op, t.index, value)
            continue
        if not op.inputs or any(t.op.type != "Const" for t in op.inputs) or op.control_inputs or not _small(op):
            continue
        try:
            values = evaluate(op, [t.op.attrs["value"] for t in op.inputs])
        except Error:
            continue  # an error of the run stays one: it is reported only if the node really runs
        for t, value in zip(op.outputs, values):
            if t.consumers:
                _become(program, op, t.index, value)


def _small(op: Operation) -> bool:
    sizes = [t.shape.num_elements() for t in op.outputs]
    if any(n is None for n in sizes):
        return bool(sum(t.op.attrs["value"].nbytes for t in op.inputs) <= LARGEST // 64)
    return sum(n * t.dtype.size for n, t in zip(sizes, op.outputs) if n is not None) <= LARGEST


def _become(program: Program, op: Operation, index: int, value: object) -> None:
    t = op.outputs[index]
    array = np.asarray(value, t.dtype.as_numpy_dtype)
    attrs = {"value": array, "dtype": t.dtype}
    const = program.add("Const", [], attrs, f"{op.name}/_folded_{index}", op.control_inputs, op)
    program.replace(t, const.outputs[0])
