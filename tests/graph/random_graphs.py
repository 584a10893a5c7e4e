"""Random graphs with variables, views and control edges, and values to feed them.

A graph is drawn from a `random.Random`, so that hypothesis can record and shrink the draws.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import ringflow as rf
from ringflow.graph.errors import Error
from ringflow.graph.opdef import OPS
from ringflow.graph.operation import Tensor

from .random_pieces import UPDATE, VARIABLE, RandomGraph, Value
from .random_steps import Arithmetic, Moves


class _Builder(Arithmetic, Moves):
    def __init__(self, random: Any, nodes: int) -> None:
        super().__init__(random)
        with self.made.graph.as_default():
            for _ in range(random.randint(1, 3)):
                self.placeholder()
            for _ in range(random.randint(0, 3)):
                self.variable()
            self.constant()
            kinds = [self.unary, self.binary, self.view, self.reduce, self.join, self.cut, self.gather, self.compare,
                     self.select, self.product, self.constant, self.cast]
            weights = [4, 7, 7, 3, 3, 4, 2, 2, 2, 2, 1, 1]
            if self.variables:
                kinds += [self.read, self.update]
                weights += [4, 5]
            for _ in range(nodes):
                step = random.choices(kinds, weights)[0]
                with self.controls():
                    step()
            self.plan_runs()

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


def random_graph(random: Any, nodes: int) -> RandomGraph:
    return _Builder(random, nodes).made
