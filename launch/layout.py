"""Layered layout of a directed graph of boxes: every edge goes down, few cross, and boxes stand near what they join.

Source: K. Sugiyama, S. Tagawa, M. Toda, "Methods for visual understanding of hierarchical system structures", 1981:
cycles are cut, layers assigned, long edges broken at every layer, layers ordered by barycentres; x coordinates by
alternating least-squares steps, each solved exactly under the order (pool adjacent violators).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

SWEEPS = 12  # of ordering
ALIGNMENTS = 16  # of coordinates
BENDS = 6000  # in all; beyond, the longest edges go straight through the layers between


@dataclass
class Placed:
    """Where boxes (top left corners) and edges (points from the source's lower to the target's upper side) lie."""

    x: list[float]
    y: list[float]
    width: float
    height: float
    routes: dict[tuple[int, int], list[tuple[float, float]]] = field(default_factory=dict)


def layout(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]], gap_x: float = 18,
           gap_y: float = 34) -> Placed:
    """Places boxes of `sizes` (width, height) joined by `edges` (from, to)."""
    if not sizes:
        return Placed([], [], 0, 0)
    edges = list(dict.fromkeys((a, b) for a, b in edges if a != b))
    down = _without_cycles(len(sizes), edges)
    layer = _layers(len(sizes), down)
    columns, widths, joined, chains = _broken(sizes, down, layer)
    _order(columns, joined)
    x = _coordinates(columns, widths, joined, gap_x)
    heights = [max([sizes[v][1] for v in column if v < len(sizes)], default=0.0) for column in columns]
    tops, y = [], 0.0
    for height in heights:
        tops.append(y)
        y += height + gap_y
    left = min(x[v] - widths[v] / 2 for column in columns for v in column)
    right = max(x[v] + widths[v] / 2 for column in columns for v in column)
    n = len(sizes)
    read, written = {a for a, _ in down}, {b for _, b in down}
    # Near those it is joined with: what only begins edges at the lower end of its layer, what only ends them above.
    down_in_layer = [0.5 if v in read and v in written else 1.0 if v in read else 0.0 for v in range(n)]
    placed = Placed([x[v] - widths[v] / 2 - left for v in range(n)],
                    [tops[layer[v]] + (heights[layer[v]] - sizes[v][1]) * down_in_layer[v] for v in range(n)],
                    right - left, y - gap_y)
    for a, b in edges:
        flipped = (a, b) not in chains
        chain = chains[(b, a) if flipped else (a, b)]
        points = []  # straight down beside the boxes of a layer, aslant only between layers
        first, last = chain[0], chain[-1]
        for k, v in enumerate(chain, layer[first]) if len(chain) > 2 else [(layer[first], first), (layer[last], last)]:
            points += [(x[v] - left, tops[k]), (x[v] - left, tops[k] + heights[k])]
        points[0] = (points[0][0], placed.y[first] + sizes[first][1])
        points[-1] = (points[-1][0], placed.y[last])
        points = [p for p, before in zip(points, [None, *points]) if p != before]  # arrows point along the last
        placed.routes[a, b] = points[::-1] if flipped else points
    return placed


def _without_cycles(n: int, edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The edges, those that close a cycle turned round."""
    following: list[list[int]] = [[] for _ in range(n)]
    for a, b in edges:
        following[a].append(b)
    state = [0] * n  # 1 open, 2 done
    turned: dict[tuple[int, int], None] = {}
    for root in range(n):
        if state[root]:
            continue
        state[root] = 1
        stack = [(root, iter(following[root]))]
        while stack:
            v, rest = stack[-1]
            w = next(rest, None)
            if w is None:
                state[v] = 2
                stack.pop()
            elif state[w] == 1:
                turned[w, v] = None
            else:
                turned[v, w] = None
                if state[w] == 0:
                    state[w] = 1
                    stack.append((w, iter(following[w])))
    return list(turned)


