"""`ringflow ops`: which ops there are, and for each where it runs, whether it has a gradient, and for which dtypes."""
from __future__ import annotations

import argparse
import difflib
import fnmatch
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ringflow import collectives as collectives  # defines ops of its own
from ringflow.graph import config
from ringflow.graph.control_types import CONTROL_FLOW
from ringflow.graph.dtypes import ALL
from ringflow.graph.errors import NotFoundError
from ringflow.graph.files.op_list import op_list_text, public_ops
from ringflow.graph.opdef import OPS, OpDef
from ringflow.kernels import registry

COLUMNS = ("op", "cpu", "gpu", "gradient", "dtypes")
_BY_PLANNER = ("Const", "Placeholder", "NoOp")  # carried out when a plan is made: there is nothing left to run
_SHORT = {"float": "f", "int": "i", "uint": "u", "bfloat": "bf"}


@dataclass(frozen=True)
class Row:
    """One op. `cpu`, `gpu`: "yes", "plan" (done when the plan is made), "python" (no kernel: the reference, or a pass
    that puts others in its place) or "-";
    `gradient`: "yes", "none" (zero or undefined by definition) or "-" (missing)."""

    op: str
    cpu: str
    gpu: str
    gradient: str
    dtypes: tuple[str, ...]


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "ops", help="print the ops: where each runs, gradient, dtypes",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Print a line for each op: whether a CPU kernel and a GPU kernel exist ('plan': done when a plan\n"
                    "is made; 'python': no kernel, only the reference), whether it has a gradient ('none': zero or\n"
                    "undefined by definition), and the element types of its kernels.\n"
                    "Exit code 2 where the filter fits no op.",
        epilog="examples:\n  ringflow ops                     all of them\n"
               "  ringflow ops conv                those with 'conv' in the name\n"
               "  ringflow ops 'Sparse*' --json    by pattern, as JSON\n"
               "  ringflow ops --pbtxt             the definitions as in graph/ops/ops.pbtxt, TensorFlow's OpList")
    parser.add_argument("filter", nargs="?", default="", help="part of the name, in any case, or a pattern with * or ?")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="a Markdown table")
    form.add_argument("--json", action="store_true", help="a JSON list, an object for each op")
    form.add_argument("--pbtxt", action="store_true", help="the definitions as an OpList in protobuf's text format")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if config.launch().rank != 0:
        return 0
    chosen = select(public_ops(), options.filter)
    if options.pbtxt:
        print(op_list_text(chosen), end="")
        return 0
    rows = matrix(chosen)
    if options.json:
        print(json.dumps([asdict(r) for r in rows], indent=1))
    elif options.markdown:
        print(markdown(rows))
    else:
        print(table(rows))
    return 0


def select(ops: Sequence[OpDef], pattern: str) -> list[OpDef]:
    """The ops whose name fits. Raises: NotFoundError, with near names, where there is none."""
    wanted = pattern.lower() if any(c in pattern for c in "*?[") else f"*{pattern.lower()}*"
    chosen = [op for op in ops if fnmatch.fnmatchcase(op.name.lower(), wanted)]
    if not chosen:
        near = difflib.get_close_matches(pattern, OPS, 3)
        raise NotFoundError(f"[ops] no op's name fits {pattern!r}" + (f". Near: {', '.join(near)}" if near else "")
                            + ". Fix: `ringflow ops` lists all")
    return chosen


def matrix(ops: Iterable[OpDef]) -> list[Row]:
    """A row for each op, from its definition and the kernels that are registered."""
    return [_row(op) for op in ops]


def _row(op: OpDef) -> Row:
    kernels = registry.kernels_of(op.name)
    devices = {k.device_type for k in kernels}
    cpu = "plan" if op.name in _BY_PLANNER else "yes" if "CPU" in devices or op.name in CONTROL_FLOW else "python"
    gradient = "yes" if op.gradient_rule is not None else "none" if _has_none(op) else "-"
    found = {d for k in kernels for d in k.dtypes or ()}
    dtypes = [d.name for d in ALL if d in found] or _declared(op)
    return Row(op.name, cpu, "yes" if "GPU" in devices else "-", gradient, tuple(dtypes))


def _has_none(op: OpDef) -> bool:
    floats = any(a.dtype is None or a.dtype.is_floating for a in op.outputs)
    return not op.differentiable or not op.inputs or not floats


def _declared(op: OpDef) -> list[str]:
    """What the definition allows for the first type attr that it restricts; else the fixed types of the signature."""
    for spec in op.attrs.values():
        if spec.kind in ("type", "list(type)"):
            return [d.name for d in spec.allowed] or ["any"]
    fixed = dict.fromkeys(a.dtype.name for a in (*op.inputs, *op.outputs) if a.dtype is not None)
    return list(fixed)


def short(dtype: str) -> str:
    """float32 as f32, int64 as i64, uint8 as u8; other names as they are."""
    name = dtype.rstrip("0123456789")
    return _SHORT[name] + dtype[len(name):] if name in _SHORT and name != dtype else dtype


def _cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    return [(r.op, r.cpu, r.gpu, r.gradient, " ".join(map(short, r.dtypes)) or "-") for r in rows]


def _count(rows: Sequence[Row]) -> str:
    cpu, gpu = sum(r.cpu != "python" for r in rows), sum(r.gpu == "yes" for r in rows)
    gradients = [r.gradient for r in rows]
    return (f"{len(rows)} ops: {cpu} run on CPUs, {gpu} on GPUs, {gradients.count('yes')} have a gradient, "
            f"{gradients.count('-')} lack one")


def table(rows: Sequence[Row]) -> str:
    cells = [COLUMNS, *_cells(rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS) - 1)]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(row, widths)), row[-1]]) for row in cells]
    return "\n".join([*lines, "", _count(rows)])


def markdown(rows: Sequence[Row]) -> str:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row) + " |" for row in _cells(rows)]
    return "\n".join([*lines, "", _count(rows)])
