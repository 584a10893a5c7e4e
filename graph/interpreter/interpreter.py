"""The NumPy reference interpreter: runs any graph by the references of its op definitions.

It is the executable specification: slow, single-threaded, no plan. Kernels are tested against it, and graph tests run
on it where nothing is compiled.
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..control_types import CONTROL_FLOW, DEAD
from ..errors import Error, FailedPreconditionError, InternalError, InvalidArgumentError
from ..graph import Graph
from ..operation import Operation
from .waiting import Attempt, wait_for_any


class State:
    """What outlives a run: values of variables, streams of random ops, queues, by container and name.

    `progress` guards what operations wait for, and is notified when it changes.
    """

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.progress = threading.Condition()
        self.closed = False

    def reset(self, container: str = "") -> None:
        self.containers.pop(container, None)

    def find_or_create(self, container: str, name: str, make: Callable[[], Any]) -> Any:
        """The resource of that name, made on first use."""
        with self.progress:
            resources = self.containers.setdefault(container, {})
            if name not in resources:
                resources[name] = make()
            return resources[name]

    def close(self) -> None:
        """Cancels what waits, now and from now on."""
        with self.progress:
            self.closed = True
            self.progress.notify_all()


class Ref:
    """A reference to a variable, as update ops receive it. `value` is None until it is initialised."""

    def __init__(self, state: State, container: str, name: str) -> None:
        self._slots = state.containers.setdefault(container, {})
        self.name = name

    @property
    def value(self) -> Any:
        return self._slots.get(self.name)

    @value.setter
    def value(self, value: Any) -> None:
        self._slots[self.name] = value

    def read(self) -> Any:
        """Raises: FailedPreconditionError before the first assignment."""
        if self.value is None:
            raise FailedPreconditionError(f"Attempting to use uninitialized value {self.name}. Fix: run the variable's "
                                          "initializer first: rf.global_variables_initializer(), for local variables "
                                          "(num_epochs) rf.local_variables_initializer()", self.name)
        return self.value


def evaluate(op: Operation, inputs: Sequence[Any], state: State | None = None) -> list[Any]:
    """The outputs of one operation. Inputs: arrays, or Refs for ref inputs. Raises: what the reference raises, with the
    node's name. Returns when an operation that waits is done."""
    result = begin(op, inputs, state)
    if isinstance(result, Attempt):
        assert state is not None
        wait_for_any([result], state)
    return outputs_of(op, result)


def begin(op: Operation, inputs: Sequence[Any], state: State | None = None) -> Any:
    """What the reference of one operation gives: its results, or an Attempt at them. Raises: as ``evaluate``."""
    definition = op.op_def
    args: list[Any] = []
    for arg in definition.inputs:
        where = op.span(arg.name)
        span = inputs[where]
        if arg.dtype is dtypes.resource:
            if not arg.is_list:
                _check_handle(op, arg.name, span[0])
        elif not arg.is_ref:
            span = [x.read() if isinstance(x, Ref) and t.dtype.kind != "h" else x
                    for x, t in zip(span, op.inputs[where])]
        args.append(list(span) if arg.is_list else span[0])
    attrs: dict[str, Any] = {}
    for name in definition.reference_attrs:
        attrs[name] = op if name == "op" else state if name == "state" else op.attrs[name]
    try:
        with np.errstate(all="ignore"):
            return definition.reference(*args, **attrs)
    except Error as e:
        e.node = e.node or op.name
        raise


def outputs_of(op: Operation, result: Any) -> list[Any]:
    """The outputs of one operation from the result of its reference, or from its Attempt when that is done."""
    if isinstance(result, Attempt):
        try:
            result = result.outcome()
        except Error as e:
            e.node = e.node or op.name
            raise
    if not op.op_def.outputs:
        return []
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    if len(results) != len(op.outputs):
        raise InternalError(f"[{op.type}] the reference gave {len(results)} outputs, the node has "
                            f"{len(op.outputs)}", op.name)
    return [r if isinstance(r, Ref) or r is DEAD or not t.dtype.size else np.asarray(r, t.dtype.as_numpy_dtype)
            for r, t in zip(results, op.outputs)]


def _check_handle(op: Operation, arg: str, handle: Any) -> None:
    """Raises: InvalidArgumentError where the handle is to something else than the reference's annotation says."""
    wanted = op.op_def.reference.__annotations__.get(arg, "Any")
    if wanted != "Any" and wanted not in (c.__name__ for c in type(handle).__mro__):
        raise InvalidArgumentError(f"[{op.type}] '{arg}' is a handle to a {type(handle).__name__}, needed {wanted}",
                                   op.name)


class Interpreter:
    """Runs a graph that ends in `_Retval` nodes, in the order given by data and control edges; one with control flow
    or with operations that may have to wait as frames.py says."""

    def __init__(self, graph: Graph, state: State) -> None:
        from ..topology import topological_order
        from .frames import FrameInterpreter

        operations = graph.get_operations()
        self._order = topological_order(operations)
        self._state = state
        self._frames: FrameInterpreter | None = None
        if any(op.type in CONTROL_FLOW or op.op_def.waits for op in operations):
            self._frames = FrameInterpreter(self._order, state)

    def run(self, feeds: Sequence[Any], timeout_ms: int = 0) -> list[Any]:
        """`feeds` by the index of `_Arg`; returns values by the index of `_Retval`.

        Raises: DeadlineExceededError where operations wait for others longer than timeout_ms (0: for ever)."""
        if self._frames is not None:
            return self._frames.run(feeds, timeout_ms)
        values: dict[str, list[Any]] = {}
        fetched: dict[int, Any] = {}
        closed: set[Operation] = set()  # gates that hold back what has a control edge from them
        for op in self._order:
            if op.type == "_Arg":
                values[op.name] = [feeds[op.attrs["index"]]]
                continue
            inputs = [values[t.op.name][t.index] for t in op.inputs]
            if op.type == "_Retval":
                value = inputs[0].read() if isinstance(inputs[0], Ref) else inputs[0]
                fetched[op.attrs["index"]] = np.array(value)
                continue
            if op.type == "_Gate" and not inputs[0]:
                closed.add(op)
            if closed and not closed.isdisjoint(op.control_inputs):
                values[op.name] = inputs[: len(op.outputs)]  # an update passes its variable on
                continue
            values[op.name] = evaluate(op, inputs, self._state)
        return [fetched[i] for i in range(len(fetched))]
