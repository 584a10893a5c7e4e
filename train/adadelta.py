"""Adadelta: steps in the unit of the weights, from running means of squared gradients and squared steps.

Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", arXiv 1212.5701.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.operation import Tensor
from ringflow.graph.state.variables import Variable

from .optimizer import Optimizer


class AdadeltaOptimizer(Optimizer):
    """a = rho a + (1 - rho) g^2; u = sqrt(d + epsilon) / sqrt(a + epsilon) g; w -= learning_rate u;
    d = rho d + (1 - rho) u^2. Slots "accum" (a) and "accum_update" (d); sparse gradients update their rows only."""

    def __init__(self, learning_rate: Any = 0.001, rho: Any = 0.95, epsilon: Any = 1e-8, use_locking: bool = False,
                 name: str = "Adadelta") -> None:
        super().__init__(name, use_locking, learning_rate=learning_rate, rho=rho, epsilon=epsilon)

    def _create_slots(self, variables: Sequence[Variable]) -> None:
        for v in variables:
            self._slot(v, "accum")
            self._slot(v, "accum_update")

    def _before_gradient(self, var: Variable) -> list[Any]:
        """What ApplyAdadelta takes before the gradient."""
        slots = [self._slot(var, name) for name in ("accum", "accum_update")]
        return [*slots, *(self._scalar(k, var.dtype) for k in ("learning_rate", "rho", "epsilon"))]

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        return self._update("ApplyAdadelta", var, *self._before_gradient(var), grad)

    def _apply_sparse(self, grad: IndexedSlices, var: Variable) -> Any:
        return self._update("SparseApplyAdadelta", var, *self._before_gradient(var), grad.values, grad.indices)
