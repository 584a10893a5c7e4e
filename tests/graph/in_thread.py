"""Runs of a session on a thread of their own, for tests of what waits."""
import threading
import time

PATIENCE_S = 60  # of a busy machine
WINDOW_S = 0.025  # a thread that only wants the GIL wakes every 5 ms


def sleeps(thread):
    """Waits until the thread sleeps in what it waits for, or has ended; whether it sleeps. As Linux sees it."""
    def state():
        with open(f"/proc/self/task/{thread.native_id}/status") as file:
            words = dict(line.split(":", 1) for line in file)
        return words["State"].split()[0], words["voluntary_ctxt_switches"]

    until = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < until:
            before = state()
            time.sleep(WINDOW_S)
            if before[0] == "S" and state() == before:
                return thread.is_alive()
    except FileNotFoundError:
        return False
    raise AssertionError("it neither ends nor sleeps")


class InThread(threading.Thread):
    """Runs fetches on a thread; ``result`` gives what came of it."""

    def __init__(self, session, fetches, feeds=None):
        super().__init__(daemon=True)
        self._run, self._outcome = lambda: session.run(fetches, feeds), None
        self.start()

    def run(self):
        try:
            self._outcome = ("value", self._run())
        except Exception as e:
            self._outcome = ("error", e)

    def waits(self):
        return sleeps(self)

    def result(self):
        self.join(PATIENCE_S)
        assert not self.is_alive(), "it still waits"
        kind, value = self._outcome
        if kind == "error":
            raise value
        return value
