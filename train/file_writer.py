"""FileWriter: adds summaries, graphs and traces to an event file without making training wait for the disk.

Events go into a queue; a thread writes them. ``flush()`` returns once everything added before is in the file.
Thread-safe. What the thread cannot write (a full disk) is raised by the next call. Under a launcher every process that
makes a writer gets a file of its own: make one on rank 0 alone, ``if rf.rank() == 0``.
"""
from __future__ import annotations

import os
import queue
import threading
import time
import weakref
from types import TracebackType
from typing import Any

from google.protobuf.message import DecodeError
from ringflow.graph.errors import FailedPreconditionError, InvalidArgumentError
from ringflow.graph.graph import Graph
from ringflow.graph.proto import event_pb2, graph_pb2, step_stats_pb2

from .event_file import EventsWriter


class FileWriter:
    """Writes events to a new file in `logdir`.

        with rf.summary.FileWriter("logs", session.graph) as writer:
            writer.add_summary(session.run(merged), step)
    """

    def __init__(self, logdir: str, graph: Graph | None = None, max_queue: int = 10, flush_secs: float = 120,
                 graph_def: Any = None, filename_suffix: str = "") -> None:
        """Args: logdir: made where it is not there; graph: added at once; max_queue: events that wait, then adding
        blocks; flush_secs: the longest that an event stays out of the file. Raises: OSError."""
        os.makedirs(logdir, exist_ok=True)
        self._logdir = str(logdir)
        self._suffix = filename_suffix
        self._most = max_queue
        self._flush_secs = flush_secs
        self._open()
        if graph is not None:
            self.add_graph(graph)
        elif graph_def is not None:
            self._add_graph_def(graph_def, None)

    def _open(self) -> None:
        self._events = EventsWriter(os.path.join(self._logdir, "events"), self._suffix)
        self._logger = _Logger(self._events, self._most, self._flush_secs)
        self._finalizer = weakref.finalize(self, self._logger.close)  # also when the interpreter ends

    # ---- adding
    def add_summary(self, summary: Any, global_step: Any = None) -> None:
        """`summary`: what running a summary op gave, or a Summary message. Raises: InvalidArgumentError."""
        if isinstance(summary, bytes):
            try:
                summary = event_pb2.Summary.FromString(summary)
            except DecodeError:
                raise InvalidArgumentError(f"[FileWriter] {len(summary)} bytes are no Summary. Fix: pass what "
                                           "session.run of a summary op returns") from None
        elif not isinstance(summary, event_pb2.Summary):
            raise InvalidArgumentError(f"[FileWriter] a summary must be bytes or a Summary message: received "
                                       f"{type(summary).__name__}. Fix: run the summary op first")
        self._add(event_pb2.Event(summary=summary), global_step)

    def add_graph(self, graph: Graph, global_step: Any = None) -> None:
        """The graph as TensorBoard draws it, with the shapes of outputs."""
        if not isinstance(graph, Graph):
            raise InvalidArgumentError(f"[FileWriter] add_graph needs an rf.Graph: received {type(graph).__name__}")
        self._add_graph_def(graph.as_graph_def(add_shapes=True), global_step)

    def _add_graph_def(self, graph_def: Any, global_step: Any) -> None:
        if not isinstance(graph_def, graph_pb2.GraphDef):
            raise InvalidArgumentError(f"[FileWriter] graph_def must be a GraphDef: received "
                                       f"{type(graph_def).__name__}")
        self._add(event_pb2.Event(graph_def=graph_def.SerializeToString()), global_step)

    def add_meta_graph(self, meta_graph_def: Any, global_step: Any = None) -> None:
        self._add(event_pb2.Event(meta_graph_def=meta_graph_def.SerializeToString()), global_step)

    def add_run_metadata(self, run_metadata: Any, tag: str, global_step: Any = None) -> None:
        """What ``session.run(..., run_metadata=)`` recorded, under a tag of its own. Raises: InvalidArgumentError."""
        if not isinstance(run_metadata, step_stats_pb2.RunMetadata):
            raise InvalidArgumentError(f"[FileWriter] run_metadata must be an rf.RunMetadata: received "
                                       f"{type(run_metadata).__name__}")
        event = event_pb2.Event()
        event.tagged_run_metadata.tag = tag
        event.tagged_run_metadata.run_metadata = run_metadata.SerializeToString()
        self._add(event, global_step)

    def add_session_log(self, session_log: Any, global_step: Any = None) -> None:
        self._add(event_pb2.Event(session_log=session_log), global_step)

    def add_event(self, event: Any) -> None:
        """An Event message as it is."""
        self._logger.put(event)

    def _add(self, event: Any, global_step: Any) -> None:
        event.wall_time = time.time()
        if global_step is not None:
            event.step = int(global_step)
        self.add_event(event)

    # ---- life
    def get_logdir(self) -> str:
        return self._logdir

    @property
    def path(self) -> str:
        """The file that is written."""
        return self._events.path

    def flush(self) -> None:
        """Returns when every event added so far is in the file."""
        self._logger.flush()

    def close(self) -> None:
        """Writes what is left and closes the file. Adding is an error until ``reopen``."""
        self._finalizer.detach()
        self._logger.close()

    def reopen(self) -> None:
        """Begins a new file in the same directory, where the last one was closed."""
        if self._logger.closed:
            self._open()

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


