"""Gradients of whole conds and loops.

A cond gives a cond of the same predicate whose branches are the gradients of the branches; what a branch does not use
gets zeros from it. A loop gives a loop that runs as often, backwards: a variable for the gradient of each variable that
matters, and a sum for each tensor that the loop captured. Values of the forward loop come from its History.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..control_flow.cond import Cond, _branch_result, make_cond, merged
from ..control_flow.contexts import Context, call, capture, inside
from ..control_flow.history import History
from ..control_flow.while_loop import Loop, LoopBuilder, Variable
from ..control_types import unit_of
from ..dtypes import DType
from ..errors import UnimplementedError
from ..indexed_slices import IndexedSlices
from ..operation import Tensor
from ..ops.rules import variable_shape
from ..shapes import TensorShape
from ..topology import order_by
from .backward import backward, summed

Results = list[tuple[Tensor, Any]]


# ---- branches
def cond_gradient(cond: Cond, grads: dict[Tensor, Any], wanted: Sequence[Tensor]) -> Results:
    """Gradients of `wanted`, tensors that come into `cond`, from those of its results."""
    graph = cond.branches[0].graph
    made = make_cond(graph, capture(cond.pred, graph._context), graph._scope, forward=cond)
    found: list[dict[Tensor, Any]] = []
    for context, forward in zip(made.branches, cond.branches):
        with context.entered():
            ys = [next(y for y in t.op.inputs if y.context in forward.twins()) for t in grads]
            seeds = [_branch_result(context, g) for g in grads.values()]
            inner = {v: u for twin in forward.twins() for v, u in twin.imports.items() if u in wanted}
            results = backward(graph, ys, seeds, list(inner), border=forward.border())
            parts: dict[Tensor, list[Any]] = {}
            for t, g in zip(inner.values(), results):
                if g is not None:
                    parts.setdefault(t, []).append(g)
            found.append({t: _branch_result(context, summed(gs)) for t, gs in parts.items()})
    both: Results = []
    for t in wanted:
        pair = [f.get(t) for f in found]
        if any(g is not None for g in pair):
            both.append((t, _joined(made, t, pair)))
    return both


def _joined(made: Cond, t: Tensor, pair: list[Any]) -> Any:
    """The gradient of `t` from those that the branches give, one of which may be None."""
    for i, context in enumerate(made.branches):
        if isinstance(pair[i], IndexedSlices):
            no_rows = _no_rows(pair[i], context, made.branches[1 - i]) if pair[1 - i] is None else None
            if no_rows is not None:
                pair[1 - i] = no_rows
            elif not isinstance(pair[1 - i], IndexedSlices):
                with context.entered():
                    pair[i] = pair[i]._as_tensor()
    for i, context in enumerate(made.branches):
        if pair[i] is None:
            shape = _shape_of(t)
            with context.entered():
                pair[i] = _zeros(shape, pair[1 - i].dtype)
    return merged(made, *pair)


def _no_rows(rows: IndexedSlices, context: Context, other: Context) -> IndexedSlices | None:
    """IndexedSlices like `rows` of `context` but without any, in `other`; None where the shape is not known there."""
    dense = rows.dense_shape
    row = rows.values.shape[1:]
    outside = None if dense is None else context.imports.get(dense)
    if not isinstance(row, TensorShape) or not row.is_fully_defined() or dense is None:
        return None
    with other.entered():
        if outside is not None:
            shape = other.capture(outside)
        elif dense.op.type == "Const":
            shape = call("Identity", dense.op.attrs["value"])
        else:
            return None
        values = _zeros(np.array((0, *row.known), np.int32), rows.values.dtype)
        return IndexedSlices(values, call("Identity", np.zeros(0, rows.indices.dtype.as_numpy_dtype)), shape)


# ---- loops
def loop_gradient(loop: Loop, grads: dict[Tensor, Any], wanted: Sequence[Tensor]) -> Results:
    """Gradients of `wanted`, initial values and captured tensors, from those of the loop's results."""
    graph, forward = loop.context.graph, loop.context
    if not loop.back_prop:
        return []
    if forward.forward is not None:
        raise UnimplementedError(
            f"[gradients] the second derivative of a while_loop is not defined: {loop.name!r} is a gradient loop. "
            "Fix: unroll the loop in Python, or cut the gradient with rf.stop_gradient")
    variables, imports = _what_matters(loop, set(grads), set(wanted))
    if not variables:
        return []
    outer = graph._context
    seeds = [_seed(v, grads.get(_of(v.exit))) for v in variables]
    history = History(loop, None if outer is None else outer.history())
    name = graph.unique_name(forward.name.rpartition("/")[2])
    builder = LoopBuilder(graph, name, forward.parallel_iterations, forward)
    counter = history.begin(builder)
    backs = [builder.variable(seed, v.merge.shape, name="b_exit") for v, seed in zip(variables, seeds)]
    with inside(graph, builder.context):
        count, *values = builder.condition(call("GreaterEqual", counter.merge, 1))
        history.body(count)
        into, onto = _body(loop, variables, imports, values)
        nexts = [g if g is not None else _zeros(_shape_of(_of(v.stays)), v.merge.dtype)
                 for v, g in zip(variables, into)]
    results: Results = [(v.enter.op.inputs[0], builder.close(b, g)) for v, b, g in zip(variables, backs, nexts)]
    for t, g in zip(imports, onto):
        if g is not None:
            results.append((forward.imports[t], _accumulated(builder, forward.imports[t], g)))
    history.end(counter)
    return results


