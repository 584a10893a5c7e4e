"""What the core can do at most, measured in the same run as the kernels: multiply-adds a second, and bytes a second."""
from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import ringflow as rf  # noqa: F401  (sets the instruction set)
from ringflow import _core

STRETCH_S = 5e-5  # of one timing: short, so that some of many are not disturbed
STRETCHES = 5     # at least
_STEPS = 8192     # of the loop of multiply-adds: some microseconds, a multiple of what a call costs


def fastest(call: Callable[[], object], seconds: float) -> float:
    """Seconds of a call of `call`: the fastest of many stretches of about STRETCH_S, for about `seconds` in all."""
    clock = time.perf_counter
    begin = clock()
    call()
    calls = max(1, int(STRETCH_S / max(clock() - begin, 1e-7)))
    times: list[float] = []
    end = clock() + seconds
    while len(times) < STRETCHES or begin < end:
        begin = clock()
        for _ in range(calls):
            call()
        times.append((clock() - begin) / calls)
    return min(times)


class Limits:
    """Rates of this core. Each is measured for about `seconds` when first asked for, and once more after ``again()``;
    the greatest counts."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._rates: dict[str, float] = {}
        self._fresh: set[str] = set()

    def again(self) -> None:
        self._fresh.clear()

    def flops(self) -> float:
        """Float32 operations a second of multiply-adds between registers."""
        def multiply_adds() -> int:
            return _core.multiply_adds(_STEPS)
        return self._greatest("multiply-adds", lambda: multiply_adds() / fastest(multiply_adds, self.seconds))

    def bandwidth(self, moved: float) -> float:
        """Bytes a second, read and written, of what moves so many in all: of a copy or a negation in place, whichever
        is faster."""
        size = 1 << max(12, round(np.log2(max(moved, 1) / 2)))  # of one array

        def measure() -> float:
            source, target = np.ones(size // 4, np.float32), np.ones(size // 4, np.float32)
            copy = fastest(lambda: np.copyto(target, source), self.seconds / 2)
            return 2 * size / min(copy, fastest(lambda: np.negative(target, out=target), self.seconds / 2))

        return self._greatest(f"{size} bytes", measure)

    def _greatest(self, name: str, measure: Callable[[], float]) -> float:
        if name not in self._fresh:
            self._rates[name] = max(self._rates.get(name, 0.0), measure())
            self._fresh.add(name)
        return self._rates[name]

    def least_seconds(self, flops: float, moved: float) -> tuple[float, str]:
        """How long so much work takes at the limit, and which limit that is: "FLOP" or "B"."""
        by_flops, by_bytes = flops / self.flops() if flops else 0.0, moved / self.bandwidth(moved)
        return (by_flops, "FLOP") if by_flops >= by_bytes else (by_bytes, "B")


def part_reached(call: Callable[[], object], flops: float, moved: float, enough: float, limits: Limits,
                 attempts: int = 100) -> float:
    """The part of the limit that `call` reaches; measures until it is `enough`, `attempts` times at most, kernel and
    limit in turn. What disturbs is over by then, or slows both down."""
    time, part = float("inf"), 0.0
    for _ in range(attempts):
        limits.again()
        time = min(time, fastest(call, limits.seconds))
        part = limits.least_seconds(flops, moved)[0] / time
        if part >= enough:
            break
    return part
