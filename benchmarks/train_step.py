"""Times the training step of one workload and prints one JSON line (`step_timing.py` says how).

    python benchmarks/train_step.py mlp --seconds 4
    mpirun -np 2 python benchmarks/train_step.py mlp

With several ranks each has its own batches, gradients are all-reduced, the losses are rank 0's.
"""
from __future__ import annotations

import ringflow as rf
import step_timing
import workload_inputs as inputs
import workloads


def main() -> None:
    parser = step_timing.arguments(__doc__)
    parser.add_argument("--run", action="store_true", help="call session.run instead of a callable made once")
    parser.add_argument("--backend", help="cpp (default) or reference")
    options = parser.parse_args()

    world = rf.init()
    workload = workloads.build(options.workload)
    train_op = rf.distribute(workload.train_op)
    batches = inputs.batches(options.workload, world.rank)
    with rf.Session(backend=options.backend) as session:
        workload.load(session, inputs.weights(options.workload))
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

        step_timing.report("ringflow", options.workload, step, options.seconds,
                           versions={"ringflow": rf.__version__}, ranks=world)


if __name__ == "__main__":
    main()