def _layers(n: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Longest paths from the sources; then every box with more readers than sources moves down to its readers."""
    into: list[list[int]] = [[] for _ in range(n)]
    out: list[list[int]] = [[] for _ in range(n)]
    for a, b in edges:
        out[a].append(b)
        into[b].append(a)
    waiting = [len(i) for i in into]
    order = [v for v in range(n) if not waiting[v]]
    layer = [0] * n
    for v in order:
        for w in out[v]:
            layer[w] = max(layer[w], layer[v] + 1)
            waiting[w] -= 1
            if not waiting[w]:
                order.append(w)
    for v in reversed(order):
        if out[v] and len(out[v]) >= len(into[v]):
            layer[v] = max(layer[v], min(layer[w] for w in out[v]) - 1)
    used = {k: i for i, k in enumerate(sorted(set(layer)))}
    return [used[k] for k in layer]


def _broken(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]], layer: list[int]) -> tuple[
        list[list[int]], list[float], list[list[int]], dict[tuple[int, int], list[int]]]:
    """Columns of boxes by layer with a bend, a box of no width, wherever an edge passes a layer; all widths; what each
    is joined with; and the chain of each edge."""
    columns: list[list[int]] = [[] for _ in range(max(layer) + 1)]
    widths = [w for w, _ in sizes]
    joined: list[list[int]] = [[] for _ in sizes]
    for v in range(len(sizes)):
        columns[layer[v]].append(v)
    chains = {}
    bends = 0
    for a, b in sorted(edges, key=lambda e: layer[e[1]] - layer[e[0]]):
        bends += layer[b] - layer[a] - 1
        if bends > BENDS and layer[b] - layer[a] > 1:
            chains[a, b] = [a, b]
            continue
        chain = [a]
        for k in range(layer[a] + 1, layer[b]):
            bend = len(widths)
            widths.append(0.0)
            joined.append([])
            columns[k].append(bend)
            chain.append(bend)
        chain.append(b)
        chains[a, b] = chain
        for u, v in zip(chain, chain[1:]):
            joined[u].append(v)
            joined[v].append(u)
    return columns, widths, joined, chains


def _order(columns: list[list[int]], joined: list[list[int]]) -> None:
    """Sorts each column by the mean place of what its boxes are joined with one layer above, then below, and again."""
    place: dict[int, float] = {}
    layer_of: dict[int, int] = {}
    for k, column in enumerate(columns):
        for i, v in enumerate(column):
            place[v], layer_of[v] = float(i), k
    best, fewest = [list(c) for c in columns], _crossings(columns, joined, layer_of)
    for sweep in range(SWEEPS):
        downwards = sweep % 2 == 0
        for k in range(len(columns)) if downwards else range(len(columns) - 1, -1, -1):
            other = k - 1 if downwards else k + 1
            key = {}
            for i, v in enumerate(columns[k]):
                near = [place[w] for w in joined[v] if layer_of[w] == other]
                key[v] = sum(near) / len(near) if near else float(i)
            columns[k].sort(key=key.__getitem__)
            for i, v in enumerate(columns[k]):
                place[v] = float(i)
        crossings = _crossings(columns, joined, layer_of)
        if crossings < fewest:
            best, fewest = [list(c) for c in columns], crossings
    columns[:] = best


def _crossings(columns: list[list[int]], joined: list[list[int]], layer_of: dict[int, int]) -> int:
    """Pairs of edges that cross, counted with a binary indexed tree."""
    total = 0
    for k in range(len(columns) - 1):
        below = {v: i for i, v in enumerate(columns[k + 1])}
        tree = [0] * (len(below) + 1)
        seen = 0
        for v in columns[k]:
            ends = sorted(below[w] for w in joined[v] if layer_of[w] == k + 1)
            for end in ends:
                i, before = end + 1, 0
                while i:
                    before += tree[i]
                    i &= i - 1
                total += seen - before
            for end in ends:
                i = end + 1
                while i < len(tree):
                    tree[i] += 1
                    i += i & -i
                seen += 1
    return total


def _coordinates(columns: list[list[int]], widths: list[float], joined: list[list[int]], gap: float) -> list[float]:
    """The middle of each box: near those it is joined with, a bend nearest of all so that long edges are straight.

    Boxes that only begin an edge pull little: the main flow is straight and they stand beside it.
    """
    x = [0.0] * len(widths)
    layer_of = {v: k for k, column in enumerate(columns) for v in column}
    pull = [1.0 if any(layer_of[w] < layer_of[v] for w in joined[v]) else 0.02 for v in range(len(widths))]
    for v in range(len(widths)):  # so do the bends of their edges
        if widths[v] == 0 and all(pull[w] < 1 for w in joined[v] if layer_of[w] < layer_of[v]):
            pull[v] = 0.02
    for column in columns:
        at = -sum(widths[v] + gap for v in column) / 2
        for v in column:
            x[v] = at + widths[v] / 2
            at += widths[v] + gap
    for turn in range(ALIGNMENTS):
        down = turn % 2 == 0
        for k in range(len(columns)) if down else range(len(columns) - 1, -1, -1):
            column = columns[k]
            wanted, weight = [], []
            for v in column:
                side = [w for w in joined[v] if layer_of[w] == (k - 1 if down else k + 1)] or joined[v]
                total = sum(pull[w] for w in side)
                wanted.append(sum(x[w] * pull[w] for w in side) / total if side else x[v])
                weight.append((8.0 if widths[v] == 0 else 1.0) * pull[v] * max(total, 0.05))
            spread = [0.0]
            for u, v in zip(column, column[1:]):
                spread.append(spread[-1] + (widths[u] + widths[v]) / 2 + gap)
            for v, fit, offset in zip(column, _increasing([w - s for w, s in zip(wanted, spread)], weight), spread):
                x[v] = fit + offset
    return x


def _increasing(values: list[float], weights: list[float]) -> list[float]:
    """The nearest sequence that never falls: weighted least squares by pooling adjacent violators."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for value, weight in zip(values, weights):
        length = 1
        while blocks and blocks[-1][0] > value:
            mean, heavy, count = blocks.pop()
            value = (value * weight + mean * heavy) / (weight + heavy)
            weight += heavy
            length += count
        blocks.append((value, weight, length))
    return [mean for mean, _, length in blocks for _ in range(length)]
