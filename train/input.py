"""Input producers and batching, under TensorFlow 1's names: queues that threads fill, so that training reads from
storage without a feed. docs/input.md tells how the pieces go together.

    names = rf.train.string_input_producer(["a.tfrecord", "b.tfrecord"], num_epochs=10)
    _, record = rf.TFRecordReader().read(names)
    features = rf.parse_single_example(record, {...})
    images, labels = rf.train.shuffle_batch([features["image"], features["label"]], batch_size=32, capacity=2000,
                                            min_after_dequeue=1000, num_threads=2)

Each function adds a queue and a QueueRunner to the graph; ``start_queue_runners`` starts the threads. `num_epochs` is
counted in a local variable: run ``rf.local_variables_initializer()`` first. After the last epoch, what comes out of the
pipeline ends in OutOfRangeError. Source: TensorFlow 1's tf.train.input.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ringflow.graph.api as rf
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.graph import GraphKeys
from ringflow.graph.operation import Operation, Tensor
from ringflow.graph.ops.shape_ops import size as size_of
from ringflow.graph.shapes import TensorShape
from ringflow.graph.sparse_tensor import SparseTensor
from ringflow.graph.state.queues import FIFOQueue, PaddingFIFOQueue, QueueBase, RandomShuffleQueue

from .queue_runner import QueueRunner, add_queue_runner
from .summary import scalar


# ---- producers
def match_filenames_once(pattern: Any, name: str | None = None) -> rf.Variable:
    """A local variable that holds the names of the files that match, (n,), as they were when it is initialised."""
    return rf.Variable(rf.matching_files(pattern), trainable=False, validate_shape=False,
                       name=name or "matching_filenames", collections=[GraphKeys.LOCAL_VARIABLES])


def limit_epochs(tensor: Any, num_epochs: int | None = None, name: str | None = None) -> Tensor:
    """`tensor`, that many times; then OutOfRangeError. None: for ever."""
    tensor = rf.convert_to_tensor(tensor)
    if num_epochs is None:
        return tensor
    if num_epochs <= 0:
        raise InvalidArgumentError(f"[limit_epochs] num_epochs must be positive or None: got {num_epochs}")
    with rf.name_scope(name or "limit_epochs") as scope:
        epochs = rf.Variable(0, dtype=rf.int64, name="epochs", trainable=False, collections=[GraphKeys.LOCAL_VARIABLES])
        with rf.control_dependencies([rf.count_up_to(epochs, limit=num_epochs)]):
            limited: Tensor = rf.identity(tensor, name=scope)
            return limited


def input_producer(input_tensor: Any, element_shape: Any = None, num_epochs: int | None = None, shuffle: bool = True,
                   seed: int | None = None, capacity: int = 32, shared_name: str | None = None,
                   summary_name: str | None = None, name: str | None = None, cancel_op: Operation | None = None
                   ) -> QueueBase:
    """A queue of the rows of `input_tensor`, epoch after epoch; with `shuffle` in another order each time.

    Raises: InvalidArgumentError where the shape of a row is not known and `element_shape` does not say it.
    """
    with rf.name_scope(name or "input_producer"):
        tensor = rf.convert_to_tensor(input_tensor)
        shape = tensor.shape if tensor.shape.rank is not None else TensorShape(None)
        row = TensorShape(shape.as_list()[1:]) if shape.rank else TensorShape(element_shape)
        if element_shape is not None:
            row = row.merge_with(TensorShape(element_shape))
        if shape.rank == 0 or not row.is_fully_defined():
            raise InvalidArgumentError(f"[input_producer] 'input_tensor' must have rows of a known shape: got "
                                       f"{shape}. Fix: give 'element_shape'")
        if shuffle:
            tensor = rf.random_shuffle(tensor, seed=seed)
        tensor = limit_epochs(tensor, num_epochs)
        queue = FIFOQueue(capacity, [tensor.dtype], [row], shared_name=shared_name)
        add_queue_runner(QueueRunner(queue, [queue.enqueue_many([tensor])], cancel_op=cancel_op))
        _summarize(queue, summary_name or f"fraction_of_{capacity}_full", capacity)
        return queue


def string_input_producer(string_tensor: Any, num_epochs: int | None = None, shuffle: bool = True,
                          seed: int | None = None, capacity: int = 32, shared_name: str | None = None,
                          name: str | None = None, cancel_op: Operation | None = None) -> QueueBase:
    """A queue of strings, names of files most often. Raises: InvalidArgumentError for an empty list. Run: likewise."""
    if isinstance(string_tensor, (list, tuple)) and not string_tensor:
        raise InvalidArgumentError("[string_input_producer] requires a non-null input tensor: got an empty list")
    with rf.name_scope(name or "input_producer"):
        tensor = rf.convert_to_tensor(string_tensor, rf.string)
        size = size_of(tensor)
        message = rf.constant("string_input_producer requires a non-null input tensor")
        with rf.control_dependencies([rf.Assert(rf.greater(size, 0), [message])]):
            tensor = rf.identity(tensor)
    return input_producer(tensor, [], num_epochs, shuffle, seed, capacity, shared_name, None, name, cancel_op)


def range_input_producer(limit: Any, num_epochs: int | None = None, shuffle: bool = True, seed: int | None = None,
                         capacity: int = 32, shared_name: str | None = None, name: str | None = None) -> QueueBase:
    """A queue of the integers below `limit`, int32."""
    with rf.name_scope(name or "input_producer"):
        numbers = rf.range(limit)
    return input_producer(numbers, [], num_epochs, shuffle, seed, capacity, shared_name, None, name)


def slice_input_producer(tensor_list: Sequence[Any], num_epochs: int | None = None, shuffle: bool = True,
                         seed: int | None = None, capacity: int = 32, shared_name: str | None = None,
                         name: str | None = None) -> list[Tensor]:
    """One row of each tensor, all with the same index; the next ones at every run."""
    if not tensor_list:
        raise InvalidArgumentError("[slice_input_producer] 'tensor_list' must hold a tensor: got none")
    with rf.name_scope(name or "input_producer"):
        tensors = [rf.convert_to_tensor(t) for t in tensor_list]
        rows = rf.shape(tensors[0])[0]
    queue = range_input_producer(rows, num_epochs, shuffle, seed, capacity, shared_name, name)
    index = queue.dequeue()
    return [rf.gather(t, index) for t in tensors]


def _summarize(queue: QueueBase, name: str, capacity: int) -> None:
    scalar(name, rf.cast(queue.size(), rf.float32) * (1.0 / capacity))


# ---- batches
def batch(tensors: Any, batch_size: Any, num_threads: int = 1, capacity: int = 32, enqueue_many: bool = False,
          shapes: Any = None, dynamic_pad: bool = False, allow_smaller_final_batch: bool = False,
          shared_name: str | None = None, name: str | None = None) -> Any:
    """Batches of `tensors` (a list, a dict or one), filled by `num_threads` threads: (batch_size, *shape) each.

    enqueue_many: `tensors` hold rows already. dynamic_pad: pads rows of different shapes with zeros. The last batch is
    left out, or with `allow_smaller_final_batch` smaller. Raises: InvalidArgumentError where a shape is not known.
    """
    return _batched([tensors] * num_threads, True, batch_size, capacity, enqueue_many, shapes, dynamic_pad,
                    allow_smaller_final_batch, shared_name, name or "batch")


def batch_join(tensors_list: Sequence[Any], batch_size: Any, capacity: int = 32, enqueue_many: bool = False,
               shapes: Any = None, dynamic_pad: bool = False, allow_smaller_final_batch: bool = False,
               shared_name: str | None = None, name: str | None = None) -> Any:
    """As ``batch``, with a thread for each of several pipelines, which mix."""
    return _batched(tensors_list, True, batch_size, capacity, enqueue_many, shapes, dynamic_pad,
                    allow_smaller_final_batch, shared_name, name or "batch_join")


def maybe_batch(tensors: Any, keep_input: Any, batch_size: Any, num_threads: int = 1, capacity: int = 32,
                enqueue_many: bool = False, shapes: Any = None, dynamic_pad: bool = False,
                allow_smaller_final_batch: bool = False, shared_name: str | None = None, name: str | None = None
                ) -> Any:
    """As ``batch``, of those inputs only for which `keep_input` () is true; with enqueue_many of the rows, (n,)."""
    return _batched([tensors] * num_threads, keep_input, batch_size, capacity, enqueue_many, shapes, dynamic_pad,
                    allow_smaller_final_batch, shared_name, name or "batch")


def shuffle_batch(tensors: Any, batch_size: Any, capacity: int, min_after_dequeue: int, num_threads: int = 1,
                  seed: int | None = None, enqueue_many: bool = False, shapes: Any = None,
                  allow_smaller_final_batch: bool = False, shared_name: str | None = None, name: str | None = None
                  ) -> Any:
    """As ``batch``, in random order among at least `min_after_dequeue` elements."""
    return _batched([tensors] * num_threads, True, batch_size, capacity, enqueue_many, shapes, False,
                    allow_smaller_final_batch, shared_name, name or "shuffle_batch", min_after_dequeue, seed)


def shuffle_batch_join(tensors_list: Sequence[Any], batch_size: Any, capacity: int, min_after_dequeue: int,
                       seed: int | None = None, enqueue_many: bool = False, shapes: Any = None,
                       allow_smaller_final_batch: bool = False, shared_name: str | None = None, name: str | None = None
                       ) -> Any:
    """As ``shuffle_batch``, with a thread for each of several pipelines."""
    return _batched(tensors_list, True, batch_size, capacity, enqueue_many, shapes, False, allow_smaller_final_batch,
                    shared_name, name or "shuffle_batch_join", min_after_dequeue, seed)


def _batched(tensors_list: Sequence[Any], keep_input: Any, batch_size: Any, capacity: int, enqueue_many: bool,
             shapes: Any, dynamic_pad: bool, allow_smaller: bool, shared_name: str | None, name: str,
             min_after_dequeue: int | None = None, seed: int | None = None) -> Any:
    if not tensors_list:
        raise InvalidArgumentError(f"[{name}] there must be a list of tensors, and num_threads positive: got none")
    with rf.name_scope(name):
        flat = [_flat(name, t) for t in tensors_list]
        rows = [[_row_shape(name, t, enqueue_many) for t in tensors] for tensors in flat]
        known = ([TensorShape(s) for s in shapes] if shapes is not None else
                 [_common(same) for same in zip(*rows)])
        dtypes = [t.dtype for t in flat[0]]
        if any([t.dtype for t in tensors] != dtypes for tensors in flat):
            raise InvalidArgumentError(f"[{name}] all lists must have the same types: got "
                                       + ", ".join(str([str(t.dtype) for t in tensors]) for tensors in flat))
        if not dynamic_pad and not all(s.is_fully_defined() for s in known):
            raise InvalidArgumentError(f"[{name}] all shapes must be fully defined: got {', '.join(map(str, known))}. "
                                       "Fix: set_shape, 'shapes', or dynamic_pad=True where only sizes are unknown")
        queue = _make_queue(capacity, dtypes, known, dynamic_pad, shared_name, min_after_dequeue, seed)
        add_queue_runner(QueueRunner(queue, [_enqueue(queue, tensors, keep_input, enqueue_many) for tensors in flat]))
        _summarize(queue, f"fraction_of_{capacity}_full", capacity)
        taken = (queue.dequeue_up_to if allow_smaller else queue.dequeue_many)(batch_size)
        return _like(tensors_list[0], taken if isinstance(taken, list) else [taken])


def _make_queue(capacity: int, dtypes: list[Any], shapes: list[TensorShape], dynamic_pad: bool, shared_name: str | None,
                min_after_dequeue: int | None, seed: int | None) -> QueueBase:
    if min_after_dequeue is not None:
        return RandomShuffleQueue(capacity, min_after_dequeue, dtypes, shapes, seed=seed, shared_name=shared_name)
    kind: Callable[..., QueueBase] = PaddingFIFOQueue if dynamic_pad else FIFOQueue
    return kind(capacity, dtypes, shapes, shared_name=shared_name)


def _enqueue(queue: QueueBase, tensors: list[Tensor], keep_input: Any, enqueue_many: bool) -> Operation:
    put = queue.enqueue_many if enqueue_many else queue.enqueue
    if keep_input is True:
        return put(tensors)
    keep = rf.convert_to_tensor(keep_input, rf.bool)
    if enqueue_many and keep.shape.rank != 0:
        chosen = rf.reshape(rf.where(keep), [-1])
        return put([rf.gather(t, chosen) for t in tensors])
    enqueue: Operation = rf.cond(keep, lambda: put(tensors), rf.no_op)
    return enqueue.op if isinstance(enqueue, Tensor) else enqueue


def _flat(name: str, tensors: Any) -> list[Tensor]:
    values = list(tensors.values()) if isinstance(tensors, Mapping) else tensors
    values = list(values) if isinstance(values, (list, tuple)) else [values]
    if any(isinstance(v, SparseTensor) for v in values):
        raise InvalidArgumentError(f"[{name}] sparse tensors cannot be batched. Fix: batch the serialized examples, "
                                   "and rf.parse_example the batch")
    return [rf.convert_to_tensor(v) for v in values]


def _row_shape(name: str, t: Tensor, enqueue_many: bool) -> TensorShape:
    if not enqueue_many or t.shape.rank is None:
        return t.shape
    if t.shape.rank == 0:
        raise InvalidArgumentError(f"[{name}] with enqueue_many every tensor must have rows: {t.name!r} is a scalar")
    return TensorShape(t.shape.as_list()[1:])


def _common(shapes: Sequence[TensorShape]) -> TensorShape:
    """The shape of which all are: unknown where they differ."""
    if any(s.rank != shapes[0].rank or s.rank is None for s in shapes):
        return TensorShape(None)
    return TensorShape([dims[0] if len(set(dims)) == 1 else None for dims in zip(*(s.as_list() for s in shapes))])


def _like(structure: Any, values: list[Tensor]) -> Any:
    if isinstance(structure, Mapping):
        return dict(zip(structure, values))
    return values if isinstance(structure, (list, tuple)) else values[0]


__all__ = ["batch", "batch_join", "input_producer", "limit_epochs", "match_filenames_once", "maybe_batch",
           "range_input_producer", "shuffle_batch", "shuffle_batch_join", "slice_input_producer",
           "string_input_producer"]
