"""A graph as an SVG picture: scopes as boxes in boxes, data flowing down, in one self-contained file.

With times the fill says how much of the step a box takes; else its device. What the pointer rests on is told in full.
"""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from html import escape

from .graph_boxes import PAD, ROW, TITLE, Box, Options, boxes_of
from .graph_model import Model, Node
from .graph_report import number, size, time

INK, GREY, LINE, PAPER = "#1f2933", "#66757f", "#9fb0bb", "#ffffff"
SCOPE_FILLS = ("#f5f7f9", "#eceff3", "#e2e7ec")  # by depth
DEVICES = ("#dcebf9", "#e3f3df", "#fdeccb", "#eee3f6", "#fbdfdc", "#d9f1ef")  # fills, in order of use
VARIABLE, PLACEHOLDER = "#fff3d1", "#e2f4e6"
HEAT = ((255, 255, 255), (255, 224, 138), (244, 109, 67), (165, 0, 38))
FONT = "font-family='Inter, Segoe UI, Helvetica, Arial, sans-serif'"


def draw(model: Model, depth: int = 1, everything: bool = False) -> str:
    """The picture as SVG text. `depth`: how many levels of scopes are open, 0 for none but the graph itself;
    `everything`: with constants, control edges and every single edge."""
    options = Options(depth, everything, model.total_us is not None)
    return _Painter(model, options, _device_colours(model.nodes)).page(boxes_of(model, options))


def _device_colours(nodes: Sequence[Node]) -> dict[str, str]:
    order = [d for d, _ in Counter(n.device for n in nodes).most_common()]
    return {d: DEVICES[i % len(DEVICES)] for i, d in enumerate(order)}


# ---- painting

