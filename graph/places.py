"""Where operations run: the frame of each, and the branches that must be taken for it to be alive.

A condition is (predicate, branch). An operation is alive exactly where all of its conditions hold; where the graph does
not tell (a Merge of unrelated branches) there is a condition that stands for itself. What passes and gradients need:
an edge may be added only inside one frame, and never from what may be dead to what may then be alive.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .control_types import CONTROL_FLOW, ENTER, EXIT, MERGE, SWITCH, is_back_edge
from .errors import InvalidArgumentError
from .operation import Operation, Tensor, at_site
from .topology import topological_order

Condition = tuple[Tensor, int]
UNKNOWN_BRANCH = 2  # stands for "this Merge is alive", where no branch of a predicate says so


class Place(NamedTuple):
    """`frame`: names of the frames around, outermost first."""

    frame: tuple[str, ...]
    conditions: frozenset[Condition]


ROOT = Place((), frozenset())


class Places:
    """The places of `ops`, which hold all that they need.

    Raises: InvalidArgumentError where inputs of an operation are in different frames.
    """

    def __init__(self, ops: Iterable[Operation]) -> None:
        self._of: dict[Operation, Place] = {}
        for op in topological_order(ops):
            self._of[op] = self._place(op)

    def __getitem__(self, op: Operation) -> Place:
        """Where `op` runs."""
        return self._of[op]

    def add(self, op: Operation) -> None:
        """Takes in an operation made since."""
        self._of[op] = self._place(op)

    def __contains__(self, op: object) -> bool:
        """False for operations made since."""
        return op in self._of

    def output(self, t: Tensor) -> Place:
        """Where consumers of `t` find it."""
        op = t.op
        frame, conditions = self._of[op]
        if op.type in SWITCH:
            return Place(frame, conditions | {(_predicate(op.inputs[1]), t.index)})
        if op.type in ENTER:
            return Place((*frame, op.attrs["frame_name"]), conditions)
        if op.type in EXIT:
            outer = frame[:-1]
            return Place(outer, frozenset(c for c in conditions if len(self.output(c[0]).frame) <= len(outer)))
        return self._of[op]

    def after(self, op: Operation) -> Place:
        """Where a control edge from `op` arrives."""
        return self.output(op.outputs[0]) if op.type in ENTER or op.type in EXIT else self._of[op]

    def may_precede(self, before: Operation, op: Operation) -> bool:
        """Whether a control edge from `before` to `op` is legal and keeps `op` as alive as it is."""
        a, b = self.after(before), self._of[op]
        return a.frame == b.frame and a.conditions <= b.conditions

    def _place(self, op: Operation) -> Place:
        found = [self.output(t) for t in op.inputs if not is_back_edge(t, op)]
        controls = [self.after(c) for c in op.control_inputs]
        frame = next((p.frame for p in (*found, *controls)), ())
        for p, before in zip((*found, *controls), (*(t.op for t in op.inputs if not is_back_edge(t, op)),
                                                   *op.control_inputs)):
            if p.frame != frame:
                raise at_site(InvalidArgumentError(
                    f"[{op.type}] all inputs of {op.name!r} must be in one loop: {before.name!r} is in "
                    f"{_frame_text(p.frame)}, others are in {_frame_text(frame)}. Fix: return it from the loop it is "
                    "made in, or use it inside that loop", op.name), op.site)
        if op.type == "ControlTrigger":
            return Place(frame, frozenset())
        if op.type in MERGE:
            return Place(frame, self._merged(op, found).union(*(p.conditions for p in controls)))
        return Place(frame, frozenset().union(*(p.conditions for p in (*found, *controls))))

    def _merged(self, op: Operation, inputs: Sequence[Place]) -> frozenset[Condition]:
        common = frozenset.intersection(*(p.conditions for p in inputs)) if inputs else frozenset()
        rests = [p.conditions - common for p in inputs]
        if any(not rest for rest in rests):
            return common
        single = {next(iter(rest)) for rest in rests if len(rest) == 1}
        if any((pred, 1 - branch) in single for pred, branch in single if branch != UNKNOWN_BRANCH):
            return common
        return common | {(op.outputs[0], UNKNOWN_BRANCH)}


def _predicate(t: Tensor) -> Tensor:
    """`t`, seen through the identities that name it."""
    while t.op.type == "Identity" and not t.op.control_inputs:
        t = t.op.inputs[0]
    return t


def _frame_text(frame: tuple[str, ...]) -> str:
    return f"the loop {frame[-1]!r}" if frame else "no loop"


def find_places(ops: Sequence[Operation]) -> Places | None:
    """The places of a graph with control flow; None for any other, where every place is the same."""
    return Places(ops) if any(op.type in CONTROL_FLOW for op in ops) else None
