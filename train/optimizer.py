"""Optimizer: what all optimizers share, with TensorFlow 1's names and semantics.

``minimize`` is ``compute_gradients`` followed by ``apply_gradients``. A subclass says how one variable is updated, by a
dense gradient (``_apply_dense``) and by rows (``_apply_sparse``), and which slots it keeps. Slots are untrainable
variables named below their variable ("w/Momentum"). Everything here only builds the graph.
Source: TensorFlow 1.x ``tf.train.Optimizer``.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from ringflow.graph.autodiff.gradients import gradients
from ringflow.graph.autodiff.train_step import TrainStep
from ringflow.graph.define import convert_to_tensor
from ringflow.graph.dtypes import DType
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.graph import Graph, GraphKeys, get_default_graph
from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.opdef import OPS
from ringflow.graph.operation import Operation, Tensor
from ringflow.graph.ops.rules import build
from ringflow.graph.state.resource_variables import ResourceVariable
from ringflow.graph.state.variables import Variable


class Optimizer:
    """Base of all optimizers. `settings` are numbers, scalar tensors, variables or functions that make one of them."""

    GATE_NONE, GATE_OP, GATE_GRAPH = 0, 1, 2

    # Whether `_apply_sparse` does to a row whose gradient is zero what it does to a row that is not given: a strategy
    # may then hand over rows of zeros
    zero_rows_stay = False

    def __init__(self, name: str, use_locking: bool = False, **settings: Any) -> None:
        if not name:
            raise InvalidArgumentError("[Optimizer] name must not be empty")
        for key, value in settings.items():
            _check_setting(name, key, value)
        self._name = name
        self._use_locking = use_locking  # written to the nodes; updates of a variable never overlap here
        self._settings = settings
        self._scalars: dict[tuple[str, DType], Tensor] = {}  # of the apply_gradients in hand
        self._slots: dict[str, dict[Variable, Variable]] = {}
        self._globals: dict[tuple[str, Graph], Variable] = {}
        self._computed: WeakKeyDictionary[Graph, tuple[list[Any], int, Tensor | None]] = WeakKeyDictionary()

    def get_name(self) -> str:
        return self._name

    # ---- building a train op
    def minimize(self, loss: Tensor, global_step: Variable | None = None, var_list: Any = None, *,
                 name: str | None = None, grad_loss: Any = None, gate_gradients: int = GATE_OP,
                 aggregation_method: Any = None, colocate_gradients_with_ops: bool = False) -> Operation:
        """The operation that updates `var_list` (default: all trainable variables) to lower `loss`, then adds 1 to
        `global_step`.

        Raises: InvalidArgumentError where there is no loss, no variable, or no variable that `loss` depends on.
        """
        pairs = self.compute_gradients(loss, var_list, grad_loss=grad_loss)
        if all(g is None for g, _ in pairs):
            raise InvalidArgumentError(
                f"[{self._name}] no gradients for any variable: the loss {loss.name!r} depends on none of "
                f"{', '.join(v.op.name for _, v in pairs)}.{loss.op.where} Fix: check for stop_gradient and casts to "
                "integers between the variables and the loss")
        return self.apply_gradients(pairs, global_step, name)

    def compute_gradients(self, loss: Tensor, var_list: Any = None, *, grad_loss: Any = None,
                          gate_gradients: int = GATE_OP, aggregation_method: Any = None,
                          colocate_gradients_with_ops: bool = False) -> list[tuple[Any, Variable]]:
        """(gradient, variable) for each variable. A gradient is a Tensor, IndexedSlices, or None without dependence."""
        if not isinstance(loss, (Tensor, Variable)):
            raise InvalidArgumentError(f"[{self._name}] loss must be a tensor: got {loss!r:.60}. "
                                       "Fix: pass the scalar tensor to be minimised")
        if var_list is None:
            var_list = loss.graph.get_collection(GraphKeys.TRAINABLE_VARIABLES)
        variables = list(_flatten(var_list))
        if not variables:
            raise InvalidArgumentError(f"[{self._name}] no variables to optimize. Fix: create trainable variables "
                                       "before minimize, or pass var_list")
        for v in variables:
            _check_variable(self._name, v)
        first = len(loss.graph.get_operations())
        found = gradients(loss, variables, grad_ys=grad_loss)
        pairs = list(zip(found, variables))
        operations = loss.graph.get_operations()
        # what `gradients` makes first: the ones that it starts from
        seed = next((op.outputs[0] for op in operations[first:] if op.type in ("Fill", "OnesLike")), None)
        self._computed[loss.graph] = pairs, len(operations), seed if grad_loss is None else None
        return pairs

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]], global_step: Variable | None = None,
                        name: str | None = None) -> Operation:
        """The operation that applies gradients, then adds 1 to `global_step`. Pairs without a gradient are left out."""
        pairs = [self._checked_pair(p) for p in grads_and_vars]
        if not pairs:
            raise InvalidArgumentError(f"[{self._name}] no variables provided: grads_and_vars is empty")
        pairs = [(g, v) for g, v in pairs if g is not None]
        if not pairs:
            raise InvalidArgumentError(f"[{self._name}] no gradients for any variable: every gradient is None")
        variables = [v for _, v in pairs]
        if len(set(variables)) != len(variables):
            twice = next(v for v in variables if variables.count(v) > 1)
            raise InvalidArgumentError(f"[{self._name}] variable {twice.op.name!r} has two gradients. "
                                       "Fix: add them up first")
        graph = variables[0].graph
        first = len(graph.get_operations())
        with graph.as_default():
            with graph.control_dependencies(None):
                self._create_slots(variables)
            with graph.name_scope(name or self._name) as scope:
                train_op = self._build_updates(graph, pairs, global_step, scope)
        source, mark, seed = self._reduction_point(graph, pairs, first)
        graph.add_to_collection(GraphKeys.TRAIN_OP, train_op)
        graph.add_to_collection(GraphKeys.TRAIN_STEPS,
                                TrainStep(train_op, source, graph.get_operations()[first:], mark, self, seed=seed))
        return train_op

    def _build_updates(self, graph: Graph, pairs: Sequence[tuple[Any, Variable]], global_step: Variable | None,
                       scope: str) -> Operation:
        self._scalars = {}
        updates = []
        for g, v in pairs:
            with graph.name_scope(f"update_{v.op.name}"):
                apply = self._apply_sparse_duplicate_indices if isinstance(g, IndexedSlices) else self._apply_dense
                done = apply(g, v)
                updates.append(done.op if isinstance(done, Tensor) else done)
        if global_step is None:
            return self._finish(updates, scope)
        _check_global_step(self._name, global_step)
        with graph.control_dependencies([self._finish(updates, "update")]):
            return global_step.assign_add(1, name=scope).op

    def _checked_pair(self, pair: Any) -> tuple[Any, Variable]:
        try:
            g, v = pair
        except (TypeError, ValueError):
            raise InvalidArgumentError(f"[{self._name}] grads_and_vars must hold (gradient, variable) pairs: "
                                       f"got {pair!r:.80}") from None
        _check_variable(self._name, v)
        if g is not None and not isinstance(g, IndexedSlices):
            with v.graph.as_default():
                g = convert_to_tensor(g, v.dtype)
            if not g.shape.is_compatible_with(v.shape):
                raise InvalidArgumentError(f"[{self._name}] shapes differ: the gradient of {v.op.name!r} is {g.shape}, "
                                           f"the variable {v.shape}.{g.op.where}")
        return g, v

    def _reduction_point(self, graph: Graph, pairs: list[Any], first: int) -> tuple[list[Any], int, Tensor | None]:
        """Where a strategy meets the gradients: as they left compute_gradients, so that clipping sees reduced ones; as
        they were given to apply_gradients where they do not all come from there. And the gradient of the loss."""
        computed, mark, seed = self._computed.get(graph, ([], first, None))
        source = {v: g for g, v in computed if g is not None}
        if all(v in source for _, v in pairs):
            return [(source[v], v) for _, v in pairs], mark, seed
        return pairs, first, None

    # ---- what a subclass says
    def _create_slots(self, variables: Sequence[Variable]) -> None:
        """Makes the slots of `variables`, if the optimizer has any."""

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        raise NotImplementedError

    def _apply_sparse(self, grad: IndexedSlices, var: Variable) -> Any:
        """Updates the rows of `grad`, whose indices are unique."""
        raise NotImplementedError

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Variable) -> Any:
        """As ``_apply_sparse``, for indices that may repeat: rows of equal index are added up first."""
        unique, position = build("Unique", grad.indices)
        rows = build("StridedSlice", build("Shape", unique), [0], [1], [1], shrink_axis_mask=1)
        summed = build("UnsortedSegmentSum", grad.values, position, rows)
        return self._apply_sparse(IndexedSlices(summed, unique, grad.dense_shape), var)

    def _finish(self, updates: Sequence[Operation], name: str) -> Operation:
        """The operation that is done when all `updates` are."""
        return get_default_graph().create_op("NoOp", [], {}, name, control_inputs=updates)

    def _update(self, op: str, *inputs: Any, **attrs: Any) -> Any:
        """An update op of a variable."""
        if isinstance(inputs[0], ResourceVariable):
            op = f"{op}VariableOp" if op.startswith("Assign") else f"Resource{op}"
        if "use_locking" in OPS[op].attrs:
            attrs["use_locking"] = self._use_locking
        return build(op, *inputs, **attrs)

    # ---- settings and state
    def _scalar(self, key: str, dtype: DType) -> Tensor:
        """A setting as a scalar tensor of `dtype`, made once for each train op."""
        found = self._scalars.get((key, dtype))
        if found is None:
            value = self._settings[key]
            if callable(value) and not isinstance(value, Variable):
                value = value()
                _check_setting(self._name, key, value)
            if isinstance(value, (Tensor, Variable)) and value.dtype is not dtype:
                found = build("Cast", value, DstT=dtype, name=key)
            else:
                with get_default_graph().control_dependencies(None):
                    found = convert_to_tensor(value, dtype, name=key)
            self._scalars[key, dtype] = found
        return found

    def _slot(self, var: Variable, slot: str, fill: float = 0.0) -> Variable:
        """The slot of `var`, made where it does not exist: a variable of its shape and dtype, filled with `fill`."""
        slots = self._slots.setdefault(slot, {})
        if var not in slots:
            dims, dtype = var.shape.known, var.dtype

            def initial() -> Tensor:
                value = np.array(fill, dtype.as_numpy_dtype)
                return build("Fill", np.array(dims, np.int32), value, name="Initializer/filled")

            slots[var] = self._variable(initial, f"{var.op.name}/{self._name}", var)
        return slots[var]

    def _global(self, name: str, value: float, like: Variable) -> Variable:
        """A scalar variable of the optimizer itself, one for each graph."""
        key = name, like.graph
        if key not in self._globals:
            self._globals[key] = self._variable(np.array(value, like.dtype.as_numpy_dtype), name, like)
        return self._globals[key]

    def _variable(self, initial: Any, name: str, like: Variable) -> Variable:
        with like.graph.name_scope(""), like.graph.device(like.device):
            return Variable(initial, trainable=False, name=name, use_resource=isinstance(like, ResourceVariable))

    def get_slot(self, var: Variable, name: str) -> Variable | None:
        """The slot `name` of `var`, or None."""
        return self._slots.get(name, {}).get(var)

    def get_slot_names(self) -> list[str]:
        return sorted(self._slots)

    def variables(self) -> list[Variable]:
        """The optimizer's own variables in the default graph, sorted by name."""
        graph = get_default_graph()
        state = [v for (_, g), v in self._globals.items() if g is graph]
        state += [s for slots in self._slots.values() for v, s in slots.items() if v.graph is graph]
        return sorted(state, key=lambda v: v.name)


