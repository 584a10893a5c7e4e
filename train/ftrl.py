"""FTRL-proximal: weights that an l1 penalty keeps at 0 until the gradients insist.

Source: McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.operation import Tensor
from ringflow.graph.state.variables import Variable

from .optimizer import Optimizer

_SCALARS = ("learning_rate", "l1_regularization_strength", "l2_regularization_strength", "learning_rate_power")


class FtrlOptimizer(Optimizer):
    """With a' = a + g^2 and p = learning_rate_power: z += g - (a'^-p - a^-p) / learning_rate * w; w = 0 where
    |z| <= l1, else (sign(z) l1 - z) / (a'^-p / learning_rate + 2 l2). Slots "accum" (a) and "linear" (z)."""

    def __init__(self, learning_rate: Any, learning_rate_power: float = -0.5, initial_accumulator_value: float = 0.1,
                 l1_regularization_strength: float = 0.0, l2_regularization_strength: float = 0.0,
                 use_locking: bool = False, name: str = "Ftrl") -> None:
        """Raises: InvalidArgumentError for a negative initial value or strength, or a positive power."""
        at_least_0 = {"initial_accumulator_value": initial_accumulator_value,
                      "l1_regularization_strength": l1_regularization_strength,
                      "l2_regularization_strength": l2_regularization_strength,
                      "minus learning_rate_power": -learning_rate_power}
        for what, value in at_least_0.items():
            if value < 0:
                raise InvalidArgumentError(f"[{name}] {what} must be >= 0: got {value}")
        super().__init__(name, use_locking, learning_rate=learning_rate, learning_rate_power=learning_rate_power,
                         l1_regularization_strength=l1_regularization_strength,
                         l2_regularization_strength=l2_regularization_strength)
        self._initial = initial_accumulator_value

    def _create_slots(self, variables: Sequence[Variable]) -> None:
        for v in variables:
            self._slot(v, "accum", self._initial)
            self._slot(v, "linear")

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        return self._update("ApplyFtrl", var, self._slot(var, "accum"), self._slot(var, "linear"), grad,
                            *(self._scalar(k, var.dtype) for k in _SCALARS))

    def _apply_sparse(self, grad: IndexedSlices, var: Variable) -> Any:
        return self._update("SparseApplyFtrl", var, self._slot(var, "accum"), self._slot(var, "linear"), grad.values,
                            grad.indices, *(self._scalar(k, var.dtype) for k in _SCALARS))
