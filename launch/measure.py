"""Times allreduces against each other: ours, MPI's and a memcpy of the same bytes, in one interleaved run.

Every round runs each contestant once, in an order that rotates, so that whatever else the machine does meets all alike.
Before each repetition the inputs are rewritten and all ranks meet, outside of the timed part. After it the result is
compared with the exact one: inputs are small integers that differ by rank, round and call, so that a rank counted
twice, a stale result or a stray chunk shows. The time of a repetition is the maximum over ranks; the figure is the
median over rounds. Small sizes are timed as several calls on as many buffers, because a clock reading costs as much.

Threads: the calling one only. Buckets are started with overlap=False, so no communication thread exists and MPI is
called by one thread at a time (level SERIALIZED).
"""
from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

import numpy as np
from ringflow.collectives.communicator import Communicator

PERIOD = 13
BUCKET, ARRAY, MPI, MEMCPY = "bucket", "array", "mpi", "memcpy"


@dataclass
class Timing:
    """Of one contestant at one size, over all ranks."""

    algorithm: str  # "one_pass", ...; "MPI_Allreduce", "memcpy"
    path: str       # BUCKET, ARRAY, MPI or MEMCPY
    bytes: int
    times_us: list[float] = field(default_factory=list)  # a call's, sorted
    wrong: int = 0  # elements, over all ranks and repetitions

    def quantile_us(self, q: float) -> float:
        return round(float(np.quantile(self.times_us, q)), 3)

    @property
    def time_us(self) -> float:
        return self.quantile_us(0.5)


class Numbers:
    """Inputs whose reduction is exact in every dtype and order, and that reduction.

    Rank r's input of repetition k is one period of small integers, shifted by an amount that differs by rank and by k.
    """

    def __init__(self, count: int, dtype: np.dtype, op: str, rank: int, ranks: int) -> None:
        period = np.arange(PERIOD)
        values = (1 + (period % 3 == 0) if op == "prod" else period).astype(dtype)
        shifted = [np.roll(values, -self._shift(r)) for r in range(ranks)]
        reduce = {"sum": np.add, "mean": np.add, "prod": np.multiply, "min": np.minimum, "max": np.maximum}[op]
        total = reduce.reduce(shifted, dtype=dtype)
        if op == "mean":
            total = total / dtype.type(ranks)
        self.count = count
        self._input = np.resize(np.roll(values, -self._shift(rank)), count + PERIOD)
        self._expected = np.resize(total.astype(dtype), count + PERIOD)

    @staticmethod
    def _shift(rank: int) -> int:
        return 7 * rank % PERIOD

    def write(self, target: np.ndarray, repetition: int) -> None:
        at = 3 * repetition % PERIOD
        np.copyto(target, self._input[at:at + self.count])

    def wrong(self, result: np.ndarray, repetition: int) -> int:
        at = 3 * repetition % PERIOD
        return int(np.count_nonzero(result != self._expected[at:at + self.count]))

    def wrong_copy(self, result: np.ndarray, repetition: int) -> int:
        at = 3 * repetition % PERIOD
        return int(np.count_nonzero(result != self._input[at:at + self.count]))


@dataclass
class Contestant:
    timing: Timing
    inputs: list[np.ndarray]   # one for each call of a repetition
    results: list[np.ndarray]
    call: Callable[[int], object]
    check: Callable[[np.ndarray, int], int]

    def repeat(self, repetition: int, meet: Callable[[], object], numbers: Numbers) -> None:
        calls = range(len(self.inputs))
        meet()  # a bucket in place is refilled only after all have read it
        for j in calls:
            numbers.write(self.inputs[j], repetition + j)
        call = self.call
        meet()
        begin = perf_counter_ns()
        for j in calls:
            call(j)
        end = perf_counter_ns()
        self.timing.times_us.append((end - begin) / 1000 / len(calls))
        self.timing.wrong += sum(self.check(self.results[j], repetition + j) for j in calls)


def calls_of(nbytes: int) -> int:
    """Calls in a repetition: enough for a clock reading not to count."""
    return 16 if nbytes <= 1 << 14 else 4 if nbytes <= 1 << 16 else 1


def iterations_of(nbytes: int) -> int:
    return 100 if nbytes <= 1 << 20 else 40 if nbytes <= 1 << 24 else 15


