"""Locks: those that a run takes on one mutex are taken in the order in which they were made.

Updates of a variable happen in the order in which they were made (updates.py). Locks around them that were taken in
another order would wait for updates that wait for the locks.
"""
from __future__ import annotations

from collections import defaultdict

from ...operation import Operation
from ..program import Program
from .edges import Edges


def order_locks(program: Program) -> None:
    locks: dict[tuple[str, str], list[Operation]] = defaultdict(list)
    for op in program.graph._ops:
        if op.type == "MutexLock":
            source = op.inputs[0].op
            while source.type != "MutexV2" and source.inputs:
                source = source.inputs[0].op
            locks[source.attrs.get("container", ""), source.attrs.get("shared_name") or source.name].append(op)
    if not any(len(same) > 1 for same in locks.values()):
        return
    edges = Edges(program)
    for same in locks.values():
        same.sort(key=lambda op: op.id)
        for earlier, later in zip(same, same[1:]):
            followers = edges.reachable(later)
            for end in list(earlier.outputs[0].consumers):
                if end.type == "ConsumeMutexLock" and end not in followers:
                    edges.fix(end, later, followers)
