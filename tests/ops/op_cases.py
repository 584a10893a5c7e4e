"""Cases of the generated op tests: every sample of every op with every dtype its type attrs allow."""
from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from ringflow.graph import dtypes, ops  # noqa: F401  (ops fills the registry)
from ringflow.graph.control_types import CONTROL_FLOW
from ringflow.graph.dtypes import DType
from ringflow.graph.graph import Graph
from ringflow.graph.interpreter import Ref, State, evaluate
from ringflow.graph.opdef import OPS, REQUIRED
from ringflow.graph.operation import Operation
from ringflow.graph.ops.cast import bfloat16_to_float32, float32_to_bfloat16
from ringflow.graph.samples import Made, Random
from ringflow.graph.shapes import TensorShape

# The session takes the first away before anything executes; the others mean something only inside a graph.
FED_BY_RUNS = {"Placeholder", "_Arg", "_Retval", "_Send", "_Recv", *CONTROL_FLOW}

OUR_OPS = {name: op for name, op in OPS.items() if op.reference.__module__.startswith("ringflow.graph.ops.")}


@dataclass(frozen=True)
class Case:
    """One call of an op: sample `number` with the type attrs `types`."""

    op: Any
    number: int
    types: tuple[tuple[str, DType], ...]

    @property
    def sample(self) -> Any:
        return self.op.samples[self.number]

    @property
    def id(self) -> str:
        types = ",".join(f"{k}={v}" for k, v in self.types)
        return f"{self.op.name}-{self.number}" + (f"-{types}" if types else "")

    def attrs(self) -> dict[str, Any]:
        """Types, the sample's attrs, and all float attrs as they are on the wire: in float32."""
        floats = {name: spec.default for name, spec in self.op.attrs.items() if spec.kind == "float"}
        attrs = {**floats, **dict(self.types), **self.sample.attrs}
        return {**attrs, **{name: float(np.float32(attrs[name])) for name in floats}}

    def input_args(self) -> list[Any]:
        """The signature's argument of each flat input."""
        flat = []
        for arg, value in zip(self.op.inputs, self.sample.inputs):
            flat.extend([arg] * (len(value) if arg.is_list else 1))
        return flat

    def flat_inputs(self) -> list[Any]:
        flat: list[Any] = []
        for arg, value in zip(self.op.inputs, self.sample.inputs):
            flat.extend(value if arg.is_list else [value])
        return flat

    def arrays(self) -> list[Any]:
        """One array for each flat input, the same at every call; a scalar stands for a handle."""
        rng = np.random.default_rng(zlib.crc32(f"{self.op.name}-{self.number}".encode()))
        arrays = [
            _array(value, self._dtype(arg, value), rng) for arg, value in zip(self.input_args(), self.flat_inputs())
        ]
        if self.op.name in ("MaxPoolGrad", "MaxPoolGradGrad"):  # orig_output is what MaxPool gives
            graph = Graph()
            attrs = {n: v for n, v in self.attrs().items() if n in OPS["MaxPool"].attrs}
            pool = graph.create_op("MaxPool", source_nodes(graph, self, arrays, [a.shape for a in arrays])[:1], attrs)
            arrays[1] = evaluate(pool, arrays[:1])[0]
        return arrays

    def _dtype(self, arg: Any, value: Any) -> DType:
        if arg.dtype is dtypes.resource:  # the values of the variable behind the handle
            attrs = self.attrs()
            return dtypes.as_dtype(attrs.get("dtype", attrs.get("T", dtypes.float32)))
        if arg.dtype is not None:
            return arg.dtype
        if arg.type_attr:
            return dtypes.as_dtype(self.attrs()[arg.type_attr])
        return dtypes.float32 if isinstance(value, Random) else dtypes.as_dtype(np.asarray(value).dtype)

    def random(self) -> list[bool]:
        """Which flat inputs are drawn values; the others are most often shapes, axes and indices."""
        return [isinstance(v, Random) for v in self.flat_inputs()]

    def node_attrs(self) -> dict[str, Any]:
        """The attrs, with the lengths and types of list inputs."""
        attrs = dict(self.attrs())
        for arg, value in zip(self.op.inputs, self.sample.inputs):
            if arg.number_attr:
                attrs[arg.number_attr] = len(value)
            if arg.type_list_attr:
                attrs[arg.type_list_attr] = [self._dtype(arg, v) for v in value]
        return {**{n: a.default for n, a in self.op.attrs.items() if a.default is not REQUIRED}, **attrs}

    def build(self, graph: Graph, inputs: list[Any]) -> Operation:
        """A node of this case on `inputs`, tensors of `graph`."""
        before = [op for t, v in zip(inputs, self.flat_inputs()) if isinstance(v, Made) for op in t.consumers]
        return graph.create_op(self.op, inputs, self.node_attrs(), "node", control_inputs=before)

    def _make_handles(self, sources: list[Any], values: list[Any], state: State) -> None:
        """Puts what the handles of ``Made`` inputs stand for into `values`: runs the nodes that these inputs added."""
        handles = [i for i, v in enumerate(self.flat_inputs()) if isinstance(v, Made)]
        given = {t.op for i, t in enumerate(sources) if i not in handles}
        done: dict[Operation, list[Any]] = {}
        for op in sources[0].graph.get_operations() if handles else ():
            if op not in given and op.name != "node":
                done[op] = evaluate(op, [done[t.op][t.index] for t in op.inputs], state)
        for i in handles:
            values[i] = done[sources[i].op][sources[i].index]

    def variables(self) -> list[bool]:
        """Which flat inputs are references or handles to variables."""
        return [names_variable(arg) and not isinstance(value, Made)
                for arg, value in zip(self.input_args(), self.flat_inputs())]

    def refused(self) -> ValueError | None:
        """The error that the reference or the shape rule raises for these inputs; None where they are fine."""
        try:
            self.expected()
        except ValueError as e:  # InvalidArgumentError is one, and NumPy's where shapes do not broadcast
            return e
        return None

    def expected(self) -> tuple[list[Any], list[Any]]:
        """What the reference gives: outputs, and the values behind ref inputs afterwards."""
        graph, state = Graph(), State()
        arrays = self.arrays()
        sources = source_nodes(graph, self, arrays, [a.shape for a in arrays])
        op = self.build(graph, sources)
        refs = [i for i, is_variable in enumerate(self.variables()) if is_variable]
        values: list[Any] = list(arrays)
        for i in refs:
            values[i] = Ref(state, "", f"v{i}")
            values[i].value = arrays[i].copy()
        self._make_handles(sources, values, state)
        outputs = evaluate(op, values, state)
        return ([o.value if isinstance(o, Ref) else o for o in outputs], [values[i].value for i in refs])


