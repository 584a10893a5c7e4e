"""Conditional accumulators: gradients of several workers, summed until enough have come; and mutexes.

A gradient of an earlier step than the accumulator's is dropped without a word. Taking n waits until n have come, gives
the mean (or sum) of all that came, empties the accumulator and makes it one step further. Synchronous training with
backup workers is made of this. The ops of dense gradients are there twice: behind references and behind resources.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..define import Array, define
from ..dtypes import NUMBERS
from ..errors import InvalidArgumentError
from ..interpreter import State
from ..interpreter.waiting import Attempt, Waiting
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import Made, normal
from ..shapes import UNKNOWN, TensorShape
from .rules import scalar_shape

_USE: dict[str, Any] = {"stateful": True, "differentiable": False}
_MAKE: dict[str, Any] = {"dtype": attr("type", allowed=NUMBERS), "container": "", "shared_name": "",
                         "reduction_type": attr("string", "MEAN", ("MEAN", "SUM")), **_USE}
_DTYPE: dict[str, Any] = {"dtype": attr("type", allowed=NUMBERS), **_USE}


# ---- reference
class Accumulator(Waiting):
    """What both kinds have in common. The mirror of csrc/kernels/accumulator.h."""

    def __init__(self, state: State, op: Operation) -> None:
        super().__init__(state, 1)
        self.op, self.name = op.type, op.attrs["shared_name"] or op.name
        self.declared: TensorShape = op.attrs["shape"]
        self.mean = op.attrs["reduction_type"] == "MEAN"
        self.signature = (op.attrs["dtype"], self.mean)
        self.count, self.step = 0, 0

    def level(self) -> Any:
        return self.count, self.step

    def apply(self, local_step: int, *gradient: Any) -> None:
        with self._state.progress:
            if local_step >= self.step:
                self.add(*gradient)
                self.count += 1
                self.serve()

    def set_step(self, step: int) -> None:
        with self._state.progress:
            self.step = step

    def take(self, required: int) -> Attempt:
        if required <= 0:
            raise InvalidArgumentError(f"[{self.op}] Argument num_required must be positive, but was {required}")
        return self.start(0, _Take(self, required))

    def add(self, *gradient: Any) -> None:
        raise NotImplementedError

    def release(self) -> Any:
        """The outputs of all that has come; empties the accumulator."""
        raise NotImplementedError

    def refuse(self, wanted: Any, got: Any) -> InvalidArgumentError:
        return InvalidArgumentError(f"[{self.op}] Shape mismatch: accumulator {self.name!r} expected {wanted}, got "
                                    f"{got}")


class _Take(Attempt):
    def __init__(self, accumulator: Accumulator, required: int) -> None:
        super().__init__("TakeGradient operation")
        self._accumulator, self._required, self._result = accumulator, required, None

    def step(self) -> bool:
        a = self._accumulator
        if a.count < self._required:
            return False
        self._result = a.release()
        a.count = 0
        a.step += 1
        return True

    def result(self) -> Any:
        return self._result


class DenseAccumulator(Accumulator):
    """Sums gradients of one shape."""

    _sum: Array

    def add(self, gradient: Array) -> None:
        wanted = TensorShape(self._sum.shape) if self.count else self.declared
        if not wanted.is_compatible_with(gradient.shape):
            raise self.refuse(wanted, gradient.shape)
        self._sum = self._sum + gradient if self.count else np.array(gradient)

    def release(self) -> Array:
        total: Array = self._sum
        if not self.mean:
            return total
        if total.dtype.kind == "f":
            return np.asarray(total / total.dtype.type(self.count))
        return np.trunc(total / self.count).astype(total.dtype)


class SparseAccumulator(Accumulator):
    """Sums rows by index. A mean is over the gradients that had the row."""

    _rows: dict[int, tuple[Array, int]]
    _row_shape: tuple[int, ...]

    def add(self, indices: Array, values: Array, shape: Array | None) -> None:
        rows: Any = TensorShape(self._row_shape) if self.count else self.declared[1:]
        if values.ndim < 1 or len(values) != len(indices):
            raise self.refuse(f"{len(indices)} rows, one for each index", f"values of shape {values.shape}")
        if not rows.is_compatible_with(values.shape[1:]):
            raise self.refuse(f"rows of shape {rows}", f"values of shape {values.shape}")
        limit = self.declared.dims[0] if self.declared.dims else None
        if shape is not None:
            if len(shape) != values.ndim or tuple(shape[1:]) != values.shape[1:] or limit not in (None, shape[0]):
                raise self.refuse(f"{self.declared} and values of shape {values.shape}",
                                  f"gradient_shape {tuple(shape.tolist())}")
            limit = int(shape[0])
        bad = [i for i in indices if i < 0 or (limit is not None and i >= limit)]
        if bad:
            raise InvalidArgumentError(f"[{self.op}] Shape mismatch: accumulator {self.name!r} has {limit} rows: index "
                                       f"{bad[0]} is out of range")
        if not self.count:
            self._rows = {}
            self._row_shape = values.shape[1:]
        for i in np.unique(indices):
            row = values[indices == i].sum(0, dtype=values.dtype)
            total, count = self._rows.get(int(i), (np.zeros_like(row), 0))
            self._rows[int(i)] = (total + row, count + 1)
        self._dtype = values.dtype

    def release(self) -> Any:
        indices = np.array(sorted(self._rows), np.int64)
        values = np.zeros((len(indices), *self._row_shape), self._dtype)
        for k, i in enumerate(indices):
            total, count = self._rows[int(i)]
            values[k] = total / count if self.mean else total
        known = self.declared.dims[0] if self.declared.dims else None
        return indices, values, np.array([-1 if known is None else known, *self._row_shape], np.int64)


def _make(kind: type[Accumulator], op: Operation, state: State) -> Accumulator:
    name = op.attrs["shared_name"] or op.name
    accumulator: Accumulator = state.find_or_create(op.attrs["container"], name, lambda: kind(state, op))
    if not isinstance(accumulator, kind) or accumulator.signature != kind(state, op).signature:
        raise InvalidArgumentError(f"[{op.type}] shared accumulator {name!r} has another dtype or reduction_type than "
                                   "those requested")
    return accumulator


# ---- ops: dense
def _maker(op: Operation) -> Operation:
    source = op.inputs[0].op
    while not source.type.endswith("ConditionalAccumulator") and source.inputs:
        source = source.inputs[0].op
    return source


def _gradient_shape(op: Operation) -> list[TensorShape]:
    return [_maker(op).attrs.get("shape", UNKNOWN)]


def _dense(prefix: str, handle: str) -> list[Any]:
    """The ops of dense accumulators behind one kind of handle."""
    @define(f"{prefix}ConditionalAccumulator() -> handle: {handle}", shape=attr("shape"), **_MAKE)
    def make(*, op: Operation, state: State) -> Accumulator:
        """An accumulator of gradients of the attrs `shape` and `dtype`; reduction_type MEAN or SUM."""
        return _make(DenseAccumulator, op, state)

    make.shape(scalar_shape)

    @define(f"{prefix}AccumulatorApplyGradient(handle: {handle}, local_step: int64, gradient: dtype)", **_DTYPE)
    def apply(handle: DenseAccumulator, local_step: Array, gradient: Array) -> None:
        """Adds a gradient, unless local_step is before the accumulator's step."""
        handle.apply(int(local_step), gradient)

    @define(f"{prefix}AccumulatorTakeGradient(handle: {handle}, num_required: int32) -> average: dtype",
            shape=_gradient_shape, waits=True, **_DTYPE)
    def take(handle: Accumulator, num_required: Array) -> Attempt:
        """Waits until num_required gradients have come and gives the mean (or sum) of all that came."""
        return handle.take(int(num_required))

    @define(f"{prefix}AccumulatorSetGlobalStep(handle: {handle}, new_global_step: int64)", **_USE)
    def set_step(handle: Accumulator, new_global_step: Array) -> None:
        """Gradients of steps before new_global_step are dropped from now on."""
        handle.set_step(int(new_global_step))

    @define(f"{prefix}AccumulatorNumAccumulated(handle: {handle}) -> num_accumulated: int32", shape=scalar_shape,
            **_USE)
    def count(handle: Accumulator) -> Array:
        """How many gradients have come since the last were taken."""
        return np.array(handle.count, np.int32)

    return [make, apply, take, set_step, count]


