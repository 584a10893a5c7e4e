"""Partition: splits a placed program by device, into graphs that exchange tensors by `_Send` and `_Recv`.

One `_Recv` for each (tensor, destination), shared by all readers there. A control edge that crosses becomes an empty
Const behind its source, sent, and an Identity of what is received. `_Arg` and Const are not sent: each device has its
own. A reference that is read from elsewhere is read where it lives, when all else that the reader waits for is done,
once for each reader: the reader sees what it would have seen on one device.

Invariant: the partitions together compute what the program computes, bit for bit (but for `bfloat16`, which drops the
lower half of float32 between tasks). Loops and what a Switch may leave dead are on one device: place.py sees to it.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..device import Device
from ..errors import InternalError
from ..operation import Operation, Tensor
from ..placement import EVERYWHERE
from ..topology import predecessors, topological_order
from .program import Partition, Program


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
        self._edges = 0

    def split(self) -> list[Partition]:
        for op in self._ops:
            at = op.device or (self._home[op.inputs[0].op] if op.inputs else self._first)
            if at not in self._parts:
                raise InternalError(f"[partition] {op!r} is on {at}, which is no device of the session")
            self._home[op] = at
        back: list[tuple[Operation, int]] = []
        for op in self._ops:
            if not _everywhere(op):
                self._copy(op, self._home[op], back)
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
            return self._send(read.outputs[0], t.op, there, here)
        if (t, here) not in self._received:
            self._received[t, here] = self._send(own, t.op, there, here)
        return self._received[t, here]

    def _control(self, op: Operation, here: str) -> Operation | None:
        """What a node in the partition `here` waits for in place of `op`. None where there is nothing to wait for."""
        if _everywhere(op):
            return None
        there = self._home[op]
        if there == here:
            return self._copies[op, there]
        if (op, here) not in self._awaited:
            done = self._add(there, "Const", [], f"{op.name}/_done", [self._copies[op, there]],
                             value=np.zeros(0, np.float32), dtype=dtypes.float32)
            received = self._send(done.outputs[0], op, there, here)
            self._awaited[op, here] = self._add(here, "Identity", [received], f"{op.name}/_wait")
        return self._awaited[op, here]

    def _send(self, t: Tensor, source: Operation, there: str, here: str) -> Tensor:
        """Sends `t` and gives it as received."""
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
        received = self._add(here, "_Recv", [], f"{source.name}/_recv", tensor_type=t.dtype, **ends).outputs[0]
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