class _Painter:
    def __init__(self, model: Model, options: Options, colours: dict[str, str]) -> None:
        self._model = model
        self._options = options
        self._colours = colours
        self._most_us = 1.0
        self._out: list[str] = []

    def page(self, root: Box) -> str:
        self._most_us = max([b.us for b in _leaves(root)], default=0.0) or 1.0
        head = 64.0
        width = max(root.width + 2 * PAD, 560.0)
        shift = (width - root.width) / 2
        self._inside(root, shift, head - TITLE, 0)
        left_out = self._left_out(root)
        height = head + root.height - TITLE + PAD + (20 if left_out else 0)
        if left_out:
            self._text(PAD + 4, height - 14, left_out, 11, GREY)
        body = "\n".join(self._out)
        self._out = []
        self._header(width)
        return (f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{height:.0f}' "
                f"viewBox='0 0 {width:.0f} {height:.0f}' {FONT}>\n"
                "<defs><marker id='tip' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' "
                f"markerUnits='userSpaceOnUse' orient='auto'><path d='M0 0.8 L8 4 L0 7.2 Z' fill='{LINE}'/></marker>"
                f"</defs>\n<rect width='100%' height='100%' fill='{PAPER}'/>\n" + "\n".join(self._out) + "\n" + body
                + "\n</svg>\n")

    def _header(self, width: float) -> None:
        model = self._model
        nodes, name = model.nodes, model.path.rpartition("/")[2]
        self._text(PAD + 4, 24, name, 16, INK, weight=600)
        facts = [f"{len(nodes)} nodes", f"{number(sum(n.parameters for n in nodes))} parameters",
                 f"{number(sum(n.flops for n in nodes))}FLOP"]
        if model.total_us is not None:
            facts.append(f"{time(model.total_us)} measured")
        self._text(PAD + 4, 43, "  \u00b7  ".join(facts), 12, GREY)
        x = width - PAD
        if model.total_us is not None:
            for k in range(60):
                self._out.append(f"<rect x='{x - 120 + 2 * k:.0f}' y='14' width='2' height='10' "
                                 f"fill='{_heat(k / 59)}'/>")
            self._text(x, 38, f"0 to {time(self._most_us)}", 11, GREY, "end")
        elif any(self._colours):
            for device, colour in reversed(self._colours.items()):
                label = device or "no device"
                x -= 6.2 * len(label) + 26
                self._out.append(f"<rect x='{x:.0f}' y='14' width='12' height='12' rx='3' fill='{colour}' "
                                 f"stroke='{LINE}'/>")
                self._text(x + 17, 24, label, 11, GREY)

    def _left_out(self, root: Box) -> str:
        shown = {n.name for n in root.nodes}
        rest = [n for n in self._model.nodes if n.name not in shown]
        constants = sum(n.op == "Const" for n in rest)
        others = [n.name for n in rest if n.op != "Const"]
        parts = [f"{constants} constants"] if constants else []
        if others:
            parts.append(", ".join(others[:6]) + (f" and {len(others) - 6} more" if len(others) > 6 else ""))
        return f"Not drawn: {'; '.join(parts)}" if parts else ""

    def _inside(self, box: Box, x: float, y: float, level: int) -> None:
        """An open scope at (x, y): its edges, then what it holds."""
        x0, y0 = x + PAD, y + TITLE + PAD / 2
        for edge, points in box.placed.routes.items():
            self._edge([(x0 + px, y0 + py) for px, py in points], box.bytes_on[edge],
                       f"{box.inside[edge[0]].name} to {box.inside[edge[1]].name}")
        for i, child in enumerate(box.inside):
            cx, cy = x0 + box.placed.x[i], y0 + box.placed.y[i]
            if child.kind == "open":
                fill = SCOPE_FILLS[min(level, len(SCOPE_FILLS) - 1)]
                self._out.append(f"<rect x='{cx:.1f}' y='{cy:.1f}' width='{child.width:.1f}' "
                                 f"height='{child.height:.1f}' rx='10' fill='{fill}' stroke='{LINE}'/>")
                note = f"{child.title}  {time(child.us)}" if self._options.timed else child.title
                self._text(cx + 12, cy + 18, note, 12, GREY, weight=600)
                self._inside(child, cx, cy, level + 1)
            else:
                self._box(child, cx, cy)

    def _edge(self, points: list[tuple[float, float]], nbytes: int, label: str) -> None:
        thick = 1.0 + min(math.log10(max(nbytes, 1)) / 3, 2.5)
        path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
        for (ax, ay), (bx, by) in zip(points, points[1:]):
            bend = (by - ay) * 0.45
            path += f" C{ax:.1f} {ay + bend:.1f} {bx:.1f} {by - bend:.1f} {bx:.1f} {by:.1f}"
        self._out.append(f"<path d='{path}' fill='none' stroke='{LINE}' stroke-width='{thick:.1f}' "
                         f"stroke-opacity='0.75' marker-end='url(#tip)'><title>{escape(label, True)}"
                         f"{', ' + size(nbytes) if nbytes else ''}</title></path>")

    def _box(self, box: Box, x: float, y: float) -> None:
        fill, shape = self._fill(box), ""
        radius = {"variable": box.height / 2, "placeholder": box.height / 2}.get(box.kind, 6)
        if box.kind == "scope":  # a second sheet behind the first
            self._out.append(f"<rect x='{x + 3:.1f}' y='{y + 3:.1f}' width='{box.width:.1f}' height='{box.height:.1f}' "
                             f"rx='8' fill='{PAPER}' stroke='{LINE}'/>")
        elif box.kind in ("variable", "placeholder"):
            radius = min(radius, 16)
            shape = " stroke-width='1.3'"
        ink = INK
        if self._options.timed and box.us / self._most_us > 0.75:
            ink = PAPER
        self._out.append(f"<g><title>{escape(self._hint(box), True)}</title>"
                         f"<rect x='{x:.1f}' y='{y:.1f}' width='{box.width:.1f}' height='{box.height:.1f}' "
                         f"rx='{radius:.0f}' fill='{fill}' stroke='{self._border(box)}'{shape}/>")
        middle = x + box.width / 2
        most = int((box.width - 16) / 7.0)
        self._text(middle, y + 17, _cut(box.title, most), 12.5, ink, "middle", 600)
        for k, line in enumerate(box.lines):
            colour = ink if self._options.timed and box.us / self._most_us > 0.2 else GREY
            self._text(middle, y + 32 + ROW * k, _cut(line, int((box.width - 12) / 5.9)), 11, colour, "middle")
        self._out.append("</g>")

    def _fill(self, box: Box) -> str:
        if self._options.timed and box.us > 0.01 * self._most_us:
            return _heat(box.us / self._most_us)
        if box.kind == "variable":
            return VARIABLE
        if box.kind == "placeholder":
            return PLACEHOLDER
        if self._options.timed:
            return PAPER
        return self._colours.get(Counter(n.device for n in box.nodes).most_common(1)[0][0], PAPER)

    def _border(self, box: Box) -> str:
        return {"variable": "#d9a92c", "placeholder": "#5fae72"}.get(box.kind, "#7b93a5")

    def _hint(self, box: Box) -> str:
        """What the pointer shows."""
        nodes = box.nodes
        lines = [box.name, f"{len(nodes)} nodes" if len(nodes) > 1 else f"{nodes[0].op}: {', '.join(nodes[0].shapes)}"]
        lines += [f"{number(sum(n.flops for n in nodes))}FLOP, {size(sum(n.nbytes for n in nodes))}"]
        lines += sorted({n.device for n in nodes if n.device})
        if self._options.timed:
            lines.append(f"{time(box.us)}, {box.us / (self._model.total_us or 1):.1%} of the step")
        return "\n".join(lines)

    def _text(self, x: float, y: float, text: str, points: float, colour: str, anchor: str = "start",
              weight: int = 400) -> None:
        self._out.append(f"<text x='{x:.1f}' y='{y:.1f}' font-size='{points}' fill='{colour}' text-anchor='{anchor}' "
                         f"font-weight='{weight}'>{escape(text)}</text>")


def _leaves(box: Box) -> list[Box]:
    return [leaf for child in box.inside for leaf in _leaves(child)] if box.kind == "open" else [box]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:max(most - 1, 1)] + "\u2026"


def _heat(share: float) -> str:
    """White over yellow to dark red; small shares are told apart best."""
    at = min(max(share, 0.0), 1.0) ** 0.6 * (len(HEAT) - 1)
    low = min(int(at), len(HEAT) - 2)
    mixed = [round(a + (b - a) * (at - low)) for a, b in zip(HEAT[low], HEAT[low + 1])]
    return f"#{mixed[0]:02x}{mixed[1]:02x}{mixed[2]:02x}"
