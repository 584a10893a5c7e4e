"""The backward walk: gradients of some tensors with respect to others, all in one branch or loop of the graph.

What is walked over are operations, and whole conds and loops: these have the tensors that come into them as inputs
(control_flow.py). The gradient of each is built when all that use its outputs are done.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..control_types import Unit, unit_of
from ..errors import InvalidArgumentError
from ..graph import Graph
from ..indexed_slices import IndexedSlices
from ..opdef import OPS
from ..operation import Operation, Tensor
from ..topology import order_by

if TYPE_CHECKING:
    from ..control_flow.cond import Cond
    from ..control_flow.while_loop import Loop

Gradient = Tensor | IndexedSlices | None


def backward(graph: Graph, ys: Sequence[Tensor], seeds: Sequence[Any], xs: Sequence[Tensor],
             stops: Iterable[Tensor] = (), border: Iterable[Tensor] = ()) -> list[Gradient]:
    """The gradient of each of `xs`: of the sum of ys * seeds, where `seeds` are the gradients of `ys`.

    `stops` count as constants. The walk ends at `border`: what is behind it is in another context.
    """
    return _Walk(graph, xs, set(stops), set(border)).run(ys, seeds)


class _Walk:
    def __init__(self, graph: Graph, xs: Sequence[Tensor], stops: set[Tensor], border: set[Tensor]) -> None:
        self._graph = graph
        self._xs = xs
        self._wanted = set(xs)
        self._stops = stops
        self._border = border
        self._pending: dict[Tensor, list[Any]] = {}
        self._on_path: set[Unit] = set()

    def run(self, ys: Sequence[Tensor], seeds: Sequence[Any]) -> list[Gradient]:
        for y, seed in zip(ys, seeds):
            self._pending.setdefault(y, []).append(seed)
        for unit in reversed(self._between(ys)):
            if isinstance(unit, Operation):
                self._differentiate(unit)
            else:
                self._differentiate_whole(unit)
        return [self._total(x) for x in self._xs]

    def _between(self, ys: Sequence[Tensor]) -> list[Unit]:
        """Units on a path from some x to some y, in topological order."""
        needed: set[Unit] = set()
        stack = [unit_of(y.op) for y in ys if y not in self._border]
        while stack:
            unit = stack.pop()
            if unit not in needed:
                needed.add(unit)
                stack.extend(unit_of(t.op) for t in unit.inputs if t not in self._border)
        order = []
        for unit in order_by(sorted(needed, key=lambda u: u.id), self._before):
            if any(self._reaches(t) for t in unit.inputs):
                self._on_path.add(unit)
                order.append(unit)
        return order

    def _before(self, unit: Unit) -> set[Unit]:
        return {unit_of(t.op) for t in unit.inputs if t not in self._border}

    def _reaches(self, t: Tensor) -> bool:
        """Whether `t` depends on some x."""
        return t not in self._stops and (
            t in self._wanted or t not in self._border and unit_of(t.op) in self._on_path)

    def _differentiate(self, op: Operation) -> None:
        """Calls the gradient rule of `op` and hands the results to its inputs."""
        pending = self._pending
        if not any(t in pending for t in op.outputs):
            return
        rule = op.op_def.gradient_rule
        if rule is None:
            if op.op_def.differentiable and op.outputs[0].dtype.is_floating:
                raise InvalidArgumentError(
                    f"[gradients] op {op.type} has no gradient: {op.name!r} lies between a y and an x.{op.where} "
                    "Fix: wrap it in rf.stop_gradient, or write its gradient rule", op.name)
            return
        with self._graph.name_scope(f"{op.name}_grad"):
            incoming = [self._total(t) for t in op.outputs]
            if not op.op_def.aliases:
                incoming = [g._as_tensor() if isinstance(g, IndexedSlices) else g for g in incoming]
            for t in op.outputs:
                if t not in self._wanted:
                    pending.pop(t, None)
            results = rule(op, *incoming)
        if len(results) != len(op.inputs):
            raise AssertionError(f"gradient rule of {op.type} gave {len(results)} gradients for {len(op.inputs)} "
                                 "inputs")
        for t, g in zip(op.inputs, results):
            self._add(t, g)

    def _differentiate_whole(self, unit: Cond | Loop) -> None:
        from .control_flow import cond_gradient, loop_gradient

        with self._graph.name_scope(f"{unit.name}_grad"):
            grads = {t: g for t in unit.outputs if (g := self._total(t)) is not None}
            for t in grads:
                if t not in self._wanted:
                    self._pending.pop(t)
            if not grads:
                return
            wanted = [t for t in unit.inputs if self._reaches(t)]
            rule: Any = cond_gradient if unit.is_cond else loop_gradient
            for t, g in rule(unit, grads, wanted):
                self._add(t, g)

    def _add(self, t: Tensor, g: Any) -> None:
        if g is not None and t not in self._stops:
            self._pending.setdefault(t, []).append(g)

    def _total(self, t: Tensor) -> Gradient:
        """The sum of what has arrived at `t`, kept so that it is built once."""
        parts = self._pending.get(t)
        if not parts:
            return None
        if len(parts) > 1:
            self._pending[t] = parts = [summed(parts)]
        result: Gradient = parts[0]
        if isinstance(result, Tensor) and t.dtype.kind != "h":  # a handle's shape is not that of the variable
            result.shape = result.shape.merge_with(t.shape)
        return result


def summed(parts: Sequence[Any]) -> Any:
    """The sum of gradients of one tensor: sparse where all are."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(g, IndexedSlices) for g in parts):
        return IndexedSlices(_call("ConcatV2", [g.values for g in parts], 0),
                             _call("ConcatV2", [g.indices for g in parts], 0), parts[0].dense_shape)
    return _call("AddN", [g._as_tensor() if isinstance(g, IndexedSlices) else g for g in parts])


def _call(op: str, *args: Any) -> Any:
    return OPS[op](*args)  # type: ignore[operator]
