"""`ringflow graph FILE`: prints and draws a graph file."""
from __future__ import annotations

import argparse
from typing import Any

from ringflow.graph import config
from ringflow.graph.errors import InvalidArgumentError, NotFoundError

from .graph_model import load
from .graph_report import report
from .graph_svg import draw


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "graph", help="print and draw a graph file", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Print what a GraphDef or MetaGraphDef file (.pb, .pbtxt, .meta) holds: totals, devices, ops, and\n"
                    "the tree of name scopes with parameters, floating-point operations and bytes; draw it as SVG.\n"
                    "With --stats, a file with a RunMetadata or StepStats message, also how long nodes took.\n"
                    "Exit code 2 for files that cannot be read.",
        epilog="examples:\n  ringflow graph model.pb\n  ringflow graph model.meta --svg model.svg --depth 2\n"
               "  ringflow graph model.pb --stats step.pb --svg step.svg\n  ringflow graph model.pb --batch 32")
    parser.add_argument("file", help="a graph file")
    parser.add_argument("--depth", type=_count, default=1, metavar="N", help="levels of scopes that are opened (1)")
    parser.add_argument("--svg", metavar="FILE", help="draw the graph into this file")
    parser.add_argument("--stats", metavar="FILE", help="step statistics of a run of the graph")
    parser.add_argument("--batch", type=_count, default=1, metavar="N", help="what an unknown dimension counts as (1)")
    parser.add_argument("--top", type=_count, default=10, metavar="N", help="how many ops and nodes are listed (10)")
    parser.add_argument("--all", action="store_true", help="draw constants, control edges and every edge of data")
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= 0")
    return int(text)


def run(options: argparse.Namespace) -> int:
    if config.launch().rank != 0:
        return 0
    if options.batch < 1:
        raise InvalidArgumentError("[graph] --batch must be >= 1: received 0. Fix: give the batch size")
    model = load(options.file, options.stats, options.batch)
    print(report(model, options.depth + 1, options.top))
    if options.svg:
        picture = draw(model, options.depth, options.all)
        try:
            with open(options.svg, "w", encoding="utf-8") as file:
                file.write(picture)
        except OSError as e:
            raise NotFoundError(f"[graph] {options.svg!r} cannot be written: {e.strerror}. Fix: name a file in a "
                                "directory that is there") from None
        print(f"\ndrawn to {options.svg}")
    return 0
