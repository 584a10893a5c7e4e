"""Random programs with branches, loops and variables: each is a graph, and plain Python that says what it means.

A program is a block: statements, and which values it results in. Statements name values by their place among those
seen so far, so any sequence of draws is a program. A machine runs it: PythonMachine on NumPy, GraphMachine by making a
graph. Numbers are small integers in float64 (taken modulo 97), so results are exact; smooth programs use tanh instead,
and can be differentiated. Effects on variables happen in the order of the program, by control dependencies; `before`
reads the value from before the run, wherever it stands.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ringflow as rf

SIZE, MODULUS = 3, 97.0
FLOATS, INTS, BOOLS = "fib"


@dataclass
class Block:
    statements: list[tuple[Any, ...]] = field(default_factory=list)
    results: list[tuple[str, int]] = field(default_factory=list)


def random_block(random: Any, length: int, variables: int, results: str, depth: int = 0, smooth: bool = False) -> Block:
    """`results`: the types of what the block gives."""
    block = Block()
    for _ in range(length):
        kinds = ["float", "float", "float", "int", "bool", "shape"]
        if variables and not smooth:
            kinds += ["before", "read", "update", "update"]
        if depth < 3:
            kinds += ["cond", "cond", "while", "while", "switch"]
        block.statements.append(_statement(random, random.choice(kinds), variables, depth, smooth))
    block.results = [(kind, random.randrange(64)) for kind in results]
    return block


def _statement(random: Any, kind: str, variables: int, depth: int, smooth: bool) -> tuple[Any, ...]:
    a, b, c = (random.randrange(64) for _ in range(3))
    inner = [random.choice("fffi" if not smooth else "fff") for _ in range(random.randint(1, 3))]

    def block(results: str) -> Block:
        return random_block(random, random.randint(0, 4), variables, results, depth + 1, smooth)

    if kind == "cond":
        return kind, a, block("".join(inner)), block("".join(inner)), inner
    if kind == "switch":
        return kind, a, [block("f") for _ in range(3)]
    if kind == "while":
        places = [random.randrange(64) for _ in inner]
        return kind, a, random.choice([1, 2, 10]), inner, places, block("".join(inner)), random.random() < 0.3
    if kind in ("read", "before", "update"):
        return kind, random.randrange(variables), a, random.choice(["add", "sub", "set"])
    ops = {"float": ["add", "sub", "mul", "scale", "constant"], "int": ["add", "mul", "constant"],
           "bool": ["less", "even", "and", "not"], "shape": ["reshape", "identity", "concat", "transpose"]}[kind]
    if kind == "bool" and not smooth:
        ops.append("large")
    return kind, random.choice(ops), a, b, c


def execute(machine: Any, block: Block, env: dict[str, list[Any]]) -> list[Any]:
    """The results of a block that sees `env`: values by type."""
    env = {k: list(v) for k, v in env.items()}

    def at(kind: str, place: int) -> Any:
        return env[kind][-1 - place % min(len(env[kind]), 8)]

    for kind, *rest in block.statements:
        if kind == "float":
            op, a, b, c = rest
            env[FLOATS].append(machine.float(op, at(FLOATS, a), at(FLOATS, b), at(INTS, c), c))
        elif kind == "int":
            op, a, b, _ = rest
            env[INTS].append(machine.int(op, at(INTS, a), b % 5))
        elif kind == "bool":
            op, a, b, c = rest
            env[BOOLS].append(machine.bool(op, at(INTS, a), at(BOOLS, b), at(BOOLS, c), at(FLOATS, a), c % 7))
        elif kind == "shape":
            op, a, b, _ = rest
            env[FLOATS].append(machine.shape(op, at(FLOATS, a), at(FLOATS, b)))
        elif kind == "before":
            env[FLOATS].append(machine.before(rest[0]))
        elif kind == "read":
            env[FLOATS].append(machine.read(rest[0]))
        elif kind == "update":
            machine.update(rest[0], at(FLOATS, rest[1]), rest[2])
        elif kind == "cond":
            a, yes, no, types = rest
            for t, value in zip(types, machine.cond(at(BOOLS, a), yes, no, env)):
                env[t].append(value)
        elif kind == "switch":
            a, blocks = rest
            env[FLOATS].append(machine.switch(at(INTS, a), blocks, env))
        else:
            a, parallel, types, places, body, by_value = rest
            start = [at(t, p) for t, p in zip(types, places)]
            values = machine.loop(at(INTS, a), parallel, types, start, body, env, by_value)
            for t, value in zip(types, values):
                env[t].append(value)
    return [at(kind, place) for kind, place in block.results]


class PythonMachine:
    """Runs a program at once. `values`: of the variables, kept from run to run."""

    def __init__(self, values: list[Any], smooth: bool = False) -> None:
        self.values = values
        self.start = list(values)
        self._smooth = smooth

    def _bounded(self, x: Any) -> Any:
        return np.tanh(x) if self._smooth else np.mod(x, MODULUS)

    def float(self, op: str, a: Any, b: Any, i: Any, n: int) -> Any:
        if op == "constant":
            return np.full(SIZE, n % 5 / (4.0 if self._smooth else 1.0))
        return self._bounded({"add": a + b, "sub": a - b, "mul": a * b, "scale": a * float(i)}[op])

    def int(self, op: str, a: Any, n: int) -> Any:
        return {"add": a + n, "mul": a * n, "constant": n}[op] % 7

    def bool(self, op: str, i: Any, p: Any, q: Any, x: Any, n: int) -> Any:
        return {"less": i < n, "even": i % 2 == 0, "and": p and q, "not": not p, "large": x.sum() > 100.0}[op]

    def shape(self, op: str, a: Any, b: Any) -> Any:
        return np.concatenate([a[:1], b[1:]]) if op == "concat" else a

    def before(self, v: int) -> Any:
        return self.start[v]

    def read(self, v: int) -> Any:
        return self.values[v]

    def update(self, v: int, x: Any, how: str) -> None:
        old = self.values[v]
        self.values[v] = {"add": old + x, "sub": old - x, "set": x}[how]

    def cond(self, pred: Any, yes: Block, no: Block, env: Any) -> list[Any]:
        return execute(self, yes if pred else no, env)

    def switch(self, i: Any, blocks: list[Block], env: Any) -> Any:
        return execute(self, blocks[i if i < len(blocks) else -1], env)[0]

    def loop(self, n: Any, parallel: int, types: list[str], values: list[Any], body: Block, env: Any,
             by_value: bool) -> list[Any]:
        i = 0
        while i < n % 5 and not (by_value and values[0].sum() > 150 if types[0] == FLOATS else False):
            inner = {k: list(v) for k, v in env.items()}
            for t, value in zip((INTS, *types), (i, *values)):
                inner[t].append(value)
            values = execute(self, body, inner)
            i += 1
        return values


class GraphMachine:
    """Builds a program in the default graph. `last`: what the next effect comes after."""

    def __init__(self, variables: list[Any], smooth: bool = False) -> None:
        self._variables = variables
        self._smooth = smooth
        self.last: list[Any] = []

    def _bounded(self, x: Any) -> Any:
        return rf.tanh(x) if self._smooth else rf.floormod(x, np.float64(MODULUS))

    def float(self, op: str, a: Any, b: Any, i: Any, n: int) -> Any:
        if op == "constant":
            return rf.constant([n % 5 / (4.0 if self._smooth else 1.0)] * SIZE, rf.float64)
        if op == "scale":
            return self._bounded(a * rf.cast(i, rf.float64))
        return self._bounded({"add": rf.add, "sub": rf.subtract, "mul": rf.multiply}[op](a, b))

    def int(self, op: str, a: Any, n: int) -> Any:
        return rf.floormod({"add": lambda: a + n, "mul": lambda: a * n, "constant": lambda: rf.constant(n)}[op](), 7)

    def bool(self, op: str, i: Any, p: Any, q: Any, x: Any, n: int) -> Any:
        return {"less": lambda: i < n, "even": lambda: rf.equal(i % 2, 0), "and": lambda: rf.logical_and(p, q),
                "not": lambda: rf.logical_not(p), "large": lambda: rf.reduce_sum(x) > 100.0}[op]()

    def shape(self, op: str, a: Any, b: Any) -> Any:
        if op == "reshape":
            return rf.reshape(rf.expand_dims(a, 0), rf.shape(b))
        if op == "concat":
            return rf.concat([a[:1], b[1:]], 0)
        return rf.transpose(a, [0]) if op == "transpose" else rf.identity(a)

    # ---- effects
    def before(self, v: int) -> Any:
        return self._variables[v].value()

    def read(self, v: int) -> Any:
        with rf.control_dependencies(self.last):
            value = rf.identity(self._variables[v].read_value()) * np.float64(1)
        self.last = [value]
        return value

    def update(self, v: int, x: Any, how: str) -> None:
        variable = self._variables[v]
        with rf.control_dependencies(self.last):
            made = {"add": variable.assign_add, "sub": variable.assign_sub, "set": variable.assign}[how](x)
        self.last = [made]

    def _done(self, values: list[Any]) -> list[Any]:
        """`values`, once all effects so far are done."""
        with rf.control_dependencies(self.last):
            return [rf.identity(v) for v in values]

    def _inside(self, block: Block, env: Any) -> Any:
        outside = self.last

        def function() -> list[Any]:
            self.last = outside
            return self._done(execute(self, block, env))

        return function

    def cond(self, pred: Any, yes: Block, no: Block, env: Any) -> list[Any]:
        results = rf.cond(pred, self._inside(yes, env), self._inside(no, env), strict=True)
        self.last = [results[0]]
        return list(results)

    def switch(self, i: Any, blocks: list[Block], env: Any) -> Any:
        result = rf.switch_case(i, [self._inside(b, env) for b in blocks])
        self.last = [result]
        return result

    def loop(self, n: Any, parallel: int, types: list[str], values: list[Any], body: Block, env: Any,
             by_value: bool) -> list[Any]:
        most = rf.floormod(n, 5)
        start = self._done([rf.constant(0)])[0]

        def goes_on(i: Any, *v: Any) -> Any:
            more = i < most
            if by_value and types[0] == FLOATS:
                more = rf.logical_and(more, rf.reduce_sum(v[0]) <= 150.0)
            return more

        def step(i: Any, *v: Any) -> list[Any]:
            inner = {k: list(x) for k, x in env.items()}
            for t, value in zip((INTS, *types), (i, *v)):
                inner[t].append(value)
            self.last = [i]
            return self._done([i + 1, *execute(self, body, inner)])

        i, *results = rf.while_loop(goes_on, step, [start, *values], parallel_iterations=parallel)
        self.last = [i]
        return results


@dataclass
class RandomProgram:
    """A program as a graph and as Python. `feeds`: of each run."""

    graph: rf.Graph
    x: Any
    n: Any
    p: Any
    variables: list[Any]
    results: list[Any]
    end: Any
    block: Block
    smooth: bool
    feeds: list[dict[Any, Any]]

    def expected(self, k: int, values: list[Any], x: Any = None) -> list[Any]:
        """What run `k` gives; changes `values`, those of the variables."""
        feed = self.feeds[k]
        env = environment(np.asarray(feed[self.x] if x is None else x), int(feed[self.n]), bool(feed[self.p]))
        return execute(PythonMachine(values, self.smooth), self.block, env)


def environment(x: Any, n: Any, p: Any) -> dict[str, list[Any]]:
    return {FLOATS: [x], INTS: [n], BOOLS: [p]}


def random_program(random: Any, length: int, smooth: bool = False) -> RandomProgram:
    variables = random.randint(0, 2)
    block = random_block(random, length, variables, "".join(random.choice("ffi") for _ in range(2)) + "f",
                         smooth=smooth)
    graph = rf.Graph()
    with graph.as_default():
        x, n, p = rf.placeholder(rf.float64, [SIZE]), rf.placeholder(rf.int32, []), rf.placeholder(rf.bool, [])
        made = [rf.Variable(np.full(SIZE, 1.0 + k), use_resource=random.random() < 0.5) for k in range(variables)]
        machine = GraphMachine(made, smooth)
        results = execute(machine, block, environment(x, n, p))
        end = rf.group(*machine.last) if machine.last else rf.no_op()
    feeds = []
    for _ in range(3):
        numbers = np.random.default_rng(random.randrange(2**16))
        value = numbers.uniform(-1, 1, SIZE) if smooth else numbers.integers(0, 97, SIZE).astype(np.float64)
        feeds.append({x: value, n: random.randrange(7), p: random.random() < 0.5})
    return RandomProgram(graph, x, n, p, made, results, end, block, smooth, feeds)
