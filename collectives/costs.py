"""What an allreduce costs by its bytes: a model for deciding on buckets (schedule.py), not for reporting.

What operations cost is in graph/placement/costs.py, until `measure` has timed them. The link: latency + bytes *
seconds per byte, fitted to two sizes once per communicator; all ranks then use the slowest rank's figures, rounded to
powers of two, so that one machine usually decides alike.
"""
from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass

import numpy as np

from .communicator import Communicator

_SMALL, _LARGE = 4 << 10, 1 << 20  # bytes of the two pings
_PINGS = 6
_MOST_CORES = 1024


@dataclass(frozen=True)
class Link:
    """The cost of an allreduce: ``latency_s + bytes * byte_s``.

    concurrent: whether it proceeds beside the computation. Through shared memory it does only where a core is spare.
    """

    latency_s: float
    byte_s: float
    concurrent: bool = True

    def seconds(self, nbytes: int) -> float:
        return self.latency_s + nbytes * self.byte_s

    def __str__(self) -> str:
        return f"{self.latency_s * 1e6:.4g} us + {self.byte_s * 1e9:.4g} ns/byte"


def link_of(world: Communicator) -> Link:
    """The link between the ranks of `world`, measured at the first call, which is collective.

    Steps: 2 * 6 bucket allreduces (4 KiB and 1 MiB) and two of some KiB.
    """
    if "link" not in world.remembered:
        world.remembered["link"] = _measured(world) if world.size > 1 else Link(0.0, 0.0, False)
    return world.remembered["link"]  # type: ignore[no-any-return]


def _measured(world: Communicator) -> Link:
    small, large = _ping(world, _SMALL), _ping(world, _LARGE)
    mine = np.array([small, max(large - small, 0.0), float(not _spare_core(world))])
    small, more, crowded = world.allreduce(mine, "max")
    byte_s = more / (_LARGE - _SMALL)
    in_memory = world.native.algorithm == "one_pass"
    return Link(_rounded(max(small - _SMALL * byte_s, 1e-6)), _rounded(max(byte_s, 1e-12)),
                not (in_memory and crowded))


def _spare_core(world: Communicator) -> bool:
    """Whether this rank has two cores, each counted by the share that it has of it. For ranks of one node."""
    mine = [c for c in os.sched_getaffinity(0) if c < _MOST_CORES]
    users = np.zeros(_MOST_CORES, np.int32)
    users[mine] = 1
    users = world.allreduce(users)
    return bool(np.sum(1.0 / users[mine]) >= 2)


def _ping(world: Communicator, nbytes: int) -> float:
    """Seconds of an allreduce of `nbytes` on the communication thread: the best of a few."""
    bucket, times = world.bucket(nbytes), []
    for _ in range(_PINGS):
        begin = time.perf_counter()
        world.wait(world.start(bucket, nbytes // 4, np.float32))
        times.append(time.perf_counter() - begin)
    return min(times)


def _rounded(value: float) -> float:
    return 2.0 ** round(math.log2(value))
