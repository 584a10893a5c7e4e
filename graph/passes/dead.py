"""Dead code: what no fetch, no target and no update of a variable needs is dropped.

Updates stay even where their values were folded away: they run because the graph as built needs them.
"""
from __future__ import annotations

from ..operation import Operation
from ..places import Places, find_places
from ..topology import predecessors
from .order import is_update
from .program import Program


def drop_dead_code(program: Program) -> None:
    loose: dict[Operation, set[Operation]] = program.notes.get("loose", {})
    live: set[Operation] = set()
    stack = [*program.roots(), *filter(is_update, program.graph._ops)]
    while stack:
        op = stack.pop()
        if op not in live:
            live.add(op)
            stack.extend(predecessors(op) - (loose.get(op, set()) - {t.op for t in op.inputs}))
    live.update(trigger for held in loose.values() for trigger in held  # says that a reader in a branch is done
                if trigger.type == "ControlTrigger" and not live.isdisjoint(trigger.control_inputs))
    places = find_places(program.graph._ops) if loose else None
    for op, held in loose.items():
        if op in live and not live.issuperset(held):
            _pass_on(op, held - live, live, places)
    program.remove({op for op in program.graph._ops if op not in live and op.type != "_Arg"})


def _pass_on(op: Operation, dead: set[Operation], live: set[Operation], places: Places | None) -> None:
    """What `op` waited for through dead operations, it waits for itself."""
    seen: set[Operation] = set()
    stack = list(dead)
    while stack:
        for before in predecessors(stack.pop()) - seen:
            seen.add(before)
            if before not in live:
                stack.append(before)
            elif places is not None and not places.may_precede(before, op):
                continue
            elif before not in op.control_inputs and before.type not in ("Const", "_Arg"):
                op.control_inputs.append(before)
