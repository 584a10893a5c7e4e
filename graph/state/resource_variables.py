"""Variables behind handles: ``Variable(..., use_resource=True)``.

A ``VarHandleOp`` with an ``AssignVariableOp`` that initialises it and a ``ReadVariableOp`` that reads it. Updates give
no reference back; the methods return a read that comes after the update.
"""
from __future__ import annotations

from typing import Any

from ..dtypes import DType
from ..graph import get_default_graph
from ..opdef import OPS
from ..operation import Operation, Tensor
from ..shapes import TensorShape
from .variables import Variable


class ResourceVariable(Variable):
    """A variable whose reads are snapshots. As Variable in all else."""

    def _build(self, scope: str, validate_shape: bool) -> None:
        value = self._initial_value
        # Named: TensorFlow takes handles without a shared_name for one variable.
        self._ref = _call("VarHandleOp", shape=value.shape if validate_shape else TensorShape(None), dtype=value.dtype,
                          shared_name=scope.rstrip("/"), name=scope)
        self._initializer = _call("AssignVariableOp", self._ref, value, name=scope + "Assign/")
        self._snapshot = _call("ReadVariableOp", self._ref, dtype=value.dtype, name=scope + "Read/ReadVariableOp/")

    @property
    def dtype(self) -> DType:
        return self._snapshot.dtype

    @property
    def shape(self) -> TensorShape:
        return self._snapshot.shape

    def get_shape(self) -> TensorShape:
        return self._snapshot.shape

    @property
    def handle(self) -> Tensor:
        return self._ref

    # ---- reading and writing
    def read_value(self) -> Tensor:
        """A new read, made under the current control dependencies."""
        return _call("ReadVariableOp", self._ref, dtype=self.dtype)  # type: ignore[no-any-return]

    def _after(self, update: Operation, name: str | None) -> Tensor:
        with get_default_graph().control_dependencies([update]):
            return _call("ReadVariableOp", self._ref, dtype=self.dtype, name=name)  # type: ignore[no-any-return]

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        return self._after(_call("AssignVariableOp", self._ref, value, dtype=self.dtype), name)

    def assign_add(self, delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        return self._after(_call("AssignAddVariableOp", self._ref, delta, dtype=self.dtype), name)

    def assign_sub(self, delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        return self._after(_call("AssignSubVariableOp", self._ref, delta, dtype=self.dtype), name)

    def scatter_add(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """Adds `updates` to the rows `indices`; equal indices add up."""
        return self._after(_call("ResourceScatterAdd", self._ref, indices, updates, dtype=self.dtype), name)


def _call(op: str, *args: Any, **kwargs: Any) -> Any:
    return OPS[op](*args, **kwargs)  # type: ignore[operator]
