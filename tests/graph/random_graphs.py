"""Random graphs with variables, views and control edges, and values to feed them.

A graph is drawn from a `random.Random`, so that hypothesis can record and shrink the draws. Every tensor carries a
bound on its magnitude and on its rounding error, so that a comparison knows what two correct executions may differ by:
discontinuous ops are put on exact tensors (small integers) only, and nothing is built whose error would grow large.
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


class _Builder:
    def __init__(self, random: Any, nodes: int) -> None:
        self.random = random
        self.made = RandomGraph()
        self.values: list[Value] = []
        self.variables: list[Variable] = []
        self.updates: list[Operation] = []
        self.placeholders: list[tuple[Tensor, list[Any]]] = []
        self.batches = [random.choice([1, 2, 3, 7]) for _ in range(random.choice([1, 2, 2, 3, 11]))]
        with self.made.graph.as_default():
            for _ in range(random.randint(1, 3)):
                self.placeholder()
            for _ in range(random.randint(0, 3)):
                self.variable()
            self.constant()
            kinds = [
                self.unary,
                self.binary,
                self.view,
                self.reduce,
                self.join,
                self.cut,
                self.gather,
                self.compare,
                self.select,
                self.product,
                self.constant,
                self.cast,
            ]
            weights = [4, 7, 7, 3, 3, 4, 2, 2, 2, 2, 1, 1]
            if self.variables:
                kinds += [self.read, self.update]
                weights += [4, 5]
            for _ in range(nodes):
                step = random.choices(kinds, weights)[0]
                with self.controls():
                    step()
            self.plan_runs()

    # ---- pieces
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

    def pick(
        self, kinds: str = "fib", rank: int | None = None, exact: bool = False, least_rank: int = 0
    ) -> Value | None:
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

    # ---- steps
    def unary(self) -> None:
        op = self.random.choice(
            [
                "Neg",
                "Abs",
                "Square",
                "Relu",
                "Tanh",
                "Sigmoid",
                "Sign",
                "Softmax",
                "ZerosLike",
                "OnesLike",
                "Relu6",
                "Floor",
                "LogicalNot",
                "AddN",
            ]
        )
        if op == "LogicalNot":
            x = self.pick("b")
            return None if x is None else self.add(op, [x], 1, 0)
        x = self.pick(
            "f" if op in ("Relu", "Tanh", "Sigmoid", "Softmax", "Relu6", "Floor") else "fi",
            exact=op in ("Sign", "Floor"),
            least_rank=int(op == "Softmax"),
        )
        if x is None:
            return None
        eps = EPS.get(np.dtype(x.dtype), 0.0)
        if op == "Square":
            return self.add(op, [x], x.bound**2, 2 * x.bound * x.error + (eps * x.bound**2 if x.error else 0))
        if op in ("Tanh", "Sigmoid", "Softmax"):
            return self.add(op, [x], 1, 2 * x.error + 20 * eps)
        if op == "AddN":
            n = self.random.randint(1, 3)
            return self.add(op, [[x] * n], n * x.bound, n * (x.error + (eps * n * x.bound if x.error else 0)))
        return self.add(op, [x], max(1, x.bound), x.error)

    def binary(self) -> None:
        op = self.random.choice(
            ["AddV2", "Sub", "Mul", "AddV2", "Sub", "Mul", "Maximum", "Minimum", "SquaredDifference", "FloorMod"]
        )
        x = self.pick("fi", exact=op == "FloorMod")
        if x is None:
            return
        y = self.like(x, exact=op == "FloorMod")
        if op == "FloorMod":
            y = Value(rf.constant(np.asarray(3, x.dtype)), [()] * len(self.batches), 3)
        if self.random.random() < 0.5 and op != "FloorMod":
            x, y = y, x
        eps = EPS.get(np.dtype(x.dtype), 0.0) if x.error or y.error else 0.0
        if op in ("AddV2", "Sub"):
            self.add(op, [x, y], x.bound + y.bound, x.error + y.error + eps * (x.bound + y.bound))
        elif op == "Mul":
            self.add(op, [x, y], x.bound * y.bound, x.bound * y.error + y.bound * x.error + eps * x.bound * y.bound)
        elif op == "SquaredDifference":
            b, e = x.bound + y.bound, x.error + y.error
            self.add(op, [x, y], b * b, 2 * b * e + 2 * eps * b * b)
        else:
            self.add(op, [x, y], max(x.bound, y.bound), max(x.error, y.error))

    def view(self) -> None:
        op = self.random.choice(
            [
                "Identity",
                "Reshape",
                "ExpandDims",
                "Squeeze",
                "StopGradient",
                "Reshape",
                "Transpose",
                "Rank",
                "Shape",
                "BroadcastTo",
            ]
        )
        x = self.pick()
        if x is None:
            return
        rank = len(x.shapes[0])
        if op in ("Rank", "Shape"):
            return self.add(op, [x], 4000, 0)
        if op in ("Identity", "StopGradient"):
            return self.add(op, [x], x.bound, x.error)
        if op == "ExpandDims":
            return self.add(op, [x, np.int32(self.random.randint(-rank - 1, rank))], x.bound, x.error)
        if op == "Squeeze":
            ones = [i for i in range(rank) if all(s[i] == 1 for s in x.shapes)]
            return self.add(op, [x], x.bound, x.error, squeeze_dims=ones[:1])
        if op == "Transpose":
            perm = list(range(rank))
            self.random.shuffle(perm)
            return self.add(op, [x, np.array(perm, np.int32)], x.bound, x.error)
        if op == "BroadcastTo":
            if any(s != x.shapes[0] for s in x.shapes):
                return None
            return self.add(op, [x, np.array((2, *x.shapes[0]), np.int32)], x.bound, x.error)
        to = self.random.choice(
            [[-1], [-1, 1], [1, -1], list(x.shapes[0]), [-1, *x.shapes[0][1:]], [*x.shapes[0][:-1], -1]]
        )
        if self.random.random() < 0.2:  # the same, known only to the run
            with rf.name_scope("late"):
                dims = rf.shape(x.tensor)
                try:
                    t = rf.reshape(x.tensor, rf.concat([dims, np.array([1], np.int32)], 0))
                except Error:
                    return None
            self.values.append(Value(t, [(*s, 1) for s in x.shapes], x.bound, x.error))
            return None
        return self.add(op, [x, np.array(to, np.int32)], x.bound, x.error)

    def reduce(self) -> None:
        op = self.random.choice(["Sum", "Mean", "Max", "Min", "Sum", "Any", "ArgMax"])
        x = self.pick("b" if op == "Any" else "fi", exact=op == "ArgMax", least_rank=1)
        if x is None or any(0 in s for s in x.shapes):
            return
        rank = len(x.shapes[0])
        if op == "ArgMax":
            if np.dtype(x.dtype) != np.int64:
                self.add(op, [x, np.int32(self.random.randrange(rank))], 4000, 0)
            return
        if op == "Mean" and np.dtype(x.dtype).kind != "f":
            return
        axes = sorted(self.random.sample(range(rank), self.random.randint(0, rank)))
        n = max(int(np.prod([s[a] for a in axes], dtype=np.int64)) for s in x.shapes)
        eps = EPS.get(np.dtype(x.dtype), 0.0)
        bound, error = x.bound, x.error
        if op == "Sum":
            bound, error = n * x.bound, n * x.error + (n * eps * x.bound * 4 if x.error else 0)
        if op == "Mean":
            error += 8 * eps * x.bound
            if n * x.bound > LARGEST * 8:
                return
        self.add(op, [x, np.array(axes, np.int32)], bound, error, keep_dims=self.random.random() < 0.5)

    def join(self) -> None:
        x = self.pick()
        if x is None:
            return
        same = [v for v in self.values if v.dtype == x.dtype and v.shapes == x.shapes]
        parts = [self.random.choice(same) for _ in range(self.random.randint(0, 2))] + [x]
        bound, error = max(p.bound for p in parts), max(p.error for p in parts)
        rank = len(x.shapes[0])
        if self.random.random() < 0.4:
            return self.add("Pack", [parts], bound, error, axis=self.random.randint(-rank - 1, rank))
        if rank:
            self.add("ConcatV2", [parts, np.int32(self.random.randrange(-rank, rank))], bound, error)

    def cut(self) -> None:
        x = self.pick(least_rank=1)
        if x is None:
            return
        op = self.random.choice(["Split", "StridedSlice", "Unpack", "Slice", "StridedSlice", "Pad", "Tile"])
        rank = len(x.shapes[0])
        axis = self.random.randrange(rank)
        n = x.shapes[0][axis]
        if op == "Split" and n:
            parts = self.random.choice([d for d in range(1, n + 1) if n % d == 0][:4])
            return self.add(op, [np.int32(axis), x], x.bound, x.error, num_split=parts)
        if op == "Unpack" and 0 < n <= 5:
            return self.add(op, [x], x.bound, x.error, num=n, axis=axis)
        if op == "Slice":
            begin = [self.random.randint(0, min(s[i] for s in x.shapes)) for i in range(rank)]
            return self.add(op, [x, np.array(begin, np.int32), np.full(rank, -1, np.int32)], x.bound, x.error)
        if op == "Pad":
            pads = [[self.random.randint(0, 2), self.random.randint(0, 1)] for _ in range(rank)]
            return self.add(op, [x, np.array(pads, np.int32)], x.bound, x.error)
        if op == "Tile":
            return self.add(
                op, [x, np.array([self.random.choice([1, 1, 2, 0]) for _ in range(rank)], np.int32)], x.bound, x.error
            )
        k = self.random.randint(1, rank)
        begin, end, stride = (
            [self.random.choice(c) for _ in range(k)] for c in ([0, 0, 1, -1, -2], [0, 1, 2, -1, 9], [1, 1, 1, 2, -1])
        )
        masks = {m: self.random.randrange(2**k) for m in ("begin_mask", "end_mask")}
        if self.random.random() < 0.3:
            masks["new_axis_mask"] = self.random.randrange(2**k)
        if self.random.random() < 0.3:
            masks["shrink_axis_mask"] = self.random.randrange(2**k)
        return self.add(
            "StridedSlice", [x, *(np.array(v, np.int32) for v in (begin, end, stride))], x.bound, x.error, **masks
        )

    def gather(self) -> None:
        x = self.pick(least_rank=1)
        if x is None:
            return
        axis = self.random.randrange(len(x.shapes[0]))
        n = min(s[axis] for s in x.shapes)
        if n:
            index = self.numbers(self.random.choice([(), (2,), (2, 2), (0,)]), np.int32, 50) % n
            self.add("GatherV2", [x, index, np.int32(axis)], x.bound, x.error)

    def compare(self) -> None:
        x = self.pick("fi", exact=True)
        if x is not None:
            self.add(
                self.random.choice(["Less", "GreaterEqual", "Equal", "NotEqual"]), [x, self.like(x, exact=True)], 1, 0
            )

    def select(self) -> None:
        condition, x = self.pick("b"), self.pick("fib")
        if condition is not None and x is not None:
            y = self.like(x)
            self.add("SelectV2", [condition, x, y], max(x.bound, y.bound), max(x.error, y.error))

    def product(self) -> None:
        x = self.pick("f", rank=2)
        if x is None:
            return
        y = self.random.choice([v for v in self.values if v.dtype == x.dtype and len(v.shapes[0]) == 2])
        k = max(max(s) for s in x.shapes + y.shapes)
        eps = EPS[np.dtype(x.dtype)] * 4 if x.error or y.error else 0.0
        error = k * (x.bound * y.error + y.bound * x.error + eps * x.bound * y.bound)
        self.add(
            "MatMul",
            [x, y],
            k * x.bound * y.bound,
            error,
            transpose_a=self.random.random() < 0.5,
            transpose_b=self.random.random() < 0.5,
        )

    def cast(self) -> None:
        x = self.pick(exact=True)
        if x is not None:
            to = self.random.choice([rf.float32, rf.float64, rf.int32, rf.int64, rf.bool])
            self.add("Cast", [x], max(1, x.bound), 0, SrcT=x.tensor.dtype, DstT=to)

    # ---- variables
    def read(self) -> None:
        v = self.random.choice(self.variables)
        t = self.random.choice([v.ref, rf.identity, rf.identity])
        t = t if isinstance(t, Tensor) else t(v.ref)
        self.values.append(Value(t, [v.shape] * len(self.batches), VARIABLE, 0.0 if v.exact else 1e-3))

    def update(self) -> None:
        v = self.random.choice(self.variables)
        rows = bool(v.shape) and self.random.random() < 0.4
        fitting = [
            x
            for x in self.values
            if x.dtype == v.ref.dtype.as_numpy_dtype and x.bound <= UPDATE and x.error <= (0 if v.exact else 1e-6)
        ]
        op = self.random.choice(
            ["ScatterAdd", "ScatterSub", "ScatterUpdate"] if rows else ["Assign", "AssignAdd", "AssignSub"]
        )
        shape = (2, *v.shape[1:]) if rows else v.shape
        fitting = [x for x in fitting if all(s == shape for s in x.shapes)]
        if fitting and self.random.random() < 0.8:
            value: Any = self.random.choice(fitting).tensor
        else:
            value = rf.constant(self.numbers(shape, v.ref.dtype.as_numpy_dtype), v.ref.dtype)
        try:
            args = (
                [np.array([self.random.randrange(v.shape[0]) for _ in range(2)], np.int32), value] if rows else [value]
            )
            out = OPS[op](v.ref, *args)
        except Error:
            return
        self.updates.append(out.op)
        if self.random.random() < 0.6:
            self.values.append(Value(out, [v.shape] * len(self.batches), VARIABLE, 0.0 if v.exact else 1e-3))

    # ---- runs
    def plan_runs(self) -> None:
        fed_in_between = [
            v for v in self.values if not v.tensor.is_ref and v.tensor.op.type not in ("Placeholder", "Const")
        ]
        for v in self.values:
            self.made.errors[v.tensor] = 4 * v.error
        for number in range(len(self.batches) + 1):
            k = self.random.randrange(len(self.batches)) if number == len(self.batches) else number
            if number and self.random.random() < 0.5:
                fetches = self.made.runs[-1][0]
            else:
                fetches = [self.random.choice(self.values).tensor for _ in range(self.random.randint(1, 5))]
                fetches += [self.random.choice(self.updates) for _ in range(self.random.randint(0, 3)) if self.updates]
            feeds = {x: arrays[k] for x, arrays in self.placeholders}
            if fed_in_between and self.random.random() < 0.3:
                v = self.random.choice(fed_in_between)
                # the same bound, or what follows would be outside of its own
                feeds[v.tensor] = self.numbers(v.shapes[k], v.dtype, max(1, min(4, int(v.bound))))
            self.made.runs.append((fetches, feeds))


def _tensor(v: Any) -> Any:
    return v.tensor if isinstance(v, Value) else v


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(m == n or m == 1 or n == 1 for m, n in zip(a[::-1], b[::-1]))


def random_graph(random: Any, nodes: int) -> RandomGraph:
    return _Builder(random, nodes).made
