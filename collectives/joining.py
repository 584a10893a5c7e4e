"""How launched processes meet: each tells rank 0 who it is; rank 0 compares, and answers all when all are there.

Until then the ranks share nothing but MPI, whose own collectives would wait without end for a rank that is stuck before
`init`. Here every wait is polled and has a deadline, and rank 0 knows, and tells the others, who is missing. A rank
whose own start has failed joins all the same, to say why.

Steps: a message of some 500 bytes to rank 0 and one back. Nothing else of ringflow has been sent before.
"""
from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from ringflow.graph.errors import DeadlineExceededError, Error, UnavailableError

from .communicator import _core

_TAG = 29_733  # on the caller's communicator: there is no other yet
_POLL_S = 0.002


@dataclass
class Hello:
    """Who a rank is. `problem`: why it cannot start."""

    rank: int
    version: str
    abi: str
    settings: dict[str, Any]
    problem: str = ""
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    node: str = field(default_factory=lambda: _node())

    @property
    def software(self) -> str:
        return f"ringflow {self.version}, collectives {self.abi}"


def join(MPI: Any, comm: Any, mine: Hello, *, warn_s: float, timeout_s: float) -> list[Hello]:
    """The hellos of all ranks. Collective.

    Raises: DeadlineExceededError that names who is missing; UnavailableError where ranks run different software or one
    cannot start; on every rank, marked `of_all`.
    """
    try:
        everybody = _collect(MPI, comm, mine, warn_s, timeout_s) if mine.rank == 0 else \
            _report(MPI, comm, mine, warn_s, timeout_s)
    except Error as e:
        e.of_all = True  # type: ignore[attr-defined]
        raise
    return everybody


def _collect(MPI: Any, comm: Any, mine: Hello, warn_s: float, timeout_s: float) -> list[Hello]:
    """Rank 0's part."""
    hellos = {0: mine}
    begin, warned = time.monotonic(), False
    while len(hellos) < comm.Get_size():
        waited = time.monotonic() - begin
        if comm.iprobe(MPI.ANY_SOURCE, _TAG):
            hello = comm.recv(source=MPI.ANY_SOURCE, tag=_TAG)
            hellos[hello.rank] = hello
        elif waited > timeout_s:
            missing = _missing(hellos, comm.Get_size())
            _answer(comm, hellos, ("timeout", missing))
            raise _timed_out(comm, mine, timeout_s, missing)
        elif waited > warn_s and not warned:
            warned = True
            missing = _missing(hellos, comm.Get_size())
            _answer(comm, hellos, ("warning", missing))
            _warn(comm, mine, waited, missing)
        else:
            time.sleep(_POLL_S)
    everybody = [hellos[r] for r in range(comm.Get_size())]
    problem = _problem(everybody)
    _answer(comm, hellos, ("problem", problem) if problem else ("welcome", everybody))
    if problem:
        raise _refused(comm, mine, problem)
    return everybody


def _report(MPI: Any, comm: Any, mine: Hello, warn_s: float, timeout_s: float) -> list[Hello]:
    """The part of all other ranks."""
    sent = comm.isend(mine, 0, _TAG)
    begin, warned = time.monotonic(), False
    while True:
        waited = time.monotonic() - begin
        sent.test()
        if comm.iprobe(0, _TAG):
            kind, content = comm.recv(source=0, tag=_TAG)
            if kind == "welcome":
                return content  # type: ignore[no-any-return]
            if kind == "problem":
                raise _refused(comm, mine, content)
            if kind == "timeout":
                raise _timed_out(comm, mine, waited, content)
            if not warned:
                _warn(comm, mine, waited, content)
            warned = True
        elif waited > timeout_s + 2.0:  # rank 0 would have spoken before
            raise _timed_out(comm, mine, waited, "rank 0 has not joined")
        elif waited > warn_s + 1.0 and not warned:
            warned = True
            _warn(comm, mine, waited, "rank 0 has not joined")
        else:
            time.sleep(_POLL_S)


def _answer(comm: Any, hellos: dict[int, Hello], answer: tuple[str, Any]) -> None:
    for rank in hellos:
        if rank:
            comm.send(answer, rank, _TAG)


def _missing(hellos: dict[int, Hello], size: int) -> str:
    missing = [r for r in range(size) if r not in hellos]
    ranks = ", ".join(map(str, missing[:8])) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
    return f"rank {ranks} has not joined" if len(missing) == 1 else f"ranks {ranks} have not joined"


def _warn(comm: Any, mine: Hello, waited: float, missing: str) -> None:
    say(f"ringflow: warning: [init] rank {mine.rank}/{comm.Get_size()} ({mine.host}) has waited {waited:.3g} s: "
        f"{missing}")


def _timed_out(comm: Any, mine: Hello, waited: float, missing: str) -> Error:
    return DeadlineExceededError(
        f"[init] rank {mine.rank}/{comm.Get_size()} ({mine.host}) timed out after {waited:.3g} s: {missing}. "
        "Fix: find out what that rank does before init; RINGFLOW_TIMEOUT_S sets the limit.")


def _refused(comm: Any, mine: Hello, problem: str) -> Error:
    return UnavailableError(f"[init] rank {mine.rank}/{comm.Get_size()} ({mine.host}): {problem}")


def _problem(everybody: list[Hello]) -> str:
    failed = [h for h in everybody if h.problem]
    if failed:
        return "; ".join(f"rank {h.rank}/{len(everybody)} ({h.host}) cannot start: {h.problem}" for h in failed[:4])
    groups: dict[str, list[Hello]] = {}
    for hello in everybody:
        groups.setdefault(hello.software, []).append(hello)
    if len(groups) == 1:
        return ""
    versions = "; ".join(f"rank{'s' * (len(g) > 1)} {', '.join(str(h.rank) for h in g[:8])}"
                         f"{', ...' * (len(g) > 8)} ({g[0].host}): {software}" for software, g in groups.items())
    return (f"the ranks run different software: {versions}. "
            "Fix: install the same version of ringflow on every host.")


def say(line: str) -> None:
    """A line on stderr in one write, so that lines of several ranks stay whole; in the log file too."""
    _core().say(line)


def _node() -> str:
    """Equal for processes whose process ids mean the same: one boot, one PID namespace, one host name."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return " ".join([file.read().strip(), os.readlink("/proc/self/ns/pid"), socket.gethostname()])
    except OSError:
        return f"unknown {os.getpid()}"
