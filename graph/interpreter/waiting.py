"""Operations that wait, in the reference interpreter: lines of attempts on a resource, served in the order they came.

The mirror of csrc/kernels/waiting.h. A reference of an op that may have to wait returns an ``Attempt``; what it waits
for is brought about by another operation of the same run, or by a run on another thread. One lock for all resources of
a session (``State.progress``) guards them and tells waiting threads that something has changed.
"""
from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ..errors import CancelledError, DeadlineExceededError, Error

if TYPE_CHECKING:
    from .interpreter import State


class Attempt:
    """One operation on a ``Waiting`` resource. `what` names it in errors; timeout_ms < 0: it waits for ever."""

    def __init__(self, what: str, timeout_ms: int = -1) -> None:
        self.what = what
        self.done = False
        self._error: Error | None = None
        self._resource: Waiting | None = None
        self._timeout_ms = timeout_ms
        self._deadline = time.monotonic() + timeout_ms / 1000

    def step(self) -> bool:
        """Takes or gives what it can now; True once it has all. What it raises becomes its error."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Puts back what it has taken."""

    def result(self) -> Any:
        """The outputs, once it is done."""

    def outcome(self) -> Any:
        """The outputs of a done attempt. Raises: its error."""
        if self._error is not None:
            raise self._error
        return self.result()

    def end_if_late(self) -> bool:
        """Ends it with DeadlineExceededError after its timeout. Under the lock."""
        if self._timeout_ms >= 0 and not self.done and time.monotonic() >= self._deadline:
            self.end(DeadlineExceededError(f"{self.what} has waited for its timeout of {self._timeout_ms} ms"))
        return self.done

    def end(self, error: Error) -> None:
        """Takes it out of its line with an error. Under the lock."""
        assert self._resource is not None
        self._resource.give_up(self, error)

    @property
    def patience_s(self) -> float | None:
        """How long it may still wait."""
        return None if self._timeout_ms < 0 else max(0.0, self._deadline - time.monotonic())


class Waiting:
    """A resource with lines of attempts."""

    def __init__(self, state: State, lines: int) -> None:
        self._state = state
        self._lines: list[deque[Attempt]] = [deque() for _ in range(lines)]

    def start(self, line: int, attempt: Attempt) -> Attempt:
        """Puts the attempt at the end of its line and serves the lines."""
        with self._state.progress:
            attempt._resource = self
            self._lines[line].append(attempt)
            self.serve()
        return attempt

    def serve(self) -> None:
        """Makes what progress is possible. Under the lock."""
        before: Any = None
        while before != (before := (self.level(), [len(line) for line in self._lines])):
            for line in self._lines:
                while line and self._step(line[0]):
                    line.popleft()
        self._state.progress.notify_all()

    def level(self) -> Any:
        """What changes whenever an attempt takes or gives."""
        raise NotImplementedError

    @staticmethod
    def _step(attempt: Attempt) -> bool:
        try:
            attempt.done = attempt.step()
        except Error as e:
            attempt.abandon()
            attempt._error, attempt.done = e, True
        return attempt.done

    def end_line(self, line: int, error: Error) -> None:
        """Ends every attempt of a line. Under the lock."""
        for attempt in list(self._lines[line]):
            self.give_up(attempt, error)

    def give_up(self, attempt: Attempt, error: Error) -> None:
        for line in self._lines:
            if attempt in line:
                line.remove(attempt)
                attempt.abandon()
                attempt._error, attempt.done = error, True
        self.serve()


def wait_for_any(attempts: list[Attempt], state: State, deadline: float | None = None) -> bool:
    """Returns when one of them is done: served, late, or cancelled with the session. False at the `deadline`, a time of
    the monotonic clock."""
    with state.progress:
        while not any([a.end_if_late() for a in attempts]):
            if state.closed:
                give_up(attempts, state)
                return True
            waits = [a.patience_s for a in attempts if a.patience_s is not None]
            if deadline is not None:
                waits.append(deadline - time.monotonic())
                if waits[-1] <= 0:
                    return False
            state.progress.wait(min(waits) if waits else None)
        return True


def give_up(attempts: list[Attempt], state: State) -> None:
    """Takes those that are not done out of their lines: their run has failed."""
    with state.progress:
        for a in attempts:
            if not a.done:
                a.end(CancelledError(f"{a.what} was cancelled"))


__all__ = ["Attempt", "Waiting", "give_up", "wait_for_any"]
