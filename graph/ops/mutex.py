"""Mutexes: MutexLock gives a value that is the lock, ConsumeMutexLock ends it. They are served in order.

A lock whose run fails is released with it.
"""
from __future__ import annotations

from typing import Any

from ..define import define
from ..interpreter import State
from ..interpreter.waiting import Attempt, Waiting
from ..operation import Operation, Tensor
from ..samples import Made
from .rules import scalar_shape

_USE: dict[str, Any] = {"stateful": True, "differentiable": False}


class Mutex(Waiting):
    """A lock of the reference interpreter."""

    def __init__(self, state: State) -> None:
        super().__init__(state, 1)
        self.held = False

    def level(self) -> Any:
        return self.held


class Held:
    """What MutexLock gives. It dies with the values of its run, at the latest."""

    def __init__(self, mutex: Mutex) -> None:
        self._mutex: Mutex | None = mutex

    def release(self) -> None:
        mutex, self._mutex = self._mutex, None
        if mutex is not None:
            with mutex._state.progress:
                mutex.held = False
                mutex.serve()

    __del__ = release


class _Lock(Attempt):
    def __init__(self, mutex: Mutex) -> None:
        super().__init__("MutexLock operation")
        self._mutex = mutex

    def step(self) -> bool:
        if self._mutex.held:
            return False
        self._mutex.held = True
        return True

    def result(self) -> Held:
        return Held(self._mutex)


@define("MutexV2() -> resource: resource", container="", shared_name="", shape=scalar_shape, **_USE)
def mutex(*, container: str, shared_name: str, op: Operation, state: State) -> Mutex:
    """A lock that lives in the session under shared_name, or else the node's name."""
    made: Mutex = state.find_or_create(container, shared_name or op.name, lambda: Mutex(state))
    return made


@define("MutexLock(mutex: resource) -> mutex_lock: variant", shape=scalar_shape, waits=True, **_USE)
def lock(mutex: Mutex) -> Attempt:
    """Waits until nobody holds the mutex. What must not be disturbed comes after this and before ConsumeMutexLock."""
    return mutex.start(0, _Lock(mutex))


@define("ConsumeMutexLock(mutex_lock: variant)", **_USE)
def consume_lock(mutex_lock: Held) -> None:
    """Ends the lock."""
    mutex_lock.release()


def _mutex(_: dict[str, Any]) -> Tensor:
    handle: Tensor = mutex(name="mutex")
    return handle


mutex.sample()
lock.sample(Made(_mutex))
consume_lock.sample(Made(lambda _: lock(mutex(name="mutex"), name="lock")))

__all__ = ["Held", "Mutex", "consume_lock", "lock", "mutex"]
