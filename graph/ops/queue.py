"""Queues: what they are made by, and what is done with them. docs/queues.md tells how they behave.

A queue lives in the session under shared_name, or else the node's name, from run to run. Its elements are tuples of
tensors, one for each of `component_types`. Operations that must wait hold nobody up but those that need their outputs.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..constant import constant_value
from ..define import Array, define
from ..dtypes import DType
from ..errors import InvalidArgumentError
from ..interpreter import State
from ..interpreter.waiting import Attempt
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import Made, normal
from ..shapes import SCALAR, UNKNOWN, TensorShape
from .queue_reference import Queue, fifo, least_first, shuffled
from .rules import scalar_shape

_QUEUE: dict[str, Any] = {"component_types": attr("list(type)"), "shapes": attr("list(shape)", []), "capacity": -1,
                          "container": "", "shared_name": "", "stateful": True, "differentiable": False}
_USE: dict[str, Any] = {"stateful": True, "differentiable": False}


# ---- making
def _spec(op: Operation) -> tuple[list[DType], list[TensorShape]]:
    """Types and shapes of the components of the queue that `op` makes. Raises: InvalidArgumentError."""
    types, shapes = list(op.attrs["component_types"]), list(op.attrs["shapes"])
    if shapes and len(shapes) != len(types):
        raise InvalidArgumentError(f"[{op.type}] 'shapes' must be empty or one for each of the {len(types)} "
                                   f"components: got {len(shapes)}")
    if op.type == "PriorityQueueV2":
        shapes = [SCALAR, *(shapes or [UNKNOWN] * len(types))]
        types = [dtypes.int64, *types]
    if not types:
        raise InvalidArgumentError(f"[{op.type}] elements must have a component: 'component_types' is empty")
    if op.type == "PaddingFIFOQueueV2" and (not shapes or any(s.dims is None for s in shapes)):
        raise InvalidArgumentError(f"[{op.type}] the rank of every component must be known. Fix: give shapes with None "
                                   "for the dimensions that vary")
    least, capacity = op.attrs.get("min_after_dequeue", 0), op.attrs["capacity"]
    if least < 0 or (0 <= capacity <= least and "min_after_dequeue" in op.attrs):
        raise InvalidArgumentError(f"[{op.type}] min_after_dequeue must lie in [0, capacity): it is {least}, the "
                                   f"capacity {capacity}")
    return types, shapes


def _queue_shape(op: Operation) -> list[TensorShape]:
    _spec(op)
    return [SCALAR]


def _make(op: Operation, state: State, kind: str, next: Callable[[Sequence[Any]], int] = fifo, **options: Any) -> Queue:
    types, shapes = _spec(op)
    name, capacity = op.attrs["shared_name"] or op.name, op.attrs["capacity"]
    queue: Queue = state.find_or_create(op.attrs["container"], name, lambda: Queue(
        state, kind, name, types, shapes, capacity, next, **options))
    where = f"[{kind}] shared queue '{name}'"
    if not isinstance(queue, Queue) or queue.kind != kind:
        there = getattr(queue, "kind", type(queue).__name__)
        raise InvalidArgumentError(f"{where} is a {there}: a {kind} is requested")
    if queue.capacity != capacity:
        raise InvalidArgumentError(f"{where} has capacity {queue.capacity} but requested capacity was {capacity}")
    if queue.dtypes != types:
        raise InvalidArgumentError(f"{where} has component types {', '.join(map(str, queue.dtypes))} but requested "
                                   f"component types were {', '.join(map(str, types))}")
    if queue.shapes != shapes:
        raise InvalidArgumentError(f"{where} has other component shapes than those requested")
    return queue


@define("FIFOQueueV2() -> handle: resource", shape=_queue_shape, **_QUEUE)
def fifo_queue(*, op: Operation, state: State) -> Queue:
    """A queue from which elements come in the order in which they went in."""
    return _make(op, state, "FIFOQueue")


@define("PaddingFIFOQueueV2() -> handle: resource", shape=_queue_shape, **_QUEUE)
def padding_fifo_queue(*, op: Operation, state: State) -> Queue:
    """A FIFO queue whose shapes may have unknown dimensions: batches are padded with zeros to the largest element."""
    return _make(op, state, "PaddingFIFOQueue", pads=True)


@define("PriorityQueueV2() -> handle: resource", shape=_queue_shape, **{
    **_QUEUE, "component_types": attr("list(type)", []), "shapes": attr("list(shape)")})
def priority_queue(*, op: Operation, state: State) -> Queue:
    """A queue whose elements begin with an int64 scalar besides component_types; the least comes out first."""
    return _make(op, state, "PriorityQueue", least_first)


@define("RandomShuffleQueueV2() -> handle: resource", min_after_dequeue=0, seed=0, seed2=0, statistical=True,
        shape=_queue_shape, **_QUEUE)
def random_shuffle_queue(*, min_after_dequeue: int, seed: int, seed2: int, op: Operation, state: State) -> Queue:
    """A queue from which any element comes out, uniformly; min_after_dequeue elements stay until it is closed."""
    return _make(op, state, "RandomShuffleQueue", shuffled(seed, seed2), least=min_after_dequeue)


# ---- shapes of what comes out
_MAKERS = ("FIFOQueueV2", "PaddingFIFOQueueV2", "PriorityQueueV2", "RandomShuffleQueueV2")


def _component_shapes(op: Operation) -> list[TensorShape]:
    """What the queue's node, where it is in sight, says of the shapes of its components. Raises: InvalidArgumentError
    where `op` takes other types than the queue has."""
    source = op.inputs[0].op
    while source.type not in _MAKERS and source.inputs and source.inputs[0].dtype is dtypes.resource:
        source = source.inputs[0].op
    wanted = op.attrs["component_types"]
    if source.type not in _MAKERS:
        return [UNKNOWN] * len(wanted)
    types, shapes = _spec(source)
    if types != wanted:
        raise InvalidArgumentError(f"[{op.type}] component types differ: the queue has {', '.join(map(str, types))}, "
                                   f"the op {', '.join(map(str, wanted))}")
    return shapes or [UNKNOWN] * len(wanted)


def _batch_shapes(op: Operation) -> list[TensorShape]:
    n = constant_value(op.inputs[1]) if op.type == "QueueDequeueManyV2" else None
    if n is not None and n < 0:
        raise InvalidArgumentError(f"[{op.type}] n must be >= 0: got {n}")
    return [TensorShape([None if n is None else int(n)]).concatenate(s) for s in _component_shapes(op)]


# ---- using
@define("QueueEnqueueV2(handle: resource, components: [Tcomponents])", timeout_ms=-1, waits=True, **_USE)
def enqueue(handle: Queue, components: list[Array], *, timeout_ms: int) -> Attempt | None:
    """Puts one element into the queue; waits for room. CancelledError where the queue is closed."""
    return handle.enqueue([handle.checked(components, 0)], timeout_ms)


@define("QueueEnqueueManyV2(handle: resource, components: [Tcomponents])", timeout_ms=-1, waits=True, **_USE)
def enqueue_many(handle: Queue, components: list[Array], *, timeout_ms: int) -> Attempt | None:
    """Puts one element for each row of the components into the queue, as room comes."""
    return handle.enqueue(handle.rows(components), timeout_ms)


@define("QueueDequeueV2(handle: resource) -> components: [component_types]", component_types=attr("list(type)"),
        timeout_ms=-1, shape=_component_shapes, waits=True, **_USE)
def dequeue(handle: Queue, *, timeout_ms: int) -> Any:
    """Takes one element out; waits for one. OutOfRangeError where the queue is closed and empty."""
    return handle.dequeue(1, False, timeout_ms, lambda elements: elements[0])


def _batch_size(where: str, queue: Queue, n: Array) -> int:
    if n < 0:
        raise InvalidArgumentError(f"[{where}] n must be >= 0: got {n}")
    if not queue.shapes or not (queue.pads or all(s.is_fully_defined() for s in queue.shapes)):
        raise InvalidArgumentError(f"[{where}] {queue.kind}'s DequeueMany and DequeueUpTo require the components to "
                                   f"have specified shapes: those of '{queue.name}' are not. Fix: give the queue its "
                                   "shapes")
    return int(n)


@define("QueueDequeueManyV2(handle: resource, n: int32) -> components: [component_types]",
        component_types=attr("list(type)"), timeout_ms=-1, shape=_batch_shapes, waits=True, **_USE)
def dequeue_many(handle: Queue, n: Array, *, timeout_ms: int) -> Any:
    """Takes n elements out, stacked; waits for them. OutOfRangeError where a closed queue has fewer: they stay."""
    return handle.dequeue(_batch_size("QueueDequeueManyV2", handle, n), False, timeout_ms, handle.stacked)


@define("QueueDequeueUpToV2(handle: resource, n: int32) -> components: [component_types]",
        component_types=attr("list(type)"), timeout_ms=-1, shape=_batch_shapes, waits=True, **_USE)
def dequeue_up_to(handle: Queue, n: Array, *, timeout_ms: int) -> Any:
    """As QueueDequeueManyV2, but of a closed queue it takes what is left; OutOfRangeError where that is nothing."""
    return handle.dequeue(_batch_size("QueueDequeueUpToV2", handle, n), True, timeout_ms, handle.stacked)


@define("QueueCloseV2(handle: resource)", cancel_pending_enqueues=False, waits=True, **_USE)
def close(handle: Queue, *, cancel_pending_enqueues: bool) -> Attempt | None:
    """After this nothing more can be enqueued. Who is enqueuing is let finish, or is cancelled."""
    return handle.close(cancel_pending_enqueues)


@define("QueueSizeV2(handle: resource) -> size: int32", shape=scalar_shape, **_USE)
def size(handle: Queue) -> Array:
    """How many elements are in the queue."""
    return np.array(handle.size(), np.int32)


@define("QueueIsClosedV2(handle: resource) -> is_closed: bool", shape=scalar_shape, **_USE)
def is_closed(handle: Queue) -> Array:
    """Whether the queue is closed."""
    return np.array(handle.closed)


@define("_SelectHandle(index: int32, handles: N*resource) -> handle: resource", shape=scalar_shape, **_USE)
def select_handle(index: Array, handles: list[Any]) -> Any:
    """handle = handles[index]. Raises: InvalidArgument for an index out of range."""
    if not 0 <= index < len(handles):
        raise InvalidArgumentError(f"[_SelectHandle] index {index} is not in [0, {len(handles)})")
    return handles[int(index)]


# ---- samples
_TYPES = [dtypes.float32, dtypes.int64]
_SHAPES = [TensorShape([2]), SCALAR]
_PADDED = [TensorShape([None]), SCALAR]


def _queue(elements: int = 0, closed: bool = False, maker: Any = fifo_queue, **attrs: Any) -> Made:
    """A queue with that many elements ([i, i + 1/2], i), one made after the other; padded ones are of length i + 1."""
    def make(_: dict[str, Any]) -> Tensor:
        handle: Tensor = maker(**{"component_types": _TYPES, "shapes": _SHAPES, "name": "queue", **attrs})
        last: list[Operation] = []
        for i in range(elements):
            row = np.full(i + 1, i) if maker is padding_fifo_queue else np.array([i, i + 0.5])
            with handle.graph.control_dependencies(last):
                last = [enqueue(handle, [row.astype(np.float32), np.int64(i)], name=f"enqueue_{i}")]
        if closed:
            with handle.graph.control_dependencies(last):
                close(handle, name="close_queue")
        return handle
    return Made(make)


for _op in (fifo_queue, padding_fifo_queue, priority_queue, random_shuffle_queue):
    _op.sample(component_types=_TYPES, shapes=_PADDED if _op is padding_fifo_queue else _SHAPES, capacity=4)
    _op.sample(component_types=[dtypes.string], shapes=[SCALAR])
fifo_queue.sample(component_types=[dtypes.float32, dtypes.float32], shapes=[SCALAR])  # refused
random_shuffle_queue.sample(component_types=_TYPES, min_after_dequeue=3, capacity=3)  # refused
padding_fifo_queue.sample(component_types=_TYPES)  # refused
enqueue.sample(_queue(), [normal(2), np.array(3)])
enqueue.sample(_queue(2, shapes=[]), [normal(4), np.array(3)])
enqueue.sample(_queue(), [normal(3), np.array(3)])  # refused
enqueue_many.sample(_queue(1), [normal(3, 2), np.arange(3)])
enqueue_many.sample(_queue(1), [normal(0, 2), np.arange(0)])
enqueue_many.sample(_queue(), [normal(3, 2), np.arange(2)])  # refused
dequeue.sample(_queue(2), component_types=_TYPES)
dequeue.sample(_queue(1, component_types=_TYPES, maker=padding_fifo_queue, shapes=_PADDED), component_types=_TYPES)
dequeue.sample(_queue(1), component_types=[dtypes.float32])  # refused
for _op in (dequeue_many, dequeue_up_to):
    _op.sample(_queue(4), np.array(3, np.int32), component_types=_TYPES)
    _op.sample(_queue(1), np.array(0, np.int32), component_types=_TYPES)
    _op.sample(_queue(3, maker=padding_fifo_queue, shapes=_PADDED), np.array(3, np.int32), component_types=_TYPES)
    _op.sample(_queue(3), np.array(-1, np.int32), component_types=_TYPES)  # refused
    _op.sample(_queue(3, shapes=[]), np.array(2, np.int32), component_types=_TYPES)  # refused
dequeue_up_to.sample(_queue(2, closed=True), np.array(3, np.int32), component_types=_TYPES)
close.sample(_queue(1))
close.sample(_queue(1), cancel_pending_enqueues=True)
size.sample(_queue(3))
is_closed.sample(_queue(1, closed=True))
is_closed.sample(_queue(1))
select_handle.sample(np.array(1, np.int32), [_queue(), _queue()])
select_handle.sample(np.array(2, np.int32), [_queue(), _queue()])  # refused

__all__ = ["close", "dequeue", "dequeue_many", "dequeue_up_to", "enqueue", "enqueue_many", "fifo_queue", "is_closed",
           "padding_fifo_queue", "priority_queue", "random_shuffle_queue", "select_handle", "size"]
