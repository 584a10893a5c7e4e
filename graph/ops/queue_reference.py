"""Queues of the reference interpreter. The mirror of csrc/kernels/queue.h, which says how they behave."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..define import Array
from ..dtypes import DType
from ..errors import CancelledError, InvalidArgumentError, OutOfRangeError
from ..interpreter import State
from ..interpreter.waiting import Attempt, Waiting
from ..shapes import TensorShape

Element = tuple[Any, ...]  # (when it came, array of component 0, ...)
ENQUEUE, DEQUEUE = 0, 1


def fifo(elements: Sequence[Element]) -> int:
    """Which element comes next: the first."""
    return 0


def least_first(elements: Sequence[Element]) -> int:
    """The one whose first component is least; of equal ones the first that came."""
    return min(range(len(elements)), key=lambda i: (int(elements[i][1]), elements[i][0]))


def shuffled(seed: int, seed2: int) -> Callable[[Sequence[Element]], int]:
    """Any, uniformly. Seeds (0, 0) give another order every time."""
    rng = np.random.default_rng([seed % 2**64, seed2 % 2**64] if seed or seed2 else None)
    return lambda elements: int(rng.integers(len(elements)))


class Queue(Waiting):
    """Elements of one array for each component. shapes: of the components, or none where any will do; capacity < 0: no
    limit; next: the index of the element that comes out; pads: batches by padding; least: what stays till it closes."""

    def __init__(self, state: State, kind: str, name: str, dtypes: Sequence[DType], shapes: Sequence[TensorShape],
                 capacity: int, next: Callable[[Sequence[Element]], int] = fifo, pads: bool = False,
                 least: int = 0) -> None:
        super().__init__(state, 2)
        self.kind, self.name, self.dtypes, self.shapes = kind, name, list(dtypes), list(shapes)
        self.capacity, self.pads, self.closed = capacity, pads, False
        self.signature = (kind, self.dtypes, self.shapes, capacity)
        self._next, self._least = next, least
        self._elements: list[Element] = []
        self._came = 0

    # ---- storage, under the lock
    def level(self) -> Any:
        return self.closed, len(self._elements), self._came

    def full(self) -> bool:
        return 0 <= self.capacity <= len(self._elements)

    def push(self, components: Sequence[Array]) -> None:
        self._came += 1
        self._elements.append((self._came, *components))

    def pop(self) -> Element:
        return self._elements.pop(self._next(self._elements))

    def put_back(self, elements: list[Element]) -> None:
        self._elements[:0] = elements

    def ready(self) -> int:
        return len(self._elements) - (0 if self.closed else self._least)

    # ---- what ops do
    def size(self) -> int:
        with self._state.progress:
            return len(self._elements)

    def enqueue(self, elements: list[list[Array]], timeout_ms: int) -> Attempt | None:
        return self.start(ENQUEUE, _Enqueue(self, elements, timeout_ms)) if elements else None

    def dequeue(self, count: int, up_to: bool, timeout_ms: int,
                take: Callable[[list[list[Array]]], Any]) -> Any:
        """The outputs, or an Attempt at them. OutOfRangeError where the queue is closed with too few."""
        return self.start(DEQUEUE, _Dequeue(self, count, up_to, timeout_ms, take)) if count else take([])

    def close(self, cancel_pending_enqueues: bool) -> Attempt | None:
        if not cancel_pending_enqueues:
            return self.start(ENQUEUE, _Close(self))
        with self._state.progress:
            self.closed = True
            self.end_line(ENQUEUE, CancelledError("Enqueue operation was cancelled"))
            self.serve()
        return None

    # ---- elements
    def checked(self, components: Sequence[Array], skipped: int) -> list[Array]:
        """Copies of the components. Raises: InvalidArgumentError where they are not what the queue holds."""
        if len(components) != len(self.dtypes):
            raise InvalidArgumentError(f"[{self.kind}] elements of queue {self.name!r} have {len(self.dtypes)} "
                                       f"components: got {len(components)}")
        for i, (c, shape) in enumerate(zip(components, self.shapes or [TensorShape(None)] * len(components))):
            if c.ndim < skipped:
                raise InvalidArgumentError(f"[{self.kind}] component {i} of several elements must have a first "
                                           "dimension: got ()")
            if not shape.is_compatible_with(c.shape[skipped:]):
                after = " after the first dimension" if skipped else ""
                raise InvalidArgumentError(f"[{self.kind}] Shape mismatch in tuple component {i} of queue "
                                           f"{self.name!r}. Expected {shape}{after}, got {c.shape}")
        return [np.array(c) for c in components]

    def rows(self, components: Sequence[Array]) -> list[list[Array]]:
        """One element for each row of the components."""
        arrays = self.checked(components, 1)
        if len({len(a) for a in arrays}) > 1:
            raise InvalidArgumentError(f"[{self.kind}] all components must have the same size in the first dimension: "
                                       f"got {', '.join(str(len(a)) for a in arrays)}")
        return [[np.array(a[k]) for a in arrays] for k in range(len(arrays[0]))]

    def stacked(self, elements: list[list[Array]]) -> list[Array]:
        """One array for each component, the elements along a new first axis, padded with zeros to the largest."""
        batches = []
        for i, dtype in enumerate(self.dtypes):
            arrays = [e[i] for e in elements]
            shape = tuple(np.max([a.shape for a in arrays], axis=0)) if arrays else tuple(d or 0 for d in
                                                                                        self.shapes[i].dims or ())
            batch = np.zeros((len(arrays), *map(int, shape)), dtype.as_numpy_dtype)
            if dtype.kind == "s":
                batch.fill(b"")
            for row, a in enumerate(arrays):
                where: Any = (row, *map(slice, a.shape))
                batch[where] = a if a.ndim else a[()]
            batches.append(batch)
        return batches


class _Enqueue(Attempt):
    def __init__(self, queue: Queue, elements: list[list[Array]], timeout_ms: int) -> None:
        super().__init__("Enqueue operation", timeout_ms)
        self._queue, self._left = queue, elements

    def step(self) -> bool:
        if self._queue.closed:
            raise CancelledError(f"{self._queue.kind} '{self._queue.name}' is closed.")
        while self._left and not self._queue.full():
            self._queue.push(self._left.pop(0))
        return not self._left


class _Dequeue(Attempt):
    def __init__(self, queue: Queue, count: int, up_to: bool, timeout_ms: int,
                 take: Callable[[list[list[Array]]], Any]) -> None:
        super().__init__("Dequeue operation", timeout_ms)
        self._queue, self._count, self._up_to, self._take = queue, count, up_to, take
        self._taken: list[Element] = []

    def step(self) -> bool:
        queue, missing = self._queue, self._count - len(self._taken)
        if queue.closed and queue.size() < missing:
            left = queue.size() + len(self._taken)
            if not self._up_to or not left:
                raise OutOfRangeError(f"{queue.kind} '{queue.name}' is closed and has insufficient elements (requested "
                                      f"{self._count}, current size {left})")
            missing = queue.size()
            self._taken += [queue.pop() for _ in range(missing)]
            return True
        self._taken += [queue.pop() for _ in range(min(missing, queue.ready()))]
        return len(self._taken) == self._count

    def abandon(self) -> None:
        self._queue.put_back(self._taken)
        self._taken = []

    def result(self) -> Any:
        return self._take([list(e[1:]) for e in self._taken])


class _Close(Attempt):
    def __init__(self, queue: Queue) -> None:
        super().__init__("Close operation")
        self._queue = queue

    def step(self) -> bool:
        if self._queue.closed:
            raise CancelledError(f"{self._queue.kind} '{self._queue.name}' is already closed.")
        self._queue.closed = True
        return True


__all__ = ["Queue", "fifo", "least_first", "shuffled"]
