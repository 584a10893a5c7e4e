"""``define``: one decorator that makes an op out of its NumPy reference; and how a call of an op becomes a node.

    @define("MatMul(a: T, b: T) -> product: T", T=FLOATS, transpose_a=False, transpose_b=False)
    def matmul(a: Array, b: Array, *, transpose_a: bool, transpose_b: bool) -> Array:
        '''product = op(a) @ op(b)'''
        return ...

    @matmul.shape
    def _(op): return [TensorShape(...)]

    @matmul.gradient
    def _(op, grad): return [..., ...]

    matmul.sample(normal(2, 3), normal(3, 4))

The decorated function is the op's meaning (the interpreter runs it, tests hold kernels to it); the name it is bound to
then builds nodes: ``matmul(x, w, transpose_b=True, name="logits")``.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import dtypes
from .bfloat16 import float32_to_bfloat16
from .dtypes import DType
from .errors import AlreadyExistsError, Error, InvalidArgumentError
from .graph import get_default_graph
from .opdef import OPS, REQUIRED, Arg, Attr, GradientRule, OpDef, ShapeRule, attr, make_attr, parse_signature
from .operation import Operation, Tensor, at_site, creation_site
from .samples import Sample

Array = npt.NDArray[Any]


class Op(OpDef):
    """An OpDef that can be called to add a node to the default graph."""

    __hash__ = OpDef.__hash__

    def __call__(self, *args: Any, name: str | None = None, **kwargs: Any) -> Any:
        """Inputs and the attrs that have no default by position or name, other attrs by name.

        Returns: the output Tensor; a tuple of them (a list for a list output) where there are several; the Operation
        where there is none. Raises: InvalidArgumentError for wrong inputs or attrs; TypeError for unknown arguments.
        """
        try:
            inputs, attrs = self._bind(args, kwargs)
        except Error as e:
            raise at_site(e, creation_site()) from None
        graph = inputs[0].graph if inputs else get_default_graph()
        return self.results(graph.create_op(self, inputs, attrs, name or self.name))

    def results(self, op: Operation) -> Any:
        """The outputs of a node of this op, as a call returns them."""
        if not self.outputs:
            return op
        if len(self.outputs) == 1:
            return list(op.outputs) if self.outputs[0].is_list else op.outputs[0]
        return tuple(op.outputs)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Tensor], dict[str, Any]]:
        values = dict(zip([a.name for a in self.inputs], args))
        attrs: dict[str, Any] = {}
        if len(args) > len(self.inputs):
            attrs = self._required(args[len(self.inputs):])
        for key, value in kwargs.items():
            if key in attrs:
                raise TypeError(f"{self.name} was given {key!r} twice: by position and by name")
            if key in self.attrs or key.startswith("_"):
                attrs[key] = value
            elif key not in values and any(a.name == key for a in self.inputs):
                values[key] = value
            else:
                raise TypeError(f"{self.name} has no argument {key!r}")
        for a in self.inputs:
            if a.name not in values:
                raise TypeError(f"{self.name} needs the input {a.name!r}")
            if a.is_list and not isinstance(values[a.name], (list, tuple)):
                raise TypeError(f"{self.name} needs a list of tensors for {a.name!r}")
        types = self._types(values, attrs)
        inputs: list[Tensor] = []
        for a in self.inputs:
            value = values[a.name]
            if a.number_attr:
                attrs.setdefault(a.number_attr, len(value))
                if attrs[a.number_attr] != len(value):
                    raise InvalidArgumentError(f"[{self.name}] lists differ in length: '{a.name}' has {len(value)} "
                                               "items, "
                                               f"'{a.number_attr}' is {attrs[a.number_attr]}")
            wanted = a.dtype or types.get(a.type_attr)
            by_ref = a.is_ref or a.dtype is dtypes.resource
            if a.is_list:
                inputs.extend([convert_to_tensor(v, wanted, as_ref=by_ref) for v in value])
            else:
                inputs.append(convert_to_tensor(value, wanted, as_ref=by_ref))
        for type_attr, dtype in types.items():
            attrs.setdefault(type_attr, dtype)
        return inputs, attrs

    def _required(self, extra: tuple[Any, ...]) -> dict[str, Any]:
        """Attrs given by position, behind the inputs: those without a default that no input decides."""
        decided = {a.type_attr for a in self.inputs} | {a.number_attr for a in self.inputs}
        names = [a.name for a in self.attrs.values() if a.default is REQUIRED and a.name not in decided]
        if len(extra) > len(names):
            positions = [a.name for a in self.inputs] + names
            raise TypeError(f"{self.name} takes {len(positions)} arguments by position ({', '.join(positions)}): "
                            f"{len(self.inputs) + len(extra)} were given. Fix: give other attrs by name")
        return dict(zip(names, extra))

    def _types(self, values: dict[str, Any], attrs: dict[str, Any]) -> dict[str, DType]:
        """The type attrs that the inputs decide: by a tensor first, then a NumPy array, then the attr's default, then a
        Python number."""
        types: dict[str, DType] = {k: dtypes.as_dtype(v) for k, v in attrs.items()
                                   if k in self.attrs and self.attrs[k].kind == "type"}
        weak: dict[str, Any] = {}
        for a in self.inputs:
            if not a.type_attr or a.type_attr in types:
                continue
            for v in values[a.name] if a.is_list else (values[a.name],):
                dtype = getattr(v, "dtype", None)
                if isinstance(dtype, DType):
                    types[a.type_attr] = dtype
                    weak.pop(a.type_attr, None)
                    break
                if a.type_attr not in weak or (dtype is not None and not hasattr(weak[a.type_attr], "dtype")):
                    weak[a.type_attr] = v
        for type_attr, v in weak.items():
            default = self.attrs[type_attr].default
            if isinstance(default, DType) and not hasattr(v, "dtype"):
                types[type_attr] = default
            else:
                types[type_attr] = _dtype_of(v)
                allowed = self.attrs[type_attr].allowed or (types[type_attr],)
                if types[type_attr] not in allowed and not hasattr(v, "dtype") and dtypes.float32 in allowed:
                    types[type_attr] = dtypes.float32  # a Python int where only floats are allowed
        return types

    # ---- rules, attached after the definition
    def shape(self, rule: ShapeRule) -> ShapeRule:
        self.shape_rule = rule
        return rule

    def gradient(self, rule: GradientRule) -> GradientRule:
        """`rule(op, *output_grads)` returns one tensor, IndexedSlices or None for each flat input."""
        self.gradient_rule = rule
        return rule

    def sample(self, *inputs: Any, gradient: bool = True, **attrs: Any) -> None:
        self.samples.append(Sample(inputs, attrs, gradient))


def define(signature: str, *, stateful: bool = False, elementwise: bool = False, aliases: bool = False,
           commutative: bool = False, differentiable: bool = True, statistical: bool = False, waits: bool = False,
           shape: Any = None,
           **attrs: Any) -> Callable[[Callable[..., Any]], Op]:
    """Makes an op. `attrs`: a dtype set for a type attr, a default value, or ``attr(kind, default, allowed)``.

    `shape`: a shape rule that families share; or, where it is no function, the declaration of an attr of that name.
    """
    if shape is not None and not callable(shape):
        attrs["shape"] = shape
        shape = None
    name, inputs, outputs = parse_signature(signature)
    specs = {key: make_attr(key, value) for key, value in attrs.items()}
    for arg in (*inputs, *outputs):
        if arg.number_attr:
            specs.setdefault(arg.number_attr, Attr(arg.number_attr, "int"))
        if arg.type_list_attr:
            specs.setdefault(arg.type_list_attr, Attr(arg.type_list_attr, "list(type)"))
        if arg.type_attr and arg.type_attr not in specs:
            raise ValueError(f"{name}: type attr {arg.type_attr!r} is not declared")

    def decorate(reference: Callable[..., Any]) -> Op:
        if name in OPS:
            raise AlreadyExistsError(f"[define] op {name!r} is defined twice")
        wanted = tuple(p.name for p in inspect.signature(reference).parameters.values()
                       if p.kind is inspect.Parameter.KEYWORD_ONLY)
        op = Op(name=name, inputs=inputs, outputs=outputs, attrs=specs, reference=reference,
                doc=inspect.getdoc(reference) or "", stateful=stateful, elementwise=elementwise, aliases=aliases,
                commutative=commutative, differentiable=differentiable, statistical=statistical, waits=waits,
                shape_rule=shape, reference_attrs=wanted)
        OPS[name] = op
        return op

    return decorate


def _dtype_of(value: Any) -> DType:
    """The dtype of a Python or NumPy value: float -> float32, int -> int32 (int64 where it does not fit)."""
    dtype = getattr(value, "dtype", None)
    if dtype is not None:
        return dtype if isinstance(dtype, DType) else dtypes.as_dtype(dtype)
    if isinstance(value, (list, tuple)) and _holds_tensor(value):
        return next(_dtype_of(v) for v in value if hasattr(v, "dtype"))
    array = np.asarray(value)
    if array.dtype == object and any(isinstance(v, int) for v in array.flat):
        raise InvalidArgumentError(f"[convert_to_tensor] {value!r:.60} does not fit int64")
    if array.dtype == np.float64:
        return dtypes.float32
    if array.dtype == np.int64:
        fits = not array.size or (array.min() >= -2**31 and array.max() < 2**31)
        return dtypes.int32 if fits else dtypes.int64
    return dtypes.as_dtype(array.dtype)


def convert_to_tensor(value: Any, dtype: Any = None, name: str | None = None, as_ref: bool = False) -> Tensor:
    """`value` as a tensor of the default graph: tensors and variables as they are, anything else as a Const.

    Raises: InvalidArgumentError where it is a tensor of another dtype, or an array that does not convert safely.
    """
    dtype = None if dtype is None else dtypes.as_dtype(dtype)
    convert = getattr(value, "_as_ref_tensor" if as_ref else "_as_tensor", None)
    if convert is not None:
        value = convert()
    if isinstance(value, Tensor):
        if dtype is not None and value.dtype is not dtype:
            raise InvalidArgumentError(f"[convert_to_tensor] {value.name!r} is {value.dtype}, needed {dtype}. "
                                       f"Fix: rf.cast it to {dtype}")
        return value
    if isinstance(value, Operation):
        raise InvalidArgumentError(f"[convert_to_tensor] {value!r} is an operation, not a tensor. Fix: use one of "
                                   "its outputs")
    if isinstance(value, (list, tuple)) and _holds_tensor(value):
        packed: Tensor = OPS["Pack"]([convert_to_tensor(v, dtype or _dtype_of(value)) for v in value])  # type: ignore[operator]
        return packed
    array = to_array(value, dtype)
    actual = dtype or _dtype_of(array)
    op = get_default_graph().create_op("Const", [], {"value": array, "dtype": actual}, name or "Const")
    return op.outputs[0]


def _holds_tensor(values: Sequence[Any]) -> bool:
    return any(isinstance(v, Tensor) or hasattr(v, "_as_tensor")
               or (isinstance(v, (list, tuple)) and _holds_tensor(v)) for v in values)


def to_array(value: Any, dtype: DType | None) -> Array:
    """`value` as an array of `dtype` (or of the type that Python values take). Raises: InvalidArgumentError."""
    try:  # NumPy's own string types drop zeros at the end
        array = np.asarray(value)
        if array.dtype.kind in "SU" or dtype is dtypes.string:
            array = np.array(value, object)
    except ValueError as e:
        raise InvalidArgumentError(f"[convert_to_tensor] not a rectangular array: {e}") from None
    if dtype is None:
        dtype = _dtype_of(value)
    wanted = dtype.as_numpy_dtype
    if array.dtype == wanted and dtype is not dtypes.string:
        return array
    if dtype is dtypes.string:
        coded = [v if isinstance(v, bytes) else str(v).encode() for v in array.ravel()]
        return np.array(coded, object).reshape(array.shape)
    if array.dtype.kind not in "biuf":
        raise InvalidArgumentError(f"[convert_to_tensor] cannot make a {dtype} tensor from {type(value).__name__} "
                                   f"{value!r:.60}")
    with np.errstate(all="ignore"):
        converted = float32_to_bfloat16(array) if dtype is dtypes.bfloat16 else array.astype(wanted)
    if array.dtype.kind == "f" and not dtype.is_floating and array.size:
        raise InvalidArgumentError(f"[convert_to_tensor] a {dtype} is needed, got float {value!r:.60}. Fix: "
                                   "rf.cast, or use ints")
    if array.dtype.kind in "iu" and not dtype.is_floating and not np.array_equal(converted, array):
        raise InvalidArgumentError(f"[convert_to_tensor] {value!r:.60} does not fit {dtype}")
    return converted


def inputs_of(op: Operation, arg: str) -> list[Tensor]:
    """The input tensors of the argument named `arg`."""
    return op.inputs[op.span(arg)]


__all__ = ["Arg", "Array", "Op", "attr", "convert_to_tensor", "define", "inputs_of", "to_array"]
