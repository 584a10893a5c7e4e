"""Dead code: what no fetch and no target needs is dropped."""
from __future__ import annotations

from ..topology import ancestors
from .program import Program


def drop_dead_code(program: Program) -> None:
    live = ancestors(program.roots())
    program.remove({op for op in program.graph._ops if op not in live and op.type != "_Arg"})
