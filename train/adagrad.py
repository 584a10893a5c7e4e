"""Adagrad: a += g^2; w -= learning_rate * g / sqrt(a)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.operation import Tensor
from ringflow.graph.state.variables import Variable

from .optimizer import Optimizer


class AdagradOptimizer(Optimizer):
    """a += g^2; w -= learning_rate * g / sqrt(a). Slot "accumulator", which starts at `initial_accumulator_value`."""

    zero_rows_stay = True

    def __init__(self, learning_rate: Any, initial_accumulator_value: float = 0.1, use_locking: bool = False,
                 name: str = "Adagrad") -> None:
        super().__init__(name, use_locking, learning_rate=learning_rate)
        if not initial_accumulator_value > 0:
            raise InvalidArgumentError(f"[{name}] initial_accumulator_value must be positive: "
                                       f"got {initial_accumulator_value}")
        self._initial = initial_accumulator_value

    def _create_slots(self, variables: Sequence[Variable]) -> None:
        for v in variables:
            self._slot(v, "accumulator", self._initial)

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        return self._update("ApplyAdagrad", var, self._slot(var, "accumulator"),
                            self._scalar("learning_rate", var.dtype), grad)

    def _apply_sparse(self, grad: IndexedSlices, var: Variable) -> Any:
        return self._update("SparseApplyAdagrad", var, self._slot(var, "accumulator"),
                            self._scalar("learning_rate", var.dtype), grad.values, grad.indices)