REF, RESOURCE = _dense("", "&string"), _dense("Resource", "resource")


# ---- ops: sparse
@define("SparseConditionalAccumulator() -> handle: &string", shape=attr("shape"), **_MAKE)
def sparse_accumulator(*, op: Operation, state: State) -> Accumulator:
    """An accumulator of rows of a variable of the attrs `shape` and `dtype`; reduction_type MEAN or SUM."""
    return _make(SparseAccumulator, op, state)


sparse_accumulator.shape(scalar_shape)


@define("SparseAccumulatorApplyGradient(handle: &string, local_step: int64, gradient_indices: int64, gradient_values: "
        "dtype, gradient_shape: int64)", has_known_shape=attr("bool"), **_DTYPE)
def sparse_apply(handle: SparseAccumulator, local_step: Array, gradient_indices: Array, gradient_values: Array,
                 gradient_shape: Array, *, has_known_shape: bool) -> None:
    """Adds rows gradient_values[k] at gradient_indices[k], unless local_step is before the accumulator's step."""
    if gradient_indices.ndim != 1:
        raise InvalidArgumentError("[SparseAccumulatorApplyGradient] Input indices should be vector but received "
                                   f"shape: {gradient_indices.shape}")
    handle.apply(int(local_step), gradient_indices, gradient_values, gradient_shape if has_known_shape else None)


