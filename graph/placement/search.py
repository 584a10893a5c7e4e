"""The search for a placement: which groups of nodes go where, by earliest finish, and what a placement is worth.

Model: a device runs one node at a time, in the order of the nodes' ranks (the longest way to the end of the step); a
copy between devices takes its time beside the computation, once for each tensor and destination. Invariant: no device
alone would be faster, by this model, than what is chosen, unless it may not run everything.
Source: HEFT (Topcuoglu, Hariri, Wu, IEEE TPDS 2002) over groups of nodes; the white paper on TensorFlow, section 3.2.1.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..device import Device
from ..operation import Operation, Tensor
from ..topology import topological_order
from .costs import Costs

EVERYWHERE = ("_Arg", "Const")  # need no copy: every device can have its own


@dataclass
class Problem:
    """`group` of every node, the devices that each group may be on (preferred ones first), costs, and the `order` in
    which devices take the nodes."""

    group: Mapping[Operation, int]
    legal: Mapping[int, Sequence[Device]]
    costs: Costs
    order: Sequence[Operation]


def problem(ops: Sequence[Operation], group: Mapping[Operation, int], legal: Mapping[int, Sequence[Device]],
            costs: Costs) -> Problem:
    """With the nodes in the order of their ranks, those with the longest way to the end first."""
    order = topological_order(ops)
    rank = dict.fromkeys(order, 0.0)
    for op in reversed(order):
        rank[op] += costs.compute_us(op)
        for t in op.inputs:
            if t.op in rank:
                rank[t.op] = max(rank[t.op], rank[op] + (0.0 if t.op.type in EVERYWHERE else costs.copy_us(t) / 2))
        for c in op.control_inputs:
            if c in rank:
                rank[c] = max(rank[c], rank[op] + costs.latency_us / 2)
    position = {op: i for i, op in enumerate(order)}
    return Problem(group, legal, costs, sorted(order, key=lambda op: (-rank[op], position[op])))


class Timeline:
    """When nodes end and devices are free while nodes are given to devices one by one."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._end: dict[Operation, float] = {}
        self._on: dict[Operation, Device] = {}
        self._free: dict[Device, float] = {}
        self._arrival: dict[tuple[Tensor, Device], float] = {}
        self.makespan = 0.0

    def end_on(self, op: Operation, device: Device) -> float:
        """When `op` would end if `device` took it next."""
        start = self._free.get(device, 0.0)
        for t in op.inputs:
            start = max(start, self._at(t, device))
        for c in op.control_inputs:
            if c in self._end:
                start = max(start, self._end[c] + (0.0 if self._on[c] is device else self._costs.latency_us))
        return start + self._costs.compute_us(op, device.spec.device_type or "CPU")

    def _at(self, t: Tensor, device: Device) -> float:
        end = self._end.get(t.op, 0.0)
        if t.op not in self._on or self._on[t.op] is device or t.op.type in EVERYWHERE:
            return end
        return self._arrival.get((t, device), end + self._costs.copy_us(t))

    def take(self, op: Operation, device: Device) -> None:
        end = self.end_on(op, device)
        for t in op.inputs:
            if t.op in self._on and self._on[t.op] is not device and t.op.type not in EVERYWHERE:
                self._arrival.setdefault((t, device), self._end[t.op] + self._costs.copy_us(t))
        self._end[op], self._on[op] = end, device
        self._free[device] = end
        self.makespan = max(self.makespan, end)


def simulate(p: Problem, placement: Mapping[int, Device]) -> float:
    """Microseconds of a step in which group g is on ``placement[g]``."""
    line = Timeline(p.costs)
    for op in p.order:
        line.take(op, placement[p.group[op]])
    return line.makespan


def on_one(p: Problem, device: Device) -> dict[int, Device]:
    """Everything on `device`, except groups that may not be there: those on the device that they prefer."""
    return {g: device if device in legal else legal[0] for g, legal in p.legal.items()}


def earliest_finish(p: Problem) -> dict[int, Device]:
    """A group goes where its first node would end first; ties to the preferred device."""
    line, placement = Timeline(p.costs), {}
    for op in p.order:
        group = p.group[op]
        if group not in placement:
            placement[group] = min(p.legal[group], key=lambda d: line.end_on(op, d))
        line.take(op, placement[group])
    return placement


def best(p: Problem, devices: Sequence[Device]) -> dict[int, Device]:
    """The shortest step among everything on one device, for each device, and earliest finish; ties to the preferred
    device alone."""
    return min([*(on_one(p, d) for d in devices), earliest_finish(p)], key=lambda placement: simulate(p, placement))
