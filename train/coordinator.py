"""Coordinator: when one of several threads stops, or fails, all stop, and the main thread hears of it.

    coord = rf.train.Coordinator()
    threads = rf.train.start_queue_runners(session, coord)
    with coord.stop_on_exception():
        while not coord.should_stop():
            session.run(train_op)
    coord.request_stop()
    coord.join(threads)  # raises what a thread has failed of

Thread-safe. Invariant: of all errors the first is kept, and it is raised once, by ``join``.
Source: TensorFlow 1's tf.train.Coordinator.
"""
from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ringflow.graph.errors import OutOfRangeError

_POLL_S = 0.05  # how often ``join`` looks whether threads are alive; a stop is noticed at once


class Coordinator:
    """Stops a set of threads together."""

    def __init__(self, clean_stop_exception_types: tuple[type[BaseException], ...] | None = None) -> None:
        """`clean_stop_exception_types`: end the work without being an error; default OutOfRangeError, which a closed
        queue gives when it is empty."""
        self._clean = (OutOfRangeError,) if clean_stop_exception_types is None else tuple(clean_stop_exception_types)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._joined = False
        self._registered: list[threading.Thread] = []

    # ---- stopping
    def request_stop(self, ex: Any = None) -> None:
        """Asks all threads to stop. `ex`: why: an exception, or what sys.exc_info() gives; ``join`` raises it unless it
        is of a clean kind or not the first. Raises: `ex` itself where ``join`` has returned and nobody would hear."""
        if isinstance(ex, tuple):
            ex = ex[1]
        if ex is not None and not isinstance(ex, BaseException):
            raise TypeError(f"[Coordinator] request_stop takes an exception: received {type(ex).__name__}")
        if ex is not None and isinstance(ex, self._clean):
            ex = None
        with self._lock:
            if self._joined and ex is not None:
                raise ex
            if not self._stop.is_set():
                self._error = ex
                self._stop.set()

    def should_stop(self) -> bool:
        return self._stop.is_set()

    def wait_for_stop(self, timeout: float | None = None) -> bool:
        """Waits until a stop is requested, at most `timeout` seconds; whether it is."""
        return self._stop.wait(timeout)

    def clear_stop(self) -> None:
        """Ready for another set of threads: no stop requested, no error kept."""
        with self._lock:
            self._joined = False
            self._error = None
            self._stop.clear()

    def raise_requested_exception(self) -> None:
        """Raises the error that a stop was requested with, if any."""
        with self._lock:
            if self._error is not None:
                raise self._error

    @contextlib.contextmanager
    def stop_on_exception(self) -> Iterator[None]:
        """An exception in the body requests a stop with it, and goes no further."""
        try:
            yield
        except Exception as e:
            self.request_stop(e)

    # ---- threads
    def register_thread(self, thread: threading.Thread) -> None:
        """``join`` waits for it too."""
        with self._lock:
            self._registered = [t for t in self._registered if t.is_alive() or not t.ident]
            self._registered.append(thread)

    @property
    def joined(self) -> bool:
        return self._joined

    def join(self, threads: Iterable[threading.Thread] | None = None, stop_grace_period_secs: float = 120,
             ignore_live_threads: bool = False) -> None:
        """Waits until all `threads` and those registered have ended; after a stop is requested, at most
        `stop_grace_period_secs` more.

        Raises: the error of the stop; RuntimeError where threads go on after the grace period and
        `ignore_live_threads` is not set.
        """
        with self._lock:
            waited = list(dict.fromkeys([*self._registered, *(threads or ())]))

        def alive() -> list[threading.Thread]:
            return [t for t in waited if t.is_alive() and t is not threading.current_thread()]

        while alive() and not self.wait_for_stop(_POLL_S):
            pass
        if not alive():
            self.request_stop()
        deadline = time.monotonic() + stop_grace_period_secs
        for t in alive():
            t.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            self._joined = True
            self._registered = [t for t in self._registered if t.is_alive()]
            error, self._error = self._error, None
        if error is not None:
            raise error
        stuck = [t.name for t in alive()]
        if stuck and not ignore_live_threads:
            raise RuntimeError(f"[Coordinator] threads still run {stop_grace_period_secs:g} s after the stop: "
                               f"{', '.join(stuck)}. Fix: end what they wait for (close their queue), or pass "
                               "ignore_live_threads=True")


class LooperThread(threading.Thread):
    """Calls `target(*args, **kwargs)`, or ``run_loop``, every `timer_interval_secs` seconds (None: without a pause)
    until the coordinator stops; an exception requests a stop."""

    def __init__(self, coord: Coordinator, timer_interval_secs: float | None,
                 target: Callable[..., Any] | None = None, args: Sequence[Any] = (),
                 kwargs: dict[str, Any] | None = None) -> None:
        if not isinstance(coord, Coordinator):
            raise TypeError(f"[LooperThread] 'coord' must be a Coordinator: received {type(coord).__name__}")
        super().__init__(daemon=True)
        self._coord, self._interval = coord, timer_interval_secs
        self._call = (lambda: target(*args, **(kwargs or {}))) if target is not None else None
        coord.register_thread(self)

    @staticmethod
    def loop(coord: Coordinator, timer_interval_secs: float | None, target: Callable[..., Any],
             args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> LooperThread:
        """A LooperThread that has been started."""
        looper = LooperThread(coord, timer_interval_secs, target, args, kwargs)
        looper.start()
        return looper

    def run(self) -> None:
        try:
            self.start_loop()
            due = time.monotonic()
            while not self._coord.should_stop():
                self.run_loop()
                if self._interval is not None:
                    due += self._interval
                    self._coord.wait_for_stop(max(0.0, due - time.monotonic()))
            self.stop_loop()
        except Exception:
            self._coord.request_stop(sys.exc_info())

    def start_loop(self) -> None:
        """Called before the first turn."""

    def stop_loop(self) -> None:
        """Called after the last turn, unless one has failed."""

    def run_loop(self) -> None:
        """One turn."""
        if self._call is not None:
            self._call()


__all__ = ["Coordinator", "LooperThread"]
