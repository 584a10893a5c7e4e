"""Partition: splits a placed program by device, into graphs that exchange tensors by `_Send` and `_Recv`.

One `_Recv` for each (tensor, destination), shared by all readers there. A control edge that crosses becomes an empty
Const behind its source, sent, and an Identity of what is received, unless a tensor of the source is received anyway.
`_Arg` and Const are not sent: each device has its own. A reference that is read from elsewhere is read where it lives,
when all else that the reader waits for is done, once for each reader: the reader sees what it would have seen on one
device.

Invariant: the partitions together compute what the program computes, bit for bit (but for `bfloat16`, which drops the
lower half of float32 between tasks).

A loop may cross. A `_Recv` in a loop must run in every iteration, so each partition with one gets a control loop:
Enter, Merge, Switch, NextIteration and Exit of a token, driven by the loop's LoopCond; the Merge starts the receives.
What is dead where it is sent arrives dead. Source: TensorFlow, core/graph/graph_partition.cc (AddControlFlow).
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import dtypes
from ...control_types import ENTER, SWITCH
from ...device import Device
from ...errors import InternalError
from ...operation import Operation, Tensor
from ...placement.search import EVERYWHERE
from ...places import find_places
from ...topology import predecessors, topological_order
from ..program import Partition, Program


def partition(program: Program, devices: Sequence[Device], bfloat16: bool = False) -> list[Partition]:
    """The parts of `program` on devices that run something, in the order of `devices`. A node that passes added
    without a device goes with its first input, or to the first device."""
    return _Splitter(program, devices, bfloat16).split()


class _Splitter:
    def __init__(self, program: Program, devices: Sequence[Device], bfloat16: bool) -> None:
        self._ops = topological_order(program.graph._ops)
        self._bfloat16 = bfloat16
        self._parts = {d.name: Partition(d) for d in devices}
        self._first = devices[0].name
        self._home: dict[Operation, str] = {}
        self._copies: dict[tuple[Operation, str], Operation] = {}
        self._received: dict[tuple[Tensor, str], Tensor] = {}
        self._awaited: dict[tuple[Operation, str], Operation] = {}
        self._crossing: dict[tuple[Operation, str], Tensor] = {}  # what a device receives of an operation
        self._edges = 0
        self._places = find_places(self._ops)
        self._loops: dict[tuple[str, tuple[str, ...]], Operation] = {}  # Merge of a control loop, by device and frame

    def split(self) -> list[Partition]:
        for op in self._ops:
            at = op.device or (self._home[op.inputs[0].op] if op.inputs else self._first)
            if at not in self._parts:
                raise InternalError(f"[partition] {op!r} is on {at}, which is no device of the session")
            self._home[op] = at
        for op in self._ops:
            for t in op.inputs:
                if self._home[t.op] != self._home[op] and not t.is_ref and t.op.type not in SWITCH:
                    self._crossing.setdefault((t.op, self._home[op]), t)
        back: list[tuple[Operation, int]] = []
        for op in self._ops:
            if not _everywhere(op):
                self._copy(op, self._home[op], back)
        for (here, frame), merge in self._loops.items():
            self._close(here, frame, merge)
        for op, i in back:
            here = self._home[op]
            self._copies[op, here]._update_input(i, self._copies[op.inputs[i].op, here].outputs[op.inputs[i].index])
        return [p for p in self._parts.values() if p.graph._ops]

    def _copy(self, op: Operation, here: str, back: list[tuple[Operation, int]]) -> Operation:
        part = self._parts[here]
        done = [t for t in op.inputs if _everywhere(t.op) or (t.op, self._home[t.op]) in self._copies]
        back += [(op, i) for i, t in enumerate(op.inputs) if t not in done]  # closed when all nodes are there
        inputs = [self._input(t if t in done else done[0], here, op) for t in op.inputs]
        controls = [c for c in (self._control(c, here) for c in op.control_inputs) if c is not None]
        copy = Operation(part.graph, op.op_def, op.name, inputs, dict(op.attrs), list(dict.fromkeys(controls)), here)
        copy.site = op.site
        for t, original in zip(copy.outputs, op.outputs):
            t.shape = original.shape
        if op.type == "_Retval":
            copy.attrs["index"] = len(part.fetches)
            part.fetches.append(op.attrs["index"])
        part.graph._names[copy.name.lower()] = 1
        part.graph._add(copy)
        self._copies[op, here] = copy
        return copy

    def _input(self, t: Tensor, here: str, reader: Operation) -> Tensor:
        """`t` in the partition `here`."""
        if _everywhere(t.op):
            copy = self._copies.get((t.op, here)) or self._copy(t.op, here, [])
            return copy.outputs[t.index]
        there = self._home[t.op]
        own = self._copies[t.op, there].outputs[t.index]
        if there == here:
            return own
        if t.is_ref:
            before = [self._control(op, there) for op in predecessors(reader) - {t.op}]
            read = self._add(there, "Identity", [own], f"{t.op.name}/_read", [c for c in before if c is not None])
            return self._send(read.outputs[0], t.op, there, here, self._frame(t))
        if (t, here) not in self._received:
            self._received[t, here] = self._send(own, t.op, there, here, self._frame(t))
        return self._received[t, here]

    def _control(self, op: Operation, here: str) -> Operation | None:
        """What a node in the partition `here` waits for in place of `op`. None where there is nothing to wait for."""
        if _everywhere(op):
            return None
        there = self._home[op]
        if there == here:
            return self._copies[op, there]
        if (op, here) in self._crossing:  # a tensor of it that comes anyway says the same
            return self._input(self._crossing[op, here], here, op).op
        if (op, here) not in self._awaited:
            done = self._add(there, "Const", [], f"{op.name}/_done", [self._copies[op, there]],
                             value=np.zeros(0, np.float32), dtype=dtypes.float32)
            frame = self._places.after(op).frame if self._places else ()
            received = self._send(done.outputs[0], op, there, here, frame)
            self._awaited[op, here] = self._add(here, "Identity", [received], f"{op.name}/_wait")
        return self._awaited[op, here]

    def _frame(self, t: Tensor) -> tuple[str, ...]:
        """The loops around the readers of `t`."""
        return self._places.output(t).frame if self._places else ()

    def _loop(self, here: str, frame: tuple[str, ...]) -> Operation:
        """What is alive once in every iteration of a loop, in the partition `here`. Closed when all else is there."""
        if (here, frame) not in self._loops:
            outer = [self._loop(here, frame[:-1])] if len(frame) > 1 else []
            enter = next(op for op in self._ops if op.type in ENTER and op.attrs["frame_name"] == frame[-1])
            token = self._add(here, "Const", [], f"{enter.name}/_token", outer, value=np.zeros((), np.float32),
                              dtype=dtypes.float32)
            entered = self._add(here, "Enter", token.outputs, f"{enter.name}/_enter", frame_name=frame[-1],
                                parallel_iterations=enter.attrs["parallel_iterations"])
            twice = [entered.outputs[0], entered.outputs[0]]  # one until the loop is closed
            self._loops[here, frame] = self._add(here, "Merge", twice, f"{enter.name}/_merge")
        return self._loops[here, frame]

    def _close(self, here: str, frame: tuple[str, ...], merge: Operation) -> None:
        assert self._places is not None
        condition = next(op for op in self._ops if op.type == "LoopCond" and self._places[op].frame == frame)
        goes_on = self._input(condition.outputs[0], here, condition)
        switch = self._add(here, "Switch", [merge.outputs[0], goes_on], f"{merge.name}/_switch")
        following = self._add(here, "NextIteration", [switch.outputs[1]], f"{merge.name}/_next")
        merge._update_input(1, following.outputs[0])
        self._add(here, "Exit", [switch.outputs[0]], f"{merge.name}/_exit")

    def _send(self, t: Tensor, source: Operation, there: str, here: str, frame: tuple[str, ...]) -> Tensor:
        """Sends `t`, which is in `frame`, and gives it as received."""
        shape, dtype = t.shape, t.dtype
        sender, receiver = self._parts[there].device, self._parts[here].device
        short = self._bfloat16 and dtype is dtypes.float32 and sender.task != receiver.task
        if short:
            t = self._add(there, "Cast", [t], f"{source.name}/_shorten", SrcT=dtypes.float32, DstT=dtypes.bfloat16,
                          Truncate=True).outputs[0]
        ends: dict[str, Any] = {"tensor_name": f"edge_{self._edges}_{source.name}", "send_device": there,
                                "send_device_incarnation": sender.incarnation, "recv_device": here}
        self._edges += 1
        self._add(there, "_Send", [t], f"{source.name}/_send", T=t.dtype, **ends)
        controls = [self._loop(here, frame)] if frame else []
        received = self._add(here, "_Recv", [], f"{source.name}/_recv", controls, tensor_type=t.dtype,
                             **ends).outputs[0]
        received.shape = shape
        if short:
            received = self._add(here, "Cast", [received], f"{source.name}/_lengthen", SrcT=dtypes.bfloat16,
                                 DstT=dtypes.float32).outputs[0]
        return received

    def _add(self, where: str, op_type: str, inputs: list[Tensor], name: str,
             controls: Sequence[Operation] = (), **attrs: Any) -> Operation:
        graph = self._parts[where].graph
        op = graph.create_op(op_type, inputs, attrs, name, control_inputs=controls, device=where)
        op.site = None
        return op


def _everywhere(op: Operation) -> bool:
    return op.type in EVERYWHERE and not op.control_inputs


__all__ = ["Partition", "partition"]