def _sparse_shapes(op: Operation) -> list[TensorShape]:
    shape = _gradient_shape(op)[0]
    rank = shape.rank
    values = UNKNOWN if rank is None else TensorShape([None]).concatenate(shape[1:])
    return [TensorShape([None]), values, TensorShape([rank])]


@define("SparseAccumulatorTakeGradient(handle: &string, num_required: int32) -> indices: int64, values: dtype, shape: "
        "int64", shape=_sparse_shapes, waits=True, **_DTYPE)
def sparse_take(handle: Accumulator, num_required: Array) -> Attempt:
    """Waits until num_required gradients have come; every index that came, ascending, and the means of its rows."""
    return handle.take(int(num_required))


# ---- samples
def _filled(make: Any, apply: Any, gradients: int, **attrs: Any) -> Made:
    def build(given: dict[str, Any]) -> Tensor:
        dtype = given.get("dtype", dtypes.float32)
        handle: Tensor = make(**{"shape": TensorShape([2]), "dtype": dtype, "name": "accumulator", **attrs})
        last: list[Operation] = []
        for i in range(gradients):
            with handle.graph.control_dependencies(last):
                value = np.array([i, 2 * i + 1]).astype(dtype.as_numpy_dtype)
                if apply is sparse_apply:
                    rows = np.array([i, i + 1]), np.stack([value, value]), np.zeros(0, np.int64)
                    last = [apply(handle, np.int64(0), *rows, has_known_shape=False, dtype=dtype, name=f"apply_{i}")]
                else:
                    last = [apply(handle, np.int64(0), value, dtype=dtype, name=f"apply_{i}")]
        return handle
    return Made(build)


for _make_op, _apply, _take_op, _set_step, _count in (REF, RESOURCE):
    _make_op.sample(shape=TensorShape([2]))
    _make_op.sample(shape=TensorShape(None), reduction_type="SUM")
    _apply.sample(_filled(_make_op, _apply, 1), np.int64(0), normal(2))
    _apply.sample(_filled(_make_op, _apply, 0), np.int64(-1), normal(3))  # dropped before its shape is looked at
    _apply.sample(_filled(_make_op, _apply, 0), np.int64(0), normal(3))  # refused
    for _reduction in ("MEAN", "SUM"):
        _take_op.sample(_filled(_make_op, _apply, 3, reduction_type=_reduction), np.int32(2))
    _take_op.sample(_filled(_make_op, _apply, 1), np.int32(0))  # refused
    _set_step.sample(_filled(_make_op, _apply, 1), np.int64(3))
    _count.sample(_filled(_make_op, _apply, 2))

_ROWS: dict[str, Any] = {"shape": TensorShape([None, 2])}
sparse_accumulator.sample(**_ROWS)
_sparse = _filled(sparse_accumulator, sparse_apply, 2, **_ROWS)
sparse_apply.sample(_sparse, np.int64(0), np.array([5, 1]), normal(2, 2), np.zeros(0, np.int64), has_known_shape=False)
sparse_apply.sample(_sparse, np.int64(0), np.array([5, 5]), normal(2, 2), np.array([7, 2]), has_known_shape=True)
for _indices, _rows, _dims in (([5, 1], 2, [7, 3]), ([7, 1], 2, [7, 2]), ([-1, 1], 2, [7, 2]), ([1, 2, 3], 2, [7, 2]),
                               ([1, 2], 3, [7, 3])):  # refused
    sparse_apply.sample(_sparse, np.int64(0), np.array(_indices), normal(2, _rows), np.array(_dims),
                        has_known_shape=True)
for _reduction in ("MEAN", "SUM"):
    sparse_take.sample(_filled(sparse_accumulator, sparse_apply, 3, reduction_type=_reduction, **_ROWS), np.int32(2))
sparse_take.sample(_sparse, np.int32(0))  # refused

__all__ = ["REF", "RESOURCE", "sparse_accumulator", "sparse_apply", "sparse_take"]
