"""Reverse-mode differentiation by graph rewriting.

``gradients(ys, xs)`` walks the graph backwards from ys (backward.py), calls the gradient rule of every operation
between xs and ys, and adds up what meets at a tensor (AddN; IndexedSlices stay sparse as long as all contributions
are). The rules stand beside the op definitions; conds and loops are differentiated as a whole.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..control_flow.contexts import Context, capture
from ..dtypes import DType
from ..errors import InvalidArgumentError
from ..indexed_slices import IndexedSlices
from ..opdef import OPS
from ..operation import Tensor
from .backward import Gradient, backward


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
        given = [_seed(y, seed) for y, seed in zip(y_list, seeds)]
        context = _common_context(y_list)
        y_list, x_list = [_seen(y, context) for y in y_list], [_seen(x, context) for x in x_list]
        border: set[Tensor] = set() if context is None else context.border()
        return backward(graph, y_list, given, x_list, stops, border)


def _common_context(ys: Sequence[Tensor]) -> Context | None:
    """The innermost branch or loop that the ys are in."""
    contexts = [y.context for y in ys]
    return max(contexts, key=lambda c: 0 if c is None else len(list(c.around())))


def _seen(t: Tensor, context: Context | None) -> Tensor:
    """`t` as it is in `context`. Raises: InvalidArgumentError where it is in another branch or loop."""
    if t.context is context:
        return t
    try:
        return capture(t, context)
    except InvalidArgumentError as e:
        raise InvalidArgumentError(f"[gradients] ys and xs must be in one branch or loop, or around it: {e.message}. "
                                   "Fix: differentiate inside of it, or return it") from None


def _seed(y: Tensor, given: Any) -> Any:
    if given is None:
        if y.shape.is_fully_defined():
            return _call("Fill", list(y.shape.known), _one(y.dtype))
        return _call("OnesLike", y)
    if isinstance(given, IndexedSlices):
        return given
    from ..define import convert_to_tensor

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
