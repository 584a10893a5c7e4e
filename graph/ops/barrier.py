"""Barriers: elements whose components come one by one, under a key, and that can be taken once they are whole.

Elements are taken in the order in which their keys first came. After closing no new key is taken; elements that have
begun can be completed, unless pending insertions were cancelled. An insertion that fails changes nothing.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..define import Array, define
from ..dtypes import FIXED
from ..errors import CancelledError, InvalidArgumentError, OutOfRangeError
from ..interpreter import State
from ..interpreter.waiting import Attempt, Waiting
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import Made, normal
from ..shapes import SCALAR, UNKNOWN, TensorShape
from .rules import scalar_shape

_USE: dict[str, Any] = {"stateful": True, "differentiable": False}


class Barrier(Waiting):
    """A barrier of the reference interpreter."""

    def __init__(self, state: State, op: Operation) -> None:
        super().__init__(state, 1)
        self.name = op.attrs["shared_name"] or op.name
        self.dtypes, self.shapes = op.attrs["component_types"], op.attrs["shapes"]
        self.closed = False
        self.begun: dict[bytes, tuple[int, list[Any]]] = {}
        self.whole: dict[int, tuple[bytes, list[Any]]] = {}
        self._next = -2**63  # as TensorFlow counts

    def level(self) -> Any:
        return self.closed, len(self.whole), len(self.begun)

    def insert(self, component: int, keys: list[bytes], values: Array) -> None:
        with self._state.progress:
            for k, key in enumerate(keys):
                _, there = self.begun.get(key, (0, None))
                if self.closed and there is None:
                    raise CancelledError(f"Barrier '{self.name}' is closed, but attempted to insert a brand new key: "
                                         f"{key.decode(errors='replace')}. Number of incomplete keys: "
                                         f"{len(self.begun)}.")
                if key in keys[:k] or there is not None and there[component] is not None:
                    raise InvalidArgumentError(f"[BarrierInsertMany] Key {key.decode(errors='replace')} already has a "
                                               f"value for component {component} in barrier '{self.name}'")
            for key, value in zip(keys, values):
                if key not in self.begun:
                    self.begun[key] = self._next, [None] * len(self.dtypes)
                    self._next += 1
                index, components = self.begun[key]
                components[component] = np.array(value)
                if all(c is not None for c in components):
                    self.whole[index] = key, components
                    del self.begun[key]
            self.serve()

    def close(self, cancel: bool) -> None:
        with self._state.progress:
            if self.closed and not cancel:
                raise CancelledError(f"Barrier '{self.name}' is already closed.")
            self.closed = True
            if cancel:
                self.begun.clear()
            self.serve()

    def pop(self, count: int) -> list[tuple[int, bytes, list[Any]]]:
        return [(i, *self.whole.pop(i)) for i in sorted(self.whole)[:count]]

    def stacked(self, taken: list[tuple[int, bytes, list[Any]]]) -> list[Any]:
        columns = []
        for k, (dtype, shape) in enumerate(zip(self.dtypes, self.shapes)):
            column = np.empty((len(taken), *shape.known), dtype.as_numpy_dtype)
            for row, (_, _, components) in enumerate(taken):
                column[row] = components[k]
            columns.append(column)
        return [np.array([i for i, _, _ in taken], np.int64), np.array([key for _, key, _ in taken], object), *columns]


class _Take(Attempt):
    def __init__(self, barrier: Barrier, count: int, small: bool, whole: bool, timeout_ms: int) -> None:
        super().__init__("TakeMany operation", timeout_ms)
        self._barrier, self._count, self._small, self._whole = barrier, count, small, whole
        self._taken: list[tuple[int, bytes, list[Any]]] = []

    def step(self) -> bool:
        b, count = self._barrier, self._count
        now = count if len(b.whole) >= count else 0
        if not now and b.closed:
            total = len(b.whole) + len(b.begun)
            if not total if self._small else total < count:
                raise OutOfRangeError(f"Barrier '{b.name}' is closed and has insufficient elements (requested {count}, "
                                      f"total size {total})")
            if self._small and not (b.begun and self._whole):
                now = len(b.whole)
        self._taken = b.pop(now)
        return bool(self._taken)

    def result(self) -> Any:
        return self._barrier.stacked(self._taken)


# ---- ops
def _barrier_shape(op: Operation) -> list[TensorShape]:
    types, shapes = op.attrs["component_types"], op.attrs["shapes"]
    if op.attrs["capacity"] != -1:
        raise InvalidArgumentError("[Barrier] Barrier only accepts capacity=-1. Fix: feed it through a queue")
    if not types or len(shapes) != len(types) or not all(s.is_fully_defined() for s in shapes):
        raise InvalidArgumentError("[Barrier] All of the component shapes must be specified")
    return [SCALAR]


@define("Barrier() -> handle: &string", component_types=attr("list(type)"), shapes=attr("list(shape)", []), capacity=-1,
        container="", shared_name="", shape=_barrier_shape, **_USE)
def barrier(*, container: str, shared_name: str, op: Operation, state: State) -> Barrier:
    """A barrier of elements of component_types and shapes."""
    made: Barrier = state.find_or_create(container, shared_name or op.name, lambda: Barrier(state, op))
    if made.dtypes != op.attrs["component_types"] or made.shapes != op.attrs["shapes"]:
        raise InvalidArgumentError(f"[Barrier] shared barrier '{made.name}' has other components than those requested")
    return made


@define("BarrierInsertMany(handle: &string, keys: string, values: T)", T=(*FIXED, dtypes.string),
        component_index=attr("int"), **_USE)
def insert_many(handle: Barrier, keys: Array, values: Array, *, component_index: int) -> None:
    """Gives the elements keys[k] their component values[k]. An element has each component once."""
    if not 0 <= component_index < len(handle.dtypes):
        raise InvalidArgumentError(f"[BarrierInsertMany] The component ID is out of range {component_index} > "
                                   f"num_components (= {len(handle.dtypes)})")
    if keys.ndim != 1 or values.ndim < 1 or len(values) != len(keys):
        raise InvalidArgumentError("[BarrierInsertMany] keys must be a vector, and values one row for each: got shapes "
                                   f"{keys.shape} and {values.shape}")
    shape = handle.shapes[component_index]
    if not shape.is_compatible_with(values.shape[1:]):
        raise InvalidArgumentError(f"[BarrierInsertMany] Shape mismatch: component {component_index} of barrier "
                                   f"'{handle.name}' is {handle.dtypes[component_index]} {shape}: got rows of "
                                   f"{values.shape}")
    handle.insert(component_index, list(keys), values)


def _take_shapes(op: Operation) -> list[TensorShape]:
    source = op.inputs[0].op
    shapes = source.attrs["shapes"] if source.type == "Barrier" else [UNKNOWN] * len(op.attrs["component_types"])
    rows = TensorShape([None])
    return [rows, rows, *(rows.concatenate(s) for s in shapes)]


@define("BarrierTakeMany(handle: &string, num_elements: int32) -> indices: int64, keys: string, values: "
        "[component_types]", component_types=attr("list(type)"), allow_small_batch=False, wait_for_incomplete=False,
        timeout_ms=-1, waits=True, shape=_take_shapes, **_USE)
def take_many(handle: Barrier, num_elements: Array, *, allow_small_batch: bool, wait_for_incomplete: bool,
              timeout_ms: int) -> Any:
    """The first num_elements whole elements; waits for them. Of a closed barrier with fewer: OutOfRangeError, or with
    allow_small_batch what there is (with wait_for_incomplete: once all that have begun are whole)."""
    count = int(num_elements)
    if count < 0:
        raise InvalidArgumentError(f"[BarrierTakeMany] num_elements must be >= 0: got {count}")
    if not count:
        return handle.stacked([])
    return handle.start(0, _Take(handle, count, allow_small_batch, wait_for_incomplete, timeout_ms))


@define("BarrierClose(handle: &string)", cancel_pending_enqueues=False, **_USE)
def close(handle: Barrier, *, cancel_pending_enqueues: bool) -> None:
    """No new keys after this; with cancel_pending_enqueues what has begun is dropped too."""
    handle.close(cancel_pending_enqueues)


@define("BarrierReadySize(handle: &string) -> size: int32", shape=scalar_shape, **_USE)
def ready_size(handle: Barrier) -> Array:
    """How many elements are whole."""
    return np.array(len(handle.whole), np.int32)


@define("BarrierIncompleteSize(handle: &string) -> size: int32", shape=scalar_shape, **_USE)
def incomplete_size(handle: Barrier) -> Array:
    """How many elements have begun and are not whole."""
    return np.array(len(handle.begun), np.int32)


# ---- samples
_TYPES, _SHAPES = [dtypes.float32, dtypes.int64], [TensorShape([2]), SCALAR]


def _barrier(whole: int = 0, closed: bool = False) -> Made:
    """A barrier with that many whole elements and one more that has begun."""
    def make(_: dict[str, Any]) -> Tensor:
        handle: Tensor = barrier(component_types=_TYPES, shapes=_SHAPES, name="barrier")
        keys = np.array([b"key %d" % i for i in range(whole + 1)], object)
        first = insert_many(handle, keys, np.arange(2 * whole + 2, dtype=np.float32).reshape(-1, 2), component_index=0,
                            name="first")
        with handle.graph.control_dependencies([first]):
            second = insert_many(handle, keys[:whole], np.arange(whole), component_index=1, name="second")
        if closed:
            with handle.graph.control_dependencies([second]):
                close(handle, name="close_barrier")
        return handle
    return Made(make)


_KEYS = np.array([b"a", b"b"], object)
barrier.sample(component_types=_TYPES, shapes=_SHAPES)
barrier.sample(component_types=_TYPES, shapes=_SHAPES, capacity=3)  # refused
barrier.sample(component_types=_TYPES)  # refused
insert_many.sample(_barrier(), _KEYS, normal(2, 2), component_index=0, T=dtypes.float32)
for _keys, _rows, _component in ((_KEYS, (2, 3), 0), (_KEYS, (3, 2), 0), (_KEYS, (2, 2), 2), (_KEYS[[0, 0]], (2, 2), 0),
                                 (np.array([b"key 0"], object), (1, 2), 0)):  # refused
    insert_many.sample(_barrier(), _keys, normal(*_rows), component_index=_component, T=dtypes.float32)
take_many.sample(_barrier(3), np.int32(2), component_types=_TYPES)
take_many.sample(_barrier(3), np.int32(0), component_types=_TYPES)
take_many.sample(_barrier(2, closed=True), np.int32(3), component_types=_TYPES, allow_small_batch=True)
take_many.sample(_barrier(2), np.int32(-1), component_types=_TYPES)  # refused
close.sample(_barrier(1))
close.sample(_barrier(1), cancel_pending_enqueues=True)
ready_size.sample(_barrier(2))
incomplete_size.sample(_barrier(2))

__all__ = ["barrier", "close", "incomplete_size", "insert_many", "ready_size", "take_many"]