def _accumulated(builder: LoopBuilder, t: Tensor, g: Any) -> Any:
    """The sum over all iterations of `g`, made in the loop: the gradient of `t`, which is outside of it."""
    row = g.values.shape[1:] if isinstance(g, IndexedSlices) and g.values.shape.rank else None
    if isinstance(row, TensorShape) and row.is_fully_defined():  # rows are put one after the other
        shape = TensorShape([None]).concatenate(row)
        return IndexedSlices(_sum(builder, (0, *row.known), shape, g.values, _appended),
                             _sum(builder, (0,), TensorShape([None]), g.indices, _appended), _as_tensor(_shape_of(t)))
    with inside(builder.graph, builder.context):
        dense = g._as_tensor() if isinstance(g, IndexedSlices) else g
    return _sum(builder, _shape_of(t), None, dense, _added)


def _sum(builder: LoopBuilder, shape: Any, invariant: TensorShape | None, term: Tensor, together: Any) -> Tensor:
    """What `together` makes of zeros and the `term` of each iteration."""
    zero = _zeros(np.array(shape, np.int32) if isinstance(shape, tuple) else shape, term.dtype)
    total = builder.late_variable(zero, invariant, name="b_acc")
    with inside(builder.graph, builder.context):
        result = together(builder.body_value(total), builder.context.capture(term))
    return builder.close(total, result)


def _appended(rows: Tensor, more: Tensor) -> Tensor:
    joined: Tensor = call("ConcatV2", [rows, more], 0)
    return joined


def _added(total: Tensor, term: Tensor) -> Tensor:
    added: Tensor = call("AddV2", total, term)
    return added


def _as_tensor(shape: Any) -> Tensor:
    return shape if isinstance(shape, Tensor) else call("Identity", shape)


def _of(t: Tensor | None) -> Tensor:
    assert t is not None
    return t


def _seed(v: Variable, grad: Any) -> Tensor:
    if grad is None:
        return _zeros(_shape_of(_of(v.exit)), v.merge.dtype)
    return grad._as_tensor() if isinstance(grad, IndexedSlices) else grad


