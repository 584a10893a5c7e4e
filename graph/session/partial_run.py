"""Partial runs: one run of a graph that the caller feeds and fetches from in several calls.

    handle = session.partial_run_setup([a, b], [x, y])
    first = session.partial_run(handle, a, {x: 1.0})
    second = session.partial_run(handle, b, {y: first * 2.0})

The run is alive between the calls; every node runs once. Rules and error texts are TensorFlow's; besides, an operation
can be fetched. A handle may be used by one thread at a time.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ..errors import Error, GraphError, InvalidArgumentError
from ..operation import Operation, Tensor
from ..passes.client import Ends
from .fetches import Fetches
from .plan import Plan


class Live(Protocol):
    """A run under way, of a backend."""

    def feed(self, key: str, array: Any) -> None: ...

    def fetch(self, keys: Sequence[str]) -> list[Any]: ...


class PartialRun:
    """A handle: what was declared, what has been fed and fetched."""

    def __init__(self, plan: Plan, ends: Ends, live: Live) -> None:
        self._plan = plan
        self._ends = ends
        self._live: Live | None = live
        self._fed: set[Tensor] = set()
        self._taken: set[Tensor | Operation] = set()

    def run(self, graph: Any, fetches: Any, feeds: dict[Tensor, Any]) -> Any:
        """See Session.partial_run."""
        if self._live is None:
            raise InvalidArgumentError("Must run 'setup' before performing partial runs!")
        wanted = Fetches(graph, fetches)
        declared = self._plan.fetches
        for t in feeds:
            if t not in self._plan.feeds:
                raise InvalidArgumentError(f"The feed {t.name} was not specified in partial_run_setup.")
            if t in self._fed:
                raise InvalidArgumentError(f"The feed {t.name} has already been fed.")
        keys = []
        fed = self._fed | feeds.keys()
        elements: list[Tensor | Operation] = [*wanted.tensors, *wanted.operations]
        for element in elements:
            if element in declared.tensors:
                key = self._ends.fetches[declared.tensors.index(element)]
            elif element in declared.operations:
                key = self._ends.targets[declared.operations.index(element)]
            else:
                raise InvalidArgumentError(f"The fetch {element.name} was not specified in partial_run_setup.")
            if element in self._taken:
                raise InvalidArgumentError(f"The fetch {element.name} has already been fetched.")
            needs = {self._plan.feeds[i] for i in self._ends.needs[key]} | self._needs(element)
            if not needs <= fed:
                raise InvalidArgumentError(
                    f"Fetch {element.name} can't be computed from the feeds that have been fed so far. "
                    f"Fix: feed {', '.join(sorted(t.name for t in needs - fed))}")
            keys.append(key)
        arrays = [self._plan.array(self._plan.feeds.index(t), value) for t, value in feeds.items()]
        return self._exchange(wanted, keys, list(feeds), arrays)

    def _exchange(self, wanted: Fetches, keys: list[str], feeds: list[Tensor], arrays: list[Any]) -> Any:
        assert self._live is not None
        try:
            for t, array in zip(feeds, arrays):
                key = self._ends.feeds.get(self._plan.feeds.index(t))
                if key is not None:  # something reads it
                    self._live.feed(key, array)
            values = self._live.fetch(keys)
        except Error as e:
            self._live = None
            raise self._plan.located(e) from None
        self._fed.update(feeds)
        self._taken.update(wanted.tensors, wanted.operations)
        if len(self._fed) == len(self._plan.feeds) and len(self._taken) == self._plan.fetches.count:
            self._live = None
        return wanted.rebuild(values[:len(wanted.tensors)])

    def _needs(self, element: Tensor | Operation) -> set[Tensor]:
        """The declared feeds that `element` depends on in the graph as written."""
        declared = set(self._plan.feeds)
        if isinstance(element, Tensor) and element in declared:
            return {element}
        found: set[Tensor] = set()
        seen: set[Operation] = set()
        stack = [element.op if isinstance(element, Tensor) else element]
        while stack:
            op = stack.pop()
            if op not in seen:
                seen.add(op)
                found.update(t for t in op.inputs if t in declared)
                stack.extend(t.op for t in op.inputs if t not in declared)
                stack.extend(c for c in op.control_inputs if not c.outputs or not declared.issuperset(c.outputs))
        return found


def handle_of(value: Any) -> PartialRun:
    """Raises: GraphError where `value` is no handle."""
    if not isinstance(value, PartialRun):
        raise GraphError(f"[partial_run] the handle must come from partial_run_setup: received {value!r}. "
                         "Fix: h = session.partial_run_setup(fetches, feeds), then partial_run(h, ...)")
    return value
