"""Queues as users hold them, under TensorFlow 1's names. docs/queues.md tells how they behave.

    queue = rf.FIFOQueue(32, [rf.float32, rf.int32], shapes=[[784], []])
    enqueue = queue.enqueue([image, label])
    images, labels = queue.dequeue_many(16)

A queue belongs to the session that runs it, and so to its rank. Threading: building is as for any graph; operations may
run on any number of threads.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import dtypes
from ..define import convert_to_tensor
from ..dtypes import DType
from ..errors import InvalidArgumentError
from ..opdef import OPS
from ..operation import Operation, Tensor
from ..ops.random import get_seed
from ..shapes import UNKNOWN, TensorShape


class QueueBase:
    """What all queues can do. One component comes and goes as a tensor, several as a list, named ones as a dict."""

    def __init__(self, dtypes: Sequence[Any], shapes: Sequence[TensorShape], names: Sequence[str] | None,
                 queue_ref: Tensor) -> None:
        self.dtypes, self.names = list(dtypes), None if names is None else list(names)
        self.shapes = list(shapes) or [UNKNOWN] * len(self.dtypes)
        self.queue_ref = queue_ref

    @property
    def name(self) -> str:
        return self.queue_ref.op.name

    def __repr__(self) -> str:
        return f"<rf.{type(self).__name__} {self.name!r} of {', '.join(map(str, self.dtypes))}>"

    @staticmethod
    def from_list(index: Any, queues: Sequence[QueueBase]) -> QueueBase:
        """The queue queues[index], where the run decides the index (a scalar int32).

        Raises: InvalidArgumentError where the queues differ in types or names.
        """
        if not queues or not all(isinstance(q, QueueBase) for q in queues):
            raise InvalidArgumentError(f"[QueueBase.from_list] a list of queues is needed: got {queues!r}")
        first = queues[0]
        if any(q.dtypes != first.dtypes or q.names != first.names for q in queues):
            raise InvalidArgumentError("[QueueBase.from_list] queues must have the same component types and names: got "
                                       + ", ".join(map(repr, queues)))
        shapes = [shape if all(q.shapes[i] == shape for q in queues) else UNKNOWN
                  for i, shape in enumerate(first.shapes)]
        handle = _call("_SelectHandle", convert_to_tensor(index, dtypes.int32), [q.queue_ref for q in queues],
                       name="select_queue")
        return QueueBase(first.dtypes, shapes, first.names, handle)

    # ---- elements in
    def enqueue(self, vals: Any, name: str | None = None) -> Operation:
        """An operation that puts one element into the queue and waits for room.

        `vals`: a tensor, a list of one for each component, or a dict where the components have names.
        Raises: InvalidArgumentError for wrong types or shapes. Run: CancelledError where the queue is closed.
        """
        vals = self._components("enqueue", vals, 0)
        op: Operation = self._op("QueueEnqueueV2", vals, name=name or f"{self.name}_enqueue")
        return op

    def enqueue_many(self, vals: Any, name: str | None = None) -> Operation:
        """As ``enqueue`` for every row of the components, in order, as room comes."""
        vals = self._components("enqueue_many", vals, 1)
        op: Operation = self._op("QueueEnqueueManyV2", vals, name=name or f"{self.name}_EnqueueMany")
        return op

    def _components(self, where: str, vals: Any, skipped: int) -> list[Tensor]:
        if isinstance(vals, Mapping) != (self.names is not None) or (self.names and set(vals) != set(self.names)):
            raise InvalidArgumentError(f"[{where}] queue {self.name!r} takes "
                                       + (f"a dict of {', '.join(map(repr, self.names))}" if self.names else
                                          "tensors: it was made without names") + f". Received: {vals!r:.80}")
        if self.names is not None:
            vals = [vals[n] for n in self.names]
        elif not isinstance(vals, (list, tuple)):
            vals = [vals]
        if len(vals) != len(self.dtypes):
            raise InvalidArgumentError(f"[{where}] elements of queue {self.name!r} have {len(self.dtypes)} components: "
                                       f"{len(vals)} were given. Fix: pass a list with a tensor for each component")
        tensors = [convert_to_tensor(v, d, name=f"component_{i}") for i, (v, d) in enumerate(zip(vals, self.dtypes))]
        for i, (t, shape) in enumerate(zip(tensors, self.shapes)):
            wanted = TensorShape([None] * skipped).concatenate(shape)
            if not t.shape.is_compatible_with(wanted):
                raise InvalidArgumentError(f"[{where}] Shape mismatch in tuple component {i} of queue {self.name!r}. "
                                           f"Expected {wanted}, got {t.shape}")
        return tensors

    # ---- elements out
    def dequeue(self, name: str | None = None) -> Any:
        """One element; the run waits for it. Run: OutOfRangeError where the queue is closed and empty."""
        return self._element(self._op("QueueDequeueV2", name=name or f"{self.name}_Dequeue",
                                      component_types=self.dtypes), 0)

    def dequeue_many(self, n: Any, name: str | None = None) -> Any:
        """n elements, stacked along a new first dimension; the run waits for them. The queue must know its shapes.

        Run: OutOfRangeError where the queue is closed with fewer, which then stay in it.
        """
        return self._element(self._op("QueueDequeueManyV2", n, name=name or f"{self.name}_DequeueMany",
                                      component_types=self.dtypes), 1)

    def dequeue_up_to(self, n: Any, name: str | None = None) -> Any:
        """As ``dequeue_many``, but a closed queue gives what it has left; OutOfRangeError where that is nothing."""
        return self._element(self._op("QueueDequeueUpToV2", n, name=name or f"{self.name}_DequeueUpTo",
                                      component_types=self.dtypes), 1)

    def _element(self, components: list[Tensor], skipped: int) -> Any:
        for t, shape in zip(components, self.shapes):  # where the queue is chosen by the run, the op does not know
            t.set_shape(TensorShape([None] * skipped).concatenate(shape))
        if self.names is not None:
            return dict(zip(self.names, components))
        return components[0] if len(components) == 1 else components

    # ---- the rest
    def close(self, cancel_pending_enqueues: bool = False, name: str | None = None) -> Operation:
        """An operation after which nothing more can be enqueued; what is in the queue can be dequeued.

        It waits for those who are enqueuing, or cancels them. Run: CancelledError where it is closed already.
        """
        op: Operation = self._op("QueueCloseV2", name=name or f"{self.name}_Close",
                                 cancel_pending_enqueues=cancel_pending_enqueues)
        return op

    def size(self, name: str | None = None) -> Tensor:
        """How many elements are in the queue, an int32 scalar."""
        size: Tensor = self._op("QueueSizeV2", name=name or f"{self.name}_Size")
        return size

    def is_closed(self, name: str | None = None) -> Tensor:
        """Whether the queue is closed, a bool scalar."""
        closed: Tensor = self._op("QueueIsClosedV2", name=name or f"{self.name}_Is_Closed")
        return closed

    def _op(self, op: str, *inputs: Any, **attrs: Any) -> Any:
        return _call(op, self.queue_ref, *inputs, **attrs)


class FIFOQueue(QueueBase):
    """First in, first out."""

    def __init__(self, capacity: int, dtypes: Any, shapes: Any = None, names: Any = None,
                 shared_name: str | None = None, name: str = "fifo_queue") -> None:
        """Args: capacity: how many elements it holds, -1 for any number; dtypes: of the components, or of the one;
        shapes: of the components, needed for dequeue_many; names: makes elements dicts; shared_name: under which nodes
        of the session's graph share the queue."""
        _make(self, "FIFOQueueV2", capacity, dtypes, shapes, names, shared_name, name)


