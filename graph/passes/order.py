"""Reads before updates: control edges so that every read of a variable comes before an update that it does not follow.

TensorFlow leaves the order of a read and an unrelated update of one variable open. Here it is fixed: a run sees the
values from before it, except where a read depends on the update by data or control edges. Unrelated updates of one
variable happen in the order in which they were made. Results then never depend on scheduling.
"""
from __future__ import annotations

from collections import defaultdict

from ..operation import Operation
from ..topology import topological_order
from .program import Program


def order_updates(program: Program) -> None:
    updates: dict[Operation, list[Operation]] = defaultdict(list)  # variable -> operations that write it
    for op in program.graph._ops:
        for variable in _written(op):
            updates[variable].append(op)
    if not updates:
        return
    after: dict[Operation, list[Operation]] = defaultdict(list)  # operation -> operations that wait for it
    for op in topological_order(program.graph._ops):
        for t in op.inputs:
            after[t.op].append(op)
        for c in op.control_inputs:
            after[c].append(op)
    for variable, writers in updates.items():
        touching = _readers(variable)
        for writer in sorted(writers, key=lambda o: o.id):
            followers = _reachable(writer, after)
            for other in touching:
                if other is writer or other in followers:
                    continue
                if other in writers and other.id > writer.id:
                    continue  # the later update waits for the earlier one, not the other way round
                if other not in writer.control_inputs and all(t.op is not other for t in writer.inputs):
                    writer.control_inputs.append(other)
                    after[other].append(writer)


def _written(op: Operation) -> list[Operation]:
    """The variables that `op` writes: its ref inputs, traced to their VariableV2 node."""
    if op.type == "IsVariableInitialized" or not any(a.is_ref for a in op.op_def.inputs):
        return []
    variables = []
    for arg in op.op_def.inputs:
        if arg.is_ref:
            for t in op.inputs[op.span(arg.name)]:
                source = t.op
                while source.inputs and source.op_def.inputs[0].is_ref:
                    source = source.inputs[0].op
                variables.append(source)
    return variables


def _readers(variable: Operation) -> list[Operation]:
    """Operations that touch the variable's memory: its consumers, seen through operations that only pass it on."""
    found: dict[Operation, None] = {}
    stack = [variable]
    while stack:
        for t in stack.pop().outputs:
            for op in t.consumers:
                if op not in found:
                    found[op] = None
                    passes_on = op.op_def.aliases or any(a.is_ref for a in op.op_def.outputs)
                    if passes_on:
                        stack.append(op)
    return sorted(found, key=lambda o: o.id)


def _reachable(start: Operation, after: dict[Operation, list[Operation]]) -> set[Operation]:
    found: set[Operation] = set()
    stack = [start]
    while stack:
        for op in after[stack.pop()]:
            if op not in found:
                found.add(op)
                stack.append(op)
    return found
