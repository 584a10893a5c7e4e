"""The command line: `ringflow`, or `python -m ringflow` where a launcher wants a program.

Each subcommand is a module of this folder with `add(subparsers)`, which sets `run`, a function of the options that
returns an exit code. Exit codes: 0 done, 1 ran and found something wrong, 2 the command cannot be run as given.
Under a launcher every rank parses the same words; only rank 0 prints an error. The others end later: a launcher kills
the whole job when the first of them fails.
"""
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from ringflow.graph import config
from ringflow.graph.errors import Error
from ringflow.version import __version__

from . import bench, doctor, graph, ops, settings

_PATIENCE_S = 5.0  # that rank 0 has to speak; it ends the job when it has

EXAMPLES = """examples:
  ringflow doctor                                            what this machine and installation offer
  ringflow config                                            every RINGFLOW_* variable and its value
  ringflow ops conv                                          where ops run, their gradients and dtypes
  ringflow graph model.pb --svg model.svg                    print and draw a graph file
  mpirun -np 2 python -m ringflow doctor                     the same, a line for each rank
  mpirun -np 2 python -m ringflow bench allreduce            compare with MPI_Allreduce and memcpy
  mpirun -np 2 python -m ringflow bench allreduce --tune     measure which algorithm to use at which size
"""


class Parser(argparse.ArgumentParser):
    """Errors are one line, said once by a job, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        refuse(f"[{self.prog}] {message}. Fix: see `{self.prog} --help`")


def refuse(message: str) -> NoReturn:
    if config.launch().rank == 0:
        print(message, file=sys.stderr, flush=True)
    else:
        time.sleep(_PATIENCE_S)
    sys.exit(2)


def make_parser() -> Parser:
    parser = Parser(prog="ringflow", description="Dataflow training for people who own mpirun.", epilog=EXAMPLES,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"ringflow {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for module in (bench, settings, doctor, ops, graph):
        module.add(commands)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    options: Any = make_parser().parse_args(words)
    try:
        return int(options.run(options))
    except Error as e:
        refuse(str(e))


if __name__ == "__main__":
    sys.exit(main())
