"""Conditional accumulators as users hold them: gradients summed until enough have come.

    total = rf.ConditionalAccumulator(rf.float32, shape=[784, 10])
    push = total.apply_grad(gradient, local_step=step)
    mean = total.take_grad(8)  # waits for 8

A gradient of an earlier step than the accumulator's is dropped without a word; every take makes the accumulator one
step further. An accumulator belongs to the session that runs it, and so to its rank.
"""
from __future__ import annotations

from typing import Any

from .. import dtypes
from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..indexed_slices import IndexedSlices
from ..opdef import OPS
from ..operation import Operation, Tensor
from ..shapes import ShapeLike, as_shape


class ConditionalAccumulatorBase:
    """What both kinds can do."""

    _prefix = ""  # of the ops that both kinds have

    def __init__(self, dtype: Any, shape: ShapeLike, accumulator_ref: Tensor) -> None:
        self.dtype = dtypes.as_dtype(dtype)
        self.shape = as_shape(shape)
        self.accumulator_ref = accumulator_ref

    @property
    def name(self) -> str:
        return self.accumulator_ref.op.name

    def num_accumulated(self, name: str | None = None) -> Tensor:
        """How many gradients have come since the last were taken, an int32 scalar."""
        count: Tensor = self._op(f"{self._prefix}AccumulatorNumAccumulated", name=name or f"{self.name}_NumAccumulated")
        return count

    def set_global_step(self, new_global_step: Any, name: str | None = None) -> Operation:
        """An operation after which gradients of steps before `new_global_step` are dropped."""
        op: Operation = self._op(f"{self._prefix}AccumulatorSetGlobalStep",
                                 convert_to_tensor(new_global_step, dtypes.int64),
                                 name=name or f"{self.name}_SetGlobalStep")
        return op

    def _op(self, op: str, *inputs: Any, **attrs: Any) -> Any:
        return OPS[op](self.accumulator_ref, *inputs, **attrs)  # type: ignore[operator]


class ConditionalAccumulator(ConditionalAccumulatorBase):
    """Of dense gradients."""

    _prefix = "Resource"

    def __init__(self, dtype: Any, shape: ShapeLike = None, shared_name: str | None = None,
                 name: str = "conditional_accumulator", reduction_type: str = "MEAN") -> None:
        """Args: shape: of the gradients; shared_name: under which nodes share it; reduction_type: MEAN or SUM."""
        dtype, shape = dtypes.as_dtype(dtype), as_shape(shape)
        handle = _make("ResourceConditionalAccumulator", dtype, shape, shared_name, name, reduction_type)
        super().__init__(dtype, shape, handle)

    def apply_grad(self, grad: Any, local_step: Any = 0, name: str | None = None) -> Operation:
        """An operation that adds `grad` unless `local_step` is before the accumulator's step.

        Raises: InvalidArgumentError where it is of another dtype or shape.
        """
        grad = convert_to_tensor(grad, self.dtype)
        if not grad.shape.is_compatible_with(self.shape):
            raise InvalidArgumentError(f"[apply_grad] accumulator {self.name!r} sums gradients of shape {self.shape}: "
                                       f"{grad.name!r} is {grad.shape}")
        op: Operation = self._op("ResourceAccumulatorApplyGradient", convert_to_tensor(local_step, dtypes.int64), grad,
                                 name=name or f"{self.name}_ApplyGradient")
        return op

    def take_grad(self, num_required: Any, name: str | None = None) -> Tensor:
        """The mean (or sum) of all that came; the run waits until `num_required` have."""
        taken: Tensor = self._op("ResourceAccumulatorTakeGradient", convert_to_tensor(num_required, dtypes.int32),
                                 dtype=self.dtype, name=name or f"{self.name}_TakeGradient")
        taken.set_shape(self.shape)
        return taken


class SparseConditionalAccumulator(ConditionalAccumulatorBase):
    """Of rows of a variable. A mean is over the gradients that had the row."""

    def __init__(self, dtype: Any, shape: ShapeLike = None, shared_name: str | None = None,
                 name: str = "sparse_conditional_accumulator", reduction_type: str = "MEAN") -> None:
        """Args: shape: of the variable, its first dimension may be None; the others as of ConditionalAccumulator."""
        dtype, shape = dtypes.as_dtype(dtype), as_shape(shape)
        handle = _make("SparseConditionalAccumulator", dtype, shape, shared_name, name, reduction_type)
        super().__init__(dtype, shape, handle)

    def apply_grad(self, grad_indices: Any, grad_values: Any, grad_shape: Any = None, local_step: Any = 0,
                   name: str | None = None) -> Operation:
        """An operation that adds rows grad_values[k] at grad_indices[k], unless `local_step` is out of date.

        grad_indices: (n,) int64; grad_values: (n, ...); grad_shape: of the whole gradient, (rank,) int64, to check.
        """
        shape = convert_to_tensor([] if grad_shape is None else grad_shape, dtypes.int64)
        op: Operation = self._op("SparseAccumulatorApplyGradient", convert_to_tensor(local_step, dtypes.int64),
                                 convert_to_tensor(grad_indices, dtypes.int64),
                                 convert_to_tensor(grad_values, self.dtype), shape,
                                 has_known_shape=grad_shape is not None, name=name or f"{self.name}_ApplyGradient")
        return op

    def apply_indexed_slices_grad(self, grad: IndexedSlices, local_step: Any = 0, name: str | None = None) -> Operation:
        """``apply_grad`` of an IndexedSlices."""
        shape = None if grad.dense_shape is None else _int64(grad.dense_shape)
        return self.apply_grad(_int64(grad.indices), grad.values, shape, local_step, name)

    def take_grad(self, num_required: Any, name: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """(indices, values, shape) of all rows that came, each once, ascending; the run waits until `num_required`
        gradients have come."""
        taken: tuple[Tensor, Tensor, Tensor] = self._op(
            "SparseAccumulatorTakeGradient", convert_to_tensor(num_required, dtypes.int32), dtype=self.dtype,
            name=name or f"{self.name}_TakeGradient")
        return taken

    def take_indexed_slices_grad(self, num_required: Any, name: str | None = None) -> IndexedSlices:
        """``take_grad`` as IndexedSlices."""
        indices, values, shape = self.take_grad(num_required, name)
        return IndexedSlices(values, indices, OPS["Cast"](shape, DstT=dtypes.int32))  # type: ignore[operator]


def _make(op: str, dtype: Any, shape: Any, shared_name: str | None, name: str, reduction_type: str) -> Tensor:
    made: Tensor = OPS[op](dtype=dtype, shape=shape, shared_name=shared_name or "",  # type: ignore[operator]
                           reduction_type=reduction_type, name=name)
    return made


def _int64(t: Tensor) -> Tensor:
    cast: Tensor = t if t.dtype is dtypes.int64 else OPS["Cast"](t, DstT=dtypes.int64)  # type: ignore[operator]
    return cast


__all__ = ["ConditionalAccumulator", "ConditionalAccumulatorBase", "SparseConditionalAccumulator"]
