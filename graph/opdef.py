"""What an op is: its signature, attrs and rules as data, and the registry of all ops.

An op is defined once, by ``define`` (define.py); everything else is read off the OpDef made there: the Python
function, argument checks, the wire form, the generated tests. The registry is written at import only.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtypes
from .dtypes import DType
from .errors import InvalidArgumentError
from .shapes import TensorShape

if TYPE_CHECKING:
    from .operation import Operation
    from .samples import Sample

ShapeRule = Callable[["Operation"], Sequence[TensorShape]]
GradientRule = Callable[..., Sequence[Any]]

REQUIRED: Any = object()  # an attr without a default


@dataclass(frozen=True)
class Arg:
    """One input or output of a signature: exactly one of `dtype`, `type_attr`, `type_list_attr` says its type."""

    name: str
    dtype: DType | None = None
    type_attr: str = ""
    number_attr: str = ""     # a list of that many tensors
    type_list_attr: str = ""  # a list with a type for each
    is_ref: bool = False

    @property
    def is_list(self) -> bool:
        return bool(self.number_attr or self.type_list_attr)


@dataclass(frozen=True)
class Attr:
    """One attr: kind as TensorFlow spells it ("type", "int", "list(int)", ...), default and allowed values."""

    name: str
    kind: str
    default: Any = REQUIRED
    allowed: tuple[Any, ...] = ()


# Attr declarations for ``define(..., name=DECLARATION)`` where a default value does not say the kind.
@dataclass(frozen=True)
class attr:
    """``attr("int")``: a required int; ``attr("list(int)", [1, 1, 1, 1])``; ``attr("type", int32, INDEX)``."""

    kind: str
    default: Any = REQUIRED
    allowed: tuple[Any, ...] = ()


@dataclass
class OpDef:
    """One op. `inputs` and `outputs` are in GraphDef order; `attrs` include the type and number attrs."""

    name: str
    inputs: tuple[Arg, ...]
    outputs: tuple[Arg, ...]
    attrs: dict[str, Attr]
    reference: Callable[..., Any]
    doc: str = ""
    stateful: bool = False      # has effects or state: never folded, joined or dropped while reachable
    elementwise: bool = False   # output[i] depends on input[i] alone (after broadcasting)
    aliases: bool = False       # output 0 is input 0's memory
    commutative: bool = False
    shape_rule: ShapeRule | None = None
    gradient_rule: GradientRule | None = None
    differentiable: bool = True  # False: gradient is zero or undefined by definition (comparisons, shapes)
    waits: bool = False         # may have to wait for another operation, of the same run or of another
    statistical: bool = False    # draws random numbers: kernel and reference agree in distribution, not in values
    samples: list[Sample] = field(default_factory=list)
    reference_attrs: tuple[str, ...] = ()  # attrs that the reference takes by keyword

    def __hash__(self) -> int:
        return hash(self.name)

    def output_dtypes(self, attrs: dict[str, Any]) -> list[DType]:
        """One dtype for each flat output."""
        types: list[DType] = []
        for arg in self.outputs:
            if arg.type_list_attr:
                types.extend(attrs[arg.type_list_attr])
            else:
                dtype = arg.dtype if arg.dtype is not None else attrs[arg.type_attr]
                types.extend([dtype] * (attrs[arg.number_attr] if arg.number_attr else 1))
        return types


OPS: dict[str, OpDef] = {}


def lookup(name: str) -> OpDef:
    """Raises: InvalidArgumentError with near names where no op is called that."""
    found = OPS.get(name)
    if found is None:
        import difflib

        near = difflib.get_close_matches(name, OPS, 3)
        raise InvalidArgumentError(
            f"[graph] no op is named {name!r}" + (f". Near: {', '.join(near)}" if near else "")
            + f". Fix: use one of the {len(OPS)} defined ops")
    return found


_SIGNATURE = re.compile(r"\s*(\w+)\s*\((.*?)\)\s*(?:->\s*(.*))?$", re.S)
_ARG = re.compile(r"(\w+)\s*:\s*(&)?\s*(?:(\w+)\s*\*\s*)?(\[)?(\w+)\]?$")


def parse_signature(text: str) -> tuple[str, tuple[Arg, ...], tuple[Arg, ...]]:
    """``"Name(a: T, b: N*T, c: [Ts], d: &T) -> e: float32"``: list of N, list of types, ref, fixed dtype."""
    match = _SIGNATURE.match(text)
    if match is None:
        raise ValueError(f"not an op signature: {text!r}")
    name, inputs, outputs = match.group(1), match.group(2), match.group(3) or ""
    return name, tuple(map(_parse_arg, _parts(inputs))), tuple(map(_parse_arg, _parts(outputs)))


def _parts(text: str) -> list[str]:
    return [p.strip() for p in text.split(",") if p.strip()]


def _parse_arg(text: str) -> Arg:
    match = _ARG.match(text)
    if match is None:
        raise ValueError(f"not an argument of an op signature: {text!r}")
    name, ref, number, listed, type_name = match.groups()
    if listed:
        return Arg(name, type_list_attr=type_name)
    fixed = next((d for d in dtypes.ALL if d.name == type_name), None)  # not as_dtype: NumPy knows "U" as a type
    return Arg(name, dtype=fixed, type_attr="" if fixed else type_name, number_attr=number or "", is_ref=bool(ref))


def make_attr(name: str, value: Any) -> Attr:
    """The Attr that a keyword of ``define`` declares: a dtype set, an ``attr(...)`` or a default value."""
    if isinstance(value, attr):
        return Attr(name, value.kind, value.default, value.allowed)
    if isinstance(value, tuple) and value and all(isinstance(v, DType) for v in value):
        return Attr(name, "type", REQUIRED, value)
    for kind, types in (("bool", bool), ("int", int), ("float", float), ("string", str), ("type", DType),
                        ("shape", TensorShape)):
        if isinstance(value, types):
            return Attr(name, kind, value)
    if isinstance(value, list) and value:
        return Attr(name, f"list({make_attr(name, value[0]).kind})", value)
    raise ValueError(f"attr {name!r}: cannot tell the kind of {value!r}; use attr(kind, default)")


def check_attr(op_name: str, spec: Attr, value: Any) -> Any:
    """`value` normalised to the attr's kind. Raises: InvalidArgumentError."""
    try:
        if spec.kind.startswith("list("):
            kind = spec.kind[5:-1]
            if isinstance(value, (str, bytes)):
                raise TypeError("a list is needed")
            value = [_normalise(kind, v) for v in value]
        else:
            value = _normalise(spec.kind, value)
    except (TypeError, ValueError) as e:
        raise InvalidArgumentError(f"[{op_name}] attr '{spec.name}' must be {spec.kind}: got {value!r} ({e})") from e
    for v in (value if isinstance(value, list) else [value]) if spec.allowed else ():
        if v not in spec.allowed:
            raise InvalidArgumentError(
                f"[{op_name}] attr '{spec.name}' is {v}: must be one of {', '.join(map(str, spec.allowed))}")
    return value


def _normalise(kind: str, value: Any) -> Any:
    if kind == "type":
        return dtypes.as_dtype(value)
    if kind == "shape":
        return value if isinstance(value, TensorShape) else TensorShape(value)
    if kind == "bool":
        if isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1)):
            return bool(value)
        raise TypeError("not a bool")
    if kind == "int":
        if isinstance(value, (float, str, bytes)):
            raise TypeError("not an int")
        return int(value)
    if kind == "float":
        return float(value)
    if kind == "string":
        return value.decode() if isinstance(value, bytes) else str(value)
    if kind == "tensor":
        return value if isinstance(value, np.ndarray) else np.asarray(value)
    return value
