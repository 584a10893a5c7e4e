"""rf.while_loop: a body that runs as long as a predicate holds.

The form is TensorFlow's: each loop variable goes Enter -> Merge -> Switch -> (Identity -> body -> NextIteration, back
to the Merge) or Exit; ``while/LoopCond`` decides. Tensors from outside come in through constant Enters.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .. import dtypes, nest
from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..graph import Graph, get_default_graph
from ..indexed_slices import IndexedSlices
from ..operation import Operation, Tensor
from ..shapes import TensorShape
from .contexts import Context, WhileContext, call, capture, inside


@dataclass
class Variable:
    """One loop variable, by the operations that it goes through."""

    enter: Tensor
    merge: Tensor
    leaves: Tensor | None = None  # outputs of its Switch
    stays: Tensor | None = None
    next: Tensor | None = None
    exit: Tensor | None = None


@dataclass(eq=False)
class Loop:
    """A loop: its context, its variables, and its predicate."""

    name: str
    context: WhileContext
    variables: list[Variable] = field(default_factory=list)
    condition: Tensor | None = None
    back_prop: bool = True
    is_cond = False

    @property
    def id(self) -> int:
        """Its place among operations in the order in which they were made."""
        return self.variables[0].enter.op.id

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors that come in from outside: initial values and captured ones."""
        return list(dict.fromkeys([*(v.enter.op.inputs[0] for v in self.variables), *self.context.imports.values()]))

    @property
    def outputs(self) -> list[Tensor]:
        return [v.exit for v in self.variables if v.exit is not None]


class LoopBuilder:
    """Builds a loop step by step: variables, condition, next values, exits."""

    def __init__(self, graph: Graph, name: str, parallel_iterations: int = 10, forward: Context | None = None) -> None:
        """Args: name: of the frame, unique in the graph."""
        self.graph = graph
        self.context = WhileContext(graph, name, graph._context, parallel_iterations, forward)
        self.loop = self.context.loop_ = Loop(name.rpartition("/")[0] or name, self.context)

    def variable(self, initial: Tensor, shape: TensorShape | None = None, before: Any = (),
                 name: str = "Enter") -> Variable:
        """A loop variable that begins as `initial`, a tensor of the context outside."""
        entered = self.context.enter(capture(initial, self.context.outer), False, before, name)
        if shape is not None:
            entered.shape = shape
        with inside(self.graph, self.context):
            merge = call("Merge", [entered, entered])[0]
        made = Variable(entered, merge)
        self.loop.variables.append(made)
        if self.context.pivot is None:
            self.context.pivot = merge
        return made

    def condition(self, pred: Tensor) -> list[Tensor]:
        """The loop goes on while `pred`, made in the loop, holds. Returns: the variables as the body sees them."""
        with inside(self.graph, self.context):
            self.loop.condition = call("LoopCond", self.context.capture(pred), name="LoopCond")
            for v in self.loop.variables:
                v.leaves, v.stays = call("Switch", v.merge, self.loop.condition)
            return [self.body_value(v) for v in self.loop.variables]

    def late_variable(self, initial: Tensor, shape: TensorShape | None = None, name: str = "Enter") -> Variable:
        """A variable that is thought of while the body is built. Its value there is ``body_value(variable)``."""
        made = self.variable(initial, shape, name=name)
        with inside(self.graph, self.context):
            made.leaves, made.stays = call("Switch", made.merge, self.loop.condition)
        return made

    def body_value(self, v: Variable) -> Tensor:
        value: Tensor = call("Identity", v.stays)
        if self.context.pivot is None or self.context.pivot.op.type == "Merge":
            self.context.pivot = value
        return value

    def close(self, v: Variable, value: Tensor) -> Tensor:
        """`value` is the variable in the next iteration. Returns: what it is after the loop."""
        with inside(self.graph, self.context):
            v.next = call("NextIteration", self.context.capture(value))
            v.merge.op._update_input(1, v.next)
        with inside(self.graph, self.context.outer):
            exit_ = call("Exit", v.leaves)
        v.exit = exit_
        self.graph._units[exit_.op] = self.loop
        return exit_  # type: ignore[no-any-return]


