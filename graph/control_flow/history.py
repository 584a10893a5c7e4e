"""History: how a gradient loop gets at the values that its forward loop had, iteration by iteration.

The forward loop counts its iterations and pushes each value that is asked for on a stack; the gradient loop runs as
often and pops them. Pushes and pops are put in order by the two counters: those of one iteration come after the counter
was changed, and the counter moves on only after them, through a ControlTrigger since some may be in a branch that was
not taken. In nested loops the inner counter is itself such a value of the outer loop, so one stack serves all
executions of the inner loop.
"""
from __future__ import annotations

import numpy as np

from .. import dtypes
from ..operation import Operation, Tensor
from .contexts import Context, call, inside
from .while_loop import Loop, LoopBuilder, Variable


class History:
    """The values of the loop `forward` for one gradient loop."""

    def __init__(self, forward: Loop, outer: History | None) -> None:
        """Counts the iterations of `forward`; `outer`: the history of the loop around."""
        self.forward = forward.context
        self.graph = self.forward.graph
        self.outer = outer
        self._pushes: list[Operation] = []
        self._pops: list[Operation] = []
        with inside(self.graph, self.forward.outer):
            waits = [] if outer is None else [outer._step.op]
            zero = self.graph.create_op("Const", [], {"value": np.int32(0), "dtype": dtypes.int32}, "f_count",
                                        control_inputs=waits).outputs[0]
        enter = self.forward.enter(zero, False, name="f_count")
        with inside(self.graph, self.forward):
            merge = call("Merge", [enter, enter])[0]
            leaves, stays = call("Switch", merge, forward.condition)
            self._step: Tensor = call("AddV2", stays, 1)
            self._next: Tensor = call("NextIteration", self._step)
            merge.op._update_input(1, self._next)
        with inside(self.graph, self.forward.outer):
            self.count: Tensor = call("Exit", leaves, name="f_count")
        self.graph._units[self.count.op] = forward

    def begin(self, builder: LoopBuilder) -> Variable:
        """The counter of the gradient loop, its first variable."""
        self._loop = builder
        builder.context.remembers = self
        return builder.variable(self.count, name="b_count")

    def body(self, counter: Tensor) -> None:
        """The body of the gradient loop begins: the counter goes down."""
        self._index: Tensor = call("Sub", counter, 1)

    def end(self, counter: Variable) -> None:
        """All is built: closes the loop of the counter and puts pushes and pops in order."""
        with inside(self.graph, self.forward):
            if self._pushes:
                self._next.op._add_control_input(_trigger(self._pushes, "f_sync"))
        done = self._loop.close(counter, self._index)
        assert counter.next is not None
        with inside(self.graph, self._loop.context):
            if self._pops:
                counter.next.op._add_control_input(_trigger(self._pops, "b_sync"))
        if self.outer is not None:
            self.outer._pops.append(done.op)

    def recall(self, t: Tensor, context: Context) -> Tensor:
        """`t`, a value of the forward loop, as it was in the iteration that the gradient loop is at."""
        at = t.context
        assert at is not None
        outside = at.imports.get(t)
        if outside is not None:
            return context.capture(outside)
        with inside(self.graph, context):
            if t.op.type == "Const":
                return self.graph.create_op("Const", [], dict(t.op.attrs), t.op.name.rpartition("/")[2]).outputs[0]
        stack = self._stack(t)
        with inside(self.graph, at):
            handle = at.capture(stack)
            push = self.graph.create_op("StackPushV2", [handle, t], {}, None, control_inputs=[self._step.op])
            self._pushes.append(push)
        with inside(self.graph, context):
            handle = context.capture(stack)
            pop = self.graph.create_op("StackPopV2", [handle], {"elem_type": t.dtype}, None,
                                       control_inputs=[self._index.op])
            self._pops.append(pop)
        value = pop.outputs[0]
        value.shape = t.shape
        return value

    def _stack(self, t: Tensor) -> Tensor:
        """A new stack, made outside of all loops that are differentiated."""
        outermost = self
        while outermost.outer is not None:
            outermost = outermost.outer
        with inside(self.graph, outermost.forward.outer):
            stack: Tensor = call("StackV2", np.int32(-1), elem_type=t.dtype, name="f_acc")
        return stack


def _trigger(before: list[Operation], name: str) -> Operation:
    graph = before[0].graph
    return graph.create_op("ControlTrigger", [], {}, name, control_inputs=before)


