"""Gradient descent: w -= learning_rate * g."""
from __future__ import annotations

from typing import Any

from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.operation import Tensor
from ringflow.graph.ops.rules import build
from ringflow.graph.state.variables import Variable

from .optimizer import Optimizer


class GradientDescentOptimizer(Optimizer):
    """w -= learning_rate * g; only the gathered rows where the gradient is sparse."""

    zero_rows_stay = True

    def __init__(self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent") -> None:
        super().__init__(name, use_locking, learning_rate=learning_rate)

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        return self._update("ApplyGradientDescent", var, self._scalar("learning_rate", var.dtype), grad)

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Variable) -> Any:
        delta = build("Mul", grad.values, self._scalar("learning_rate", var.dtype))
        return self._update("ScatterSub", var, grad.indices, delta)  # equal indices add up by themselves
