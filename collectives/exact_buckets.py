"""Exact buckets: sharded gradients that are summed together (shard_ops.py), and when each part of a bucket runs.

A bucket makes two collectives: the maxima of its blocks' exponents (8 bytes for 1024 elements), which must be known
before its sums. Those run one bucket later, so that backward goes on while the maxima travel:

    maxima 0, maxima 1, sum 0, maxima 2, sum 1, ..., sum n; then the means

Invariants: as in buckets.py, members have one dtype and one level, the number of sharded ops that a chain of
dependences passes through before; layout and order follow from the user's graph, so they are the same on every rank. A
block never spans two tensors: how gradients are grouped does not change a bit.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ringflow.graph import config
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.operation import Operation, Tensor, at_site
from ringflow.graph.passes import Program
from ringflow.graph.topology import forward_predecessors

MOST_BYTES = 1 << 20  # of a bucket: small enough to be in the cache still, when it is read the second time


def build_buckets(program: Program, means: Sequence[Operation], shards: dict[Operation, list[Tensor]], rows: list[int],
                  order: list[Operation]) -> None:
    """Replaces the `ShardMean` ops `means`. shards: what each becomes on this rank; order: of the program before."""
    levels: dict[int, list[list[Operation]]] = {}
    for (level, _), members in _grouped(means, order).items():
        levels.setdefault(level, []).extend(_split(members))
    number, last = 0, None
    for level in sorted(levels):
        waiting: Operation | None = None  # the maxima whose sum comes next
        buckets = levels[level]
        for i, members in enumerate(buckets):
            inputs = [t for op in members for t in shards[op]]
            attrs = _attrs(number + i, members, rows, i + 1 < len(buckets))
            name = f"{members[0].name}/bucket_{number + i}"
            controls = [c for op in members for c in op.control_inputs] + ([last] if last else [])
            last = maxima = program.add("_ExactMaxima", inputs, attrs, f"{name}/maxima", controls, members[0])
            if waiting is not None:
                last = _finish(program, waiting, buckets[i - 1], last)
            waiting = maxima
        if waiting is not None:
            last = _finish(program, waiting, buckets[-1], last)
        number += len(buckets)


def _finish(program: Program, maxima: Operation, members: list[Operation], after: Operation | None) -> Operation:
    """The sum of the bucket whose `maxima` have begun, and its means."""
    name = maxima.name.rpartition("/")[0]
    attrs = {k: v for k, v in maxima.attrs.items() if k != "N"}
    total = program.add("_ExactSum", maxima.inputs, attrs, f"{name}/sum", [maxima, *([after] if after else [])],
                        members[0])
    shapes = [op.outputs[0].shape for op in members]
    attrs |= {"N": len(members), "shapes": shapes}
    mean = program.add("_ExactMean", [], attrs, f"{name}/mean", [total], members[0])
    for op, result in zip(members, mean.outputs):
        program.replace(op.outputs[0], result)
    for op in program.graph._ops:
        if op is not mean and any(c in members for c in op.control_inputs):
            op.control_inputs = list(dict.fromkeys(mean if c in members else c for c in op.control_inputs))
    return total


def _grouped(means: Sequence[Operation], order: list[Operation]) -> dict[tuple[int, Any], list[Operation]]:
    """Members by level and dtype, in the order in which they become ready."""
    place = {op: i for i, op in enumerate(order)}
    level: dict[Operation, int] = {}
    wanted = set(means)
    for op in order:
        level[op] = max((level[p] + (p in wanted) for p in forward_predecessors(op)), default=0)
    groups: dict[tuple[int, Any], list[Operation]] = {}
    for op in sorted(means, key=lambda op: place[op.inputs[0].op]):
        groups.setdefault((level[op], op.inputs[0].dtype), []).append(op)
    return groups


def _split(members: list[Operation]) -> list[list[Operation]]:
    most = config.get("RINGFLOW_BUCKET_BYTES") or MOST_BYTES
    lists: list[list[Operation]] = []
    filled = 0
    for op in members:
        size = _elements(op) * op.inputs[0].dtype.size
        if not lists or filled + size > most:
            lists.append([])
            filled = 0
        lists[-1].append(op)
        filled += size
    return lists


def _elements(op: Operation) -> int:
    count = op.outputs[0].shape.num_elements()
    if count is None:
        raise at_site(InvalidArgumentError("[distribute] the shape of a gradient must be known: "
                                           f"{op.inputs[0].name!r} is "
                                           f"{op.outputs[0].shape}. Fix: give its variable a shape", op.name), op.site)
    return count


def _attrs(number: int, members: list[Operation], rows: list[int], overlap: bool) -> dict[str, Any]:
    first = members[0]
    return {"T": first.inputs[0].dtype, "bucket": number, "elements": [_elements(op) for op in members],
            "shards": first.attrs["shards"], "rows": rows, "overlap": overlap, "group_size": first.attrs["group_size"]}