class RandomShuffleQueue(QueueBase):
    """Elements come out in random order."""

    def __init__(self, capacity: int, min_after_dequeue: int, dtypes: Any, shapes: Any = None, names: Any = None,
                 seed: int | None = None, shared_name: str | None = None, name: str = "random_shuffle_queue") -> None:
        """Args: min_after_dequeue: how many elements stay, for good mixing, until the queue is closed; seed: makes the
        order repeatable; the others: as of FIFOQueue."""
        first, second = get_seed(seed)
        _make(self, "RandomShuffleQueueV2", capacity, dtypes, shapes, names, shared_name, name,
              min_after_dequeue=min_after_dequeue, seed=first, seed2=second)


class PaddingFIFOQueue(QueueBase):
    """A FIFOQueue whose shapes may hold None: dequeue_many pads with zeros to the largest element of the batch."""

    def __init__(self, capacity: int, dtypes: Any, shapes: Any, names: Any = None, shared_name: str | None = None,
                 name: str = "padding_fifo_queue") -> None:
        """Args: as of FIFOQueue; shapes are needed, and their ranks."""
        _make(self, "PaddingFIFOQueueV2", capacity, dtypes, shapes, names, shared_name, name)


class PriorityQueue(QueueBase):
    """The element with the least priority comes out first. A priority, an int64 scalar, comes before the components."""

    def __init__(self, capacity: int, types: Any, shapes: Any = None, names: Any = None,
                 shared_name: str | None = None, name: str = "priority_queue") -> None:
        """Args: types and shapes: of the components without the priority; names: with that of the priority; the others:
        as of FIFOQueue."""
        _make(self, "PriorityQueueV2", capacity, types, shapes, names, shared_name, name)
        self.dtypes.insert(0, dtypes.int64)
        self.shapes.insert(0, TensorShape([]))


def _make(queue: QueueBase, op: str, capacity: int, types: Any, shapes: Any, names: Any, shared_name: str | None,
          name: str, **attrs: Any) -> None:
    types = _types(types)
    shapes = _shapes(shapes, len(types))
    if names is not None:
        names = [names] if isinstance(names, str) else list(names)
        if len(names) != len(types) + (op == "PriorityQueueV2"):
            raise InvalidArgumentError(f"[{type(queue).__name__}] 'names' must be one a component: got {names}")
    handle = _call(op, component_types=types, shapes=shapes, capacity=capacity, shared_name=shared_name or "",
                   name=name, **attrs)
    QueueBase.__init__(queue, types, shapes, names, handle)


def _types(types: Any) -> list[DType]:
    return [dtypes.as_dtype(t) for t in (types if isinstance(types, (list, tuple)) else [types])]


def _shapes(shapes: Any, components: int) -> list[TensorShape]:
    """One shape for each component. A single component's shape may come without a list around it."""
    if shapes is None:
        return []
    if isinstance(shapes, TensorShape):
        shapes = [shapes]
    shapes = list(shapes)
    bare = not any(isinstance(s, (TensorShape, list, tuple)) for s in shapes)
    if components == 1 and bare and shapes != [None]:
        shapes = [shapes]
    return [TensorShape(s) for s in shapes]


def _call(op: str, *inputs: Any, **attrs: Any) -> Any:
    return OPS[op](*inputs, **attrs)  # type: ignore[operator]


__all__ = ["FIFOQueue", "PaddingFIFOQueue", "PriorityQueue", "QueueBase", "RandomShuffleQueue"]
