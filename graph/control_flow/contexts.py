"""Contexts: the branches and loops in which operations are being made, and how tensors from outside come into them.

``Graph.create_op`` asks the current context for every operation: inputs from outside are replaced by what a Switch (in
a branch) or a constant Enter (in a loop) makes of them, once for each tensor, and an operation that would run anyway is
tied to the context's pivot. An operation's `context` is where its outputs are: an Exit, and the Merge of a branch, are
outside of what they end. Contexts nest; `outer` None is the top of the graph.

A context of gradients has the context that it is the gradient of as `forward`: it may use that one's tensors, from the
same branch directly, from a loop through a History.
"""
from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..control_types import ENTER, SWITCH
from ..errors import InvalidArgumentError
from ..opdef import OPS, OpDef
from ..operation import Operation, Tensor

if TYPE_CHECKING:
    from ..graph import Graph
    from .cond import Cond
    from .history import History
    from .while_loop import Loop

_NOTHING = np.zeros((), np.int32)
_SHAPES = {"Shape", "ShapeN", "Size", "Rank"}


class Context:
    """One branch or one loop.

    `captured`: tensors from around, and what they are in here; `imports`: tensors that are brought in, and what they
    are just outside.
    """

    kind = ""

    def __init__(self, graph: Graph, name: str, outer: Context | None, forward: Context | None = None) -> None:
        self.graph = graph
        self.name = name
        self.outer = outer
        self.forward = forward
        self.captured: dict[Tensor, Tensor] = {}
        self.imports: dict[Tensor, Tensor] = {}
        self.pivot: Tensor | None = None
        self._waits: dict[Operation, Operation] = {}

    def __repr__(self) -> str:
        return f"the {self.kind} {self.name!r}"

    def around(self) -> Iterator[Context]:
        """This context and those around it, from the inside out."""
        context: Context | None = self
        while context is not None:
            yield context
            context = context.outer

    def loop(self) -> WhileContext | None:
        """The innermost loop around what is made here."""
        return next((c for c in self.around() if isinstance(c, WhileContext)), None)

    def frame(self) -> Iterator[Context | None]:
        """The contexts around whose operations run in the same frame as those made here."""
        for context in self.around():
            yield context
            if isinstance(context, WhileContext):
                return
        yield None

    def history(self) -> History | None:
        """Of the innermost gradient loop around."""
        return next((c.remembers for c in self.around() if isinstance(c, WhileContext) and c.remembers), None)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Operations are made in this context, free of the scopes of whoever makes them but for names."""
        with inside(self.graph, self):
            yield

    def twins(self) -> list[Context]:
        """This branch, and those that it is a gradient of, directly or not: they run where it runs. A loop is alone."""
        return [self]

    # ---- what create_op asks
    def home(self, op: OpDef, inputs: Sequence[Tensor]) -> Context | None:
        """Where a new operation belongs: here, but shapes of remembered values are taken where these are made."""
        if self.forward is not None and op.name in _SHAPES and self.history() is not None:
            if all(t.context is self.forward for t in inputs):
                return self.forward
        return self

    def controls(self, inputs: Sequence[Tensor], before: Sequence[Operation]) -> list[Operation]:
        """The control inputs of a new operation that would have `before`."""
        raise NotImplementedError

    def legal(self, before: Sequence[Operation]) -> list[Operation]:
        """What an operation made here waits for where it is to wait for `before`."""
        frame = list(self.frame())
        return [op if _place(op) in frame else self.control(op) for op in before]

    def control(self, op: Operation) -> Operation:
        """What an operation made here waits for instead of `op`, which is in a context around it."""
        if op not in self._waits:
            with inside(self.graph, _place(op)):
                attrs = {"value": _NOTHING, "dtype": _NOTHING.dtype}
                name = f"{op.name.rpartition('/')[2]}_done"
                done = self.graph.create_op("Const", [], attrs, name, control_inputs=[op])
            self._waits[op] = self.capture(done.outputs[0]).op
        return self._waits[op]

    def alive(self) -> Tensor:
        """A tensor that is alive where the branch is taken, or in each iteration in which the body runs."""
        raise NotImplementedError

    # ---- tensors from outside
    def capture(self, t: Tensor) -> Tensor:
        """`t`, of this context or one around it, as it is in here. Raises: InvalidArgumentError for any other."""
        if t.context is self:
            return t
        known = self.captured.get(t)
        if known is None:
            if self.forward is not None and t.context in self.forward.twins():
                history = self.history()
                known = t if history is None else history.recall(t, self)
            else:
                outside = capture(t, self.outer)
                known = self.captured.get(outside)
                if known is None:
                    known = self.captured[outside] = self._bring(outside)
                    self.imports[known] = outside
            self.captured[t] = known
        return known

    def border(self) -> set[Tensor]:
        """The tensors at which this context begins, going backwards."""
        return set(self.imports)

    def _bring(self, t: Tensor) -> Tensor:
        raise NotImplementedError


class CondContext(Context):
    """The branch that is taken where `pred`, a tensor of `outer`, is `branch` (0 or 1)."""

    kind = "branch"

    def __init__(self, graph: Graph, name: str, outer: Context | None, pred: Tensor, branch: int,
                 forward: Context | None = None) -> None:
        super().__init__(graph, name, outer, forward)
        self.pred = pred
        self.branch = branch
        self.cond: Cond | None = None

    def twins(self) -> list[Context]:
        if self.forward is None or self.history() is not None:
            return [self]
        return [self, *self.forward.twins()]

    def border(self) -> set[Tensor]:
        return {t for twin in self.twins() for t in twin.imports}

    def controls(self, inputs: Sequence[Tensor], before: Sequence[Operation]) -> list[Operation]:
        legal = self.legal(before)
        if not inputs and not any(op.context is self and op.type not in SWITCH for op in legal):
            legal.append(self.alive().op)
        return legal

    def alive(self) -> Tensor:
        if self.pivot is None:
            with inside(self.graph, self), self.graph.name_scope(None):
                chosen = call("Switch", self.pred, self.pred, name=f"{self.name}/Switch")[self.branch]
                self.pivot = call("Identity", chosen, name=f"{self.name}/switch_{'ft'[self.branch]}")
        return self.pivot

    def _bring(self, t: Tensor) -> Tensor:
        with inside(self.graph, self):
            both = call("RefSwitch" if t.is_ref else "Switch", t, self.pred, name="Switch")
        brought: Tensor = both[self.branch]
        return brought


class WhileContext(Context):
    """A loop. `pivot` is alive in every iteration, while the predicate is made, then in those of the body."""

    kind = "loop"

    def __init__(self, graph: Graph, name: str, outer: Context | None, parallel_iterations: int = 10,
                 forward: Context | None = None) -> None:
        """Args: name: of the frame."""
        super().__init__(graph, name, outer, forward)
        self.parallel_iterations = parallel_iterations
        self.loop_: Loop | None = None
        self.remembers: History | None = None

    def enter(self, t: Tensor, constant: bool, before: Sequence[Operation] = (), name: str = "Enter") -> Tensor:
        """`t`, a tensor of `outer`, in the loop: in its first iteration, or in all."""
        waits = list(before)
        if _is_constant(t.op) and self.outer is not None and t.context is self.outer:
            waits.append(self.outer.alive().op)
        attrs = {"frame_name": self.name, "is_constant": constant, "parallel_iterations": self.parallel_iterations}
        with inside(self.graph, self):
            kind = "RefEnter" if t.is_ref else "Enter"
            return self.graph.create_op(kind, [t], attrs, name, control_inputs=waits).outputs[0]

    def controls(self, inputs: Sequence[Tensor], before: Sequence[Operation]) -> list[Operation]:
        legal = self.legal(before)
        if all(map(_is_constant, [*(t.op for t in inputs), *legal])):
            legal.append(self.alive().op)
        return legal

    def alive(self) -> Tensor:
        if self.pivot is None:
            assert self.loop_ is not None
            with inside(self.graph, self), self.graph.name_scope(None):
                stays = next(v.stays for v in self.loop_.variables if v.stays is not None)
                self.pivot = call("Identity", stays, name=f"{self.loop_.name}/Identity")
        return self.pivot

    def _bring(self, t: Tensor) -> Tensor:
        return self.enter(t, constant=True)

    def border(self) -> set[Tensor]:
        variables = self.loop_.variables if self.loop_ is not None else []
        return super().border().union(*((v.merge, v.stays) for v in variables if v.stays is not None))


@contextlib.contextmanager
def inside(graph: Graph, context: Context | None, devices: bool = False) -> Iterator[None]:
    """Operations are made in `context`; control dependencies, devices (unless `devices`) and colocation of the caller
    do not count."""
    old = graph._context, graph._controls, graph._devices, graph._colocate
    graph._context, graph._controls, graph._colocate = context, [], []
    if not devices:
        graph._devices = []
    try:
        yield
    finally:
        graph._context, graph._controls, graph._devices, graph._colocate = old


def capture(t: Tensor, context: Context | None) -> Tensor:
    """`t` as it is in `context`. Raises: InvalidArgumentError where it is made in one that is not around."""
    if context is not None:
        return context.capture(t)
    if t.context is not None:
        raise InvalidArgumentError(f"{t.name!r} is made in {t.context!r} and cannot be used outside of it."
                                   f"{t.op.where} Fix: return it from there")
    return t


def _place(op: Operation) -> Context | None:
    """Where control edges from `op` arrive."""
    return op.context[0].outer if isinstance(op.context, tuple) else op.context


def _is_constant(op: Operation) -> bool:
    """Whether `op` brings a value into all iterations of a loop, the last one too, in which no body runs."""
    return op.type in ENTER and bool(op.attrs["is_constant"])


def call(op: str, *args: Any, **kwargs: Any) -> Any:
    return OPS[op](*args, **kwargs)  # type: ignore[operator]
