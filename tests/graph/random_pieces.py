"""What random graphs (random_graphs.py) are put together from: tensors with bounds, variables, and nodes of any op.

Every tensor carries a bound on its magnitude and on its rounding error, so that a comparison knows what two correct
executions may differ by; nothing is built whose error would grow large.
"""
from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ringflow as rf
from ringflow.graph.errors import Error
from ringflow.graph.interpreter import evaluate
from ringflow.graph.opdef import OPS
from ringflow.graph.operation import Operation, Tensor

EPS = {np.dtype(np.float32): 2e-7, np.dtype(np.float64): 1e-15}
LARGEST, WORST = 2.0**20, 1e-2  # bounds of what is built
VARIABLE = 2.0**15  # bound of a variable, which small updates stay below
UPDATE = 2.0**5


@dataclass
class Value:
    """A tensor, its shape in each feeding, and how far it and its error may go."""

    tensor: Tensor
    shapes: list[tuple[int, ...]]
    bound: float
    error: float = 0.0
    constant: Any = None

    @property
    def dtype(self) -> Any:
        return self.tensor.dtype.as_numpy_dtype


@dataclass
class Variable:
    ref: Tensor
    shape: tuple[int, ...]
    exact: bool


@dataclass
class RandomGraph:
    """`runs`: fetches, fed tensors with their values, in the order in which a session does them."""

    graph: rf.Graph = field(default_factory=rf.Graph)
    initialise: list[Operation] = field(default_factory=list)
    finals: list[Tensor] = field(default_factory=list)
    runs: list[tuple[list[Any], dict[Tensor, Any]]] = field(default_factory=list)
    errors: dict[Tensor, float] = field(default_factory=dict)


