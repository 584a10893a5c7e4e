"""Steps of random graphs: one node of a family of ops each, on tensors that are there already.

Discontinuous ops are put on exact tensors (small integers) only.
"""
from __future__ import annotations

import numpy as np
import ringflow as rf
from ringflow.graph.errors import Error

from .random_pieces import EPS, LARGEST, Pieces, Value


class Arithmetic(Pieces):
    def unary(self) -> None:
        op = self.random.choice(["Neg", "Abs", "Square", "Relu", "Tanh", "Sigmoid", "Sign", "Softmax", "ZerosLike",
                                 "OnesLike", "Relu6", "Floor", "LogicalNot", "AddN"])
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
        self.add("MatMul", [x, y], k * x.bound * y.bound, error, transpose_a=self.random.random() < 0.5,
                 transpose_b=self.random.random() < 0.5)

    def cast(self) -> None:
        x = self.pick(exact=True)
        if x is not None:
            to = self.random.choice([rf.float32, rf.float64, rf.int32, rf.int64, rf.bool])
            self.add("Cast", [x], max(1, x.bound), 0, SrcT=x.tensor.dtype, DstT=to)


class Moves(Pieces):
    def view(self) -> None:
        op = self.random.choice(["Identity", "Reshape", "ExpandDims", "Squeeze", "StopGradient", "Reshape", "Transpose",
                                 "Rank", "Shape", "BroadcastTo"])
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
