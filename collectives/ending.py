"""How a rank ends, so that the others end too, each with one line that names the culprit.

An uncaught exception: the first rank to fail prints its traceback, tells the others (their collectives throw
AbortedError with its text), gives them a few seconds to say so, then calls MPI_Abort, which also ends ranks that are in
no collective. `sys.exit(code != 0)` likewise. A rank that ends without an error is marked as gone, so that nobody waits
for it; so is one that raises SystemExit itself, whose code Python shows to nobody. Installed by `init` in a world of
several processes; the program's own excepthook still prints the traceback.

A thread looks after the process meanwhile (supervise): it sees peers die, and shows where this rank is when others
wait for it.
"""
from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from ringflow.graph.errors import DeadlineExceededError

from .communicator import Communicator, _core
from .joining import say

GRACE_S = 3.0  # for the others to report before they are killed
LATE_GRACE_S = 1.0  # the same after a deadline: some will not
ABORT_S = 2.0
_MOST_FRAMES = 6


class Ending:
    """`who`: "rank 1/4 on node7". `kill_all(code)` ends every process of the job; MPI_Abort."""

    def __init__(self, who: str, kill_all: Callable[[int], object]) -> None:
        self.who = who
        self.kill_all = kill_all
        self.communicator: Communicator | None = None  # while `init` is under way
        self.first = who.startswith("rank 0/")
        self.exit_code: Any = None
        self.process = os.getpid()
        self.print_traceback = sys.excepthook
        self.print_thread_traceback = threading.excepthook
        self.exit = sys.exit
        sys.excepthook = self.on_exception
        threading.excepthook = self.on_thread_exception
        sys.exit = self.on_exit_call  # type: ignore[assignment]
        atexit.register(self.at_exit)

    def attach(self, communicator: Communicator, warn_s: float) -> None:
        """`init` has succeeded."""
        self.communicator = communicator
        self.warn_s = warn_s
        self.supervisor = threading.Thread(target=self.supervise, name="ringflow supervisor", daemon=True)
        self.supervisor.start()

    # ---- ends ---------------------------------------------------------------------------------------------------
    def on_exception(self, kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        if os.getpid() != self.process:  # a fork
            self.print_traceback(kind, value, trace)
            return
        sys.stdout.flush()
        reason = f"{kind.__name__}: {value}".splitlines()[0]
        if self.communicator is None:
            self.fail_in_init(kind, value, trace)
        elif self.first_to_fail(reason):
            self.report(kind, value, trace)
            self.end_all(1, LATE_GRACE_S if kind is DeadlineExceededError else GRACE_S)
        self.follow(reason, _place(trace))

    def report(self, kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        say(f"ringflow: {self.who} failed and ends the job:")
        _core().note("".join(traceback.format_exception(kind, value, trace)).rstrip())
        self.print_traceback(kind, value, trace)

    def on_thread_exception(self, args: Any) -> None:
        """Python goes on without the thread, and so do we; but the traceback says whose it is."""
        name = args.thread.name if args.thread else "?"
        say(f"ringflow: {self.who}: thread {name!r} failed, the program goes on without it:")
        trace = traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback)
        _core().note("".join(trace).rstrip())
        self.print_thread_traceback(args)

    def on_exit_call(self, code: Any = None, /) -> None:
        if threading.current_thread() is threading.main_thread():
            self.exit_code = code
        self.exit(code)

    def at_exit(self) -> None:
        """Every other end of the interpreter."""
        if os.getpid() != self.process:
            return
        if self.communicator is None:  # MPI_Finalize would wait for ranks that may never come
            say(f"ringflow: {self.who} ends after init has failed, and ends the job")
            self.end_all(self.exit_code if isinstance(self.exit_code, int) and self.exit_code else 1, grace_s=0.0)
            return
        native = self.communicator.native
        if self.exit_code not in (None, 0):
            reason = f"sys.exit({self.exit_code!r})"
            code = self.exit_code if isinstance(self.exit_code, int) else 1
            # If the others leave as well, this is an agreed end (or the exit was caught and the program went on).
            if self.first_to_fail(reason) and native.wait_told(GRACE_S) != 0:
                say(f"ringflow: {self.who} ended with {reason} and ends the job")
                self.end_all(code, grace_s=0.0)
        native.leave()
        native.close()
        self.supervisor.join(1.0)
        # Without a limit: a rank may well evaluate or save for long when the others are done.
        _core().warn_after(self.warn_s, f"ringflow: warning: {self.who} has finished and has waited {self.warn_s:g} s "
                                        "in MPI_Finalize for ranks that have not")

    def first_to_fail(self, reason: str) -> bool:
        assert self.communicator is not None
        native = self.communicator.native
        if not native.aborted():
            self.communicator.abort(reason)
        return bool(native.aborted_by == self.communicator.rank)

    def end_all(self, code: int, grace_s: float) -> None:
        if self.communicator is not None:
            self.communicator.native.tell()
            self.communicator.native.wait_told(grace_s)
        sys.stdout.flush()
        sys.stderr.flush()
        # MPI may be what is stuck. Not a thread of Python's: at exit no more can be started.
        self.last = _core().Deadline(1e9, "", ABORT_S, f"ringflow: {self.who} exits: MPI_Abort does not return")
        if self.communicator is not None:
            self.communicator.native.close()  # its thread makes no MPI call any more
        self.kill_all(code)
        os._exit(code)

    def follow(self, reason: str, place: str) -> None:
        """Another rank failed first: say so in one line, then wait to be ended by it."""
        assert self.communicator is not None
        native = self.communicator.native
        own = "" if reason.startswith("AbortedError") else f" (here: {reason})"
        say(f"ringflow: {self.who} ends{place} because {native.abort_text}{own}")
        native.tell()
        time.sleep(GRACE_S + 2.0)
        os._exit(1)

    def fail_in_init(self, kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        if getattr(value, "of_all", False) and not self.first:
            say(f"ringflow: {self.who} ends because {value}")
            time.sleep(GRACE_S + 2.0)  # rank 0 ends all, if there is one
        else:
            self.report(kind, value, trace)
            time.sleep(0.5)
        self.end_all(1, grace_s=0.0)

    # ---- meanwhile ----------------------------------------------------------------------------------------------
    def supervise(self) -> None:
        assert self.communicator is not None
        while (event := self.communicator.native.supervise()) != "closed":
            if event == "stacks":
                for line in self.stacks("for which others wait"):
                    say(line)
            elif event == "overdue":  # the program waits for something else, or has caught the error and goes on
                for line in self.stacks("which does not end by itself"):
                    say(line)
                say(f"ringflow: {self.who} ends because {self.communicator.native.abort_text}")
                os._exit(1)  # MPI may be in use by another thread

    def stacks(self, why: str) -> list[str]:
        """Where the threads of this rank are, a line each, innermost call first."""
        lines = []
        for thread in threading.enumerate():
            frame = sys._current_frames().get(thread.ident or 0)
            if thread is not threading.current_thread() and frame is not None:
                lines.append(f"ringflow: {self.who}, {why}, is here ({thread.name}): {_calls(frame)}")
        return lines


def _calls(frame: FrameType | None) -> str:
    calls: list[str] = []
    while frame is not None:
        calls.append(f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(calls[:_MOST_FRAMES]) + (" < ..." if len(calls) > _MOST_FRAMES else "")


def _place(trace: TracebackType | None) -> str:
    """" at train.py:57": the innermost line of a traceback that is not ringflow's."""
    place = ""
    while trace is not None:
        frame = trace.tb_frame
        if not frame.f_globals.get("__name__", "").startswith("ringflow."):
            place = f" at {os.path.basename(frame.f_code.co_filename)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
