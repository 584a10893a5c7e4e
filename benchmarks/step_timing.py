"""How a training step is timed, the same in ringflow's program and in the peers': standard library only.

After 8 untimed steps, whose losses are kept, steps are timed one by one; every rank takes the same number. What a step
returns is a float, so that nothing of it is still under way when its time is taken.
"""
from __future__ import annotations

import argparse
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any, Protocol

WORKLOADS = ("tiny", "mlp", "lenet", "resnet20", "lstm", "gpt", "embed")
CHECKED = 8
LEAST, MOST = 10, 5000  # timed steps


class Ranks(Protocol):
    """What timing needs of several ranks."""

    rank: int
    size: int

    def broadcast_object(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""

    def allgather_object(self, value: Any) -> list[Any]:
        """The values of all ranks, on every rank."""


class Alone:
    """One rank."""

    rank, size = 0, 1

    def broadcast_object(self, value: Any) -> Any:
        return value

    def allgather_object(self, value: Any) -> list[Any]:
        return [value]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser of what every program here takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--seconds", type=float, default=6.0, help="how long to time (default 6)")
    return parser


def peak_mib() -> float:
    """The most memory that this process has had resident since it started this program.

    ru_maxrss would also count what its parent had when it forked."""
    status = pathlib.Path("/proc/self/status").read_text()
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)


def report(framework: str, workload: str, step: Callable[[], float], seconds: float, *,
           versions: dict[str, str], ranks: Ranks | None = None) -> None:
    """Times `step` and prints one line of JSON, on rank 0."""
    ranks = ranks or Alone()
    losses = [step() for _ in range(CHECKED)]
    ranks.allgather_object(None)  # a barrier
    begin = time.perf_counter()
    step()
    step()
    estimate = (time.perf_counter() - begin) / 2
    count = ranks.broadcast_object(max(LEAST, min(MOST, int(seconds / max(estimate, 1e-6)))))
    times = []
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(count):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    times.sort()
    of_ranks = ranks.allgather_object((peak_mib(), round(cpu / wall, 3)))
    if ranks.rank == 0:
        line = {
            "framework": framework, "workload": workload, "ranks": ranks.size, "steps": count,
            "median_ms": round(times[count // 2] * 1e3, 4), "p10_ms": round(times[count // 10] * 1e3, 4),
            "losses": [round(loss, 5) for loss in losses],
            "peak_mib": [peak for peak, _ in of_ranks],  # of each rank
            "cpu_share": max(share for _, share in of_ranks),  # CPU seconds a second of a rank's timed steps
            "cpu_ms": round(cpu / count * 1e3, 4),  # of a step, by the mean
            "versions": versions,
        }
        print(json.dumps(line), flush=True)
