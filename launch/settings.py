"""`ringflow config`: every RINGFLOW_* variable, from the one table that the program reads (graph/config.py)."""
from __future__ import annotations

import argparse
import textwrap
from typing import Any

from ringflow.graph import config
from ringflow.graph.errors import InvalidArgumentError

WIDTH = 100


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "config", help="print every RINGFLOW_* variable", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Print every RINGFLOW_* variable: name, value (* where the environment sets it), default, unit "
                    "and meaning.\nExit code 1 where a variable holds a value that it cannot have.",
        epilog="examples:\n  ringflow config\n  mpirun -np 2 -x RINGFLOW_ALLREDUCE=ring python -m ringflow config")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if config.launch().rank != 0:
        return 0
    text, problems = describe()
    print(text)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def describe() -> tuple[str, list[str]]:
    """The table, and the errors of variables that hold an impossible value."""
    lines = [f"{'name':28}{'value':14}{'default':14}unit"]
    problems = []
    for setting in config.SETTINGS.values():
        text = config.text_of(setting.name)
        try:
            config.get(setting.name)
        except InvalidArgumentError as e:
            problems.append(str(e))
        mark = "*" if config.is_set(setting.name) else ""
        lines.append(f"{setting.name:28}{(text or '-') + mark:14}{setting.default or '-':14}{setting.unit}")
        lines += textwrap.wrap(setting.meaning, WIDTH, initial_indent="    ", subsequent_indent="    ")
    lines.append("* set in the environment. Under a launcher rank 0's settings of collectives hold for all ranks.")
    return "\n".join(lines), problems
