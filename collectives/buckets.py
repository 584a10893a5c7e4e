"""Buckets: the pass that merges a program's reductions, so that few large ones run while backward goes on.

Each `CollectiveReduce` of a float sum or mean joins a bucket in the order in which the inputs become ready (their
place in topological order, so the gradients of the last layer come first). A bucket is a `_BucketReduce`, which the
runtime starts as soon as its last input is written, and a `_BucketWait`, which it takes when nothing else is ready.
Where one bucket ends and the next begins is decided by schedule.py, or by RINGFLOW_BUCKET_BYTES where it is set.

Invariants: members of a bucket have one dtype, one reduction and one level. The level is the number of reductions
that a chain of dependences passes through before; so no member waits for another, and buckets form no cycle. Every
rank makes the same buckets, because rank 0 decides once for each set of reductions; plans for other feed shapes, which
ranks need not make together, reuse the decision. A reduction with the hint "lane" joins the last bucket (lane.py).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ringflow.graph import config
from ringflow.graph.operation import Operation
from ringflow.graph.passes import Program
from ringflow.graph.placement.costs import estimated_seconds
from ringflow.graph.topology import forward_predecessors, topological_order

from .attach import COLLECTIVE_OPS, always_run, communicator_of
from .communicator import Communicator
from .costs import link_of
from .ops import BUCKETED, reduction_of
from .schedule import boundaries, fixed

LANE = "lane"  # the communication_hint of a reduction that rides on the last bucket
_IDLE_S = 1e-4  # less than this to compute besides is no reason to wake the communication thread


@dataclass
class Bucket:
    """Reductions that travel together. `bytes`: of all members; `overlap`: it runs beside the computation."""

    number: int
    members: list[Operation]
    overlap: bool = True

    @property
    def bytes(self) -> int:
        return sum(map(_bytes, self.members))

    def __str__(self) -> str:
        first = self.members[0]
        return (f"bucket {self.number}: {len(self.members)} tensors, {self.bytes} bytes, {first.outputs[0].dtype} "
                f"{reduction_of(first)}: " + ", ".join(op.name for op in self.members))


@dataclass
class Reductions:
    """What can travel in buckets. `members`: as they become ready, at `ready_s`; computing ends at `end_s`."""

    members: list[Operation]
    keys: list[Any]  # members of one bucket have the same
    ready_s: list[float]
    end_s: float

    def name(self) -> tuple[Any, ...]:
        """The same on every rank that has the same reductions, whatever else it runs."""
        return "buckets", *sorted((op.name, _bytes(op), op.inputs[0].dtype.name) for op in self.members)


def find_reductions(program: Program) -> Reductions:
    order = topological_order(program.graph._ops)
    place: dict[Operation, int] = {}
    level: dict[Operation, int] = {}
    done_s: dict[Operation, float] = {}
    now = 0.0
    for i, op in enumerate(order):
        level[op] = max((level[p] + (p.type in COLLECTIVE_OPS) for p in forward_predecessors(op)), default=0)
        now += estimated_seconds(op) if level[op] == 0 else 0.0
        place[op], done_s[op] = i, now
    members = sorted((op for op in order if _can_join(op)), key=lambda op: place[op.inputs[0].op])
    keys = [(level[op], op.inputs[0].dtype, reduction_of(op), op.device, _wire(op)) for op in members]
    return Reductions(members, keys, [done_s[op.inputs[0].op] for op in members], now)


def plan_buckets(found: Reductions, world: Communicator) -> list[Bucket]:
    """The buckets of these reductions. Collective where the world meets them for the first time."""
    most_bytes = config.get("RINGFLOW_BUCKET_BYTES")
    if most_bytes:
        return _number(_split(found, lambda _, sizes: fixed(sizes, most_bytes)), found)
    name = found.name()
    if name not in world.remembered:
        world.remembered[name] = world.broadcast_object(_decide(found, world))
    by_name = {op.name: op for op in found.members}
    decided = world.remembered[name]
    if {n for names, _ in decided for n in names} != set(by_name):  # another graph: the consensus will tell
        decided = _decide(found, world)
    return [Bucket(i, [by_name[n] for n in names], overlap) for i, (names, overlap) in enumerate(decided)]


def _decide(found: Reductions, world: Communicator) -> list[tuple[list[str], bool]]:
    """Names of the members, and whether to overlap, for each bucket."""
    link = link_of(world)
    ready, end_s = world.remembered.get(("measured", *found.name()), (None, found.end_s))
    if ready is not None:
        order = sorted(range(len(found.members)), key=lambda i: ready[found.members[i].name])
        members = [found.members[i] for i in order]
        found = Reductions(members, [found.keys[i] for i in order], [ready[op.name] for op in members], end_s)
    buckets = _number(_split(found, lambda times, sizes: boundaries(times, sizes, link)), found)
    done = dict(zip(found.members, found.ready_s))
    for bucket in buckets:
        left_s = end_s - max(done[op] for op in bucket.members)
        bucket.overlap = link.concurrent and (bucket is not buckets[-1] or left_s > _IDLE_S)
    return [([op.name for op in bucket.members], bucket.overlap) for bucket in buckets]


def _split(found: Reductions, ends_of: Any) -> list[list[Operation]]:
    """`ends_of(ready times, bytes)` applied to the members of each key; the lane's go to the last list of theirs."""
    groups: dict[Any, list[int]] = {}
    for i, (op, key) in enumerate(zip(found.members, found.keys)):
        if op.attrs["communication_hint"] != LANE:
            groups.setdefault(key, []).append(i)
    lists, last = [], {}
    for key, indices in groups.items():
        ends = ends_of([found.ready_s[i] for i in indices], [_bytes(found.members[i]) for i in indices])
        for begin, end in zip([0, *ends], ends):
            lists.append([found.members[i] for i in indices[begin:end]])
        last[key] = lists[-1]
    for op, key in zip(found.members, found.keys):
        if op.attrs["communication_hint"] == LANE:
            if key not in last:
                last[key] = []
                lists.append(last[key])
            last[key].append(op)
    return lists


