"""The op definitions as TensorFlow's ``OpList`` message and its text form, which graph/ops/ops.pbtxt holds.

Names, arguments, types and defaults are those of TensorFlow's ops of the same name; `allowed_values` may be fewer:
what this engine computes. Ops whose name begins with "_" are made by sessions and passes only and are left out.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf import text_format

from ..opdef import OPS, REQUIRED, Arg, Attr, OpDef
from ..proto import graph_pb2 as pb
from .wire import attr_to_proto

_HEADER = "# Made from the op definitions by `ringflow ops --pbtxt`. Do not edit.\n"


def public_ops() -> list[OpDef]:
    """Every defined op that a graph file may hold, by name."""
    return [OPS[name] for name in sorted(OPS) if not name.startswith("_")]


def op_list(ops: Iterable[OpDef] | None = None) -> Any:
    """An OpList message of `ops` (default: all public ones)."""
    message = pb.OpList()
    for op in public_ops() if ops is None else ops:
        op_def_to_proto(op, message.op.add())
    return message


def op_list_text(ops: Iterable[OpDef] | None = None) -> str:
    """The OpList in protobuf's text format, the same on every protobuf version."""
    return _HEADER + text_format.MessageToString(op_list(ops), as_utf8=True)


def op_def_to_proto(op: OpDef, out: Any) -> None:
    """Writes one op into the OpDef message `out`."""
    out.name = op.name
    for arg in op.inputs:
        _arg(arg, out.input_arg.add())
    for arg in op.outputs:
        _arg(arg, out.output_arg.add())
    for name in sorted(op.attrs):
        _attr(op.attrs[name], out.attr.add())
    out.summary = op.doc.partition("\n")[0]
    # An update has no state of its own: passes leave it alone because of its reference.
    out.is_stateful = op.stateful and not any(arg.is_ref for arg in op.inputs)
    out.is_commutative = op.commutative


def _arg(arg: Arg, out: Any) -> None:
    out.name = arg.name
    if arg.dtype is not None:
        out.type = arg.dtype.enum
    out.type_attr = arg.type_attr
    out.number_attr = arg.number_attr
    out.type_list_attr = arg.type_list_attr
    out.is_ref = arg.is_ref


def _attr(spec: Attr, out: Any) -> None:
    out.name = spec.name
    out.type = spec.kind
    if spec.default is not REQUIRED:
        attr_to_proto(spec.kind, spec.default, out.default_value)
    if spec.allowed:
        kind = spec.kind if spec.kind.startswith("list(") else f"list({spec.kind})"
        attr_to_proto(kind, list(spec.allowed), out.allowed_values)
