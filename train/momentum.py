"""Momentum: a = momentum * a + g; w -= learning_rate * a. Nesterov: w -= learning_rate * (g + momentum * a)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.operation import Tensor
from ringflow.graph.state.variables import Variable

from .optimizer import Optimizer


class MomentumOptimizer(Optimizer):
    """a = momentum * a + g; w -= learning_rate * a. Slot "momentum"; sparse gradients update their rows only."""

    def __init__(self, learning_rate: Any, momentum: Any, use_locking: bool = False, name: str = "Momentum",
                 use_nesterov: bool = False) -> None:
        super().__init__(name, use_locking, learning_rate=learning_rate, momentum=momentum)
        self._nesterov = use_nesterov

    def _create_slots(self, variables: Sequence[Variable]) -> None:
        for v in variables:
            self._slot(v, "momentum")

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        return self._update("ApplyMomentum", var, self._slot(var, "momentum"), self._scalar("learning_rate", var.dtype),
                            grad, self._scalar("momentum", var.dtype), use_nesterov=self._nesterov)

    def _apply_sparse(self, grad: IndexedSlices, var: Variable) -> Any:
        return self._update("SparseApplyMomentum", var, self._slot(var, "momentum"),
                            self._scalar("learning_rate", var.dtype), grad.values, grad.indices,
                            self._scalar("momentum", var.dtype), use_nesterov=self._nesterov)
