"""The bridge to the C++ runtime: programs become GraphDef bytes, and bytes become an executable.

The same bytes run from C++ alone. Variables live in a `_core.Resources` of the session.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ringflow import _core
from ringflow.graph import errors
from ringflow.graph.errors import Error
from ringflow.graph.operation import Operation
from ringflow.graph.passes import Program
from ringflow.graph.run_options import ConfigProto
from ringflow.graph.session import BACKENDS, Run
from ringflow.graph.wire import to_graph_def

from . import registry


def typed(error: _core.Error) -> Error:
    """The exception class of graph/errors.py for a C++ error."""
    return errors.BY_CODE.get(error.code, errors.UnknownError)(str(error), error.node)


class CppBackend:
    """Compiles programs with the C++ runtime."""

    def __init__(self, config: ConfigProto) -> None:
        self.resources = _core.Resources()

    def compile(self, program: Program) -> Run:
        """Raises: the typed errors of graph/errors.py: UnimplementedError for a kernel that does not exist, ..."""
        return self._guarded(self._executable(program).run)

    def compile_timed(self, program: Program) -> Callable[[Sequence[Any]], Any]:
        """As ``compile``; the function returns (fetched arrays, [call, ...]); see ``_core.Call``."""
        return self._guarded(self._executable(program).run_timed)

    def _executable(self, program: Program) -> _core.Executable:
        data = to_graph_def(program.graph, annotate=True).SerializeToString()
        try:
            return _core.Executable(data, self.resources)
        except _core.Error as e:
            raise typed(e) from None

    @staticmethod
    def _guarded(run: Callable[..., Any]) -> Callable[..., Any]:
        def execute(feeds: Sequence[Any], timeout_ms: int = 0, cancellation: _core.Cancellation | None = None) -> Any:
            try:
                return run(feeds, timeout_ms, cancellation)
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
        """Forgets what runs hold on to between runs."""
        self.resources.reset("")


BACKENDS["cpp"] = CppBackend