class Pieces:
    """A graph that grows, and draws from what it has."""

    def __init__(self, random: Any) -> None:
        self.random = random
        self.made = RandomGraph()
        self.values: list[Value] = []
        self.variables: list[Variable] = []
        self.updates: list[Operation] = []
        self.placeholders: list[tuple[Tensor, list[Any]]] = []
        self.batches = [random.choice([1, 2, 3, 7]) for _ in range(random.choice([1, 2, 2, 3, 11]))]

    def controls(self) -> Any:
        """Now and then the next node waits for others: mostly for updates."""
        among: list[Any] = []
        if self.random.random() < 0.25:
            if self.updates and self.random.random() < 0.7:
                among.append(self.random.choice(self.updates))
            if self.values and self.random.random() < 0.4:
                among.append(self.random.choice(self.values).tensor)
        return self.made.graph.control_dependencies(among) if among else contextlib.nullcontext()

    def numbers(self, shape: Any, dtype: Any, most: int = 4) -> Any:
        n = int(np.prod(shape, dtype=np.int64))
        seed = self.random.randint(0, 2**16)
        array = np.random.default_rng(seed).integers(-most, most + 1, n).reshape(shape)
        return (array % 2 == 0) if dtype == np.bool_ else array.astype(dtype)

    def shape(self, batch: int | None = None) -> tuple[int, ...]:
        dims = [
            self.random.choice([1, 1, 2, 3, 3, 4, 8, 0 if self.random.random() < 0.1 else 5, 19])
            for _ in range(self.random.randint(0, 3))
        ]
        return (*(() if batch is None else (batch,)), *dims)

    def dtype(self) -> Any:
        return self.random.choice([rf.float32, rf.float32, rf.float32, rf.float64, rf.int32, rf.int64, rf.bool])

    def placeholder(self) -> None:
        dtype, rest = self.dtype(), self.shape()
        if self.random.random() < 0.5:
            shapes = [(b, *rest) for b in self.batches]
            declared = self.random.choice([[None, *rest], None, [None] * (1 + len(rest))])
        else:
            shapes = [rest] * len(self.batches)
            declared = self.random.choice([list(rest), None])
        x = rf.placeholder(dtype, declared)
        arrays = [self.numbers(s, dtype.as_numpy_dtype) for s in shapes]
        self.placeholders.append((x, arrays))
        self.values.append(Value(x, shapes, 4.0))

    def constant(self) -> None:
        dtype = self.dtype()
        array = self.numbers(self.shape(), dtype.as_numpy_dtype)
        self.values.append(Value(rf.constant(array, dtype), [array.shape] * len(self.batches), 4.0))

    def variable(self) -> None:
        dtype = self.random.choice([rf.float32, rf.float32, rf.float64, rf.int32])
        array = self.numbers(self.random.choice([(), (3,), (4, 3), (8,), (2, 3, 4)]), dtype.as_numpy_dtype)
        ref = OPS["VariableV2"](shape=array.shape, dtype=dtype)
        self.made.initialise.append(OPS["Assign"](ref, rf.constant(array, dtype)).op)
        exact = dtype is rf.int32 or self.random.random() < 0.6
        self.variables.append(Variable(ref, array.shape, exact))
        self.made.finals.append(rf.identity(ref))
        self.made.errors[self.made.finals[-1]] = 0.0 if exact else 1.0

    def pick(self, kinds: str = "fib", rank: int | None = None, exact: bool = False,
             least_rank: int = 0) -> Value | None:
        fitting = [
            v
            for v in self.values
            if np.dtype(v.dtype).kind in kinds
            and (rank is None or len(v.shapes[0]) == rank)
            and len(v.shapes[0]) >= least_rank
            and not (exact and v.error)
        ]
        if not fitting:
            return None
        recent = fitting[-6:] if self.random.random() < 0.6 else fitting
        return self.random.choice(recent)

    def like(self, x: Value, exact: bool = False) -> Value:
        """Something that broadcasts with `x`: of the graph, or a constant."""
        fitting = [
            v
            for v in self.values
            if v.dtype == x.dtype
            and not (exact and v.error)
            and all(_broadcasts(a, b) for a, b in zip(v.shapes, x.shapes))
        ]
        if fitting and self.random.random() < 0.85:
            return self.random.choice(fitting)
        shape = self.random.choice([(), (1,), x.shapes[0][-1:]])
        if any(not _broadcasts(shape, s) for s in x.shapes):
            shape = ()
        array = np.asarray(self.random.choice([0, 1, -1, 2])).astype(x.dtype) if self.random.random() < 0.5 else None
        array = self.numbers(shape, x.dtype) if array is None else np.full(shape, array)
        return Value(rf.constant(array, x.tensor.dtype), [shape] * len(self.batches), 4.0)

    def add(self, op: str, inputs: list[Any], bound: float, error: float, **attrs: Any) -> None:
        """A node of `op` on Values and arrays; left alone where it fails in some feeding or might grow too large."""
        if bound > LARGEST or error > WORST:
            return
        spec = OPS[op]
        flat: list[Any] = []
        for i in inputs:
            flat += i if isinstance(i, list) else [i]
        try:
            result = spec(*[[_tensor(v) for v in i] if isinstance(i, list) else _tensor(i) for i in inputs], **attrs)
        except (Error, ValueError):
            return
        node = (result[0] if isinstance(result, (list, tuple)) else result).op
        shapes: list[list[tuple[int, ...]]] = []
        try:
            for k in range(len(self.batches)):
                arrays = [
                    np.zeros(v.shapes[k], v.dtype) if isinstance(v, Value) else np.asarray(v, t.dtype.as_numpy_dtype)
                    for v, t in zip(flat, node.inputs)
                ]
                shapes.append([r.shape for r in evaluate(node, arrays)])
        except (Error, ValueError):
            return
        for j, t in enumerate(node.outputs):
            largest, ranks = max(int(np.prod(s[j], dtype=np.int64)) for s in shapes), {len(s[j]) for s in shapes}
            if largest <= 4000 and len(ranks) == 1 and max(ranks) <= 5:
                self.values.append(Value(t, [s[j] for s in shapes], bound, error))


def _tensor(v: Any) -> Any:
    return v.tensor if isinstance(v, Value) else v


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(m == n or m == 1 or n == 1 for m, n in zip(a[::-1], b[::-1]))
