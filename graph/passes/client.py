"""The ends of a program that is fed and fetched while it runs: `_Recv` for each `_Arg`, `_Send` for each `_Retval`.

Reads of variables become values of their own first: else an update would wait for every user of a read, and so for
feeds that come later.
"""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .. import dtypes
from ..operation import Operation
from ..ops.transfer import key_of
from ..topology import ancestors
from .program import Program

_CLIENT = "/job:client"


@dataclass
class Ends:
    """Rendezvous keys: of each feed that is read, of each fetched tensor and of each target, by their indices; and
    which feeds each of these needs."""

    feeds: dict[int, str] = field(default_factory=dict)
    fetches: dict[int, str] = field(default_factory=dict)
    targets: list[str] = field(default_factory=list)
    needs: dict[str, set[int]] = field(default_factory=dict)


def keep_reads(program: Program) -> None:
    """Puts a Snapshot behind every read of a variable, and notes that feeds come "one by one". To run before the
    passes."""
    program.notes["one by one"] = True
    for op in list(program.graph._ops):
        if op.type == "Identity" and op.inputs[0].is_ref or op.type == "ReadVariableOp":
            read, users = op.outputs[0], list(op.outputs[0].consumers)
            copy = program.add("Snapshot", [read], {"T": read.dtype}, f"{op.name}/_kept", like=op)
            read.consumers[:] = users
            program.replace(read, copy.outputs[0])
            read.consumers.append(copy)


def open_ends(program: Program) -> Ends:
    """Replaces the ends, in place. To run after the passes."""
    ends = Ends()
    feeds: dict[Operation, int] = {}
    gone: set[Operation] = set()
    for op in list(program.graph._ops):
        attrs = {"tensor_name": op.name, "send_device_incarnation": 0, "client_terminated": True}
        if op.type == "_Arg":
            gone.add(op)
            index, t = op.attrs["index"], op.outputs[0]
            if not t.consumers and not any(op in o.control_inputs for o in program.graph._ops):
                continue
            attrs.update(tensor_type=t.dtype, send_device=_CLIENT, recv_device=op.device)
            recv = program.add("_Recv", [], attrs, f"{op.name}/_recv", like=op)
            recv.outputs[0].shape = t.shape
            program.replace(t, recv.outputs[0])
            for other in program.graph._ops:
                other.control_inputs = [recv if c is op else c for c in other.control_inputs]
            ends.feeds[index] = key_of(recv)
            feeds[recv] = index
        elif op.type == "_Retval":
            gone.add(op)
            attrs.update(T=op.inputs[0].dtype, send_device=op.device, recv_device=_CLIENT)
            send = program.add("_Send", op.inputs, attrs, f"{op.name}/_send", op.control_inputs, like=op)
            for other in program.graph._ops:
                other.control_inputs = [send if c is op else c for c in other.control_inputs]
            ends.fetches[op.attrs["index"]] = _needing(ends, send, feeds)
    for op in program.targets:
        done = program.add("Const", [], {"value": np.zeros(0, np.float32), "dtype": dtypes.float32}, f"{op.name}/_done",
                           [op], like=op)
        attrs = {"T": dtypes.float32, "tensor_name": op.name, "send_device": op.device, "send_device_incarnation": 0,
                 "recv_device": _CLIENT, "client_terminated": True}
        sent = program.add("_Send", done.outputs, attrs, f"{op.name}/_sent", like=op)
        ends.targets.append(_needing(ends, sent, feeds))
    program.remove(gone)
    return ends


def _needing(ends: Ends, send: Operation, feeds: dict[Operation, int]) -> str:
    key = key_of(send)
    ends.needs[key] = {feeds[op] for op in ancestors([send]) if op in feeds}
    return key
