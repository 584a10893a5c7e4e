"""The default session of a thread: what ``tensor.eval()`` and ``operation.run()`` use. Sessions are in session/."""
from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING

from .errors import GraphError

if TYPE_CHECKING:
    from .session import Session


class Default:
    """Makes a session, and its graph, the default on this thread."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __enter__(self) -> Session:
        self._graph = self._session.graph.as_default()
        self._graph.__enter__()
        _stack.sessions.append(self._session)
        return self._session

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        _stack.sessions.remove(self._session)
        self._graph.__exit__(kind, value, trace)


class _Stack(threading.local):
    def __init__(self) -> None:
        self.sessions: list[Session] = []


_stack = _Stack()


def get_default_session() -> Session | None:
    return _stack.sessions[-1] if _stack.sessions else None


def default_session(where: str) -> Session:
    """Raises: GraphError where no session is the default."""
    session = get_default_session()
    if session is None:
        raise GraphError(f"[{where}] no default session. Fix: use `with rf.Session():`, or pass session=")
    return session
