"""Scopes of the default graph as functions: ``with rf.device("/cpu:0"):``, ``with rf.name_scope("tower"):``."""
from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from .graph import DeviceLike, get_default_graph


def device(name: DeviceLike) -> contextlib.AbstractContextManager[None]:
    """See Graph.device."""
    return get_default_graph().device(name)


def control_dependencies(inputs: Iterable[Any] | None) -> contextlib.AbstractContextManager[None]:
    """See Graph.control_dependencies."""
    return get_default_graph().control_dependencies(inputs)


def colocate_with(op: Any, ignore_existing: bool = False) -> contextlib.AbstractContextManager[None]:
    """See Graph.colocate_with."""
    return get_default_graph().colocate_with(op, ignore_existing)


def container(name: str) -> contextlib.AbstractContextManager[str]:
    """See Graph.container."""
    return get_default_graph().container(name)


@contextlib.contextmanager
def name_scope(name: str | None, default_name: str | None = None, values: Any = None) -> Iterator[str]:
    """See Graph.name_scope. `values` is accepted for compatibility."""
    with get_default_graph().name_scope(name if name is not None else default_name) as scope:
        yield scope


def add_to_collection(name: str, value: Any) -> None:
    get_default_graph().add_to_collection(name, value)


def get_collection(name: str, scope: str | None = None) -> list[Any]:
    return get_default_graph().get_collection(name, scope)


def get_collection_ref(name: str) -> list[Any]:
    return get_default_graph().get_collection_ref(name)

