"""Buckets: the pass that merges a program's reductions, so that few large ones run while backward goes on.

Each `CollectiveReduce` of a float sum or mean joins a bucket in the order in which the inputs become ready (their
place in topological order, so the gradients of the last layer come first). A bucket is a `_BucketReduce`, which the
runtime starts as soon as its last input is written, and a `_BucketWait`, which it takes when nothing else is ready.

Invariants: members of a bucket have one dtype, one reduction and one level. The level is the number of reductions
that a chain of dependences passes through before; so no member waits for another, and buckets form no cycle. Number and
layout of buckets follow from the graph alone: every rank makes the same, and plans for other feed shapes share them.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ringflow.graph import config
from ringflow.graph.operation import Operation
from ringflow.graph.passes import Program
from ringflow.graph.topology import predecessors, topological_order

from .attach import COLLECTIVE_OPS
from .ops import BUCKETED, reduction_of


@dataclass
class Bucket:
    """Reductions that travel together. `bytes`: of all members."""

    number: int
    members: list[Operation]
    bytes: int = 0

    def __str__(self) -> str:
        first = self.members[0]
        return (f"bucket {self.number}: {len(self.members)} tensors, {self.bytes} bytes, {first.outputs[0].dtype} "
                f"{reduction_of(first)}: " + ", ".join(op.name for op in self.members))


def plan_buckets(ops: Iterable[Operation], most_bytes: int) -> list[Bucket]:
    """The buckets of the reductions among `ops`, none above `most_bytes` unless by a single tensor."""
    order = topological_order(ops)
    position = {op: i for i, op in enumerate(order)}
    level: dict[Operation, int] = {}
    for op in order:
        before = [level[p] + (p.type in COLLECTIVE_OPS) for p in predecessors(op) if p in level]
        level[op] = max(before, default=0)
    ready = sorted((op for op in order if _can_join(op)), key=lambda op: position[op.inputs[0].op])
    buckets: list[Bucket] = []
    filling: dict[Any, Bucket] = {}
    for op in ready:
        t = op.inputs[0]
        size = t.shape.num_elements() * t.dtype.size  # type: ignore[operator]
        key = level[op], t.dtype, reduction_of(op), op.device
        bucket = filling.get(key)
        if bucket is None or bucket.bytes + size > most_bytes:
            bucket = filling[key] = Bucket(len(buckets), [])
            buckets.append(bucket)
        bucket.members.append(op)
        bucket.bytes += size
    return buckets


def _can_join(op: Operation) -> bool:
    return (op.type == "CollectiveReduce" and op.inputs[0].dtype in BUCKETED and op.inputs[0].shape.is_fully_defined()
            and reduction_of(op) in ("sum", "mean"))


def merge_into_buckets(program: Program) -> None:
    """Pass: replaces reductions by buckets. Leaves their list in ``program.notes["buckets"]``."""
    if not any(op.type == "CollectiveReduce" for op in program.graph._ops):
        return
    buckets = plan_buckets(program.graph._ops, config.get("RINGFLOW_BUCKET_BYTES"))
    waits: dict[Operation, Operation] = {}
    for bucket in buckets:
        wait = _build(program, bucket)
        for member, result in zip(bucket.members, wait.outputs):
            program.replace(member.outputs[0], result)
            waits[member] = wait
    for op in program.graph._ops:
        if any(c in waits for c in op.control_inputs):
            op.control_inputs = list(dict.fromkeys(waits.get(c, c) for c in op.control_inputs))
    program.remove(set(waits))
    program.targets = list(dict.fromkeys(waits.get(op, op) for op in program.targets))
    program.notes["buckets"] = buckets


def _build(program: Program, bucket: Bucket) -> Operation:
    first = bucket.members[0]
    inputs = [op.inputs[0] for op in bucket.members]
    controls = list(dict.fromkeys(c for op in bucket.members for c in op.control_inputs))
    attrs = {"T": inputs[0].dtype, "N": len(inputs), "bucket": bucket.number,
             "elements": [t.shape.num_elements() for t in inputs]}
    name = f"{first.name}/bucket_{bucket.number}"
    begin = {**attrs, "op": reduction_of(first)}
    start = program.add("_BucketReduce", inputs, begin, f"{name}/reduce", controls, first)
    end = {**attrs, "shapes": [t.shape for t in inputs]}
    return program.add("_BucketWait", [], end, f"{name}/wait", [start], first)


def describe(program: Program) -> str:
    """The buckets of a program as text, a line each."""
    return "\n".join(map(str, program.notes.get("buckets", [])))