def compare(world: Communicator, nbytes: int, algorithms: Sequence[str], *, mpi: Any = None, dtype: str = "float32",
            op: str = "sum", iterations: int | None = None, warmup: int = 3, paths: Sequence[str] = (BUCKET, ARRAY),
            ) -> list[Timing]:
    """Collective. The timings of one size, the same on every rank. mpi: an mpi4py communicator, or None for no MPI."""
    kind = np.dtype(dtype)
    count = nbytes // kind.itemsize
    numbers = Numbers(count, kind, op, world.rank, world.size)
    contestants = []
    if BUCKET in paths:
        contestants.append(_bucket(world, count, kind, op, numbers))
    if ARRAY in paths:
        contestants += [_array(world, name, count, kind, op, numbers) for name in algorithms]
    if mpi is not None and (rival := _mpi(mpi, count, kind, op, numbers)) is not None:
        contestants.append(rival)
    contestants.append(_memcpy(count, kind, numbers))
    meet = world.native.barrier
    enabled = gc.isenabled()
    gc.disable()
    try:
        for k in range(-warmup, iterations or iterations_of(nbytes)):
            if k == 0:
                for c in contestants:
                    c.timing.times_us.clear()
            turn = k % len(contestants)
            for c in contestants[turn:] + contestants[:turn]:
                c.repeat(k, meet, numbers)
    finally:
        if enabled:
            gc.enable()
    return [_over_ranks(world, c.timing) for c in contestants]


def _over_ranks(world: Communicator, timing: Timing) -> Timing:
    slowest = world.allreduce(np.array(timing.times_us), "max")
    wrong = int(world.allreduce(np.int64(timing.wrong))[()])
    return Timing(timing.algorithm, timing.path, timing.bytes, sorted(slowest.tolist()), wrong)


def _empty(count: int, kind: np.dtype) -> list[np.ndarray]:
    return [np.zeros(count, kind) for _ in range(calls_of(count * kind.itemsize))]


def _bucket(world: Communicator, count: int, kind: np.dtype, op: str, numbers: Numbers) -> Contestant:
    native, reduce_bucket = world.native, world.native.reduce_bucket
    size = count * kind.itemsize
    buckets = [world.bucket(size, in_place=True) for _ in range(calls_of(size))]
    inputs = [b.input(kind)[:count] for b in buckets]
    results = [b.result(kind)[:count] for b in buckets]
    shared = all(b.shared for b in buckets)

    def call(j: int) -> None:
        reduce_bucket(buckets[j], count, kind, op)

    timing = Timing("one_pass" if shared else native.algorithm, BUCKET, size)
    return Contestant(timing, inputs, results, call, numbers.wrong)


def _array(world: Communicator, algorithm: str, count: int, kind: np.dtype, op: str, numbers: Numbers) -> Contestant:
    arrays = _empty(count, kind)
    allreduce = world.native.allreduce

    def call(j: int) -> None:
        allreduce(arrays[j], op, algorithm)

    timing = Timing(algorithm, ARRAY, count * kind.itemsize)
    return Contestant(timing, arrays, arrays, call, numbers.wrong)


def _mpi(comm: Any, count: int, kind: np.dtype, op: str, numbers: Numbers) -> Contestant | None:
    """None where MPI has no such dtype or operation."""
    from mpi4py import MPI as mpi

    operation = {"sum": mpi.SUM, "prod": mpi.PROD, "min": mpi.MIN, "max": mpi.MAX}.get(op)
    if operation is None or kind == np.float16:
        return None
    datatype = mpi.Datatype.fromcode(kind.char)
    inputs, results = _empty(count, kind), _empty(count, kind)
    sources = [[a, count, datatype] for a in inputs]
    targets = [[a, count, datatype] for a in results]

    def call(j: int) -> None:
        comm.Allreduce(sources[j], targets[j], operation)

    return Contestant(Timing("MPI_Allreduce", MPI, count * kind.itemsize), inputs, results, call, numbers.wrong)


def _memcpy(count: int, kind: np.dtype, numbers: Numbers) -> Contestant:
    inputs, results = _empty(count, kind), _empty(count, kind)

    def call(j: int) -> None:
        np.copyto(results[j], inputs[j])

    return Contestant(Timing("memcpy", MEMCPY, count * kind.itemsize), inputs, results, call, numbers.wrong_copy)
