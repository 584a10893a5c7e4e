"""How a rank ends, so that the others end too, each with one line that names the culprit.

An uncaught exception: the first rank to fail prints its traceback, tells the others (their collectives throw
AbortedError with its text), gives them a few seconds to say so, then calls MPI_Abort, which also ends ranks that are in
no collective. `sys.exit(code != 0)` likewise. A rank that ends without an error is marked as gone, so that nobody waits
for it. Installed by `init` in a world of several processes; the program's own excepthook still prints the traceback.
"""
from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from .communicator import Communicator

GRACE_S = 3.0  # for the others to report before they are killed


def install(communicator: Communicator, kill_all: Callable[[int], object]) -> None:
    """kill_all(code): ends every process of the job; MPI_Abort."""
    Ending(communicator, kill_all)


class Ending:
    def __init__(self, communicator: Communicator, kill_all: Callable[[int], object]) -> None:
        self.communicator = communicator
        self.kill_all = kill_all
        self.exit_code: Any = None
        self.print_traceback = sys.excepthook
        self.exit = sys.exit
        sys.excepthook = self.on_exception
        sys.exit = self.on_exit_call  # type: ignore[assignment]
        atexit.register(self.at_exit)

    @property
    def who(self) -> str:
        c = self.communicator
        return f"rank {c.rank}/{c.size} on {c.host}"

    def on_exception(self, kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        reason = f"{kind.__name__}: {value}".splitlines()[0]
        if self.first_to_fail(reason):
            sys.stdout.flush()
            print(f"ringflow: {self.who} failed and ends the job:", file=sys.stderr)
            self.print_traceback(kind, value, trace)
            self.end_all(1)
        self.follow(reason)

    def on_exit_call(self, code: Any = None, /) -> None:
        if threading.current_thread() is threading.main_thread():
            self.exit_code = code
        self.exit(code)

    def at_exit(self) -> None:
        """Every other end of the interpreter."""
        native = self.communicator.native
        if self.exit_code not in (None, 0):
            reason = f"sys.exit({self.exit_code!r})"
            code = self.exit_code if isinstance(self.exit_code, int) else 1
            # If the others leave as well, this is an agreed end (or the exit was caught and the program went on).
            if self.first_to_fail(reason) and native.wait_told(GRACE_S) != 0:
                print(f"ringflow: {self.who} ended with {reason} and ends the job", file=sys.stderr)
                self.end_all(code, grace_s=0.0)
        native.leave()
        native.close()

    def first_to_fail(self, reason: str) -> bool:
        native = self.communicator.native
        if not native.aborted():
            self.communicator.abort(reason)
        return native.aborted_by == self.communicator.rank

    def end_all(self, code: int, grace_s: float = GRACE_S) -> None:
        self.communicator.native.tell()
        self.communicator.native.wait_told(grace_s)
        sys.stderr.flush()
        self.kill_all(code)
        os._exit(code)

    def follow(self, reason: str) -> None:
        """Another rank failed first: say so in one line, then wait to be ended by it."""
        native = self.communicator.native
        own = "" if reason.startswith("AbortedError") else f" (here: {reason})"
        sys.stdout.flush()
        print(f"ringflow: {self.who} ends because {native.abort_text}{own}", file=sys.stderr, flush=True)
        native.tell()
        time.sleep(GRACE_S + 2.0)
        os._exit(1)