def while_loop(cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, shape_invariants: Any = None,
               parallel_iterations: int = 10, back_prop: bool = True, swap_memory: bool = False,
               name: str | None = None, maximum_iterations: Any = None, return_same_structure: bool = False) -> Any:
    """``while cond(*v): v = body(*v)``, and v at the end, as one part of the graph.

    `loop_vars`: a list, tuple or dict of tensors, numbers, TensorArrays or structures of them; what `body` returns has
    the same structure, dtypes and shapes. `shape_invariants`: a TensorShape for each, of the same structure, where a
    shape changes from one iteration to the next. `parallel_iterations`: how many may be in progress at once.
    `back_prop` False: there is no gradient through the loop. `maximum_iterations`: an integer scalar. `swap_memory` is
    accepted for compatibility.
    Returns: the structure of `loop_vars`; the value alone where there is one (unless `return_same_structure`).
    Raises: InvalidArgumentError where `cond` gives no bool scalar, or `body` another structure, dtype or shape.

    >>> i = while_loop(lambda i: i < 10, lambda i: i + 3, [0])
    >>> i.name
    'while/Exit:0'
    """
    if not callable(cond) or not callable(body):
        raise TypeError(f"[while_loop] cond and body must be functions: got {type(cond).__name__} and "
                        f"{type(body).__name__}")
    if not nest.is_nested(loop_vars) or not nest.flatten(loop_vars):
        raise InvalidArgumentError(f"[while_loop] loop_vars must be a list of at least one: got {loop_vars!r:.60}")
    if parallel_iterations < 1:
        raise InvalidArgumentError(f"[while_loop] parallel_iterations must be at least 1: got {parallel_iterations}")
    graph = get_default_graph()
    with graph.name_scope(name or "while"):
        if maximum_iterations is not None:
            return _counted(cond, body, loop_vars, shape_invariants, maximum_iterations, return_same_structure,
                            parallel_iterations, back_prop)
        flat = [_initial(v, i) for i, v in enumerate(nest.flatten(loop_vars))]
        shapes = _invariants(loop_vars, flat, shape_invariants)
        builder = LoopBuilder(graph, graph.unique_name("while_context"), parallel_iterations)
        builder.loop.back_prop = back_prop
        results = _build(builder, cond, body, loop_vars, flat, shapes)
        return results[0] if len(results) == 1 and not return_same_structure else nest.pack_sequence_as(
            loop_vars, results)


def _counted(cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, invariants: Any, most: Any,
             same_structure: bool, parallel_iterations: int, back_prop: bool) -> Any:
    """The loop with a counter as its first variable."""
    most = convert_to_tensor(most, name="maximum_iterations")
    if not most.dtype.is_integer or most.shape.rank not in (None, 0):
        raise InvalidArgumentError(f"[while_loop] maximum_iterations must be an integer scalar: {most.name!r} is "
                                   f"{most.dtype} of shape {most.shape}")
    zero = convert_to_tensor(0, most.dtype, name="iteration_counter")
    _, results = while_loop(lambda i, v: call("LogicalAnd", i < most, _called(cond, v)),
                            lambda i, v: (i + 1, _normal(_called(body, v), v)), (zero, loop_vars),
                            None if invariants is None else (TensorShape(()), invariants), parallel_iterations,
                            back_prop, name=get_default_graph()._scope + "/", return_same_structure=True)
    return results if same_structure or len(nest.flatten(results)) > 1 else nest.flatten(results)[0]


def _called(function: Callable[..., Any], variables: Any) -> Any:
    return function(variables) if isinstance(variables, dict) else function(*variables)


def _normal(result: Any, loop_vars: Any) -> Any:
    """What `body` returned, as a structure like `loop_vars`. Raises: InvalidArgumentError."""
    if isinstance(result, dict) != isinstance(loop_vars, dict) or not nest.is_nested(result):
        result = [result]
    if not isinstance(loop_vars, dict) and not hasattr(loop_vars, "_fields") and isinstance(result, (list, tuple)):
        result = type(loop_vars)(result)
    count, wanted = len(nest.flatten(result)), len(nest.flatten(loop_vars))
    if count != wanted:
        raise InvalidArgumentError(f"[while_loop] body must return as many values as there are loop_vars: it returned "
                                   f"{count}, there are {wanted}. Fix: return all of them, changed or not")
    try:
        nest.assert_same_structure(loop_vars, result)
    except InvalidArgumentError as e:
        raise InvalidArgumentError(f"[while_loop] body must return the structure of loop_vars: {e.message}") from None
    return result


def _initial(value: Any, index: int) -> Any:
    if isinstance(value, IndexedSlices):
        raise InvalidArgumentError(f"[while_loop] loop variable {index} is an IndexedSlices. Fix: pass its values and "
                                   "indices as two variables")
    return value if hasattr(value, "with_flow") else convert_to_tensor(value)


def _invariants(loop_vars: Any, flat: list[Any], given: Any) -> list[TensorShape | None]:
    """What holds of the shape of each variable in all iterations; None: its first shape."""
    if given is None:
        return [None] * len(flat)
    shapes = _flat_shapes(loop_vars, given)
    if len(shapes) != len(flat):
        raise InvalidArgumentError(f"[while_loop] shape_invariants must have the structure of loop_vars: got "
                                   f"{len(shapes)} shapes for {len(flat)} variables")
    for i, (v, s) in enumerate(zip(flat, shapes)):
        if s is not None and not hasattr(v, "with_flow") and not _no_wider(v.shape, s):
            raise InvalidArgumentError(f"[while_loop] loop variable {i} does not fit its shape invariant: "
                                       f"{v.name!r} has shape {v.shape}, the invariant is {s}")
    return [None if hasattr(v, "with_flow") else s for v, s in zip(flat, shapes)]