class _Logger:
    """The queue and the thread that empties it into `events`. Holds no reference to the FileWriter."""

    def __init__(self, events: EventsWriter, most: int, flush_secs: float) -> None:
        self.closed = False
        self._events = events
        self._flush_secs = flush_secs
        self._tags: set[str] = set()  # of run metadata: one file holds each once
        self._queue: queue.Queue[Any] = queue.Queue(most)  # Events; threading.Event: flush and set it; None: close
        self._lock = threading.Lock()  # over what is put: nothing comes after None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._write, name="ringflow-events", daemon=True)
        self._thread.start()

    def put(self, event: Any) -> None:
        with self._lock:
            if self.closed:
                raise FailedPreconditionError(f"[FileWriter] {self._events.path!r} is closed. Fix: call reopen() first")
            self._raise()
            tag = event.tagged_run_metadata.tag
            if tag in self._tags:
                raise InvalidArgumentError(f"[FileWriter] the tag {tag!r} of run metadata is taken. Fix: name each "
                                           "step's, say 'step %d'")
            if tag:
                self._tags.add(tag)
            self._queue.put(event)

    def flush(self) -> None:
        done = threading.Event()
        with self._lock:
            if self.closed:
                return
            self._queue.put(done)
        done.wait()
        self._raise()

    def close(self) -> None:
        with self._lock:
            if self.closed:
                return
            self.closed = True
            self._queue.put(None)
        self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        item: Any = ()
        due = time.monotonic() + self._flush_secs
        while item is not None:
            try:
                item = self._queue.get(timeout=max(due - time.monotonic(), 0))
            except queue.Empty:
                item = threading.Event()  # a flush that nobody waits for
            asked = isinstance(item, threading.Event)
            try:
                if self._error is None and not asked and item is not None:
                    self._events.write(item)
                if asked or time.monotonic() >= due:
                    due = time.monotonic() + self._flush_secs
                    self._events.flush()
                if item is None:
                    self._events.close()
            except Exception as e:  # a full disk, say: raised by the next call; what comes later is not written
                self._error = self._error or e
            if asked:
                item.set()


class FileWriterCache:
    """One writer for each directory, for code in several places that logs together."""

    _lock = threading.Lock()
    _writers: dict[str, FileWriter] = {}

    @staticmethod
    def get(logdir: str) -> FileWriter:
        with FileWriterCache._lock:
            if logdir not in FileWriterCache._writers:
                FileWriterCache._writers[logdir] = FileWriter(logdir)
            return FileWriterCache._writers[logdir]

    @staticmethod
    def clear() -> None:
        """Closes and forgets all of them."""
        with FileWriterCache._lock:
            for writer in FileWriterCache._writers.values():
                writer.close()
            FileWriterCache._writers.clear()
