"""Edges: who waits for whom in a program, and control edges between a reader and a writer that are legal everywhere.

Under control flow an edge from `a` to `b` must not leave a frame, and must not make `b` die where `a` is not reached:
- in one frame, from what may be dead while `b` is alive: through a ControlTrigger, which stays alive; none between two
  branches of one predicate, of which only one runs;
- out of a loop: from the loop's Exits; into a loop: to the Enter through which the writer knows its variable.
What comes around a loop's back edge does not follow in the same iteration: a reader there still comes first.
"""
from __future__ import annotations

from collections import defaultdict

from ...control_types import ENTER, EXIT, NEXT_ITERATION
from ...operation import Operation
from ...places import find_places
from ...topology import predecessors
from ..program import Program


class Edges:
    """Kept up to date while edges are added. `places` is None for a graph without control flow."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._after: dict[Operation, list[Operation]] = defaultdict(list)
        self._loose: dict[Operation, set[Operation]] = program.notes.setdefault("loose", {})
        self._triggers: dict[Operation, Operation] = {}
        self.places = find_places(program.graph._ops)
        for op in program.graph._ops:
            for before in predecessors(op):
                self._after[before].append(op)

    def fix(self, op: Operation, writer: Operation, followers: set[Operation], loose: bool = False) -> None:
        """An edge that keeps `op` after `writer` where it follows it, and before it otherwise."""
        before, after = (writer, op) if op in followers else (op, writer)
        loose = loose and after is writer
        if self.places is None:
            self._add(before, after, loose)
            return
        a, b = self.places.after(before), self.places[after]
        if a.frame == b.frame:
            if not any((pred, 1 - branch) in b.conditions for pred, branch in a.conditions):
                self._add(self._alive(before, after), after, loose)
        elif op not in followers:
            self._across(before, after, loose)

    def _add(self, before: Operation, after: Operation, loose: bool) -> None:
        if before not in after.control_inputs and all(t.op is not before for t in after.inputs):
            after.control_inputs.append(before)
            self._after[before].append(after)
            if loose:
                self._loose.setdefault(after, set()).add(before)

    def _alive(self, before: Operation, after: Operation) -> Operation:
        """`before`, or what stays alive for it where it may be dead."""
        assert self.places is not None
        if self.places.may_precede(before, after):
            return before
        trigger = self._triggers.get(before)
        if trigger is None:
            trigger = self._program.add("ControlTrigger", [], {}, f"{before.name}/_over", [before], before)
            self._triggers[before] = trigger
            self.places.add(trigger)
            self._after[before].append(trigger)
        return trigger

    def _across(self, before: Operation, after: Operation, loose: bool) -> None:
        """Between frames: from the Exits of the loop around `before`, to the Enter into the loop around `after`."""
        assert self.places is not None
        a, b = self.places.after(before).frame, self.places[after].frame
        depth = _common(a, b)
        sources, target = [before], after
        if len(a) > depth:
            sources = [op for op in self._program.graph._ops
                       if op.type in EXIT and self.places[op].frame == a[: depth + 1]]
        while target is after and len(b) > depth or target.type in ENTER and len(self.places[target].frame) > depth:
            source = next((t.op for t in target.inputs[:1]), None)
            while source is not None and source.type not in ENTER:
                source = next((t.op for t in source.inputs[:1]), None)
            if source is None:
                return
            target = source
        following = self.reachable(target)
        for source in sources:
            if source is not target and source not in following:
                self._add(self._alive(source, target), target, loose)

    def insert(self, between: Operation, before: Operation) -> None:
        """`between`, a new node, now stands between `before` and all who read its output."""
        if self.places is not None:
            self.places.add(between)
        self._after[between] = [op for op in self._after[before] if any(t.op is between for t in op.inputs)]
        self._after[before].append(between)

    def reachable(self, start: Operation) -> set[Operation]:
        """Operations that follow `start`, in the same iteration of the loops that are around both."""
        if self.places is None:
            return self._reach(start, None)
        frame = self.places[start].frame
        found: set[Operation] = set()
        for depth in range(len(frame) + 1):
            found.update(op for op in self._reach(start, frame[:depth])
                         if _common(self.places[op].frame, frame) == depth)
        return found

    def _reach(self, start: Operation, within: tuple[str, ...] | None) -> set[Operation]:
        """What can be reached without going around the loop `within` or one that holds it."""
        found: set[Operation] = set()
        stack = [start]
        while stack:
            op = stack.pop()
            if within is not None and self.places is not None and op.type in NEXT_ITERATION:
                frame = self.places[op].frame
                if frame == within[: len(frame)]:
                    continue
            for after in self._after[op]:
                if after not in found:
                    found.add(after)
                    stack.append(after)
        return found


def _common(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """How many frames are around both."""
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