def _check_setting(optimizer: str, key: str, value: Any) -> None:
    if isinstance(value, (bool, str, bytes)) or value is None:
        raise InvalidArgumentError(f"[{optimizer}] {key} must be a number, a scalar tensor or a function of one: "
                                   f"got {value!r}")
    if isinstance(value, (Tensor, Variable)):
        if value.shape.rank not in (0, None):
            raise InvalidArgumentError(f"[{optimizer}] {key} must be a scalar: {value.name!r} is {value.shape}")
        if not value.dtype.is_floating:
            raise InvalidArgumentError(f"[{optimizer}] {key} must be floating: {value.name!r} is {value.dtype}")
    elif not callable(value) and np.ndim(value) != 0:
        raise InvalidArgumentError(f"[{optimizer}] {key} must be a scalar: got an array of shape {np.shape(value)}")


def _check_variable(optimizer: str, v: Any) -> None:
    if not isinstance(v, Variable):
        raise InvalidArgumentError(f"[{optimizer}] only variables can be optimized: got {v!r:.80}. "
                                   "Fix: pass rf.Variable objects")
    if not v.dtype.is_floating:
        raise InvalidArgumentError(f"[{optimizer}] variable {v.op.name!r} is {v.dtype}: only floating ones can be "
                                   f"optimized.{v.op.where} Fix: create it with trainable=False")


def _check_global_step(optimizer: str, step: Any) -> None:
    if not isinstance(step, Variable):
        raise InvalidArgumentError(f"[{optimizer}] global_step must be a variable: got {step!r:.60}. "
                                   "Fix: pass rf.train.get_or_create_global_step()")
    if not step.dtype.is_integer:
        raise InvalidArgumentError(f"[{optimizer}] global_step {step.op.name!r} must be an integer: it is {step.dtype}."
                                   f"{step.op.where}")


def _flatten(values: Any) -> Iterable[Any]:
    if isinstance(values, Iterable) and not isinstance(values, (Tensor, Variable, str)):
        for v in values:
            yield from _flatten(v)
    else:
        yield values