def _number(lists: Sequence[list[Operation]], found: Reductions) -> list[Bucket]:
    """Buckets in the order in which their last members become ready; only the last does not overlap."""
    place = {op: i for i, op in enumerate(found.members)}
    ordered = sorted(lists, key=lambda members: max(place[op] for op in members))
    return [Bucket(i, members, i + 1 < len(ordered)) for i, members in enumerate(ordered)]


def _bytes(op: Operation) -> int:
    t = op.inputs[0]
    return t.shape.num_elements() * (2 if _wire(op) else t.dtype.size)  # type: ignore[operator]


def _wire(op: Operation) -> str:
    """The dtype and rounding of the bucket's memory, "" where it is the tensors' own."""
    hint: str = op.attrs["communication_hint"]
    return "" if hint in ("auto", LANE) else hint


def _can_join(op: Operation) -> bool:
    return (op.type == "CollectiveReduce" and op.inputs[0].dtype in BUCKETED and op.inputs[0].shape.is_fully_defined()
            and reduction_of(op) in ("sum", "mean"))


def merge_into_buckets(program: Program) -> None:
    """Pass: replaces reductions by buckets. Leaves their list in ``program.notes["buckets"]``."""
    if not any(op.type == "CollectiveReduce" for op in program.graph._ops):
        return
    found = find_reductions(program)
    buckets = plan_buckets(found, communicator_of(program.source))
    waits: dict[Operation, Operation] = {}
    always, shares_memory = always_run(program), communicator_of(program.source).native.shares_memory
    for bucket in buckets:
        wait = _build(program, bucket, shares_memory and all(map(always, bucket.members)))
        for member, result in zip(bucket.members, wait.outputs):
            program.replace(member.outputs[0], result)
            waits[member] = wait
    for op in program.graph._ops:
        if any(c in waits for c in op.control_inputs):
            op.control_inputs = list(dict.fromkeys(waits.get(c, c) for c in op.control_inputs))
    program.remove(set(waits))
    program.targets = list(dict.fromkeys(waits.get(op, op) for op in program.targets))
    program.notes["buckets"], program.notes["reductions"] = buckets, found


def _build(program: Program, bucket: Bucket, in_place: bool) -> Operation:
    first = bucket.members[0]
    inputs = [op.inputs[0] for op in bucket.members]
    controls = list(dict.fromkeys(c for op in bucket.members for c in op.control_inputs))
    attrs = {"T": inputs[0].dtype, "N": len(inputs), "bucket": bucket.number,
             "in_place": in_place,
             "elements": [t.shape.num_elements() for t in inputs], "wire": _wire(first)}
    name = f"{first.name}/bucket_{bucket.number}"
    begin = {**attrs, "op": reduction_of(first), "overlap": bucket.overlap}
    start = program.add("_BucketReduce", inputs, begin, f"{name}/reduce", controls, first)
    end = {**attrs, "shapes": [t.shape for t in inputs]}
    return program.add("_BucketWait", [], end, f"{name}/wait", [start], first)


def describe(program: Program) -> str:
    """The buckets of a program as text, a line each."""
    return "\n".join(map(str, program.notes.get("buckets", [])))
