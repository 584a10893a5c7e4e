"""QueueRunner: threads that keep a queue filled while the main thread trains.

    queue = rf.FIFOQueue(32, rf.float32, shapes=[[784]])
    rf.train.add_queue_runner(rf.train.QueueRunner(queue, [queue.enqueue(example)] * 4))
    with rf.Session() as session:
        coord = rf.train.Coordinator()
        threads = rf.train.start_queue_runners(session, coord)
        ...

Threading: one thread runs each enqueue operation again and again; one more waits for the coordinator's stop and then
cancels them. The last thread that finds its input at an end closes the queue. A thread that fails stops the coordinator
with its exception; without one it closes the queue, so that nobody waits for elements that will not come.
Source: TensorFlow 1's tf.train.QueueRunner.
"""
from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

from ringflow.graph import errors
from ringflow.graph.default_session import default_session
from ringflow.graph.files.meta_graph import register
from ringflow.graph.graph import GraphKeys, get_default_graph
from ringflow.graph.operation import Operation
from ringflow.graph.proto import meta_graph_pb2 as pb
from ringflow.graph.session import Session
from ringflow.graph.state.queues import QueueBase

from .coordinator import Coordinator


class QueueRunner:
    """The enqueue operations of a queue, and how to close it."""

    def __init__(self, queue: QueueBase | None = None, enqueue_ops: Sequence[Operation] | None = None,
                 close_op: Operation | None = None, cancel_op: Operation | None = None,
                 queue_closed_exception_types: Sequence[type[Exception]] | None = None,
                 queue_runner_def: Any = None, import_scope: str | None = None) -> None:
        """Args: enqueue_ops: one thread runs each; close_op, cancel_op: default the queue's two ways of closing;
        queue_closed_exception_types: say that the input is at an end, default OutOfRangeError; queue_runner_def: a
        QueueRunnerDef, instead of all others, whose names may lie below import_scope.

        Raises: InvalidArgumentError where the queue or the operations are missing.
        """
        if queue_runner_def is not None:
            self._read(queue_runner_def, import_scope)
        else:
            if queue is None or not enqueue_ops:
                raise errors.InvalidArgumentError("[QueueRunner] 'queue' and 'enqueue_ops' are needed: got "
                                                  f"{queue!r} and {enqueue_ops!r}")
            self.name = queue.name
            self.enqueue_ops = list(enqueue_ops)
            self.close_op = queue.close() if close_op is None else close_op
            self.cancel_op = queue.close(cancel_pending_enqueues=True) if cancel_op is None else cancel_op
            self.queue_closed_exception_types = tuple(queue_closed_exception_types or (errors.OutOfRangeError,))
        self._lock = threading.Lock()
        self._running: weakref.WeakKeyDictionary[Session, int] = weakref.WeakKeyDictionary()
        self._failed: list[Exception] = []

    @property
    def exceptions_raised(self) -> list[Exception]:
        """What threads without a coordinator have failed of."""
        with self._lock:
            return list(self._failed)

    # ---- threads
    def create_threads(self, sess: Session, coord: Coordinator | None = None, daemon: bool = False,
                       start: bool = False) -> list[threading.Thread]:
        """A thread for each enqueue operation, and one that cancels them when `coord` stops. None where those of an
        earlier call still run in this session."""
        with self._lock:
            if self._running.get(sess):
                return []
            self._running[sess] = len(self.enqueue_ops)
            self._failed = []
        threads = [threading.Thread(target=self._run, args=(sess, op, coord), daemon=daemon,
                                    name=f"QueueRunner-{self.name}-{op.name}") for op in self.enqueue_ops]
        if coord is not None:
            threads.append(threading.Thread(target=self._cancel_on_stop, args=(sess, coord), daemon=daemon,
                                            name=f"QueueRunner-{self.name}-cancel"))
        for t in threads:
            if coord is not None:
                coord.register_thread(t)
            if start:
                t.start()
        return threads

    def _run(self, sess: Session, op: Operation, coord: Coordinator | None) -> None:
        ended: Exception | None = None
        try:
            enqueue = sess.make_callable(op)
            while coord is None or not coord.should_stop():
                enqueue()
        except Exception as e:
            ended = e
        with self._lock:
            self._running[sess] -= 1
            last = not self._running[sess]
        if isinstance(ended, self.queue_closed_exception_types):
            if last:
                self._close(sess, self.close_op)
        elif ended is not None and coord is not None:
            coord.request_stop(ended)
        elif ended is not None and not sess.closed:
            with self._lock:
                self._failed.append(ended)
            self._close(sess, self.cancel_op)
            raise ended

    def _cancel_on_stop(self, sess: Session, coord: Coordinator) -> None:
        coord.wait_for_stop()
        self._close(sess, self.cancel_op)

    @staticmethod
    def _close(sess: Session, op: Operation) -> None:
        try:
            sess.run(op)
        except errors.Error:  # closed already, or its session is
            pass

    # ---- in files
    def to_proto(self, export_scope: str | None = None) -> Any:
        """A QueueRunnerDef. Names are written without `export_scope` where they lie below it."""
        prefix = f"{export_scope}/" if export_scope else ""
        proto = pb.QueueRunnerDef(queue_name=self.name.removeprefix(prefix),
                                  close_op_name=self.close_op.name.removeprefix(prefix),
                                  cancel_op_name=self.cancel_op.name.removeprefix(prefix))
        proto.enqueue_op_name.extend([op.name.removeprefix(prefix) for op in self.enqueue_ops])
        proto.queue_closed_exception_types.extend(
            [kind.code for kind in self.queue_closed_exception_types if issubclass(kind, errors.Error)])
        return proto

    @staticmethod
    def from_proto(queue_runner_def: Any, import_scope: str | None = None) -> QueueRunner:
        return QueueRunner(queue_runner_def=queue_runner_def, import_scope=import_scope)

    def _read(self, proto: Any, scope: str | None) -> None:
        if isinstance(proto, bytes):
            proto = pb.QueueRunnerDef.FromString(proto)
        prefix = f"{scope}/" if scope else ""
        find = get_default_graph().get_operation_by_name
        self.name = prefix + proto.queue_name
        self.enqueue_ops = [find(prefix + name) for name in proto.enqueue_op_name]
        self.close_op = find(prefix + proto.close_op_name)
        self.cancel_op = find(prefix + proto.cancel_op_name)
        self.queue_closed_exception_types = tuple(
            errors.BY_CODE[code] for code in proto.queue_closed_exception_types) or (errors.OutOfRangeError,)


register(GraphKeys.QUEUE_RUNNERS, pb.QueueRunnerDef, lambda r: r.to_proto(), QueueRunner.from_proto)


def add_queue_runner(qr: QueueRunner, collection: str = GraphKeys.QUEUE_RUNNERS) -> None:
    """Lists it for ``start_queue_runners``."""
    get_default_graph().add_to_collection(collection, qr)


def start_queue_runners(sess: Session | None = None, coord: Coordinator | None = None, daemon: bool = True,
                        start: bool = True, collection: str = GraphKeys.QUEUE_RUNNERS) -> list[threading.Thread]:
    """Starts the threads of all queue runners of the session's graph (default: the default session), and returns them.

    Daemon threads do not keep the program alive, and closing the session ends what they wait in: a program that forgets
    ``coord.join`` ends all the same. Raises: GraphError where there is no session.
    """
    if sess is None:
        sess = default_session("start_queue_runners")
    return [thread for runner in sess.graph.get_collection(collection)
            for thread in runner.create_threads(sess, coord, daemon=daemon, start=start)]


__all__ = ["QueueRunner", "add_queue_runner", "start_queue_runners"]
