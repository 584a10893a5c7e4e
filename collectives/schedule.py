"""Which gradients travel together: bucket boundaries that let the exchange end as early as possible.

Reductions take turns on one link, in the order in which their inputs become ready. A bucket starts when its last
member is ready and the bucket before has ended, and takes latency + bytes * byte_s. Merging saves latencies, not
merging starts earlier; the best boundaries follow from E(j) = min over i < j of max(ready(j), E(i)) + cost(i..j), E(i)
being the end of the exchange of the first i members.
Source: the problem of MG-WFBP (Shi, Chu, Li, INFOCOM 2019), which solves it greedily; solved exactly here.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .costs import Link


def boundaries(ready_s: Sequence[float], nbytes: Sequence[int], link: Link) -> list[int]:
    """Ends of the buckets: [2, 5] means members 0-1 and 2-4. `ready_s` is ascending. Of equally good ones the fewest.

    Where the link does not run beside the computation, one bucket: each further one would only cost its latency.
    """
    n = len(ready_s)
    if n == 0:
        return []
    if not link.concurrent:
        return [n]
    total = np.concatenate([[0], np.cumsum(nbytes)])
    end = np.zeros(n + 1)
    last = np.zeros(n + 1, np.int64)
    for j in range(1, n + 1):
        ends = np.maximum(ready_s[j - 1], end[:j]) + link.latency_s + (total[j] - total[:j]) * link.byte_s
        last[j] = np.argmin(ends)  # the first minimum: the largest bucket
        end[j] = ends[last[j]]
    found, j = [], n
    while j > 0:
        found.append(j)
        j = int(last[j])
    return found[::-1]


def fixed(nbytes: Sequence[int], most_bytes: int) -> list[int]:
    """Ends of buckets of at most `most_bytes`, unless by a single member."""
    ends, filled = [], 0
    for i, size in enumerate(nbytes):
        if i > 0 and filled + size > most_bytes:
            ends.append(i)
            filled = 0
        filled += size
    return [*ends, len(nbytes)] if nbytes else []


def timeline(ready_s: Sequence[float], nbytes: Sequence[int], link: Link) -> list[tuple[float, float]]:
    """(start, end) in seconds of buckets that become ready at `ready_s`, in this order."""
    times, free = [], 0.0
    for ready, size in zip(ready_s, nbytes):
        start = max(ready, free)
        free = start + link.seconds(size)
        times.append((start, free))
    return times
