"""``rf.app``: command-line flags in TensorFlow 1's manner, and the start of a program.

    rf.app.flags.DEFINE_integer("steps", 100, "how many steps")
    FLAGS = rf.app.flags.FLAGS

    def main(argv):
        print(FLAGS.steps)

    if __name__ == "__main__":
        rf.app.run()

Flags are read from sys.argv when one is first asked for; what is not a flag goes to ``main``.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .errors import InvalidArgumentError


class Flags:
    """The values of all defined flags, as attributes."""

    def __init__(self) -> None:
        self.__dict__["_parser"] = argparse.ArgumentParser()
        self.__dict__["_values"] = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._values is None:
            self._parse(sys.argv[1:])
        if name not in self._values:
            raise AttributeError(f"[flags] no flag is called {name!r}")
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if self._values is None:
            self._parse(sys.argv[1:])
        self._values[name] = value

    def _parse(self, arguments: Sequence[str]) -> list[str]:
        """Reads the flags. Returns: what is not a flag."""
        values, rest = self._parser.parse_known_args(arguments)
        self.__dict__["_values"] = vars(values)
        return list(rest)

    def _define(self, name: str, default: Any, help: str, convert: Callable[[str], Any]) -> None:
        if f"--{name}" in self._parser._option_string_actions:
            raise InvalidArgumentError(f"[flags] the flag {name!r} is defined twice")
        self._parser.add_argument(f"--{name}", default=default, help=help, type=convert,
                                  **({"nargs": "?", "const": True} if convert is _bool else {}))
        if convert is _bool:
            self._parser.add_argument(f"--no{name}", dest=name, action="store_const", const=False,
                                      default=argparse.SUPPRESS)
        self.__dict__["_values"] = None


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "1", "t", "yes", "false", "0", "f", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in ("true", "1", "t", "yes")


class flags:
    """``rf.app.flags``."""

    FLAGS = Flags()

    @classmethod
    def DEFINE_string(cls, name: str, default: str | None, help: str) -> None:
        cls.FLAGS._define(name, default, help, str)

    @classmethod
    def DEFINE_integer(cls, name: str, default: int | None, help: str) -> None:
        cls.FLAGS._define(name, default, help, int)

    @classmethod
    def DEFINE_float(cls, name: str, default: float | None, help: str) -> None:
        cls.FLAGS._define(name, default, help, float)

    @classmethod
    def DEFINE_boolean(cls, name: str, default: bool | None, help: str) -> None:
        cls.FLAGS._define(name, default, help, _bool)

    DEFINE_bool = DEFINE_boolean


def run(main: Callable[[list[str]], Any] | None = None, argv: Sequence[str] | None = None) -> None:
    """Reads the flags and ends the program with ``main([program, what is not a flag...])``.

    `main`: default that of the program's main module.
    """
    arguments = list(sys.argv if argv is None else argv)
    rest = flags.FLAGS._parse(arguments[1:])
    start = main or sys.modules["__main__"].main
    sys.exit(start([*arguments[:1], *rest]))
