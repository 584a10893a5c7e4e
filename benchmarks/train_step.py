"""Times the training step of one workload and prints one JSON line.

    python benchmarks/train_step.py mlp --seconds 4
    mpirun -np 2 python benchmarks/train_step.py mlp

After 8 untimed steps, whose losses the line holds, steps are timed one by one; every rank takes the same number. The
figure is the median. With several ranks each has its own batches, gradients are all-reduced, the losses are rank 0's.
"""
from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import ringflow as rf
import workload_inputs as inputs
import workloads

CHECKED = 8
LEAST, MOST = 10, 5000  # timed steps


def timed(step: Callable[[], float], seconds: float, world: rf.collectives.Communicator) -> list[float]:
    """Seconds of each step, sorted."""
    world.barrier()
    begin = time.perf_counter()
    step()
    step()
    estimate = (time.perf_counter() - begin) / 2
    count = world.broadcast_object(max(LEAST, min(MOST, int(seconds / max(estimate, 1e-6)))))
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return sorted(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=list(workloads.WORKLOADS))
    parser.add_argument("--seconds", type=float, default=6.0, help="how long to time (default 6)")
    parser.add_argument("--run", action="store_true", help="call session.run instead of a callable made once")
    parser.add_argument("--backend", help="cpp (default) or reference")
    options = parser.parse_args()

    world = rf.init()
    weights = inputs.initial_weights(options.workload)
    workload = workloads.build(options.workload, weights)
    train_op = rf.distribute(workload.train_op)
    batches = inputs.batches(options.workload, world.rank)
    with rf.Session(backend=options.backend) as session:
        workload.load(session, weights)
        if options.run:
            def train(x, y):
                return session.run([workload.loss, train_op], {workload.x: x, workload.y: y})
        else:
            train = session.make_callable([workload.loss, train_op], [workload.x, workload.y])
        taken = 0

        def step() -> float:
            nonlocal taken
            loss = train(*batches[taken % len(batches)])[0]
            taken += 1
            return float(loss)

        losses = [step() for _ in range(CHECKED)]
        times = timed(step, options.seconds, world)
    if world.rank == 0:
        print(json.dumps({
            "framework": "ringflow", "workload": options.workload, "ranks": world.size, "steps": len(times),
            "median_ms": round(times[len(times) // 2] * 1e3, 4), "p10_ms": round(times[len(times) // 10] * 1e3, 4),
            "losses": [round(loss, 5) for loss in losses],
        }), flush=True)


if __name__ == "__main__":
    main()
