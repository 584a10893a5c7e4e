"""The bridge to the C++ runtime: programs become GraphDef bytes, and bytes become an executable.

The same bytes run from C++ alone. Variables live in a `_core.Resources` of the session.
"""
from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ringflow import _core
from ringflow.graph import config as settings, errors
from ringflow.graph.errors import Error
from ringflow.graph.files.wire import to_graph_def
from ringflow.graph.operation import Operation
from ringflow.graph.passes import Program
from ringflow.graph.run_options import ConfigProto
from ringflow.graph.session.backend import BACKENDS, Run

from . import registry


def typed(error: _core.Error) -> Error:
    """The exception class of graph/errors.py for a C++ error."""
    return errors.BY_CODE.get(error.code, errors.UnknownError)(str(error), error.node)


class CppBackend:
    """Compiles programs with the C++ runtime."""

    def __init__(self, config: ConfigProto) -> None:
        self.resources = _core.Resources()
        self._closing = _core.Cancellation()
        self._partial: weakref.WeakSet[_Live] = weakref.WeakSet()
        threads = config.inter_op_parallelism_threads or settings.get("RINGFLOW_INTER_OP_THREADS")
        self._pool = _core.InterOpPool(threads) if threads > 1 else None
        if config.intra_op_parallelism_threads:  # there is one pool of them: the last session that asks decides
            _core.set_intra_op_threads(config.intra_op_parallelism_threads)

    def compile(self, program: Program) -> Run:
        """A run with an `offer` (graph/backend.py), whose attribute `timed` is a function as ``compile_timed`` gives.

        Raises: the typed errors of graph/errors.py: UnimplementedError for a kernel that does not exist, ..."""
        executable = self._executable(program)
        run: Any = self._guarded(executable.run)
        run.offer = self._guarded(executable.offer)
        run.timed = self._timed(executable, program)
        return run  # type: ignore[no-any-return]

    def compile_timed(self, program: Program) -> Callable[..., Any]:
        """As ``compile``; the function returns (fetched arrays, [call, ...]); see ``_core.Call``."""
        return self._timed(self._executable(program), program)

    def _timed(self, executable: _core.Executable | _core.Partitions, program: Program) -> Callable[..., Any]:
        run = self._guarded(executable.run_timed)
        devices = [part.device.name for part in program.parts]
        if not devices:
            return run

        def joined(feeds: Sequence[Any], timeout_ms: int = 0) -> Any:
            values, parts = run(feeds, timeout_ms)
            return values, [(*call[:-1], device) for calls, device in zip(parts, devices) for call in calls]

        return joined

    def start_partial(self, program: Program) -> Callable[[], _Live]:
        """What begins a run of a program with open ends (passes/client.py)."""
        executable = self._executable(program)

        def begin() -> _Live:
            live = _Live(_core.PartialRun(executable), self._closing)
            self._partial.add(live)
            return live

        return begin

    def _executable(self, program: Program) -> _core.Executable | _core.Partitions:
        graphs = [part.graph for part in program.parts] or [program.graph]
        data = [to_graph_def(graph, annotate=True).SerializeToString() for graph in graphs]
        try:
            if program.parts:
                return _core.Partitions(data, [part.fetches for part in program.parts], self.resources)
            return _core.Executable(data[0], self.resources, self._pool)
        except _core.Error as e:
            raise typed(e) from None

    def _guarded(self, run: Callable[..., Any]) -> Callable[..., Any]:
        closing = self._closing

        def execute(feeds: Sequence[Any], timeout_ms: int = 0) -> Any:
            try:
                return run(feeds, timeout_ms, closing)
            except _core.Error as e:
                raise typed(e) from None
            except TypeError as e:  # a feed of more dimensions than the runtime has
                raise errors.InvalidArgumentError(f"[run] {e}") from None

        return execute

    def reset(self, container: str) -> None:
        self.resources.reset(container)

    @property
    def device_types(self) -> Mapping[str, int]:
        return registry.DEVICES

    def supports(self, op: Operation, device_type: str) -> bool:
        return registry.find(op, device_type) is not None

    def close(self) -> None:
        """Ends what runs as CancelledError; nothing runs afterwards."""
        self._closing.cancel()
        for live in list(self._partial):
            live.cancel()
        self.resources.reset("")


class _Live:
    """A partial run under way, with typed errors."""

    def __init__(self, run: _core.PartialRun, closing: _core.Cancellation) -> None:
        self._run = run
        self._closing = closing

    def cancel(self) -> None:
        self._run.cancel()

    def feed(self, key: str, array: Any) -> None:
        try:
            self._run.feed(key, array)
        except _core.Error as e:
            raise typed(e) from None

    def fetch(self, keys: Sequence[str]) -> list[Any]:
        try:
            return self._run.fetch(keys, 0, self._closing)
        except _core.Error as e:
            raise typed(e) from None


BACKENDS["cpp"] = CppBackend
