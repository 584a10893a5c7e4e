"""The interpreter of graphs with control flow: tokens that move through frames and iterations.

Every value is a token with a place: a frame instance and an iteration in it. An operation runs at a place when it has
all of its inputs there, or, a Merge, one of them. A dead token kills what it reaches, as far as the next Merge. A frame
is done when all its Enters have come and no iteration has anything left to do; only then are its dead Exits known to
stay dead. Among what is ready, earlier iterations and earlier nodes go first, so runs are repeatable; results must not
depend on it. An operation that has to wait is put aside; the run itself waits where nothing else is ready.
Semantics: TensorFlow's executor (its propagator state), and section 4 of Yu et al., EuroSys 2018.
"""
from __future__ import annotations

import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..control_types import DEAD, ENTER, EXIT, MERGE, NEXT_ITERATION
from ..errors import DeadlineExceededError, InvalidArgumentError
from ..operation import Operation
from .interpreter import Ref, State, begin, outputs_of
from .waiting import Attempt, give_up, wait_for_any


class _Arrivals:
    """What has come for one operation at one place."""

    __slots__ = ("controls", "data", "dead", "inputs", "fired")

    def __init__(self, op: Operation) -> None:
        self.controls = len(op.control_inputs)
        self.data = len(op.inputs)
        self.dead = 0
        self.inputs: list[Any] = [DEAD] * len(op.inputs)
        self.fired = False


class _Iteration:
    def __init__(self) -> None:
        self.arrivals: dict[Operation, _Arrivals] = {}
        self.work = 0    # operations that are ready
        self.frames = 0  # child frames that are not done


class _Frame:
    """An instance of a frame. `path` orders its work among that of others."""

    def __init__(self, parent: _Frame | None, parent_iteration: int, name: str, path: tuple[int, ...], enters: int,
                 limit: int) -> None:
        self.parent = parent
        self.parent_iteration = parent_iteration
        self.name = name
        self.path = path
        self.enters = enters  # that have not come yet
        self.limit = limit
        self.iterations = {0: _Iteration()}
        self.last = 0
        self.constants: list[tuple[Operation, Any]] = []
        self.held: list[tuple[Operation, Any]] = []  # NextIterations that wait for an iteration to end
        self.dead_exits: list[Operation] = []
        self.children: dict[tuple[str, int], _Frame] = {}

    def done(self) -> bool:
        return not self.enters and not self.iterations


class FrameInterpreter:
    """Runs a graph that ends in `_Retval` nodes. See Interpreter."""

    def __init__(self, operations: Sequence[Operation], state: State) -> None:
        """Args: operations: in topological order."""
        self._state = state
        self._order = list(operations)
        self._position = {op: i for i, op in enumerate(self._order)}
        self._data: dict[Operation, list[list[tuple[Operation, int]]]] = {
            op: [[] for _ in op.outputs] for op in self._order}
        self._controls: dict[Operation, list[Operation]] = defaultdict(list)
        for op in self._order:
            for i, t in enumerate(op.inputs):
                self._data[t.op][t.index].append((op, i))
            for c in op.control_inputs:
                self._controls[c].append(op)
        entering = [op for op in self._order if op.type in ENTER]
        self._enters = Counter(op.attrs["frame_name"] for op in entering)
        self._anchor = {op.attrs["frame_name"]: self._position[op] for op in reversed(entering)}

    def run(self, feeds: Sequence[Any], timeout_ms: int = 0) -> list[Any]:
        """`feeds` by the index of `_Arg`; returns values by the index of `_Retval`. As ``Interpreter.run``."""
        return _Run(self, feeds, timeout_ms).run()


