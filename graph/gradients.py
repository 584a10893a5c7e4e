"""Reverse-mode differentiation by graph rewriting.

``gradients(ys, xs)`` walks the graph backwards from ys, calls the gradient rule of every operation between xs and ys,
and adds up what meets at a tensor (AddN; IndexedSlices stay sparse as long as all contributions are). The rules stand
beside the op definitions.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .dtypes import DType
from .errors import InvalidArgumentError
from .graph import Graph
from .indexed_slices import IndexedSlices
from .opdef import OPS
from .operation import Operation, Tensor
from .topology import topological_order

Gradient = Tensor | IndexedSlices | None


def gradients(ys: Any, xs: Any, grad_ys: Any = None, name: str = "gradients", stop_gradients: Any = (),
              **ignored: Any) -> list[Gradient]:
    """d(sum of ys) / dx for each x: a tensor of x's shape, or IndexedSlices for a gathered variable, or None where ys
    do not depend on x.

    Args: ys, xs: tensors or variables, one or a list; grad_ys: the incoming gradient of each y (default ones);
    stop_gradients: tensors that count as constants. `gate_gradients`, `colocate_gradients_with_ops` and
    `aggregation_method` are accepted for compatibility.
    Raises: InvalidArgumentError where an operation in between has no gradient.
    """
    unknown = set(ignored) - {"gate_gradients", "colocate_gradients_with_ops", "aggregation_method"}
    if unknown:
        raise TypeError(f"gradients() has no argument {unknown.pop()!r}")
    y_list = [_tensor(y) for y in _listed(ys)]
    x_list = [_tensor(x, as_ref=True) for x in _listed(xs)]
    stops = {_tensor(s) for s in _listed(stop_gradients)}
    if not y_list:
        raise InvalidArgumentError("[gradients] needs at least one y")
    for y in y_list:
        if not y.dtype.is_floating:
            raise InvalidArgumentError(f"[gradients] y must be floating: {y.name!r} is {y.dtype}.{y.op.where}")
    graph = y_list[0].graph
    seeds = _listed(grad_ys) if grad_ys is not None else [None] * len(y_list)
    if len(seeds) != len(y_list):
        raise InvalidArgumentError(f"[gradients] {len(y_list)} ys but {len(seeds)} grad_ys")

    with graph.as_default(), graph.name_scope(name) as scope:
        graph.gradient_source = scope.rstrip("/")
        pending: dict[Tensor, list[Any]] = {}
        for y, seed in zip(y_list, seeds):
            pending.setdefault(y, []).append(_seed(y, seed))
        wanted = set(x_list)
        for op in reversed(_between(y_list, wanted, stops)):
            _differentiate(graph, op, pending, wanted, stops)
        return [_total(pending, x) for x in x_list]


def _between(ys: Sequence[Tensor], xs: set[Tensor], stops: set[Tensor]) -> list[Operation]:
    """Operations on a path from some x to some y, in topological order."""
    needed: set[Operation] = set()
    stack = [y.op for y in ys]
    while stack:
        op = stack.pop()
        if op not in needed:
            needed.add(op)
            stack.extend(t.op for t in op.inputs)
    on_path: dict[Operation, None] = {}
    for op in topological_order(sorted(needed, key=lambda o: o.id)):
        if any((t in xs or t.op in on_path) and t not in stops for t in op.inputs):
            on_path[op] = None
    return list(on_path)


def _differentiate(graph: Graph, op: Operation, pending: dict[Tensor, list[Any]], wanted: set[Tensor],
                   stops: set[Tensor]) -> None:
    """Calls the gradient rule of `op` and hands the results to its inputs."""
    if not any(t in pending for t in op.outputs):
        return
    rule = op.op_def.gradient_rule
    if rule is None:
        if op.op_def.differentiable and op.outputs[0].dtype.is_floating:
            raise InvalidArgumentError(
                f"[gradients] op {op.type} has no gradient: {op.name!r} lies between a y and an x.{op.where} "
                "Fix: wrap it in rf.stop_gradient, or write its gradient rule", op.name)
        return
    with graph.name_scope(f"{op.name}_grad"):
        incoming = [_total(pending, t) for t in op.outputs]
        if not op.op_def.aliases:
            incoming = [g._as_tensor() if isinstance(g, IndexedSlices) else g for g in incoming]
        for t in op.outputs:
            if t not in wanted:
                pending.pop(t, None)
        results = rule(op, *incoming)
    if len(results) != len(op.inputs):
        raise AssertionError(f"gradient rule of {op.type} gave {len(results)} gradients for {len(op.inputs)} inputs")
    for t, g in zip(op.inputs, results):
        if g is not None and t not in stops:
            pending.setdefault(t, []).append(g)


def _total(pending: dict[Tensor, list[Any]], t: Tensor) -> Gradient:
    """The sum of what has arrived at `t`, kept so that it is built once."""
    parts = pending.get(t)
    if not parts:
        return None
    if len(parts) > 1:
        if all(isinstance(g, IndexedSlices) for g in parts):
            total: Any = IndexedSlices(_call("ConcatV2", [g.values for g in parts], 0),
                                       _call("ConcatV2", [g.indices for g in parts], 0), parts[0].dense_shape)
        else:
            total = _call("AddN", [g._as_tensor() if isinstance(g, IndexedSlices) else g for g in parts])
        pending[t] = [total]
    result = pending[t][0]
    if isinstance(result, Tensor) and t.dtype.kind != "h":  # a handle's shape is not that of the variable
        result.shape = result.shape.merge_with(t.shape)
    return result  # type: ignore[no-any-return]


def _seed(y: Tensor, given: Any) -> Any:
    if given is None:
        if y.shape.is_fully_defined():
            return _call("Fill", list(y.shape.known), _one(y.dtype))
        return _call("OnesLike", y)
    if isinstance(given, IndexedSlices):
        return given
    from .define import convert_to_tensor

    g = convert_to_tensor(given, y.dtype)
    if not g.shape.is_compatible_with(y.shape):
        raise InvalidArgumentError(f"[gradients] grad_ys has shape {g.shape}, y {y.name!r} has {y.shape}")
    return g


def _one(dtype: DType) -> Any:
    return dtype.as_numpy_dtype.type(1)


def _call(op: str, *args: Any) -> Any:
    return OPS[op](*args)  # type: ignore[operator]


def _listed(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    return list(value) if isinstance(value, Iterable) and not hasattr(value, "dtype") else [value]


def _tensor(value: Any, as_ref: bool = False) -> Tensor:
    convert = getattr(value, "_as_ref_tensor" if as_ref else "_as_tensor", None)
    if convert is not None:
        value = convert()
    if not isinstance(value, Tensor):
        raise InvalidArgumentError(f"[gradients] a tensor or variable is needed, got {type(value).__name__} "
                                   f"{value!r:.60}")
    return value
