"""The cheapest nodes of a graph from which all wanted ones can be computed: a minimum vertex cut (Ford, Fulkerson)."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

T = TypeVar("T", bound=Hashable)

_MOST_NODES = 128  # beyond, nodes count as ones that cannot be computed
_SOURCE, _SINK = "source", "sink"


def minimum_cut(wanted: Sequence[T], parts: Callable[[T], Sequence[T] | None],
                cost: Callable[[T], int] = lambda n: 1) -> set[T]:
    """The cheapest set of nodes such that every wanted one is in it or follows from it; of several the one nearest to
    the wanted. `parts(n)`: what n is computed from, or None where it cannot be. The graph has no cycle."""
    before: dict[T, Sequence[T] | None] = {}
    stack = list(wanted)
    while stack:
        n = stack.pop()
        if n not in before:
            before[n] = parts(n) if len(before) < _MOST_NODES else None
            stack.extend(before[n] or ())

    # A unit of flow is a way from a node that must be read to a wanted one; as many pass through a node as it costs.
    room: dict[Any, dict[Any, float]] = defaultdict(lambda: defaultdict(float))
    for n, read in before.items():
        room[n, "in"][n, "out"] = cost(n)
        for p in read or ():
            room[p, "out"][n, "in"] = float("inf")
        if read is None:
            room[_SOURCE][n, "in"] = float("inf")
    for n in wanted:
        room[n, "out"][_SINK] = float("inf")
    while way := _way(room):
        for a, b in zip(way, way[1:]):
            room[a][b] -= 1
            room[b][a] += 1

    reaches: set[Any] = {_SINK}
    grown = True
    while grown:
        new = {a for a, to in room.items() if a not in reaches and any(c > 0 and b in reaches for b, c in to.items())}
        reaches |= new
        grown = bool(new)
    return {n for n in before if (n, "out") in reaches and (n, "in") not in reaches}


def _way(room: dict[Any, dict[Any, float]]) -> list[Any]:
    """A way with room from the source to the sink; empty where there is none."""
    came: dict[Any, Any] = {_SOURCE: None}
    stack: list[Any] = [_SOURCE]
    while stack:
        a = stack.pop()
        for b, c in list(room[a].items()):
            if c > 0 and b not in came:
                came[b] = a
                stack.append(b)
    way: list[Any] = [_SINK] if _SINK in came else []
    while way and way[-1] != _SOURCE:
        way.append(came[way[-1]])
    return way[::-1]