def names_variable(arg: Any) -> bool:
    """Whether the argument is a reference or a handle (to a variable, unless the sample says what it is)."""
    return arg.is_ref or arg.dtype is dtypes.resource


def source_nodes(graph: Graph, case: Case, arrays: list[Any], shapes: list[Any], constants: list[bool] | None = None
                 ) -> list[Any]:
    """A tensor for each flat input: a variable for a name of one, a constant where asked, else a placeholder."""
    tensors = []
    for i, (arg, array, value) in enumerate(zip(case.input_args(), arrays, case.flat_inputs())):
        dtype = case._dtype(arg, value)
        if isinstance(value, Made):
            with graph.as_default():
                tensors.append(value.build(case.node_attrs()))
            continue
        if names_variable(arg):
            kind = "VariableV2" if arg.is_ref else "VarHandleOp"
            node = graph.create_op(kind, [], {"shape": TensorShape(array.shape), "dtype": dtype}, f"v{i}")
        elif constants is not None and constants[i]:
            node = graph.create_op("Const", [], {"value": array, "dtype": dtype}, f"c{i}")
        else:
            node = graph.create_op("Placeholder", [], {"dtype": dtype, "shape": TensorShape(shapes[i])}, f"x{i}")
        tensors.append(node.outputs[0])
    return tensors


def _array(value: Any, dtype: DType, rng: np.random.Generator) -> Any:
    if isinstance(value, Made):
        return np.zeros((), np.float32)
    if dtype is dtypes.bfloat16:
        plain = value(rng, dtypes.float32) if isinstance(value, Random) else np.asarray(value, np.float32)
        return float32_to_bfloat16(plain)
    return value(rng, dtype) if isinstance(value, Random) else np.asarray(value).astype(dtype.as_numpy_dtype)


def as_plain(array: Any) -> Any:
    """The array in a type that NumPy computes with."""
    array = np.asarray(array)
    return bfloat16_to_float32(array) if array.dtype == dtypes.bfloat16.as_numpy_dtype else array


def _holds(dtype: DType, value: Any) -> bool:
    """Whether `dtype` holds the array `value` exactly."""
    if isinstance(value, (Random, Made)) or dtype.kind in "sh":
        return True
    array = np.asarray(value)
    if array.dtype == object:
        return False
    with np.errstate(all="ignore"):
        there = array.astype(np.float32 if dtype is dtypes.bfloat16 else dtype.as_numpy_dtype)
        return np.array_equal(there.astype(array.dtype), array, equal_nan=array.dtype.kind == "f")


def _type_choices(op: Any, sample: Any) -> list[tuple[tuple[str, DType], ...]]:
    """All first choices, and each type attr varied alone."""
    free: dict[str, list[DType]] = {}
    for name, spec in op.attrs.items():
        if spec.kind != "type" or name in sample.attrs:
            continue
        inputs = [v for arg, values in zip(op.inputs, sample.inputs) if arg.type_attr == name
                  for v in (values if arg.is_list else [values])]
        choices = [d for d in spec.allowed or dtypes.NUMBERS if d.size and all(_holds(d, v) for v in inputs)]
        if spec.default is not REQUIRED:
            choices.sort(key=lambda d: d is not spec.default)
        free[name] = choices
    if not all(free.values()):
        return []
    base = {name: choices[0] for name, choices in free.items()}
    combinations = [base] + [{**base, name: d} for name, choices in free.items() for d in choices[1:]]
    return [tuple(c.items()) for c in combinations]


def all_cases() -> list[Case]:
    return [Case(op, i, types) for op in OUR_OPS.values() for i, sample in enumerate(op.samples)
            for types in _type_choices(op, sample)]


def base_cases() -> list[Case]:
    """One choice of types for each sample; float64 where an op computes with floats."""
    cases: dict[tuple[str, int], Case] = {}
    for case in all_cases():
        key = case.op.name, case.number
        if key not in cases or any(d is dtypes.float64 for _, d in case.types):
            cases.setdefault(key, case)
            if any(d is dtypes.float64 for n, d in case.types if n in ("T", "SrcT", "dtype", "Tparams")):
                cases[key] = case
    return list(cases.values())
