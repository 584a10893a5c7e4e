"""When to receive: each `_Recv` as late as does not lengthen the simulated step, so that tensors do not lie in memory.

The step of all partitions is simulated with every receive as early as possible. A receive may then begin at the latest
its copy's time before its first reader starts; it is made to wait for the last node of its device that ends before.
The edge goes by a ControlTrigger, shared by all receives that wait for one node: that one is alive even where the node
is not. Source: TensorFlow, core/graph/graph_partition.cc (AddControlEdges), and the white paper, section 5.2.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...control_types import ENTER
from ...operation import Operation
from ...ops.transfer import key_of
from ...placement.costs import Costs
from ...places import find_places
from ...topology import topological_order
from .partition import Partition

_NO_WORK = ("_Recv", "_Arg", "Const", "ControlTrigger")


@dataclass
class Times:
    """Of a simulated step, in microseconds. Of a `_Recv`: when the copy begins, and when it has arrived."""

    start: dict[Operation, float] = field(default_factory=dict)
    end: dict[Operation, float] = field(default_factory=dict)
    order: list[Operation] = field(default_factory=list)

    @property
    def makespan(self) -> float:
        return max(self.end.values(), default=0.0)


def simulate(parts: Sequence[Partition], costs: Costs, order: Sequence[Operation] | None = None) -> Times:
    """A step in which every device runs its nodes one by one, in `order` (default: as they are ready, the earliest made
    first), and copies take their time beside that."""
    sends = {key_of(op): op for p in parts for op in p.graph._ops if op.type == "_Send"}
    times = Times()
    free: dict[int, float] = {}
    number = {op: i for i, p in enumerate(parts) for op in p.graph._ops}
    for op in _merged(parts, sends) if order is None else order:
        ready = max([times.end[t.op] for t in op.inputs if t.op in times.end]
                    + [times.end[c] for c in op.control_inputs] + [0.0])
        if op.type == "_Recv":
            times.start[op] = max(ready, times.end[sends[key_of(op)]])
            times.end[op] = times.start[op] + costs.copy_us(op.outputs[0])
        else:
            works = op.type not in _NO_WORK
            times.start[op] = max(ready, free.get(number[op], 0.0)) if works else ready
            times.end[op] = times.start[op] + (costs.compute_us(op) if works else 0.0)
            if works:
                free[number[op]] = times.end[op]
        times.order.append(op)
    return times


def _merged(parts: Sequence[Partition], sends: dict[str, Operation]) -> list[Operation]:
    """All nodes, each after what it depends on, also across partitions."""
    left = [topological_order(p.graph._ops)[::-1] for p in parts]
    done: set[Operation] = set()
    order: list[Operation] = []
    held: list[list[Operation]] = [[] for _ in parts]
    while any(left) or any(held):
        before = len(order)
        for queue, waiting in zip(left, held):
            again = waiting + queue[::-1]
            queue.clear()
            waiting.clear()
            for op in again:
                needs = [*op.control_inputs, *(t.op for t in op.inputs if t.op.type != "NextIteration")]
                if op.type == "_Recv":
                    needs.append(sends[key_of(op)])
                if done.issuperset(needs):
                    done.add(op)
                    order.append(op)
                else:
                    waiting.append(op)
        assert len(order) > before, "the partitions wait for each other"
    return order


def receive_late(parts: Sequence[Partition], costs: Costs) -> None:
    """Adds the control edges. A receive that nothing could delay stays as it is."""
    times = simulate(parts, costs)
    for part in parts:
        places = find_places(part.graph._ops)
        outside = [op for op in part.graph._ops if places is None or not places[op].frame]  # of loops
        worked = sorted((op for op in outside if op.type not in _NO_WORK and times.end[op] > times.start[op]
                         and op.type not in ENTER), key=lambda op: times.end[op])
        triggers: dict[Operation, Operation] = {}
        waiting: dict[Operation, list[Operation]] = defaultdict(list)
        for op in part.graph._ops:
            for c in op.control_inputs:
                waiting[c].append(op)
        for recv in [op for op in outside if op.type == "_Recv"]:
            copy = times.end[recv] - times.start[recv]
            readers = [*waiting[recv], *recv.outputs[0].consumers]
            latest = min([times.start[op] for op in readers], default=0.0) - copy
            after = [op for op in worked if times.start[recv] < times.end[op] <= latest]
            if copy <= 0 or not after:
                continue
            last = after[-1]
            if last not in triggers:
                triggers[last] = part.graph.create_op("ControlTrigger", [], {}, f"{last.name}/_epoch",
                                                      control_inputs=[last], device=part.device.name)
            recv._add_control_input(triggers[last])
