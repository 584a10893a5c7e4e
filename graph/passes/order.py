"""Reads before updates: control edges so that every read of a variable comes before an update that it does not follow.

TensorFlow leaves the order of a read and an unrelated update of one variable open. Here it is fixed: a run sees the
values from before it, except where a read depends on the update by data or control edges. Unrelated updates of one
variable happen in the order in which they were made. Results then never depend on scheduling.

A read of a resource variable is a snapshot. It shares the variable's memory as long as everybody who uses it comes
before the updates; where a user must come after an update that the read does not follow, the read becomes a copy.
"""
from __future__ import annotations

from collections import defaultdict

from .. import dtypes
from ..operation import Operation, Tensor
from ..topology import topological_order
from .program import Program


def order_updates(program: Program) -> None:
    updates: dict[Operation, list[Operation]] = defaultdict(list)  # variable -> operations that write it
    nodes: dict[tuple[str, str], list[Operation]] = defaultdict(list)  # nodes that name the same variable
    for op in program.graph._ops:
        if op.type in _VARIABLES:
            nodes[_key(op)].append(op)
        for variable in _written(op):
            updates[variable].append(op)
    for same in nodes.values():
        for other in same[1:]:
            updates[same[0]] += updates.pop(other, [])
    if not updates:
        return
    after: dict[Operation, list[Operation]] = defaultdict(list)  # operation -> operations that wait for it
    for op in topological_order(program.graph._ops):
        for t in op.inputs:
            after[t.op].append(op)
        for c in op.control_inputs:
            after[c].append(op)
    for variable, writers in updates.items():
        same = nodes.get(_key(variable), [variable]) if variable.type in _VARIABLES else [variable]
        _copy_late_snapshots(same, writers, after)
        touching = _readers(same)
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


_VARIABLES = ("VariableV2", "VarHandleOp")
_ONLY_READ = ("IsVariableInitialized", "ReadVariableOp", "VarIsInitializedOp", "VariableShape", "ResourceGather")


def _key(variable: Operation) -> tuple[str, str]:
    """Container and name of the variable that a node of _VARIABLES stands for."""
    return variable.attrs["container"], variable.attrs["shared_name"] or variable.name


def _names_variable(t: Tensor) -> bool:
    return t.is_ref or t.dtype is dtypes.resource


def _written(op: Operation) -> list[Operation]:
    """The variables that `op` writes: its references and handles, traced to the node of the variable."""
    if op.type in _ONLY_READ:
        return []
    variables = []
    for arg in op.op_def.inputs:
        if arg.is_ref or arg.dtype is dtypes.resource:
            for t in op.inputs[op.span(arg.name)]:
                source = t.op
                while source.inputs and _names_variable(source.inputs[0]):
                    source = source.inputs[0].op
                variables.append(source)
    return variables


def _copy_late_snapshots(variable: list[Operation], writers: list[Operation],
                         after: dict[Operation, list[Operation]]) -> None:
    """Marks the reads that some user needs after an update which the read itself does not follow."""
    reads = [op for op in _readers(variable) if op.type == "ReadVariableOp"]
    followed = [_reachable(writer, after) for writer in writers] if reads else []
    for read in reads:
        users = _readers([read])
        if any(read not in later and any(u in later for u in users) for later in followed):
            read.attrs["_copy"] = True


def _readers(variable: list[Operation]) -> list[Operation]:
    """Operations that touch the variable's memory: its consumers, seen through operations that only pass it on."""
    found: dict[Operation, None] = {}
    stack = list(variable)
    while stack:
        for t in stack.pop().outputs:
            for op in t.consumers:
                if op not in found:
                    found[op] = None
                    passes_on = op.op_def.aliases or any(_names_variable(o) for o in op.outputs)
                    if passes_on and "_copy" not in op.attrs:
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
