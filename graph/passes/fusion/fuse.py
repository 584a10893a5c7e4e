"""Fusion: runs of elementwise ops, reductions along rows and sums of columns become one node that works tile by tile.

A group runs where its last member ran. That is legal while everybody outside who waits for a member comes later in the
order of the program; it is checked whenever a group grows, so that no cycle can arise. Members come behind the same
operations that may wait (a dequeue): else others would wait for what they do not need, perhaps for themselves. Only
nodes of fully known shape take part: how an operand repeats must be plain.

Where a group reads several tensors that are cheap functions of fewer, such as x * 0.5 and x * x * x in the backward
pass of an activation, it computes them again: reading memory costs more than a multiplication.

The bits stay the same: the kernels (csrc/kernels/fused.cc, fused_rows.cc) use the formula and the order of additions of
each op as they are.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ...operation import Operation, Tensor
from ...places import Places, find_places
from ...topology import predecessors, topological_order
from ..memory import may_be_variable
from ..program import Program
from .fusible import fused_name, whole_shape
from .groups import Group, fits, inputs_of, whole_of
from .min_cut import minimum_cut
from .nodes import replace_group

_LEAST_ELEMENTS = 512  # below, one node's overhead is what several cost anyway
_MOST_SIBLINGS = 8  # groups that read one tensor, of which one more reader is offered to each
_CHEAP = frozenset(("Neg", "Abs", "Square", "Floor", "Relu", "Relu6", "AddV2", "Sub", "Mul", "Maximum", "Minimum",
                    "SquaredDifference", "ReluGrad", "Relu6Grad", "SigmoidGrad", "TanhGrad"))  # to compute again


def fuse_elementwise(program: Program) -> None:
    order = topological_order(sorted(program.graph._ops, key=_ends_there))
    position, places = {op: i for i, op in enumerate(order)}, find_places(order)
    waiters, behind = _waiters(order), _behind(order, one_by_one="one by one" in program.notes)
    group_of: dict[Operation, Group] = {}
    readers = defaultdict[Tensor, Group](list)
    for op in order:
        if op in program.targets or not _may_be_large(op) or fused_name(op) is None:
            continue
        group = [op]
        for other in _neighbours(op, group_of, readers):
            if other[0] in group or not _alike(other[0], op, places):
                continue
            if behind.get(other[0]) != behind.get(op):
                continue
            joined = sorted([*other, *group], key=position.__getitem__)
            if fits(joined) and all(position[w] >= position[op] for m in other for w in waiters[m] if w not in other):
                group = joined
        for member in group:
            group_of[member] = group
        _note_reader(op, group_of, readers)
    groups = {id(g): g for g in group_of.values()}.values()
    replaced = set[Operation]()
    for group in sorted(groups, key=lambda g: position[g[-1]], reverse=True):  # readers first: what they compute again
        again = sorted(_computed_again(group, group_of, places), key=position.__getitem__)  # need not be written
        if len(group) + len(again) > 1 and (whole_of(group).num_elements() or 0) >= _LEAST_ELEMENTS:
            replace_group(program, group, again, waiters)
            replaced.update(group)
    program.remove(replaced)
    awaited = {c for op in program.graph._ops for c in op.control_inputs}
    program.remove({op for op in program.graph._ops if op.type == "BroadcastTo" and not op.outputs[0].consumers
                    and op not in awaited and op not in program.targets})


def _may_be_large(op: Operation) -> bool:
    """Whether it runs over enough elements, or may be numbers of rows that together have enough."""
    if not op.outputs or not op.inputs:
        return False
    shape = whole_shape(op)
    n = shape.num_elements()
    return n is not None and (n >= _LEAST_ELEMENTS or (len(shape.known) > 1 and shape.known[-1] == 1))


def _ends_there(op: Operation) -> bool:
    """Whether nobody reads what it gives. Updates come last, so that no group ends early for them."""
    return not any(t.consumers for t in op.outputs)


def _neighbours(op: Operation, group_of: dict[Operation, Group], readers: dict[Tensor, Group]) -> Iterator[Group]:
    """The groups that make what `op` reads; and those of others who read it, where it is as large as the whole."""
    whole = whole_shape(op)
    for t in op.inputs:
        if t.op in group_of:
            yield group_of[t.op]
        elif t.shape == whole and not t.is_ref:
            yield from (group_of[c] for c in readers[t])


def _note_reader(op: Operation, group_of: dict[Operation, Group], readers: dict[Tensor, Group]) -> None:
    """One reader of each tensor for each of the last groups that read it."""
    for t in op.inputs:
        latest = {id(group_of[c]): c for c in [*readers[t], op]}
        readers[t] = list(latest.values())[-_MOST_SIBLINGS:]


def _waiters(order: list[Operation]) -> dict[Operation, list[Operation]]:
    """Who waits for an operation, by data or control edges."""
    waiters = {op: [c for t in op.outputs for c in t.consumers] for op in order}
    for op in order:
        for before in op.control_inputs:
            waiters[before].append(op)
    return waiters


def _behind(order: list[Operation], one_by_one: bool) -> dict[Operation, frozenset[Operation]]:
    """The operations before each that may wait, where there are any; feeds too, where they come `one_by_one`."""
    waits = {op for op in order if op.op_def.waits or (one_by_one and op.type == "_Arg")}
    behind: dict[Operation, frozenset[Operation]] = {}
    for op in order if waits else ():
        before = {b for b in predecessors(op) if b in behind or b in waits}
        if before:
            waiting = [b for b in before if b in waits]
            behind[op] = frozenset(waiting).union(*(behind[b] for b in before if b in behind))
    return behind


def _alike(a: Operation, b: Operation, places: Places | None) -> bool:
    """Whether one node could be both: alive and dead together, among other things."""
    same_place = places is None or places[a] == places[b]
    return a.outputs[0].dtype is b.outputs[0].dtype and a.device == b.device and same_place


def _computed_again(group: Group, group_of: dict[Operation, Group], places: Places | None) -> set[Operation]:
    """Cheap operations of other groups that `group` had better repeat than read the results of: those behind the
    tensors from which all that it reads can be computed with the fewest passes over memory."""
    whole = whole_of(group)

    def parts(t: Tensor) -> list[Tensor] | None:
        """What `t` is computed from again; None where it had better be read."""
        if t.op not in group_of or t.op.type not in _CHEAP or not _alike(t.op, group[-1], places):
            return None
        if any(may_be_variable(x) for x in t.op.inputs):  # it may have changed by then
            return None
        return [x for x in t.op.inputs if x.shape == whole]

    def passes(t: Tensor) -> int:
        """How many passes over memory reading `t` costs: one more where it is written for this group alone."""
        maker = group_of.get(t.op, group)
        return 2 if maker is not group and all(c in group or c in maker for c in t.consumers) else 1

    wanted = [t for t, source in inputs_of(group).items() if source.shape == whole]
    read = minimum_cut(wanted, parts, passes)
    if sum(map(passes, read)) >= sum(map(passes, wanted)):
        return set()
    again = set[Operation]()
    stack = [t for t in wanted if t not in read]
    while stack:
        t = stack.pop()
        again.add(t.op)
        stack.extend(x for x in parts(t) or () if x not in read and x.op not in again)
    return again if fits([*again, *group]) else set()
