"""Random graphs at sizes where fusion along rows works: rows of 64 numbers and more, reductions, sums of columns,
broadcasts, variables and their updates, branches and loops, gradients, products of views side by side.

A graph is drawn from a `random.Random`. Values stay within a few units, so that one tolerance fits all fetches.
"""
from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ringflow as rf
from ringflow.graph.errors import UnimplementedError
from ringflow.graph.operation import Operation, Tensor

_COLUMNS = [64, 65, 96, 130]
_ROWS = [(1,), (3,), (5,), (131,), (270,), (2, 70), (3, 1, 33), (2, 3, 2, 5), (0,), (2, 0)]
_UNARY = [rf.tanh, rf.sigmoid, rf.nn.relu, rf.abs, rf.negative, rf.identity, lambda x: rf.exp(-rf.abs(x)),
          lambda x: rf.rsqrt(rf.square(x) + 1.0), lambda x: x * 0.5, lambda x: rf.tanh(x * x * x)]
_BINARY = [lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, rf.maximum, rf.minimum, rf.squared_difference,
           lambda x, y: x / (rf.abs(y) + 1.0)]


@dataclass
class RandomRows:
    """`fetches` are run `runs` times, with `feeds`; then `finals`, the variables."""

    graph: rf.Graph = field(default_factory=rf.Graph)
    initialise: list[Operation] = field(default_factory=list)
    fetches: list[Any] = field(default_factory=list)
    finals: list[Tensor] = field(default_factory=list)
    feeds: dict[Tensor, Any] = field(default_factory=dict)
    runs: int = 2


