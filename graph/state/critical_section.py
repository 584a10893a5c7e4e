"""CriticalSection: operations that no other run, and nothing else in this run, comes in between of."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..graph import get_default_graph
from ..nest import flatten, pack_sequence_as
from ..opdef import OPS
from ..operation import Operation, Tensor


class CriticalSection:
    """A mutex around operations.

        section = rf.CriticalSection(name="counter")
        count = section.execute(lambda: v.assign_add(1))

    Sections of one name share the mutex, in every run of the session.
    """

    def __init__(self, name: str | None = None, shared_name: str | None = None) -> None:
        """Args: shared_name: of the mutex in the session, default the name."""
        name = name or "critical_section"
        self.handle: Tensor = _call("MutexV2", shared_name=shared_name or name, name=name)

    @property
    def name(self) -> str:
        return self.handle.op.name

    def execute(self, fn: Callable[[], Any], name: str | None = None) -> Any:
        """What `fn` returns (tensors, operations or structures of them), whose operations run while the mutex is held.

        Operations that `fn` uses but does not make are not held back. A section inside a section of the same mutex
        waits for ever.
        """
        graph = get_default_graph()
        with graph.name_scope(name or f"{self.name.rpartition('/')[2]}_execute"):
            lock: Tensor = _call("MutexLock", self.handle, name="lock")
            with graph.control_dependencies([lock]):
                result = fn()
            parts = [x._as_tensor() if hasattr(x, "_as_tensor") else x for x in flatten(result)]
            values = []
            with graph.control_dependencies([x for x in parts if x is not None]):
                values = [_call("Identity", x) if isinstance(x, Tensor) else x for x in parts]
            with graph.control_dependencies([x for x in values if x is not None] + [lock]):
                end: Operation = _call("ConsumeMutexLock", lock, name="unlock")
            with graph.control_dependencies([end]):
                values = [_call("Identity", x) if isinstance(x, Tensor) else None if x is None else end for x in values]
        return pack_sequence_as(result, values)


def _call(op: str, *inputs: Any, **attrs: Any) -> Any:
    return OPS[op](*inputs, **attrs)  # type: ignore[operator]


__all__ = ["CriticalSection"]
