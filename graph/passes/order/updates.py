"""Reads before updates: control edges so that every read of a variable comes before an update that it does not follow.

TensorFlow leaves the order of a read and an unrelated update of one variable open. Here it is fixed: a run sees the
values from before it, except where a read depends on the update by data or control edges. Unrelated updates of one
variable happen in the order in which they were made. Results then never depend on scheduling.

What a read gives is a value: it stays the same however the variable is updated afterwards. It shares the variable's
memory as long as everybody who uses it comes before the updates; where a user must come after an update that the read
does not follow, a Snapshot is put between them.

A value that goes into or out of a branch, a loop or an iteration, or onto a stack or into a tensor array, is such a
Snapshot too, and a loop in which a variable is updated runs one iteration after the other.

This runs before all passes that drop or join nodes: what follows what is decided by the graph as it was built. Edges
from readers are noted as loose: they do not keep a reader alive that nobody else needs.
"""
from __future__ import annotations

from collections import defaultdict

from ... import dtypes
from ...control_types import CONTROL_FLOW, ENTER, MERGE
from ...operation import Operation, Tensor
from ..memory import names_variable
from ..program import Program
from .edges import Edges


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
    if not any(updates.values()):
        return
    for variable in [v for v, writers in updates.items() if writers]:
        _copy_where_it_moves(program, nodes[_key(variable)] if variable.type in _VARIABLES else [variable])
    edges = Edges(program)
    _one_iteration_at_a_time(program, edges, [op for writers in updates.values() for op in writers])
    for writers in updates.values():
        writers[:] = sorted(set(writers), key=lambda o: o.id)
        for i, writer in enumerate(writers[1:], 1):
            followers = edges.reachable(writer)
            for earlier in writers[:i]:
                edges.fix(earlier, writer, followers)
    for variable, writers in updates.items():
        same = nodes.get(_key(variable), [variable]) if variable.type in _VARIABLES else [variable]
        for writer in writers:
            followers = edges.reachable(writer)
            _keep_values(program, edges, same, writers, writer, followers)
            for reader in _readers(same):
                if reader not in writers:
                    edges.fix(reader, writer, followers, loose=True)


def _keep_values(program: Program, edges: Edges, variable: list[Operation], writers: list[Operation],
                 writer: Operation, followers: set[Operation]) -> None:
    """Puts a Snapshot behind every read that does not follow `writer` while some user of it does, or is it."""
    for read in _readers(variable):
        if not _shares(read) or names_variable(read.outputs[0]) or not names_variable(read.inputs[0]):
            continue
        users = _readers([read])
        by_rows = writer in users and any(kind in writer.type for kind in ("Scatter", "Sparse"))  # reads what it wrote
        moves = _moves(edges, [read, *users], writer)
        if read in followers or (followers.isdisjoint(users) and not by_rows and not moves):
            continue
        t = read.outputs[0]
        consumers = list(t.consumers)
        copy = program.add("Snapshot", [t], {"T": t.dtype}, f"{read.name}/_snapshot", like=read)
        t.consumers = consumers
        program.replace(t, copy.outputs[0])
        t.consumers.append(copy)
        edges.insert(copy, read)
        for other in writers:
            edges.fix(copy, other, edges.reachable(other))


def _copy_where_it_moves(program: Program, variable: list[Operation]) -> None:
    """What Switch, Merge and the ops of loops pass on as a value, and what is kept for later, does not share the
    variable's memory."""
    stack, seen = list(variable), set(variable)
    while stack:
        op = stack.pop()
        for t in op.outputs:
            moved = [c for c in dict.fromkeys(t.consumers)
                     if c.type in _KEEPERS or c.type in CONTROL_FLOW and not names_variable(c.outputs[0])]
            further = [c for c in t.consumers if c not in moved and c not in seen and _shares(c)]
            seen.update(further)
            stack += further
            if moved:
                copy = program.add("Snapshot", [t], {"T": t.dtype}, f"{op.name}/_moved_{t.index}", like=op).outputs[0]
                for user, i in [(c, i) for c in moved for i, x in enumerate(c.inputs) if x is t]:
                    user._update_input(i, copy)


def _moves(edges: Edges, ops: list[Operation], writer: Operation) -> bool:
    """Whether one of `ops` is in another frame than `writer`: no edge would order them."""
    places = edges.places
    return places is not None and any(places[op].frame != places[writer].frame for op in ops)


def _one_iteration_at_a_time(program: Program, edges: Edges, writers: list[Operation]) -> None:
    """Updates in a loop happen in the order of its iterations."""
    if edges.places is None:
        return
    frames = {name for op in writers for name in edges.places[op].frame}
    for op in program.graph._ops:
        if op.type in ENTER and op.attrs["frame_name"] in frames:
            op.attrs["parallel_iterations"] = 1


_VARIABLES = ("VariableV2", "VarHandleOp")
_KEEPERS = ("StackPushV2", "TensorArrayWriteV3", "TensorArrayScatterV3", "TensorArraySplitV3")
# take a reference or handle and do not write what is behind it
ONLY_READ = {"IsVariableInitialized", "ReadVariableOp", "VarIsInitializedOp", "VariableShape", "ResourceGather",
              *CONTROL_FLOW}


def _key(variable: Operation) -> tuple[str, str]:
    """Container and name of the variable that a node of _VARIABLES stands for."""
    return variable.attrs["container"], variable.attrs["shared_name"] or variable.name


def _written(op: Operation) -> list[Operation]:
    """The variables that `op` writes: its references and handles, traced to the node of the variable."""
    if op.type in ONLY_READ:
        return []
    variables = []
    for arg in op.op_def.inputs:
        if arg.is_ref or arg.dtype is dtypes.resource:
            for t in op.inputs[op.span(arg.name)]:
                variables += _behind(t)
    return variables


def _behind(t: Tensor) -> list[Operation]:
    """The variables that a reference or handle may be one to; what is behind other handles orders itself."""
    found, seen, stack = [], {t.op}, [t.op]
    while stack:
        source = stack.pop()
        if source.type in _VARIABLES:
            found.append(source)
        for x in source.inputs if source.type in MERGE else source.inputs[:1]:
            if names_variable(x) and x.op not in seen:
                seen.add(x.op)
                stack.append(x.op)
    return found


def is_update(op: Operation) -> bool:
    """Whether `op` writes a variable."""
    return bool(_written(op))


def _shares(op: Operation) -> bool:
    """Whether the outputs of `op` are the memory of its input."""
    return op.op_def.aliases or any(names_variable(t) for t in op.outputs)


def _readers(variable: list[Operation]) -> list[Operation]:
    """Operations that touch the variable's memory: its consumers, seen through operations that only pass it on."""
    found: dict[Operation, None] = {}
    stack = list(variable)
    while stack:
        for t in stack.pop().outputs:
            for op in t.consumers:
                if op not in found:
                    found[op] = None
                    if _shares(op):
                        stack.append(op)
    return sorted(found, key=lambda o: o.id)
