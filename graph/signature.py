"""A new node against the signature of its op: attrs completed, inputs checked, shapes of the outputs inferred."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .dtypes import DType
from .errors import InvalidArgumentError
from .opdef import REQUIRED, OpDef, check_attr
from .operation import Operation, Tensor
from .shapes import UNKNOWN


def complete_attrs(op_def: OpDef, inputs: Sequence[Tensor], given: dict[str, Any]) -> dict[str, Any]:
    """All attrs of a node: `given`, types and counts that the inputs imply, defaults. Raises: InvalidArgumentError."""
    attrs: dict[str, Any] = {}
    for name, value in given.items():
        spec = op_def.attrs.get(name)
        if spec is not None:
            attrs[name] = check_attr(op_def.name, spec, value)
        elif name.startswith("_"):
            attrs[name] = value
        else:
            raise InvalidArgumentError(f"[{op_def.name}] has no attr {name!r}. It has: "
                                       f"{', '.join(op_def.attrs) or 'none'}")
    position = 0
    for arg in op_def.inputs:
        if arg.number_attr:
            if arg.number_attr not in attrs:
                later = op_def.inputs[op_def.inputs.index(arg):]
                lists = sum(a.number_attr == arg.number_attr for a in later)
                attrs[arg.number_attr] = (len(inputs) - position - sum(not a.is_list for a in later)) // lists
            count = attrs[arg.number_attr]
        elif arg.type_list_attr:
            if arg.type_list_attr not in attrs:
                attrs[arg.type_list_attr] = [t.dtype for t in inputs[position:]]
            count = len(attrs[arg.type_list_attr])
        else:
            count = 1
        if arg.type_attr and arg.type_attr not in attrs and position < len(inputs) and count:
            spec = op_def.attrs[arg.type_attr]
            attrs[arg.type_attr] = check_attr(op_def.name, spec, inputs[position].dtype)
        position += count
    for name, spec in op_def.attrs.items():
        if name not in attrs:
            if spec.default is REQUIRED:
                raise InvalidArgumentError(f"[{op_def.name}] attr '{name}' ({spec.kind}) is missing and has no default")
            attrs[name] = spec.default
    return attrs


def check_inputs(op_def: OpDef, inputs: Sequence[Tensor], attrs: dict[str, Any]) -> None:
    """Counts and dtypes of the inputs against the signature. Raises: InvalidArgumentError."""
    position = 0
    for arg in op_def.inputs:
        if arg.type_list_attr:
            want: list[DType] = attrs[arg.type_list_attr]
        else:
            dtype = arg.dtype if arg.dtype is not None else attrs[arg.type_attr]
            want = [dtype] * (attrs[arg.number_attr] if arg.number_attr else 1)
        for dtype in want:
            if position >= len(inputs):
                raise InvalidArgumentError(f"[{op_def.name}] input '{arg.name}' is missing: {len(inputs)} inputs "
                                           "were given")
            t = inputs[position]
            if t.dtype is not dtype:
                raise InvalidArgumentError(
                    f"[{op_def.name}] input '{arg.name}' must be {dtype}: {t.name!r} is {t.dtype}. "
                    f"Fix: rf.cast it to {dtype}")
            if arg.is_ref and not t.is_ref:
                raise InvalidArgumentError(
                    f"[{op_def.name}] input '{arg.name}' must be a variable: {t.name!r} is a {t.op.type} output")
            position += 1
    if position != len(inputs):
        raise InvalidArgumentError(f"[{op_def.name}] takes {position} inputs: {len(inputs)} were given")


def infer(op: Operation) -> None:
    """Sets the static shapes of the outputs by the op's shape rule."""
    rule = op.op_def.shape_rule
    if rule is None:
        for t in op.outputs:
            t.shape = UNKNOWN
        return
    shapes = rule(op)
    if len(shapes) != len(op.outputs):
        raise AssertionError(f"shape rule of {op.type} gave {len(shapes)} shapes for {len(op.outputs)} outputs")
    for t, shape in zip(op.outputs, shapes):
        t.shape = shape
