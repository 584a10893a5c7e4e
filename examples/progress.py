"""A progress bar of a training run: step, loss, examples per second.

With rich where it is installed and the output is a terminal; otherwise a plain line now and then.
"""
import contextlib
import os
import sys
import time


class Progress:
    """`with Progress(steps, batch, show) as progress: ... progress.step(loss)`. `show`: False on all ranks but one."""

    EVERY_S = 2.0  # between plain lines

    def __init__(self, steps, batch, show=True):
        self.steps, self.batch, self.show = steps, batch, show
        self.done, self.begin, self.told = 0, time.perf_counter(), 0.0
        self.bar = self._rich_bar() if show and _on_a_terminal() else None

    def _rich_bar(self):
        with contextlib.suppress(ImportError):
            from rich import progress as rich

            columns = ("step {task.completed}/{task.total}", rich.BarColumn(), "loss {task.fields[loss]:.4f}",
                       "{task.fields[rate]:,.0f} examples/s", rich.TimeRemainingColumn())
            return rich.Progress(*[rich.TextColumn(c) if isinstance(c, str) else c for c in columns])
        return None

    def __enter__(self):
        if self.bar:
            self.bar.start()
            self.task = self.bar.add_task("", total=self.steps, loss=float("nan"), rate=0)
        return self

    def step(self, loss):
        self.done += 1
        if not self.show:
            return
        now = time.perf_counter()
        rate = self.done * self.batch / max(now - self.begin, 1e-9)
        if self.bar:
            self.bar.update(self.task, completed=self.done, loss=loss, rate=rate)
        elif now - self.told > self.EVERY_S or self.done == self.steps:
            self.told = now
            print(f"step {self.done}/{self.steps}  loss {loss:.4f}  {rate:,.0f} examples/s", flush=True)

    def __exit__(self, *_):
        if self.bar:
            self.bar.stop()


def _on_a_terminal():
    """mpirun gives its ranks a terminal even where its own output goes to a file, so the parent is asked as well."""
    if not sys.stdout.isatty():
        return False
    try:
        return os.readlink(f"/proc/{os.getppid()}/fd/1").startswith(("/dev/pts/", "/dev/tty"))
    except OSError:
        return True