class _Builder:
    def __init__(self, random: Any, steps: int) -> None:
        self.random, self.made = random, RandomRows()
        self.dtype = random.choice([rf.float32, rf.float64])
        self.rows, self.columns = random.choice(_ROWS), random.choice(_COLUMNS)
        self.whole = (*self.rows, self.columns)
        self.values: list[Tensor] = []
        self.sources: list[Tensor] = []  # gradients are taken with respect to these
        self.variables: list[Any] = []
        self.updates: list[Operation] = []
        with self.made.graph.as_default():
            self.begin()
            self.steps(steps, depth=0)
            self.end()

    def begin(self) -> None:
        for shape in (self.whole, *(self.shape() for _ in range(2))):
            x = rf.placeholder(self.dtype, shape)
            self.made.feeds[x] = self.numbers(shape)
            self.values.append(x)
        for _ in range(self.random.randint(0, 3)):
            v = rf.Variable(self.numbers(self.shape()), use_resource=self.random.random() < 0.4)
            self.variables.append(v)
            self.made.initialise.append(v.initializer)
            self.made.finals.append(v.read_value())
        self.sources = [*self.values, *self.variables]

    def end(self) -> None:
        count = min(len(self.values), self.random.randint(2, 6))
        self.made.fetches = [rf.identity(t) if t.is_ref else t for t in self.random.sample(self.values, count)]
        self.made.fetches += self.updates

    # ---- draws
    def numbers(self, shape: tuple[int, ...]) -> Any:
        drawn = np.random.default_rng(self.random.randrange(2**16)).uniform(-1.5, 1.5, shape)
        return drawn.astype(self.dtype.as_numpy_dtype)

    def shape(self) -> tuple[int, ...]:
        """One that broadcasts to the whole."""
        ones = tuple(1 if self.random.random() < 0.5 else d for d in self.rows)
        return self.random.choice([self.whole, self.whole, (*self.rows, 1), (self.columns,), (), (*ones, 1),
                                   (*ones, self.columns), self.whole[1:]])

    def pick(self, whole: bool = False) -> Tensor:
        """A value; a variable at times, as it is or by its value."""
        if self.variables and self.random.random() < 0.25:
            v = self.random.choice(self.variables)
            t = v if self.random.random() < 0.5 else v.read_value()
        else:
            t = self.random.choice(self.values[-5:] if self.random.random() < 0.6 else self.values)
        return rf.broadcast_to(t, self.whole) if whole and tuple(t.shape.as_list()) != self.whole else t

    def keep(self, t: Any) -> None:
        self.values.append(t)

    def steps(self, count: int, depth: int) -> None:
        kinds = [self.unary, self.binary, self.binary, self.sum_of_many, self.reduce, self.reduce, self.softmax,
                 self.column_sum, self.broadcast, self.bias, self.norm, self.product, self.views]
        if depth == 0:
            kinds += [self.gradient, self.gradient]
            kinds += [self.update, self.update] if self.variables else []
        kinds += [lambda: self.branch(depth), lambda: self.loop(depth)] if depth < 2 else []
        for _ in range(count):
            awaited = [self.random.choice(self.values)] if self.random.random() < 0.1 else []
            if self.updates and depth == 0 and self.random.random() < 0.15:
                awaited.append(self.random.choice(self.updates))
            with rf.control_dependencies(awaited) if awaited else contextlib.nullcontext():
                self.random.choice(kinds)()

    # ---- steps
    def unary(self) -> None:
        self.keep(self.random.choice(_UNARY)(self.pick()))

    def binary(self) -> None:
        self.keep(rf.tanh(self.random.choice(_BINARY)(self.pick(), self.pick())) if self.random.random() < 0.5 else
                  self.random.choice(_BINARY)(self.pick(), self.pick()) * 0.25)

    def sum_of_many(self) -> None:
        self.keep(rf.add_n([self.pick(whole=True) for _ in range(self.random.randint(1, 4))]) * 0.2)

    def reduce(self) -> None:
        x = self.pick(whole=self.random.random() < 0.7)
        if not x.shape.as_list() or 0 in x.shape.as_list():
            return
        reduction = self.random.choice([rf.reduce_sum, rf.reduce_mean, rf.reduce_max])
        y = reduction(x, -1, keepdims=True)
        self.keep(y / float(self.columns) if reduction is rf.reduce_sum else y)

    def softmax(self) -> None:
        self.keep(rf.nn.softmax(self.pick(whole=True)))

    def column_sum(self) -> None:
        x = self.pick(whole=True)
        self.keep(rf.reduce_sum(x, list(range(len(self.rows)))) / max(1.0, math.prod(self.rows)))

    def broadcast(self) -> None:
        self.keep(rf.broadcast_to(self.pick(), self.whole))

    def bias(self) -> None:
        fitting = [v for v in (*self.variables, *self.values) if v.shape.as_list() == [self.columns]]
        if fitting:
            self.keep(rf.tanh(rf.nn.bias_add(self.pick(whole=True), self.random.choice(fitting))))

    def norm(self) -> None:
        x = self.pick(whole=True)
        mean, variance = rf.nn.moments(x, [-1], keep_dims=True)
        self.keep((x - mean) * rf.rsqrt(variance + 1.0))

    def product(self) -> None:
        w = self.numbers((self.columns, self.columns)) / self.columns
        y = rf.matmul(rf.reshape(self.pick(whole=True), [-1, self.columns]), w)
        self.keep(rf.reshape(y, self.whole))

    def views(self) -> None:
        """Products of transposed views, one beside the other."""
        n = math.prod(self.rows)
        if n == 0 or n > 300:
            return
        heads = self.random.choice([h for h in (1, 2, 5) if self.columns % h == 0])
        parts = []
        for _ in range(self.random.randint(2, 3)):
            x, y = (rf.transpose(rf.reshape(self.pick(whole=True), [n, heads, -1]), self.random.choice(
                [[1, 0, 2], [1, 2, 0]])) for _ in range(2))
            if x.shape.as_list()[-1] != y.shape.as_list()[-2]:
                y = rf.transpose(y, [0, 2, 1])
            if x.shape.as_list()[-1] == y.shape.as_list()[-2]:
                z = rf.matmul(x, y) / float(max(n, self.columns))
                parts.append(rf.transpose(z, [1, 0, 2]) if self.random.random() < 0.5 else z)
        axis = self.random.choice([0, 1, 2])
        for p in parts[1:]:
            same = [a == b for i, (a, b) in enumerate(zip(p.shape.as_list(), parts[0].shape.as_list())) if i != axis]
            if all(same):
                joined = rf.concat([parts[0], p], axis)
                self.keep(rf.broadcast_to(rf.reduce_mean(joined), [1]))
                self.made.fetches.append(joined)

    def gradient(self) -> None:
        y, sources = self.pick(), self.random.sample(self.sources, min(2, len(self.sources)))
        if 0 in y.shape.as_list():
            return
        scale = 1.0 if self.random.random() < 0.5 else rf.reduce_mean(rf.sigmoid(self.pick()))
        try:
            grads = rf.gradients(rf.reduce_mean(rf.tanh(y)) * scale, sources)
        except UnimplementedError:  # the second derivative of a loop
            return
        for g in grads:
            if g is not None and not isinstance(g, rf.IndexedSlices):
                self.keep(rf.tanh(g))

    def update(self) -> None:
        v = self.random.choice(self.variables)
        fitting = [t for t in (*self.values, *self.variables) if t.shape.as_list() == v.shape.as_list()]
        x = self.random.choice(fitting) if fitting else rf.constant(self.numbers(tuple(v.shape.as_list())))
        x = x * 0.125 if self.random.random() < 0.7 else rf.identity(x)
        made = self.random.choice([v.assign, v.assign_add, v.assign_sub])(x)
        self.updates.append(made.op)
        if self.random.random() < 0.5:
            self.keep(rf.tanh(made))

    def inner(self, depth: int, given: list[Tensor], result: tuple[int, ...]) -> Tensor:
        """A value of this shape, made by a few steps that see `given` besides."""
        outside, fetched = list(self.values), list(self.made.fetches)
        self.values += given
        self.steps(self.random.randint(1, 5), depth + 1)
        fitting = [t for t in self.values[len(outside):] if tuple(t.shape.as_list()) == result]
        y = self.random.choice(fitting) if fitting else rf.broadcast_to(rf.reduce_max(rf.concat(
            [rf.reshape(rf.tanh(self.values[-1]), [-1]), rf.zeros([1], self.dtype)], 0)), result)
        self.values, self.made.fetches = outside, fetched
        return rf.tanh(y)

    def branch(self, depth: int) -> None:
        which = rf.reduce_sum(self.pick()) > 0.0137  # sums that are 0 but for rounding are on one side
        shape = self.shape()
        self.keep(rf.cond(which, lambda: self.inner(depth, [], shape), lambda: self.inner(depth, [], shape)))

    def loop(self, depth: int) -> None:
        start = self.pick()
        shape = tuple(start.shape.as_list())
        _, y = rf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, self.inner(depth, [a], shape)),
                             [rf.constant(0), rf.identity(start)],
                             parallel_iterations=self.random.choice([1, 10]))
        self.keep(y)


def random_rows(random: Any, steps: int) -> RandomRows:
    return _Builder(random, steps).made
