"""Adam: moving averages of the gradient and of its square.

m += (g - m)(1 - beta1); v += (g^2 - v)(1 - beta2); w -= lr sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon).
Source: Kingma and Ba, arXiv 1412.6980, with epsilon where TensorFlow has it ("epsilon hat" of section 2).
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ringflow.graph.graph import get_default_graph
from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.operation import Operation, Tensor
from ringflow.graph.ops.core import group
from ringflow.graph.ops.rules import build
from ringflow.graph.state.resource_variables import ResourceVariable
from ringflow.graph.state.variables import Variable

from .optimizer import Optimizer

_SETTINGS = ("learning_rate", "beta1", "beta2", "epsilon")


class AdamOptimizer(Optimizer):
    """Adam. Slots "m" and "v"; the powers beta1^t and beta2^t are variables that are updated after all others.

    A sparse gradient decays m and v of every row, as a dense gradient with zeros in the other rows would.
    """

    zero_rows_stay = True

    def __init__(self, learning_rate: Any = 0.001, beta1: Any = 0.9, beta2: Any = 0.999, epsilon: Any = 1e-8,
                 use_locking: bool = False, name: str = "Adam") -> None:
        super().__init__(name, use_locking, learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)

    def _create_slots(self, variables: Sequence[Variable]) -> None:
        first = min(variables, key=lambda v: v.name)
        for beta in ("beta1", "beta2"):
            start = self._settings[beta]
            self._global(f"{beta}_power", start() if callable(start) else start, first)
        for v in variables:
            self._slot(v, "m")
            self._slot(v, "v")

    def _power(self, beta: str) -> Variable:
        return self._globals[f"{beta}_power", get_default_graph()]

    def _power_as(self, beta: str, var: Variable) -> Tensor:
        power = self._power(beta).value()
        return power if power.dtype is var.dtype else build("Cast", power, DstT=var.dtype)

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        lr, beta1, beta2, epsilon = (self._scalar(k, var.dtype) for k in _SETTINGS)
        return self._update("ApplyAdam", var, self._slot(var, "m"), self._slot(var, "v"), self._power_as("beta1", var),
                            self._power_as("beta2", var), lr, beta1, beta2, epsilon, grad)

    def _apply_sparse(self, grad: IndexedSlices, var: Variable) -> Any:
        lr, beta1, beta2, epsilon = (self._scalar(k, var.dtype) for k in _SETTINGS)
        one = var.dtype.as_numpy_dtype.type(1)
        rate = lr * build("Sqrt", one - self._power_as("beta2", var)) / (one - self._power_as("beta1", var))
        m = _moving_average(self._slot(var, "m"), beta1, grad.values * (one - beta1), grad.indices)
        v = _moving_average(self._slot(var, "v"), beta2, build("Square", grad.values) * (one - beta2), grad.indices)
        update = self._update("AssignSub", var, rate * m / (build("Sqrt", v) + epsilon))
        return group(update, m, v)

    def _finish(self, updates: Sequence[Operation], name: str) -> Operation:
        after = []
        with get_default_graph().control_dependencies(updates):
            for beta in ("beta1", "beta2"):
                power = self._power(beta)
                after.append(power.assign(power.value() * self._scalar(beta, power.dtype)).op)
        return super()._finish([*updates, *after], name)


def _moving_average(slot: Variable, beta: Tensor, scaled: Tensor, indices: Tensor) -> Tensor:
    """slot = slot * beta, then slot[indices] += scaled; the result as a tensor."""
    if isinstance(slot, ResourceVariable):
        with get_default_graph().control_dependencies([slot.assign(slot.value() * beta)]):
            return slot.scatter_add(indices, scaled)
    decayed = build("Assign", slot, slot.value() * beta)
    return build("ScatterAdd", decayed, indices, scaled)
