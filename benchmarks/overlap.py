"""Does the exchange of gradients hide behind backward? Sizes an MLP so that both take as long, and times a step.

    mpirun --hostfile hosts -np 2 --map-by slot --bind-to none --mca mpi_yield_when_idle 1 python benchmarks/overlap.py

The model has `--layers` square layers of `--width`; the batch is chosen so that backward takes as long as the exchange.
Timed in turn, the slowest rank of each repetition counts, medians in ms:

    forward     the loss alone
    compute     forward, backward and update without any exchange
    exchange    the all-reduce of all gradients, a layer a bucket, nothing else running
    step        the distributed training step

With no overlap step = compute + exchange; with a perfect one it is the longer of the two. Printed: step over both.
"""
from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ringflow as rf

MOST_ROWS = 1 << 16
World = rf.collectives.Communicator


class Model:
    """An MLP with mean squared error in a graph of its own; `train` is distributed over `world` where `exchange`."""

    def __init__(self, layers: int, width: int, batch: int, exchange: bool) -> None:
        rng = np.random.default_rng(0)
        self.graph = rf.Graph()
        with self.graph.as_default():
            x = rf.placeholder(rf.float32, [batch, width])
            h: Any = x
            for k in range(layers):
                start = (rng.standard_normal((width, width)) / np.sqrt(width)).astype(np.float32)
                h = rf.tanh(rf.matmul(h, rf.Variable(start, name=f"w{k}")))
            loss = rf.reduce_mean(rf.square(h))
            train_op = rf.train.GradientDescentOptimizer(0.01).minimize(loss)
            if exchange:
                rf.distribute(train_op)
            self.session = rf.Session()
            self.session.run(rf.global_variables_initializer())
        data = rng.standard_normal((batch, width)).astype(np.float32)
        forward, step = self.session.make_callable(loss, [x]), self.session.make_callable(train_op, [x])
        self.forward: Callable[[], Any] = lambda: forward(data)
        self.step: Callable[[], Any] = lambda: step(data)


def exchange_of(world: World, layers: int, layer_bytes: int) -> Callable[[], None]:
    buckets = [world.bucket(layer_bytes) for _ in range(layers)]

    def exchange() -> None:
        for ticket in [world.start(b, layer_bytes // 4, np.float32, "mean") for b in buckets]:
            world.wait(ticket)

    return exchange


def timed(world: World, call: Callable[[], Any], repetitions: int) -> float:
    """Median over the repetitions of the slowest rank's milliseconds."""
    times = []
    for _ in range(repetitions + 1):
        world.barrier()
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(np.max(world.allgather(np.array([times[1:]])), axis=0))


def batch_for(world: World, layers: int, width: int, exchange_ms: float) -> int:
    """The batch (a multiple of 32) whose backward takes as long as the exchange."""
    batch: float = 256
    for _ in range(3):
        model = Model(layers, width, int(batch), exchange=False)
        backward_ms = timed(world, model.step, 5) - timed(world, model.forward, 5)
        model.session.close()
        batch *= min(8.0, exchange_ms / max(backward_ms, 1e-3))
        batch = min(MOST_ROWS, max(32, round(batch / 32) * 32))
    return int(world.broadcast(np.int64(batch))[()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=512, help="4 width^2 bytes of gradient a layer (default 512)")
    parser.add_argument("--repetitions", type=int, default=11)
    parser.add_argument("--json", action="store_true", help="print a JSON line")
    options = parser.parse_args()
    world = rf.init()
    if world.size == 1:
        raise SystemExit("[overlap] at least two ranks are needed. Fix: start it with mpirun -np 2")
    exchange = exchange_of(world, options.layers, 4 * options.width**2)
    batch = batch_for(world, options.layers, options.width, timed(world, exchange, 5))
    alone = Model(options.layers, options.width, batch, exchange=False)
    together = Model(options.layers, options.width, batch, exchange=True)
    together.step()
    row: dict[str, Any] = {"ranks": world.size, "layers": options.layers, "width": options.width, "batch": batch}
    rounds = []
    for _ in range(options.repetitions):  # in turn, so that a slow moment of the machine meets all of them
        rounds.append([timed(world, call, 1) for call in (alone.forward, alone.step, exchange, together.step)])
    for name, values in zip(("forward", "compute", "exchange", "step"), zip(*rounds)):
        row[f"{name}_ms"] = round(statistics.median(values), 4)
    row["backward_over_exchange"] = round((row["compute_ms"] - row["forward_ms"]) / row["exchange_ms"], 3)
    row["step_over_longer"] = round(row["step_ms"] / max(row["compute_ms"], row["exchange_ms"]), 3)
    row["step_over_sum"] = round(row["step_ms"] / (row["compute_ms"] + row["exchange_ms"]), 3)
    if world.rank:
        return
    if options.json:
        print(json.dumps(row), flush=True)
        return
    row = {name: round(value, 3) for name, value in row.items()}
    print(f"{world.size} ranks, {options.layers} layers of {options.width}, batch {batch} a rank\n"
          f"forward {row['forward_ms']} ms, compute {row['compute_ms']} ms (backward {row['backward_over_exchange']} "
          f"of the exchange), exchange {row['exchange_ms']} ms, step {row['step_ms']} ms\n"
          f"step / longer of compute and exchange {row['step_over_longer']}, step / their sum {row['step_over_sum']}",
          flush=True)


if __name__ == "__main__":
    main()