def _flat_shapes(structure: Any, shapes: Any) -> list[TensorShape | None]:
    """Shapes at the places of the leaves of `structure`: a shape may itself be a list."""
    if isinstance(structure, dict):
        return [s for k in sorted(structure) for s in _flat_shapes(structure[k], shapes[k])]
    if isinstance(structure, (list, tuple)):
        if not isinstance(shapes, (list, tuple)) or len(shapes) != len(structure):
            raise InvalidArgumentError(f"[while_loop] shape_invariants must have the structure of loop_vars: got "
                                       f"{shapes!r:.60} for {len(structure)} variables")
        return [s for part, sub in zip(structure, shapes) for s in _flat_shapes(part, sub)]
    if isinstance(shapes, TensorShape) or shapes is None:
        return [shapes]
    return [TensorShape(getattr(shapes, "shape", shapes))]


def _no_wider(shape: TensorShape, than: TensorShape) -> bool:
    """Whether every shape that fits `shape` fits `than`."""
    if than.dims is None:
        return True
    return shape.dims is not None and len(shape.dims) == len(than.dims) and all(
        b is None or a == b for a, b in zip(shape.dims, than.dims))


# ---- building
def _build(builder: LoopBuilder, cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, flat: list[Any],
           shapes: list[TensorShape | None]) -> list[Any]:
    graph, context = builder.graph, builder.context
    before = [op for group in graph._controls for op in group]  # of the scope around: the loop begins after them
    if context.outer is not None:
        before = context.outer.legal(before)
    for value, shape in zip(flat, shapes):
        builder.variable(getattr(value, "flow", value), shape, before)
    with inside(graph, context, devices=True):
        pred = _called(cond, _packed(loop_vars, flat, [v.merge for v in builder.loop.variables]))
        pred = convert_to_tensor(pred)
        if pred.dtype is not dtypes.bool_ or pred.shape.rank not in (None, 0):
            raise InvalidArgumentError(f"[while_loop] cond must return a bool scalar: {pred.name!r} is {pred.dtype} of "
                                       f"shape {pred.shape}.{pred.op.where}")
        inputs = builder.condition(pred)
        result = _normal(_called(body, _packed(loop_vars, flat, inputs)), loop_vars)
        values = [_next_value(context, v, x, shape, i)
                  for i, (v, x, shape) in enumerate(zip(builder.loop.variables, nest.flatten(result), shapes))]
    exits = [builder.close(v, value) for v, value in zip(builder.loop.variables, values)]
    arrays = nest.flatten(result)
    return [a.with_flow(x) if hasattr(a, "with_flow") else x for a, x in zip(_own(arrays, flat), exits)]


def _own(results: list[Any], flat: list[Any]) -> list[Any]:
    """The arrays that were passed in, not those of the body, whose handles are inside of the loop."""
    return [v if hasattr(v, "with_flow") else r for r, v in zip(results, flat)]


def _packed(loop_vars: Any, flat: list[Any], tensors: list[Tensor]) -> Any:
    values = [v.with_flow(t) if hasattr(v, "with_flow") else t for v, t in zip(flat, tensors)]
    return nest.pack_sequence_as(loop_vars, values)


def _next_value(context: WhileContext, v: Variable, value: Any, invariant: TensorShape | None, index: int) -> Tensor:
    """What `body` returned for a variable, as a tensor of the loop. Raises: InvalidArgumentError where it differs."""
    what = f"[while_loop] loop variable {index} ({v.enter.op.inputs[0].name!r})"
    if isinstance(value, Operation) or value is None:
        raise InvalidArgumentError(f"{what} must stay a tensor: body returned {value!r}")
    value = getattr(value, "flow", value) if hasattr(value, "with_flow") else value
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, dtypes.DType) and dtype is not v.merge.dtype:
        raise InvalidArgumentError(f"{what} must keep its dtype: it is {v.merge.dtype}, body returned {dtype}. Fix: "
                                   f"rf.cast it to {v.merge.dtype}")
    tensor = context.capture(convert_to_tensor(value, v.merge.dtype))
    if not _no_wider(tensor.shape, v.merge.shape):
        raise InvalidArgumentError(
            f"{what} must keep its shape: it enters the loop with shape {v.merge.shape}, body returned {tensor.shape}."
            f"{tensor.op.where} Fix: pass shape_invariants that fit both, or set_shape on what body returns")
    return tensor


__all__ = ["Loop", "LoopBuilder", "Variable", "while_loop"]
