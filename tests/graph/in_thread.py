"""Runs of a session on a thread of their own, for tests of what waits."""
import threading

SHORT_S = 0.05  # long enough for a thread to reach what it waits in


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
        self.join(SHORT_S)
        return self.is_alive()

    def result(self):
        self.join(10)
        assert not self.is_alive(), "it still waits"
        kind, value = self._outcome
        if kind == "error":
            raise value
        return value
