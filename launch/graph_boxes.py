"""The boxes of a graph's picture: which scopes are open, what is drawn as one, and which edges are drawn.

A scope that is open is laid out by itself and stands as one box in the scope around it; edges join boxes of the same
scope, so an edge between nodes of two scopes is drawn between the outermost boxes that differ. So that the flow of data
stays visible, these are left out unless all is asked for: constants; control edges; nodes that only make a variable's
initial value, which belong to the variable; and an edge from a variable, or into a box that many others feed, where a
path over other boxes says as much.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .graph_model import Model, Node, Scope
from .graph_report import number, time
from .layout import Placed, layout

PAD, TITLE, ROW = 14.0, 26.0, 15.0
LEAST, MOST = 74.0, 230.0  # widths of boxes
OUTSIDE = ("NoOp", "Assert")  # nodes without data: named below the picture
HUB = 4  # a box that more than this many others feed
SHEAF = 3  # more variables than this that one box alone reads are drawn as one


@dataclass
class Box:
    """A node, a closed scope or an open one (with `inside`)."""

    name: str
    title: str
    lines: list[str]
    nodes: list[Node]
    kind: str  # "op", "variable", "placeholder", "scope", "open"
    width: float = 0.0
    height: float = 0.0
    inside: list[Box] = field(default_factory=list)
    placed: Placed = field(default_factory=lambda: Placed([], [], 0, 0))
    bytes_on: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def us(self) -> float:
        return sum(n.us or 0.0 for n in self.nodes)


@dataclass(frozen=True)
class Options:
    """`depth`: levels of open scopes; `everything`: nothing is left out; `timed`: boxes show times."""

    depth: int
    everything: bool
    timed: bool


Edges = dict[tuple[int, int], int]  # between boxes, by their places in a list: bytes that go over


def boxes_of(model: Model, options: Options) -> Box:
    """The graph as one open box, laid out."""
    return _open(model.root, {n.name: n for n in model.nodes}, options, 0)


def _open(scope: Scope, nodes: dict[str, Node], options: Options, level: int) -> Box:
    boxes = _contents(scope, nodes, options, level)
    if not options.everything:
        if level == 0:  # what nothing draws an edge to
            used = {text for n in nodes.values() for text in n.inputs}
            boxes = [b for b in boxes if b.nodes[0].op not in OUTSIDE or b.nodes[0].inputs or len(b.nodes) > 1
                     or b.nodes[0].name in used]
        boxes = _with_makers(boxes, nodes, options)
        boxes = _with_sheaves(boxes, _reduced(boxes, _edges(boxes, nodes, options)), options)
    edges = _edges(boxes, nodes, options)
    if not options.everything:
        edges = _reduced(boxes, edges)
    placed = layout([(b.width, b.height) for b in boxes], list(edges), gap_x=16, gap_y=30)
    nodes_of = [n for b in boxes for n in b.nodes]
    return Box(scope.name, scope.name.rpartition("/")[2], [], nodes_of, "open", max(placed.width, 1) + 2 * PAD,
               placed.height + TITLE + 2 * PAD, boxes, placed, edges)


def _contents(scope: Scope, all_nodes: dict[str, Node], options: Options, level: int) -> list[Box]:
    boxes: list[Box] = []
    for name, child in scope.scopes.items():
        nodes = list(child.all_nodes())
        shown = [n for n in nodes if options.everything or n.op != "Const"]
        if child.is_variable:
            boxes.append(_variable(name, child, nodes, options))
        elif len(shown) == 1:
            boxes.append(_leaf(shown[0], options, child.name))
        elif shown and level < options.depth:
            boxes.append(_open(child, all_nodes, options, level + 1))
        elif shown:
            boxes.append(_closed(name, nodes, child.name, options))
    return boxes + [_leaf(node, options, node.name) for node in scope.nodes if options.everything or node.op != "Const"]


# ---- edges

def _edges(boxes: Sequence[Box], nodes: dict[str, Node], options: Options) -> Edges:
    owner = {n.name: i for i, box in enumerate(boxes) for n in box.nodes}
    found: Edges = {}
    for i, box in enumerate(boxes):
        for node in box.nodes:
            for text in [*node.inputs, *(node.controls if options.everything else ())]:
                source = owner.get(text)
                if source is not None and source != i:
                    found[source, i] = max(found.get((source, i), 0), nodes[text].nbytes)
    return found


def _reduced(boxes: Sequence[Box], edges: Edges) -> Edges:
    """Without the edges from variables, and into hubs, that a longer path stands for."""
    out: dict[int, set[int]] = {}
    into: dict[int, int] = {}
    for a, b in edges:
        out.setdefault(a, set()).add(b)
        into[b] = into.get(b, 0) + 1
    for a, b in edges:
        if boxes[a].kind == "variable" or into[b] > HUB:
            if _reaches(out, out[a] - {b}, b):
                out[a].discard(b)
    return {(a, b): size for (a, b), size in edges.items() if b in out[a]}


def _reaches(out: dict[int, set[int]], start: set[int], goal: int) -> bool:
    seen, stack = set(start), list(start)
    while stack:
        v = stack.pop()
        if v == goal:
            return True
        new = out.get(v, set()) - seen
        seen |= new
        stack.extend(new)
    return False


def _with_makers(boxes: list[Box], nodes: dict[str, Node], options: Options) -> list[Box]:
    """Boxes that only feed one variable become part of it: they make its initial value."""
    while True:
        readers: dict[int, set[int]] = {}
        for a, b in _edges(boxes, nodes, options):
            readers.setdefault(a, set()).add(b)
        makers = {a: next(iter(b)) for a, b in readers.items() if len(b) == 1 and boxes[a].kind in ("op", "scope")
                  and boxes[next(iter(b))].kind == "variable"}
        if not makers:
            return boxes
        for a, b in makers.items():
            boxes[b].nodes.extend(boxes[a].nodes)
        boxes = [box for i, box in enumerate(boxes) if i not in makers]


def _with_sheaves(boxes: list[Box], edges: Edges, options: Options) -> list[Box]:
    """Many variables that one box alone reads become one box; so do many nodes of one op with the same neighbours."""
    readers: dict[int, list[int]] = {}
    for a, b in edges:
        readers.setdefault(a, []).append(b)
    sheaves: dict[int, list[int]] = {}
    for i, box in enumerate(boxes):
        if box.kind == "variable" and len(readers.get(i, ())) == 1:
            sheaves.setdefault(readers[i][0], []).append(i)
    gone: set[int] = set()
    made: list[Box] = []
    for alike in _alike(boxes, edges):
        gone.update(alike)
        nodes = [n for i in alike for n in boxes[i].nodes]
        names = "\n".join(boxes[i].name for i in alike)
        made.append(_sized(Box(names, f"{len(alike)} {nodes[0].op}", _cost(nodes, options), nodes, "scope")))
    for reader, members in sheaves.items():
        if len(members) > SHEAF:
            gone.update(members)
            nodes = [n for i in members for n in boxes[i].nodes]
            parameters = sum(n.parameters for n in nodes)
            lines = [f"of {boxes[reader].title}", f"{number(parameters)} elements", *_cost(nodes, options)]
            names = "\n".join(boxes[i].name for i in members)
            made.append(_sized(Box(names, f"{len(members)} variables", lines, nodes, "variable")))
    return [box for i, box in enumerate(boxes) if i not in gone] + made


def _alike(boxes: list[Box], edges: Edges) -> list[list[int]]:
    """Places of more than SHEAF single nodes that differ in nothing that is drawn but their names."""
    near: dict[int, list[tuple[int, int]]] = {}
    for a, b in edges:
        near.setdefault(a, []).append((0, b))
        near.setdefault(b, []).append((1, a))
    groups: dict[tuple[str, frozenset[tuple[int, int]]], list[int]] = {}
    for i, box in enumerate(boxes):
        if box.kind == "op":
            groups.setdefault((box.nodes[0].op, frozenset(near.get(i, ()))), []).append(i)
    return [members for members in groups.values() if len(members) > SHEAF]


# ---- single boxes

def _leaf(node: Node, options: Options, name: str) -> Box:
    title = name.rpartition("/")[2]
    lines = [node.op] if node.op != title and not title.startswith(node.op + "_") else []
    lines += node.shapes[:1]
    kind = "placeholder" if node.op.startswith("Placeholder") else "op"
    return _sized(Box(name, title, lines + _cost([node], options), [node], kind))


def _variable(name: str, scope: Scope, nodes: list[Node], options: Options) -> Box:
    variable = next(n for n in scope.nodes if n.name == scope.name)
    slots = sum(n.parameters > 0 for n in nodes) - 1
    lines = [*variable.shapes, *([f"+ {slots} slot{'s' if slots > 1 else ''}"] if slots > 0 else [])]
    return _sized(Box(scope.name, name, lines + _cost(nodes, options), nodes, "variable"))


def _closed(title: str, nodes: list[Node], name: str, options: Options) -> Box:
    parameters, work = sum(n.parameters for n in nodes), sum(n.flops for n in nodes)
    facts = [f"{len(nodes)} nodes", *([f"{number(parameters)} parameters"] if parameters else []),
             *([f"{number(work)}FLOP"] if work else [])]
    lines = facts if len(facts) < 3 else [", ".join(facts[:2]), facts[2]]
    return _sized(Box(name, title, lines + _cost(nodes, options), nodes, "scope"))


def _cost(nodes: Sequence[Node], options: Options) -> list[str]:
    us = sum(n.us or 0.0 for n in nodes)
    return [time(us)] if options.timed and us else []


def _sized(box: Box) -> Box:
    wide = max(7.2 * len(box.title) + 4, *(6.1 * len(text) for text in box.lines), 0)
    box.width = min(max(wide + 22, LEAST), MOST)
    box.height = 24 + ROW * len(box.lines) + (2 if box.lines else 0)
    return box