def _body(loop: Loop, variables: list[Variable], imports: list[Tensor], grads: list[Tensor]
          ) -> tuple[list[Any], list[Any]]:
    """Gradients of what the variables and `imports` are at the beginning of an iteration, from those of the variables
    at its end; None for none."""
    context = loop.context
    ends = [_of(v.next).op.inputs[0] for v in variables]
    begins = [t for v in variables for t in (_of(v.stays), v.merge)]
    found = backward(context.graph, ends, grads, [*begins, *imports], border=context.border())
    dense = [g._as_tensor() if isinstance(g, IndexedSlices) else g for g in found[:len(begins)]]
    into = []
    for k in range(0, len(begins), 2):
        parts = [g for g in dense[k:k + 2] if g is not None]
        into.append(summed(parts) if parts else None)
    return into, found[len(begins):]


def _what_matters(loop: Loop, given: set[Tensor], wanted: set[Tensor]) -> tuple[list[Variable], list[Tensor]]:
    """The variables that lie between `wanted` inputs and `given` results, and the captured tensors, as they are in the
    loop, that may need a sum."""
    context = loop.context
    variables = [v for v in loop.variables if v.merge.dtype.is_floating and v.next is not None and v.stays is not None]
    sources: dict[Tensor, int] = {}
    for i, v in enumerate(variables):
        sources[_of(v.stays)] = sources[v.merge] = 1 << i
    imports = [v for v, u in context.imports.items() if u in wanted]
    for i, t in enumerate(imports, len(variables)):
        sources[t] = 1 << i
    ends = [_of(v.next).op.inputs[0] for v in variables]
    reached = _reached(ends, sources, context.border())
    active = sum(1 << i for i, v in enumerate(variables) if v.enter.op.inputs[0] in wanted)
    active |= sum(1 << i for i in range(len(variables), len(variables) + len(imports)))
    needed = sum(1 << i for i, v in enumerate(variables) if v.exit in given)
    for _ in variables:  # as often as it can spread
        active |= sum(1 << i for i, mask in enumerate(reached) if mask & active)
        for i, mask in enumerate(reached):
            if needed >> i & 1:
                needed |= mask
    used = [i for i in range(len(variables)) if active & needed & 1 << i]
    touched = 0
    for i in used:
        touched |= reached[i]
    return [variables[i] for i in used], [t for i, t in enumerate(imports, len(variables)) if touched >> i & 1]


def _reached(ends: list[Tensor], sources: dict[Tensor, int], border: set[Tensor]) -> list[int]:
    """For each end the bits of the sources that it depends on."""
    needed: set[Any] = set()
    stack = [unit_of(t.op) for t in ends if t not in border]
    while stack:
        unit = stack.pop()
        if unit not in needed:
            needed.add(unit)
            stack.extend(unit_of(t.op) for t in unit.inputs if t not in border)
    bits: dict[Any, int] = {}

    def of(t: Tensor) -> int:
        return sources.get(t, 0) if t in border else bits[unit_of(t.op)] | sources.get(t, 0)

    def before(unit: Any) -> set[Any]:
        return {unit_of(t.op) for t in unit.inputs if t not in border}

    for unit in order_by(sorted(needed, key=lambda u: u.id), before):
        bits[unit] = 0
        for t in unit.inputs:
            bits[unit] |= of(t)
    return [of(t) for t in ends]


# ---- zeros
def _shape_of(t: Tensor) -> Any:
    """The shape of `t` (of the variable, for a handle): an array where it is known, else a tensor of the run."""
    shape = variable_shape(t) if t.dtype is dtypes.resource else t.shape
    if shape.is_fully_defined():
        return np.array(shape.known, np.int32)
    return call("VariableShape" if t.dtype is dtypes.resource else "Shape", t)


def _zeros(shape: Any, dtype: DType) -> Tensor:
    zero = dtype.as_numpy_dtype.type(0)
    result: Tensor = call("Fill", shape, zero)
    return result


__all__ = ["cond_gradient", "loop_gradient"]
