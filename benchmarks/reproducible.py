"""What reproducible=True costs: time of a step against plain allreduce, and accuracy of the mean against float64.

    mpirun -np 2 --bind-to core python benchmarks/reproducible.py
    mpirun -np 2 --bind-to core python benchmarks/reproducible.py --workload lenet --shards 2 4 8 --rounds 15

Time: sessions with plain allreduce and with each number of shards take turns in one process, a few steps each, so that
all meet the same machine; the global batch is that of the workload times the number of ranks. Prints the median step
(the slowest rank's, of each turn the mean step), the median of the ratio to the plain turn of the same round, and the
ratio of the fastest turns, which other work on the machine disturbs least.
With L = ranks only the sums differ; with more, kernels also work on batches of fewer rows.

Accuracy: relative L2 error of the mean of L gradients, normal or mixed over six decades; that of float32 sums beside.
"""
from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ringflow as rf
import workload_inputs as inputs
import workloads


def prepare(name: str, shards: int, world: rf.collectives.Communicator) -> Callable[[], None]:
    """A function that runs the next training step, once run. shards: 0 for plain allreduce."""
    model, optimizer = workloads.WORKLOADS[name]
    weights, batches = inputs.initial_weights(name), inputs.batches(name, world.rank)
    x0, y0 = batches[0]
    rows = len(x0) * world.size
    part = rf.collectives.shard_rows(rows, shards or world.size)
    with rf.Graph().as_default() as graph:
        x = rf.placeholder(x0.dtype, [None, *x0.shape[1:]], name="x")
        y = rf.placeholder(y0.dtype, [None, *y0.shape[1:]], name="y")
        variables = {k: rf.Variable(v, name=k) for k, v in weights.items()}
        train_op = optimizer().minimize(model(variables, x, y))
        rf.distribute(train_op, **({"reproducible": True, "shards": shards} if shards else {}))
        session = rf.Session(graph=graph)
        session.run(rf.global_variables_initializer())
    count = part.stop - part.start
    fed = [(np.resize(bx, (count, *bx.shape[1:])), np.resize(by, (count, *by.shape[1:]))) for bx, by in batches]
    train = session.make_callable(train_op, [x, y])
    taken = 0

    def step() -> None:
        nonlocal taken
        train(*fed[taken % len(fed)])
        taken += 1

    step()  # makes the plan and its buckets before the next session makes its own
    return step


def time_steps(options: argparse.Namespace, world: rf.collectives.Communicator) -> None:
    steps = {shards: prepare(options.workload, shards, world) for shards in [0, *options.shards]}
    times: dict[int, list[float]] = {shards: [] for shards in steps}
    for round_ in range(options.rounds + 1):  # the first warms up
        order = list(steps)
        for shards in order[round_ % len(order):] + order[:round_ % len(order)]:
            world.barrier()
            begin = time.perf_counter()
            for _ in range(options.steps):
                steps[shards]()
            slowest = float(world.allreduce((time.perf_counter() - begin) / options.steps, "max"))
            if round_ > 0:
                times[shards].append(slowest)
    if world.rank:
        return
    print(f"{options.workload}, {world.size} ranks, {platform.machine()}, {world.native.transport}, "
          f"{world.native.algorithm}, median of {options.rounds} rounds of {options.steps} steps")
    for shards, taken in times.items():
        ratios = [t / plain for t, plain in zip(taken, times[0])]
        print(f"  {f'{shards} shards' if shards else 'allreduce':>10}  {statistics.median(taken) * 1e3:8.3f} ms/step   "
              f"x {statistics.median(ratios):.2f}   fastest {min(taken) * 1e3:8.3f} ms   "
              f"x {min(taken) / min(times[0]):.2f}")


def mean_of_rows(data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The exact mean over axis 0, by one training step of this rank alone: each row is a shard's gradient."""
    with rf.Graph().as_default():
        x = rf.placeholder(rf.float32, [None, data.shape[1]])
        w = rf.Variable(np.zeros(data.shape[1], np.float32))
        train_op = rf.train.GradientDescentOptimizer(-1.0).minimize(rf.reduce_sum(rf.reduce_mean(x, 0) * w))
        rf.distribute(train_op, communicator=rf.collectives.Communicator(), reproducible=True, shards=len(data))
        with rf.Session() as session:
            session.run(rf.global_variables_initializer())
            session.run(train_op, {x: data})
            mean: np.ndarray[Any, Any] = session.run(w)
            return mean


def show_accuracy(counts: list[int]) -> None:
    rng = np.random.default_rng(0)
    print("relative L2 error against float64, 65536 elements:      exact      float32 sums, one after another")
    for decades in (0, 6):
        for count in counts:
            data = rng.standard_normal((count, 65536)) * 10.0 ** (-decades * rng.random((count, 65536)))
            data = data.astype(np.float32)
            true = data.astype(np.float64).mean(0)
            plain = np.zeros(data.shape[1], np.float32)
            for row in data:
                plain += row
            errors = [np.linalg.norm(y - true) / np.linalg.norm(true)
                      for y in (mean_of_rows(data), plain / np.float32(count))]
            kind = f"{decades} decades mixed" if decades else "normal"
            print(f"  L = {count:3}, {kind:16}                              {errors[0]:.1e}    {errors[1]:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=["tiny", "mlp", "lenet", "resnet20"], default="mlp")
    parser.add_argument("--shards", type=int, nargs="+", default=[2, 4, 8], help="numbers of shards to time")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=10, help="steps of each turn")
    options = parser.parse_args()
    world = rf.init()
    time_steps(options, world)
    if world.rank == 0:
        show_accuracy([8, 64, 256])


if __name__ == "__main__":
    main()
