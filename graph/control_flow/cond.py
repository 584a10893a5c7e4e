"""rf.cond and what is made of it: one of several branches runs, the others are dead.

The form is TensorFlow's: ``cond/pred_id`` names the predicate, ``cond/switch_t`` and ``cond/switch_f`` are alive in
one branch each, every tensor from outside comes in through a Switch, and a Merge of (false, true) gives each result.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .. import dtypes, nest
from ..control_types import unit_of
from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..graph import Graph, get_default_graph
from ..indexed_slices import IndexedSlices
from ..operation import Operation, Tensor
from .contexts import CondContext, Context, call, capture, inside

Branch = Callable[[], Any]


@dataclass(eq=False)
class Cond:
    """The two branches of a predicate, (false, true), and the Merges of their results."""

    name: str
    pred: Tensor
    branches: tuple[CondContext, CondContext]
    merges: list[Operation] = field(default_factory=list)
    is_cond = True
    _known: tuple[int, list[Tensor]] | None = None

    @property
    def outer(self) -> Context | None:
        return self.branches[0].outer

    @property
    def id(self) -> int:
        """Its place among operations in the order in which they were made."""
        return min(op.id for op in self.merges)

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors that come in from outside and that some result depends on."""
        if self._known is None or self._known[0] != len(self.merges):
            self._known = len(self.merges), self._reached()
        return self._known[1]

    def _reached(self) -> list[Tensor]:
        imports = {v: u for b in (1, 0) for twin in self.branches[b].twins() for v, u in twin.imports.items()}
        seen: set[Tensor] = set()
        stack = [t for op in self.merges for t in op.inputs]
        while stack:
            t = stack.pop()
            if t not in seen:
                seen.add(t)
                if t not in imports:
                    stack += unit_of(t.op).inputs
        return list(dict.fromkeys(u for v, u in imports.items() if v in seen))

    @property
    def outputs(self) -> list[Tensor]:
        return [op.outputs[0] for op in self.merges]


def make_cond(graph: Graph, pred: Tensor, name: str, forward: Cond | None = None) -> Cond:
    """Empty branches of `pred`, a tensor of the current context."""
    contexts = [CondContext(graph, name, graph._context, pred, b, None if forward is None else forward.branches[b])
                for b in (0, 1)]
    cond_ = Cond(name, pred, (contexts[0], contexts[1]))
    for context in contexts:
        context.cond = cond_
    return cond_


def cond(pred: Any, true_fn: Branch | None = None, false_fn: Branch | None = None, strict: bool = False,
         name: str | None = None, fn1: Branch | None = None, fn2: Branch | None = None) -> Any:
    """What `true_fn` () returns where `pred` () is true, else what `false_fn` () returns. Only one of them runs.

    Both return the same structure (tensors, lists, tuples, dicts, IndexedSlices, TensorArrays, operations) of the same
    dtypes. A list or tuple of one result is returned as that result unless `strict`. An operation gives `pred`, after
    the operation has run.
    Raises: TypeError for a Python bool as `pred`; InvalidArgumentError where `pred` is no bool scalar, or the branches
    differ in structure or dtypes.

    >>> x = convert_to_tensor(3.0)
    >>> cond(x > 2.0, lambda: x * 10.0, lambda: x).name
    'cond/Merge:0'
    """
    yes, no = true_fn or fn1, false_fn or fn2
    if not callable(yes) or not callable(no):
        raise TypeError("[cond] true_fn and false_fn must be functions without arguments: got "
                        f"{type(yes).__name__} and {type(no).__name__}. Fix: write `lambda: ...`")
    if isinstance(pred, bool):
        raise TypeError(f"[cond] pred must be a tensor: got the Python bool {pred}. Fix: use a Python `if`")
    graph = get_default_graph()
    with graph.name_scope(name or "cond") as scope:
        pred = checked_pred(convert_to_tensor(pred))
        pred = capture(pred, graph._context)
        with inside(graph, graph._context):
            chosen = call("Switch", pred, pred)
        pivots = [call("Identity", chosen[1], name="switch_t"), call("Identity", chosen[0], name="switch_f")][::-1]
        made = make_cond(graph, call("Identity", pred, name="pred_id"), scope.rstrip("/"))
        results = []
        for context, function, what in ((made.branches[1], yes, "true_fn"), (made.branches[0], no, "false_fn")):
            _adopt(pivots[context.branch], context)
            results.append(_run_branch(context, function, what, strict))
        return _merge(made, results[1], results[0])


