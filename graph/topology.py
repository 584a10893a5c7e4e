"""Order of operations by data and control edges. Back edges of loops do not count: they go to the next iteration."""
from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from .control_types import MERGE, NEXT_ITERATION
from .errors import InvalidArgumentError
from .operation import Operation

Node = TypeVar("Node")


def topological_order(ops: Iterable[Operation]) -> list[Operation]:
    """`ops` so that every one comes after its inputs; among free ones the earliest made comes first.

    Raises: InvalidArgumentError naming a node on a cycle.
    """
    return order_by(ops, forward_predecessors)


def order_by(items: Iterable[Node], before: Callable[[Node], Iterable[Node]]) -> list[Node]:
    """`items` so that every one comes after those that `before` gives for it; among free ones the first comes first.

    Raises: InvalidArgumentError naming an item on a cycle.
    """
    nodes = list(items)
    position = {id(node): i for i, node in enumerate(nodes)}
    waiting = [0] * len(nodes)
    users: list[list[int]] = [[] for _ in nodes]
    for i, node in enumerate(nodes):
        for earlier in before(node):
            p = position.get(id(earlier))
            if p is not None:
                waiting[i] += 1
                users[p].append(i)
    ready = [i for i, n in enumerate(waiting) if n == 0]
    order: list[Node] = []
    while ready:
        i = heapq.heappop(ready)
        order.append(nodes[i])
        for u in users[i]:
            waiting[u] -= 1
            if waiting[u] == 0:
                heapq.heappush(ready, u)
    if len(order) != len(nodes):
        stuck: Any = next(nodes[i] for i, n in enumerate(waiting) if n > 0)
        raise InvalidArgumentError(f"[graph] the graph has a cycle through {stuck.name!r} ({stuck.type}).{stuck.where}")
    return order


def predecessors(op: Operation) -> set[Operation]:
    """Operations that must run before `op`."""
    before = {t.op for t in op.inputs}
    before.update(op.control_inputs)
    return before


def forward_predecessors(op: Operation) -> set[Operation]:
    """Operations that must run before `op` in the same iteration."""
    if op.type not in MERGE:
        return predecessors(op)
    return {t.op for t in op.inputs if t.op.type not in NEXT_ITERATION}.union(op.control_inputs)


def ancestors(roots: Iterable[Operation], stop: frozenset[Operation] = frozenset()) -> set[Operation]:
    """`roots` and all that they need, not going beyond operations in `stop`."""
    found: set[Operation] = set()
    stack = list(roots)
    while stack:
        op = stack.pop()
        if op in found:
            continue
        found.add(op)
        if op not in stop:
            stack.extend(predecessors(op))
    return found
