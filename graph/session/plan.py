"""Plan: what one set of fetches and feeds compiles to, and how values get in and errors out.

Threads may call a plan at once; two that meet new feed shapes together may compile them twice, which only costs time.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..define import to_array
from ..errors import Error, InvalidArgumentError, UnimplementedError
from ..graph import Graph
from ..operation import Operation, Tensor, at_site
from ..passes import unfit_feed
from ..shapes import TensorShape
from .backend import Run
from .fetches import Fetches
from .step_stats import record

_MOST_SHAPES = 8  # after that many shapes of one plan's feeds, one executable without them serves all


class Plan:
    """One set of fetches and feeds, with an executable for each set of feed shapes met."""

    def __init__(self, graph: Graph, fetches: Fetches, feeds: list[Tensor],
                 compile: Callable[[Plan, Sequence[TensorShape | None]], Run]) -> None:
        self.fetches = fetches
        self.feeds = feeds
        self._graph = graph
        self._compile = compile
        self._dtypes = [None if t.dtype.kind in "sh" else t.dtype.as_numpy_dtype for t in feeds]
        self._by_shape: dict[Any, Run] = {}
        self._any_shape: Run | None = None
        self._offer: Callable[..., Any] = _decline  # of the executable that ran last

    def __call__(self, values: Sequence[Any], timeout_ms: int = 0) -> Any:
        try:
            results = self._offer(values, timeout_ms)
        except Error as e:
            raise self.located(e) from None
        if results is None:
            results = self._run(values, timeout_ms)
        return self.fetches.rebuild(results)

    def _run(self, values: Sequence[Any], timeout_ms: int) -> Any:
        """Runs on what `values` are as arrays. The executable is offered the next values as they come."""
        arrays = [v if type(v) is np.ndarray and v.dtype == d and v.flags.c_contiguous and v.flags.aligned
                  else self.array(i, v)
                  for i, (v, d) in enumerate(zip(values, self._dtypes))]
        shapes = tuple([a.shape for a in arrays])
        run = self._by_shape.get(shapes) or self._executable(shapes)
        self._offer = getattr(run, "offer", _decline)
        if self._by_shape.get(shapes) is not run:  # made for any shapes, or forgotten meanwhile
            self._offer = _decline
        try:
            return run(arrays, timeout_ms)
        except Error as e:
            raise self.located(e) from None

    def traced(self, values: Sequence[Any], timeout_ms: int, run_metadata: Any) -> Any:
        """As a call, with a clock on every node. Raises: UnimplementedError where the backend has none."""
        arrays = [self.array(i, v) for i, v in enumerate(values)]
        shapes = tuple([a.shape for a in arrays])
        timed = getattr(self._by_shape.get(shapes) or self._executable(shapes), "timed", None)
        if timed is None:
            raise UnimplementedError("[run] this session's backend times no nodes. Fix: use backend='cpp', or run "
                                     "without trace_level")
        began_ns = time.time_ns()
        try:
            results, calls = timed(arrays, timeout_ms)
        except Error as e:
            raise self.located(e) from None
        record(calls, began_ns, run_metadata)
        return self.fetches.rebuild(results)

    def shapes_of(self, values: Sequence[Any]) -> list[TensorShape]:
        """The shapes of fed values."""
        return [TensorShape(self.array(i, v).shape) for i, v in enumerate(values)]

    def forget(self) -> None:
        """Drops the executables: the next run makes them anew."""
        self._by_shape.clear()
        self._any_shape = None
        self._offer = _decline

    def array(self, i: int, value: Any) -> Any:
        """`value` as the array that feed `i` takes. Raises: InvalidArgumentError."""
        t = self.feeds[i]
        if isinstance(value, (Tensor, Operation)):
            raise InvalidArgumentError(f"[feed] the value of {t.name!r} is a symbolic {value!r}. Fix: feed an array "
                                       "or number")
        if t.dtype.is_integer and isinstance(value, np.ndarray) and value.dtype.kind == "f":
            value = _whole(value)
        try:
            return np.require(to_array(value, t.dtype), requirements=["C", "A"]).reshape(np.shape(value))
        except Error as e:
            raise at_site(InvalidArgumentError(f"[feed] {t.name!r}: {e.message}", t.op.name), t.op.site) from None

    def _executable(self, shapes: tuple[tuple[int, ...], ...]) -> Run:
        if len(self._by_shape) >= _MOST_SHAPES:
            for t, shape in zip(self.feeds, shapes):
                if not t.shape.is_compatible_with(shape):
                    raise unfit_feed(t, TensorShape(shape))
            if self._any_shape is None:
                self._any_shape = self._compile(self, [None] * len(shapes))
            return self._any_shape
        run = self._compile(self, [TensorShape(s) for s in shapes])
        self._by_shape[shapes] = run
        return run

    def located(self, error: Error) -> Error:
        """`error` with the line that created the failing node."""
        name = error.node
        while name:  # nodes that passes made are named below the node they replace
            op = self._graph._by_name.get(name)
            if op is not None:
                if op.type not in error.message:
                    error.message = f"[{op.type}] {error.message}"
                if f"'{name}'" not in error.message:
                    error.message = f"{error.message.rstrip('.')} (node '{name}')."
                error.args = (error.message,)
                return at_site(error, op.site)
            name = name.rpartition("/")[0]
        return error


def _decline(values: Sequence[Any], timeout_ms: int) -> None:
    """The `offer` where there is no executable to ask."""


def _whole(values: Any) -> Any:
    """Floats that are whole numbers, as data files give them, become integers; others stay, and are refused."""
    with np.errstate(invalid="ignore"):
        integers = values.astype(np.int64)
    return integers if np.array_equal(integers, values) else values
