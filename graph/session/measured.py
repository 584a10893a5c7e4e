"""A plan that finds its own placement: its first runs are timed, then it is placed again by what they took."""
from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..passes import Program
from ..placement.costs import Costs, from_steps
from .backend import Run


class Measured:
    """A Run that is ``again(costs)`` after `steps` runs of `timed`. Thread-safe."""

    def __init__(self, timed: Callable[..., Any], steps: int, program: Program, again: Callable[[Costs], Run]) -> None:
        self._timed = timed
        self._left = steps
        self._names = {op.name for op in program.source_ops}
        self._again = again
        self._steps: list[Mapping[str, float]] = []
        self._sizes: dict[str, int] = {}
        self._run: Run | None = None
        self._lock = threading.Lock()

    def __call__(self, feeds: Sequence[Any], timeout_ms: int = 0) -> list[Any]:
        if self._run is not None:
            return self._run(feeds, timeout_ms)
        values, calls = self._timed(feeds, timeout_ms)
        with self._lock:
            self._steps.append(self._record(calls))
            self._left -= 1
            if self._left <= 0 and self._run is None:
                self._run = self._again(from_steps(self._steps, self._sizes))
        return values  # type: ignore[no-any-return]

    @property
    def timed(self) -> Callable[..., Any]:
        """What also gives the calls of nodes; as `timed` of other runs."""
        return self._timed if self._run is None else getattr(self._run, "timed", self._timed)

    def _record(self, calls: Sequence[Any]) -> dict[str, float]:
        """Microseconds by node of the user's graph: what passes made counts for the node that it is named below."""
        step: dict[str, float] = {}
        for name, start_ns, end_ns, _, outputs, *_ in calls:
            owner = name
            while owner not in self._names and "/" in owner:
                owner = owner.rpartition("/")[0]
            step[owner] = step.get(owner, 0.0) + (end_ns - start_ns) * 1e-3
            for k, (_, _, size) in enumerate(outputs):
                self._sizes[f"{name}:{k}"] = size
        return step
