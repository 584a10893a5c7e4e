"""Split and ConcatV2 along the first dimension (those before it are 1): parts that lie one after another in memory.

As `_SplitRows` the parts are the memory of the whole (Sharing::Parts, csrc/runtime/plan.cc); as `_JoinRows` they are
computed where they belong in the whole (Sharing::Joins, shared_storage.cc). They begin at multiples of 64 bytes, as all
tensors do. What may be a variable's memory is left alone: its parts would change with it.
"""
from __future__ import annotations

from ..constant import literal
from ..operation import Operation, Tensor
from .memory import may_be_variable
from .program import Program

_ALIGNMENT = 64


def share_rows(program: Program) -> None:
    made: dict[Operation, Operation] = {}
    for op in [op for op in program.graph._ops if op.type in ("Split", "ConcatV2")]:
        value, axis = (op.inputs[1], op.inputs[0]) if op.type == "Split" else (op.outputs[0], op.inputs[-1])
        parts = op.outputs if op.type == "Split" else op.inputs[:-1]
        at = literal(axis)
        if op in program.targets or at is None or not _in_order(value, parts, int(at)):
            continue
        attrs: dict[str, object] = {"T": value.dtype, "axis": int(at)}
        if op.type == "ConcatV2":
            attrs["N"] = len(parts)
            made[op] = program.add("_JoinRows", parts, attrs, f"{op.name}/_rows", op.control_inputs, op)
        elif not may_be_variable(value):
            attrs["num_split"] = len(parts)
            made[op] = program.add("_SplitRows", [value], attrs, f"{op.name}/_rows", op.control_inputs, op)
    if not made:
        return
    program.graph._ops = [made.get(op, op) for op in program.graph._ops[:-len(made)]]
    for old, new in made.items():
        for before, after in zip(old.outputs, new.outputs):
            program.replace(before, after)
    for op in program.graph._ops:
        if any(c in made for c in op.control_inputs):
            op.control_inputs = [made.get(c, c) for c in op.control_inputs]
    program.remove(set(made))


def _in_order(value: Tensor, parts: list[Tensor], axis: int) -> bool:
    dims = value.shape.dims
    if len(parts) < 2 or value.dtype.kind not in "fiub" or dims is None or not value.shape.is_fully_defined():
        return False
    if any(d != 1 for d in dims[:axis if axis >= 0 else axis + len(dims)]):
        return False
    sizes = [t.shape.num_elements() for t in parts[:-1]]
    return all(n and n * value.dtype.size % _ALIGNMENT == 0 for n in sizes)