def _adopt(pivot: Tensor, context: CondContext) -> None:
    """`pivot`, and its side of the Switch before it, are in `context`."""
    context.pivot = pivot
    pivot.op.context = context
    assert context.cond is not None
    pivot.op.inputs[0].op.context = context.cond.branches


def checked_pred(pred: Tensor) -> Tensor:
    """Raises: InvalidArgumentError unless `pred` is a bool scalar."""
    if pred.dtype is not dtypes.bool_ or pred.shape.rank not in (None, 0):
        raise InvalidArgumentError(f"[cond] pred must be a bool scalar: {pred.name!r} is {pred.dtype} of shape "
                                   f"{pred.shape}.{pred.op.where} Fix: compare it, or reduce it with rf.reduce_all")
    return pred


# ---- branches
def _run_branch(context: CondContext, function: Branch, what: str, strict: bool) -> Any:
    """What `function` returns, as tensors of the branch."""
    graph = context.graph
    controls = graph._controls
    with inside(graph, context, devices=True):
        graph._controls = controls
        result = function()
        if result is None:
            raise InvalidArgumentError(f"[cond] {what} must return a value: it returned None. Fix: return a tensor or "
                                       "an operation")
        if not strict and isinstance(result, (list, tuple)) and len(result) == 1 and not hasattr(result, "_fields"):
            result = result[0]
        graph._controls = []
        return nest.pack_sequence_as(result, [_branch_result(context, r) for r in nest.flatten(result)])


def _branch_result(context: CondContext, value: Any) -> Any:
    if isinstance(value, Operation):
        with context.graph.control_dependencies([value]):
            return call("Identity", context.alive())
    if isinstance(value, IndexedSlices):
        shape = None if value.dense_shape is None else context.capture(value.dense_shape)
        return IndexedSlices(context.capture(value.values), context.capture(value.indices), shape)
    if hasattr(value, "with_flow"):
        return value.with_flow(context.capture(value.flow))
    if value is None:
        return None
    return context.capture(convert_to_tensor(value))


# ---- results
def _merge(made: Cond, no: Any, yes: Any) -> Any:
    try:
        nest.assert_same_structure(yes, no)
    except InvalidArgumentError as e:
        raise InvalidArgumentError(f"[cond] true_fn and false_fn must return the same structure: {e.message}. Fix: "
                                   "return as many results from both") from None
    pairs = zip(nest.flatten(no), nest.flatten(yes))
    return nest.pack_sequence_as(yes, [merged(made, f, t) for f, t in pairs])


def merged(made: Cond, no: Any, yes: Any) -> Any:
    """The result that the branches give as `no` and `yes`: tensors, IndexedSlices, TensorArrays or None."""
    if no is None and yes is None:
        return None
    if isinstance(no, IndexedSlices) and isinstance(yes, IndexedSlices):
        return _merged_slices(made, no, yes)
    if hasattr(no, "with_flow") and hasattr(yes, "with_flow"):
        return yes.with_flow(merged(made, no.flow, yes.flow))
    if not isinstance(no, Tensor) or not isinstance(yes, Tensor):
        raise InvalidArgumentError("[cond] results of the branches must be of one kind: "
                                   f"true_fn gave {yes!r}, false_fn {no!r}")
    if no.dtype is not yes.dtype:
        raise InvalidArgumentError(f"[cond] results of the branches must have one dtype: true_fn gave {yes.name!r}, "
                                   f"{yes.dtype}, false_fn {no.name!r}, {no.dtype}.{yes.op.where} Fix: rf.cast one of "
                                   "them")
    with inside(made.branches[0].graph, made.outer):
        op = call("RefMerge" if no.is_ref and yes.is_ref else "Merge", [no, yes])[0].op
    made.merges.append(op)
    op.graph._units[op] = made
    result: Tensor = op.outputs[0]
    return result


def _merged_slices(made: Cond, no: IndexedSlices, yes: IndexedSlices) -> IndexedSlices:
    shape = None if no.dense_shape is None or yes.dense_shape is None else merged(made, no.dense_shape, yes.dense_shape)
    indices = [x.indices for x in (no, yes)]
    if indices[0].dtype is not indices[1].dtype:
        for i, context in enumerate(made.branches):
            with context.entered():
                indices[i] = call("Cast", indices[i], DstT=dtypes.int64)
    return IndexedSlices(merged(made, no.values, yes.values), merged(made, *indices), shape)


__all__ = ["Branch", "Cond", "checked_pred", "cond", "make_cond", "merged"]
