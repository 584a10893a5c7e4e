"""The order of collectives: the pass that makes them run one after another in the same order on every rank.

The order is that in which their inputs become ready, and control edges fix it. It follows from what the collectives
depend on alone: a rank that fetches more than the others (a loss to print, a summary) keeps it. `_BucketWait` is left
out: it begins nothing.
"""
from __future__ import annotations

from ringflow.graph.operation import Operation
from ringflow.graph.passes import Program
from ringflow.graph.topology import predecessors, topological_order

from .attach import collective_ops


def sequence(program: Program) -> list[Operation]:
    """The operations of `program` that begin a collective, by the place of their last input in topological order.

    An operation that depends on another comes later, because its last input does.
    """
    begin = [op for op in collective_ops(program) if op.type != "_BucketWait"]
    if len(begin) < 2:
        return begin
    place = {op: i for i, op in enumerate(topological_order(program.graph.get_operations()))}
    return sorted(begin, key=lambda op: (max((place[p] for p in predecessors(op)), default=-1), place[op]))


def order_collectives(program: Program) -> None:
    """Pass: each collective waits for the one before it in the sequence."""
    ordered = sequence(program)
    for before, after in zip(ordered, ordered[1:]):
        if before not in predecessors(after):
            after.control_inputs.append(before)
    program.notes["collectives"] = ordered