class _Run:
    """One run: the frames alive in it and the operations that are ready."""

    def __init__(self, program: FrameInterpreter, feeds: Sequence[Any], timeout_ms: int) -> None:
        self._p = program
        self._timeout_ms = timeout_ms
        self._deadline = time.monotonic() + timeout_ms / 1000 if timeout_ms > 0 else None
        self._feeds = feeds
        self._ready: list[tuple[tuple[int, ...], int, _Frame, int, Operation]] = []
        self._sequence = 0
        self._waiting: list[tuple[Attempt, _Frame, int, Operation]] = []
        self._fetched: dict[int, Any] = {}
        self._closed: set[Operation] = set()  # gates that hold back what has a control edge from them

    def run(self) -> list[Any]:
        root = _Frame(None, 0, "", (), 0, 1)
        for op in self._p._order:
            if not op.inputs and not op.control_inputs:
                self._fire(root, 0, op)
        try:
            while self._ready or self._waiting:
                self._resume()
                if self._ready:
                    _, _, frame, iteration, op = heapq.heappop(self._ready)
                    outputs, dead = self._execute(frame, iteration, op)
                    if isinstance(outputs, Attempt):
                        self._waiting.append((outputs, frame, iteration, op))
                    else:
                        self._propagate(frame, iteration, op, outputs, dead)
        except BaseException:
            give_up([attempt for attempt, *_ in self._waiting], self._p._state)
            root.iterations.clear()  # what it holds, such as locks, goes now and not with the traceback
            raise
        results = []
        for i, op in enumerate(sorted((o for o in self._p._order if o.type == "_Retval"),
                                      key=lambda o: int(o.attrs["index"]))):
            if self._fetched.get(i, DEAD) is DEAD:
                raise InvalidArgumentError(f"Retval[{i}] does not have value: {op.inputs[0].name!r} was not computed, "
                                           "it lies in a branch that was not taken. Fix: fetch the output of the "
                                           "rf.cond", op.inputs[0].op.name)
            results.append(self._fetched[i])
        return results

    # ---- running operations
    def _fire(self, frame: _Frame, iteration: int, op: Operation) -> None:
        frame.iterations[iteration].work += 1
        self._sequence += 1
        key = (*frame.path, iteration, self._p._position[op])
        heapq.heappush(self._ready, (key, self._sequence, frame, iteration, op))

    def _resume(self) -> None:
        """Goes on behind operations that need not wait any more; where nothing is ready, waits for one of them."""
        if not self._ready and self._waiting:
            if not wait_for_any([attempt for attempt, *_ in self._waiting], self._p._state, self._deadline):
                raise DeadlineExceededError(
                    f"[run] the run has not ended within {self._timeout_ms} ms: these wait: "
                    + ", ".join(f"'{op.name}' ({op.type})" for *_, op in self._waiting)
                    + ". Fix: find out why they wait (queues fill once rf.train.start_queue_runners is called), or a "
                    "longer timeout_in_ms", self._waiting[0][-1].name)
        for entry in [w for w in self._waiting if w[0].done]:
            self._waiting.remove(entry)
            attempt, frame, iteration, op = entry
            self._propagate(frame, iteration, op, outputs_of(op, attempt), False)

    def _execute(self, frame: _Frame, iteration: int, op: Operation) -> tuple[Any, bool]:
        """Outputs, or an Attempt at them, and whether the operation is dead."""
        arrived = frame.iterations[iteration].arrivals.get(op) or _Arrivals(op)
        if op.type in MERGE:
            dead = all(x is DEAD for x in arrived.inputs)
        else:
            dead = arrived.dead > 0 and op.type != "ControlTrigger"
        if op.type == "_Retval":
            value = DEAD if dead else arrived.inputs[0]
            self._fetched[op.attrs["index"]] = value if dead else np.array(
                value.read() if isinstance(value, Ref) else value)
            return [], dead
        if dead:
            return [DEAD] * len(op.outputs), True
        if op.type == "_Arg":
            return [self._feeds[op.attrs["index"]]], False
        if op.type == "_Gate" and not arrived.inputs[0]:
            self._closed.add(op)
        if self._closed and not self._closed.isdisjoint(op.control_inputs):
            return arrived.inputs[:len(op.outputs)], False  # an update passes its variable on
        result = begin(op, arrived.inputs, self._p._state)
        if isinstance(result, Attempt) and not result.done:
            return result, False
        return outputs_of(op, result), False

    # ---- moving tokens
    def _propagate(self, frame: _Frame, iteration: int, op: Operation, outputs: list[Any], dead: bool) -> None:
        if op.type in ENTER:
            self._enter(frame, iteration, op, outputs[0])
        elif op.type in EXIT:
            if not dead:
                assert frame.parent is not None
                self._deliver(frame.parent, frame.parent_iteration, op, outputs, dead)
            elif iteration == frame.last:
                frame.dead_exits.append(op)
        elif op.type in NEXT_ITERATION:
            if not dead:
                self._next(frame, iteration, op, outputs[0])
        else:
            self._deliver(frame, iteration, op, outputs, dead)
        frame.iterations[iteration].work -= 1
        self._finish(frame, iteration)

    def _deliver(self, frame: _Frame, iteration: int, op: Operation, outputs: list[Any], dead: bool) -> None:
        """Hands outputs and control edges of `op` to all that wait for them at a place."""
        for value, consumers in zip(outputs, self._p._data[op]):
            for consumer, index in consumers:
                self._arrive(frame, iteration, consumer, index, value, from_enter=op.type in ENTER)
        for consumer in self._p._controls.get(op, ()):
            self._arrive(frame, iteration, consumer, -1, DEAD if dead else None)

    def _arrive(self, frame: _Frame, iteration: int, op: Operation, index: int, value: Any,
                from_enter: bool = False) -> None:
        arrivals = frame.iterations[iteration].arrivals
        a = arrivals.get(op)
        if a is None:
            a = arrivals[op] = _Arrivals(op)
        merge = op.type in MERGE
        if index < 0:
            a.controls -= 1
            a.dead += value is DEAD and not merge
        else:
            a.data -= 1
            a.dead += value is DEAD
            if merge and value is DEAD and from_enter:
                a.dead = len(op.inputs)  # nothing will come around the loop: it is not entered
            if not merge or all(x is DEAD for x in a.inputs):
                a.inputs[index] = value
        if merge:
            ready = not a.controls and (a.dead >= len(op.inputs) or any(x is not DEAD for x in a.inputs))
        else:
            ready = not a.controls and not a.data
        if ready and not a.fired:
            a.fired = True
            self._fire(frame, iteration, op)

    # ---- frames
    def _enter(self, frame: _Frame, iteration: int, op: Operation, value: Any) -> None:
        name = op.attrs["frame_name"]
        child = frame.children.get((name, iteration))
        if child is None:
            path = (*frame.path, iteration, self._p._anchor[name])
            child = _Frame(frame, iteration, name, path, self._p._enters[name], op.attrs["parallel_iterations"])
            frame.children[name, iteration] = child
            frame.iterations[iteration].frames += 1
        child.enters -= 1
        if op.attrs["is_constant"]:
            child.constants.append((op, value))
            for i in list(child.iterations):
                self._deliver(child, i, op, [value], value is DEAD)
        else:
            self._deliver(child, 0, op, [value], value is DEAD)
        self._finish(child, 0)

    def _next(self, frame: _Frame, iteration: int, op: Operation, value: Any) -> None:
        if iteration == frame.last:
            if len(frame.iterations) >= frame.limit:
                frame.held.append((op, value))
                return
            self._begin(frame)
        self._deliver(frame, iteration + 1, op, [value], False)

    def _begin(self, frame: _Frame) -> None:
        frame.last += 1
        frame.dead_exits.clear()
        frame.iterations[frame.last] = _Iteration()
        for op, value in frame.constants:
            self._deliver(frame, frame.last, op, [value], value is DEAD)

    def _finish(self, frame: _Frame, iteration: int) -> None:
        """Ends iterations, and the frame, where nothing is left to do."""
        if frame.parent is None or frame.enters:
            return
        while frame.iterations:
            first = min(frame.iterations)
            if frame.iterations[first].work or frame.iterations[first].frames:
                return
            del frame.iterations[first]
            if frame.held:
                held, frame.held = frame.held, []
                self._begin(frame)
                for op, value in held:
                    self._deliver(frame, frame.last, op, [value], False)
        parent = frame.parent
        for op in frame.dead_exits:
            self._deliver(parent, frame.parent_iteration, op, [DEAD], True)
        del parent.children[frame.name, frame.parent_iteration]
        parent.iterations[frame.parent_iteration].frames -= 1
        self._finish(parent, frame.parent_iteration)
