"""What ``session.run`` may fetch: nested structures of tensors, operations, variables and names."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..errors import GraphError, InvalidArgumentError, NotFoundError
from ..graph import Graph
from ..indexed_slices import IndexedSlices
from ..operation import Operation, Tensor
from ..sparse_tensor import SparseTensor


class SparseTensorValue(NamedTuple):
    """What fetching a SparseTensor gives."""

    indices: Any
    values: Any
    dense_shape: Any


class IndexedSlicesValue(NamedTuple):
    """What fetching IndexedSlices gives."""

    values: Any
    indices: Any
    dense_shape: Any


def key_of(fetches: Any) -> Any:
    """A hashable stand-in for a structure of fetches."""
    kind = type(fetches)
    if kind is Tensor or kind is Operation or kind is str:
        return fetches
    if kind is list or kind is tuple:
        return kind, tuple([f if type(f) is Tensor or type(f) is Operation else key_of(f) for f in fetches])
    if isinstance(fetches, dict):
        return dict, tuple([(k, key_of(v)) for k, v in fetches.items()])
    if isinstance(fetches, (list, tuple)):
        return kind, tuple([key_of(f) for f in fetches])
    return fetches


class Fetches:
    """A structure taken apart: distinct `tensors` and `operations` to run, and how to put the values back."""

    def __init__(self, graph: Graph, structure: Any) -> None:
        self.tensors: list[Tensor] = []
        self.operations: list[Operation] = []
        self._index: dict[Tensor, int] = {}
        self._graph = graph
        self.rebuild: Callable[[Sequence[Any]], Any] = self._take(structure)

    @property
    def count(self) -> int:
        return len(self.tensors) + len(self.operations)

    def _take(self, structure: Any) -> Callable[[Sequence[Any]], Any]:
        if isinstance(structure, dict):
            parts = {k: self._take(v) for k, v in structure.items()}
            return lambda values: {k: part(values) for k, part in parts.items()}
        if isinstance(structure, (list, tuple)):
            return self._take_sequence(structure)
        if isinstance(structure, SparseTensor):
            components = [self._take(t) for t in (structure.indices, structure.values, structure.dense_shape)]
            return lambda values: SparseTensorValue(*[c(values) for c in components])
        if isinstance(structure, IndexedSlices):
            rows, indices = self._take(structure.values), self._take(structure.indices)
            shape = self._take(structure.dense_shape) if structure.dense_shape is not None else lambda values: None
            return lambda values: IndexedSlicesValue(rows(values), indices(values), shape(values))
        element = self._element(structure)
        if isinstance(element, Operation):
            if element not in self.operations:
                self.operations.append(element)
            return lambda values: None
        i = self._index.setdefault(element, len(self.tensors))
        if i == len(self.tensors):
            self.tensors.append(element)
        return lambda values: _unboxed(values[i])

    def _take_sequence(self, structure: Any) -> Callable[[Sequence[Any]], Any]:
        items = [self._take(s) for s in structure]
        kind = type(structure)
        if hasattr(kind, "_fields"):
            return lambda values: kind(*[item(values) for item in items])
        if kind is tuple:
            return lambda values: tuple([item(values) for item in items])
        return lambda values: [item(values) for item in items]

    def _element(self, value: Any) -> Operation | Tensor:
        try:
            return self._graph.as_graph_element(value)
        except (InvalidArgumentError, NotFoundError, GraphError) as e:
            error = type(e)(f"[fetch] cannot fetch {value!r}: {e.message}")
            raise error from None


def _unboxed(value: Any) -> Any:
    """A NumPy scalar for a 0-d array, as TensorFlow returns it."""
    return value[()] if value.ndim == 0 else value
