"""RMSProp: s += (g^2 - s)(1 - decay); mom = momentum * mom + learning_rate * g / sqrt(s + epsilon); w -= mom.

Source: Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning", 2012.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ringflow.graph.errors import UnimplementedError
from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.operation import Tensor
from ringflow.graph.ops.core import group
from ringflow.graph.ops.rules import build
from ringflow.graph.state.variables import Variable

from .optimizer import Optimizer


class RMSPropOptimizer(Optimizer):
    """RMSProp, uncentered. Slots "rms" (starts at 1) and "momentum"; sparse gradients update their rows only."""

    def __init__(self, learning_rate: Any, decay: Any = 0.9, momentum: Any = 0.0, epsilon: Any = 1e-10,
                 use_locking: bool = False, centered: bool = False, name: str = "RMSProp") -> None:
        super().__init__(name, use_locking, learning_rate=learning_rate, decay=decay, momentum=momentum,
                         epsilon=epsilon)
        if centered:
            raise UnimplementedError(f"[{name}] centered=True is not supported. "
                                     "Fix: leave it out, or use AdamOptimizer")

    def _create_slots(self, variables: Sequence[Variable]) -> None:
        for v in variables:
            self._slot(v, "rms", 1.0)
            self._slot(v, "momentum")

    def _scalars_for(self, var: Variable) -> list[Tensor]:
        return [self._scalar(k, var.dtype) for k in ("learning_rate", "decay", "momentum", "epsilon")]

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        return self._update("ApplyRMSProp", var, self._slot(var, "rms"), self._slot(var, "momentum"),
                            *self._scalars_for(var), grad)

    def _apply_sparse(self, grad: IndexedSlices, var: Variable) -> Any:
        rate, decay, momentum, epsilon = self._scalars_for(var)
        rms, mom = self._slot(var, "rms"), self._slot(var, "momentum")
        one, axis = var.dtype.as_numpy_dtype.type(1), np.int32(0)
        old = build("GatherV2", rms, grad.indices, axis)
        mean = old + (build("Square", grad.values) - old) * (one - decay)
        step = rate * grad.values * build("Rsqrt", mean + epsilon)
        step = build("GatherV2", mom, grad.indices, axis) * momentum + step
        return group(self._update("ScatterUpdate", rms, grad.indices, mean),
                     self._update("ScatterUpdate", mom, grad.indices, step),
                     self._update("ScatterSub", var, grad.indices, step))
