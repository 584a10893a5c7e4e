"""The text of `ringflow graph`: totals, devices, ops, and the tree of scopes with what lies in each."""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .graph_model import Model, Node, Scope


def number(n: float) -> str:
    """Three digits and a unit: 12.3 M."""
    for unit, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(n) >= factor:
            return f"{_digits(n / factor)} {unit}"
    return _digits(n)


def size(n: float) -> str:
    """Bytes: 12.5 MiB."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n >= factor:
            return f"{_digits(n / factor)} {unit}"
    return f"{n:.0f} B"


def _digits(x: float) -> str:
    return f"{x:.3g}" if abs(x) < 999.5 else f"{x:.0f}"


def time(us: float) -> str:
    return f"{_digits(us / 1e3)} ms" if us >= 1000 else f"{_digits(us)} us"


def report(model: Model, depth: int, top: int) -> str:
    """`depth`: levels of scopes; `top`: how many ops, and with measurements how many nodes, are listed."""
    parts = [_totals(model), _devices(model), _ops(model, top)]
    if model.total_us is not None:
        parts.append(_slowest(model, top))
    parts.append(_tree(model, depth))
    return "\n\n".join(parts)


def _totals(model: Model) -> str:
    nodes = model.nodes
    variables = [n for n in nodes if n.parameters]
    lines = [f"{model.path}: {len(nodes)} nodes of {len({n.op for n in nodes})} ops, "
             f"{sum(len(n.inputs) for n in nodes)} data and {sum(len(n.controls) for n in nodes)} control edges"]
    if model.note:
        lines.append(model.note)
    else:
        lines.append(f"{len(variables)} variables with {sum(n.parameters for n in variables):,} parameters "
                     f"({size(sum(n.nbytes for n in variables))}); all nodes once: {number(_sum(nodes, 'flops'))}FLOP, "
                     f"outputs of {size(sum(n.nbytes for n in nodes if not n.parameters))}")
    if model.total_us is not None:
        lines.append(f"measured: {time(model.total_us)} in kernels")
    return "\n".join(lines)


def _devices(model: Model) -> str:
    counts = Counter(n.device or "(none)" for n in model.nodes)
    return _table([["device", "nodes"], *([d, str(c)] for d, c in counts.most_common())])


def _ops(model: Model, top: int) -> str:
    timed = model.total_us is not None
    by_op: dict[str, list[Node]] = {}
    for node in model.nodes:
        by_op.setdefault(node.op, []).append(node)
    key = "us" if timed else "flops"
    order = sorted(by_op.items(), key=lambda item: (-_sum(item[1], key), -len(item[1]), item[0]))
    rows = [["op", "nodes", "FLOP", *(["time"] if timed else [])]]
    rows += [[op, str(len(nodes)), number(_sum(nodes, "flops")), *([time(_sum(nodes, "us"))] if timed else [])]
             for op, nodes in order[:top]]
    if len(order) > top:
        rest = [n for _, nodes in order[top:] for n in nodes]
        rows.append([f"{len(order) - top} more", str(len(rest)), number(_sum(rest, "flops")),
                     *([time(_sum(rest, "us"))] if timed else [])])
    return _table(rows)


def _slowest(model: Model, top: int) -> str:
    order = sorted((n for n in model.nodes if n.us), key=lambda n: -(n.us or 0))[:top]
    rows = [["slowest nodes", "op", "time", "of all", "FLOP/s"]]
    for n in order:
        us = n.us or 0.0
        rows.append([n.name, n.op, time(us), f"{us / (model.total_us or 1):.1%}",
                     number(n.flops / us * 1e6) if n.flops else "-"])
    return _table(rows)


def _tree(model: Model, depth: int) -> str:
    timed = model.total_us is not None
    rows = [["scope", "nodes", "parameters", "FLOP", "bytes", *(["time"] if timed else []), "output"]]

    def add(label: str, nodes: Sequence[Node], output: str) -> None:
        rows.append([label, str(len(nodes)), f"{_sum(nodes, 'parameters'):,.0f}", number(_sum(nodes, "flops")),
                     size(_sum(nodes, "nbytes")), *([time(_sum(nodes, "us"))] if timed else []), output])

    def walk(scope: Scope, level: int) -> None:
        for name, child in scope.scopes.items():
            nodes = list(child.all_nodes())
            variable = next((n for n in child.nodes if n.name == child.name), None)
            add("  " * level + name + ("" if variable else "/"), nodes,
                f"{variable.op} {' '.join(variable.shapes)}" if variable else "")
            if level + 1 < depth and not child.is_variable:
                walk(child, level + 1)
        for node in scope.nodes:
            if node.op != "Const" and node.name != scope.name:
                add("  " * level + node.name.rpartition("/")[2], [node],
                    f"{node.op} {', '.join(node.shapes[:3])}" + (" ..." if len(node.shapes) > 3 else ""))

    walk(model.root, 0)
    return _table(rows)


def _sum(nodes: Sequence[Node], what: str) -> float:
    return sum(getattr(n, what) or 0 for n in nodes)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns that line up; numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = [i > 0 and all(row[i][:1].isdigit() or row[i] == "-" for row in rows[1:]) for i in range(len(widths))]
    lines = ["  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
