"""Programs as files, before the first pass and after each: what RINGFLOW_DUMP_PASSES switches on.

``<folder>/<process>_<plan>_<step>_<pass>.txt`` holds a line for each node (files/text.py); `plan` counts the
plans of the process that were dumped there.
"""
from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from ..files.text import graph_text
from ..graph import Graph
from ..passes import Program


def dumper(folder: str) -> Callable[[str, Program | Graph], None] | None:
    """A function of (pass, what it made) that writes the next file of a new plan. None where `folder` is ''."""
    if not folder:
        return None
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    plan = 0
    while list(path.glob(f"{os.getpid()}_{plan:03}_*")):
        plan += 1
    step = 0

    def dump(name: str, made: Program | Graph) -> None:
        nonlocal step
        graph = made.graph if isinstance(made, Program) else made
        file = f"{os.getpid()}_{plan:03}_{step:02}_{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_')}.txt"
        (path / file).write_text(graph_text(graph))
        step += 1

    return dump
