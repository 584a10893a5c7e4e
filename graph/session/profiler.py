"""``rf.profiler``: one step of a session on a time axis, in the format of Chrome's trace viewer and of Perfetto.

    rf.profiler.trace("step.json", session, train_op, {x: batch})       # then open it in https://ui.perfetto.dev

A process stands for a device, a row for a thread (several where calls of waiting kernels overlap), an arrow for a
tensor that goes from node to node. Source: the Trace Event Format; TensorFlow 1's ``python/client/timeline.py``.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ..run_options import RunOptions
from .step_stats import RunMetadata

_LABEL = re.compile(r"(.*?) = (\w+)\((.*)\)$", re.S)
_ROWS = 16  # of one thread at most


class Timeline:
    """The trace of one step's statistics (``run_metadata.step_stats``)."""

    def __init__(self, step_stats: Any, graph: Any = None) -> None:
        """`graph` is not needed: the statistics say what each node reads."""
        self._step_stats = step_stats

    def generate_chrome_trace_format(self, show_dataflow: bool = True, show_memory: bool = False) -> str:
        """The trace as JSON text. `show_dataflow`: with arrows; `show_memory`: with the bytes of tensors that a later
        node of the step still reads."""
        events = list(self._events(show_dataflow, show_memory))
        return json.dumps({"displayTimeUnit": "ns", "traceEvents": events}, indent=1)

    def _events(self, show_dataflow: bool, show_memory: bool) -> Iterator[dict[str, Any]]:
        calls: list[_Call] = []
        starts = [_start_ns(stats) for device in self._step_stats.dev_stats for stats in device.node_stats]
        first = min(starts, default=0)  # times count from there: a double has no nanoseconds of 1970
        for pid, device in enumerate(self._step_stats.dev_stats):
            yield {"name": "process_name", "ph": "M", "pid": pid, "args": {"name": f"{device.device} Compute"}}
            yield {"name": "process_sort_index", "ph": "M", "pid": pid, "args": {"sort_index": pid}}
            mine = sorted((_Call(stats, pid, first) for stats in device.node_stats), key=lambda c: c.start_us)
            for tid, name in _rows(mine, device.thread_names).items():
                yield {"name": "thread_name", "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}
            calls += mine
        for call in calls:
            yield {"name": call.op, "cat": "Op", "ph": "X", "pid": call.pid, "tid": call.tid, "ts": call.start_us,
                   "dur": call.end_us - call.start_us, "args": call.arguments()}
        if show_dataflow:
            yield from _flows(calls)
        if show_memory:
            yield from _memory(calls)


class _Call:
    """One call of a node, in microseconds since the first."""

    def __init__(self, stats: Any, pid: int, first_ns: int) -> None:
        match = _LABEL.match(stats.timeline_label)
        self.name: str = stats.node_name
        self.op: str = match.group(2) if match else stats.timeline_label or stats.node_name
        self.inputs = [text for text in match.group(3).split(", ") if text] if match else []
        self.pid = pid
        self.tid = 0
        self.thread: int = stats.thread_id
        start = _start_ns(stats) - first_ns
        length = stats.all_end_rel_nanos if stats.all_start_nanos else stats.all_end_rel_micros * 1000
        self.start_us, self.end_us = start / 1000, (start + length) / 1000
        self.outputs = [o.tensor_description for o in stats.output]
        self.nbytes = sum(d.allocation_description.requested_bytes for d in self.outputs)

    def arguments(self) -> dict[str, Any]:
        """What the viewer shows of the call."""
        shown: dict[str, Any] = {"name": self.name, "op": self.op}
        shown.update({f"input{i}": text for i, text in enumerate(self.inputs)})
        for i, d in enumerate(self.outputs):
            shown[f"output{i}"] = f"{[dim.size for dim in d.shape.dim]}, " \
                                  f"{d.allocation_description.requested_bytes} bytes"
        return shown


def _start_ns(stats: Any) -> int:
    return int(stats.all_start_nanos or stats.all_start_micros * 1000)


def _rows(calls: list[_Call], names: Any) -> dict[int, str]:
    """Gives each call (by start) a row of its thread in which it overlaps no other; the name of each row."""
    ends: dict[int, float] = {}
    named: dict[int, str] = {}
    for call in calls:
        first = call.thread * _ROWS
        row = next((r for r in range(first, first + _ROWS - 1) if ends.get(r, 0.0) <= call.start_us), first + _ROWS - 1)
        ends[row] = max(ends.get(row, 0.0), call.end_us)
        call.tid = row
        named[row] = names.get(call.thread, f"thread {call.thread}") + (" (waiting)" if row > first else "")
    return named


def _flows(calls: list[_Call]) -> Iterator[dict[str, Any]]:
    """An arrow from the last call of an input before a call to that call."""
    latest: dict[str, _Call] = {}
    number = 0
    for call in sorted(calls, key=lambda c: c.start_us):
        for text in call.inputs:
            source = latest.get(text.lstrip("^").partition(":")[0])
            if source is not None:
                number += 1
                shared = {"name": text, "cat": "DataFlow", "id": number}
                yield {**shared, "ph": "s", "pid": source.pid, "tid": source.tid, "ts": source.end_us}
                yield {**shared, "ph": "t", "pid": call.pid, "tid": call.tid, "ts": call.start_us}
        latest[call.name] = call


def _memory(calls: list[_Call]) -> Iterator[dict[str, Any]]:
    """A counter: the bytes of outputs from their making to the end of the last call that reads them."""
    until: dict[str, float] = {}
    for call in calls:
        for text in call.inputs:
            source = text.partition(":")[0]
            until[source] = max(until.get(source, 0.0), call.end_us)
    changes = [(call.start_us, call.nbytes) for call in calls if call.name in until]
    changes += [(until[call.name], -call.nbytes) for call in calls if call.name in until]
    live = 0
    for at, change in sorted(changes):
        live += change
        yield {"name": "tensors in use", "ph": "C", "pid": 0, "ts": at, "args": {"bytes": live}}


def trace(path: str, session: Any, fetches: Any, feed_dict: Any = None, show_memory: bool = True) -> Any:
    """Runs one step with a clock on every node, writes its trace to `path`, and returns what ``session.run`` returns.

    Run the step once before: the first run also makes the plan and warms caches.
    Raises: OSError where the file cannot be written; as ``session.run``.
    """
    run_metadata = RunMetadata()
    values = session.run(fetches, feed_dict, RunOptions(trace_level=RunOptions.FULL_TRACE), run_metadata)
    text = Timeline(run_metadata.step_stats).generate_chrome_trace_format(show_memory=show_memory)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return values


__all__ = ["Timeline", "trace"]
