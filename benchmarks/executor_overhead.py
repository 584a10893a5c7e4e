"""What the executor costs by itself: nanoseconds a node that computes nothing, by straight line and by ready queue.

    python benchmarks/executor_overhead.py

chain       10,000 Identity nodes on a scalar, one after the other: the difference to a chain of none, by node
loop        a while loop of 10,000 iterations that counts; and the same with 20 Identity nodes in its body: the
            difference, by iteration and node

The bars: 200 ns a node by straight line, 1000 ns by ready queue. Medians of 21 runs.
"""
from __future__ import annotations

import statistics
import time

import numpy as np
import ringflow.kernels  # noqa: F401  (loads the BLAS that _core needs)
from ringflow import _core
from ringflow.graph.proto import graph_pb2 as pb

FLOAT, INT32, BOOL = 1, 3, 10
CHAIN, ITERATIONS, BODY = 10_000, 10_000, 20


class Builder:
    """A graph of scalars, a node a call."""

    def __init__(self) -> None:
        self.graph = pb.GraphDef()

    def node(self, name: str, op: str, inputs: tuple[str, ...] = (), dtype: int = FLOAT, outputs: int = 1,
             **attrs: bool | int | str) -> str:
        node = self.graph.node.add(name=name, op=op, input=inputs)
        node.attr["T"].type = dtype
        for key, value in attrs.items():
            field = "b" if isinstance(value, bool) else "i" if isinstance(value, int) else "s"
            setattr(node.attr[key], field, value.encode() if isinstance(value, str) else value)
        for _ in range(outputs):
            node.attr["_output_dtypes"].list.type.append(BOOL if op == "Less" else dtype)
            node.attr["_output_shapes"].list.shape.add()
        return name

    def chain(self, first: str, count: int, prefix: str = "n") -> str:
        for i in range(count):
            first = self.node(f"{prefix}{i}", "Identity", (first,))
        return first

    def run_time(self) -> float:
        """Seconds of a run: the median."""
        executable = _core.Executable(self.graph.SerializeToString(), _core.Resources())
        feeds = [np.array(value, np.float32) for value in (ITERATIONS, 0, 1)]
        times = []
        for _ in range(21):
            start = time.perf_counter()
            executable.run(feeds[: len(executable.arguments())])
            times.append(time.perf_counter() - start)
        return statistics.median(times)


def chain_time(count: int, *, by_queue: bool) -> float:
    b = Builder()
    b.node("x", "_Arg", index=0)
    if by_queue:
        b.node("trigger", "ControlTrigger", outputs=0)
    b.node("r", "_Retval", (b.chain("x", count),), outputs=0, index=0)
    return b.run_time()


def loop_time(body: int) -> float:
    b = Builder()
    for index, name in enumerate(("n", "zero", "one")):
        b.node(name, "_Arg", index=index)
        b.node(f"{name}/enter", "Enter", (name,), frame_name="loop", is_constant=name != "zero")
    b.node("i", "Merge", ("zero/enter", "next"), outputs=1)
    b.node("less", "Less", ("i", "n/enter"))
    b.node("while", "LoopCond", ("less",), dtype=BOOL)
    b.node("branch", "Switch", ("i", "while"), outputs=2)
    b.node("sum", "AddV2", (b.chain("branch:1", body), "one/enter"))
    b.node("next", "NextIteration", ("sum",))
    b.node("exit", "Exit", ("branch",))
    b.node("r", "_Retval", ("exit",), outputs=0, index=0)
    return b.run_time()


def main() -> None:
    for by_queue, name in ((False, "straight line"), (True, "ready queue")):
        seconds = chain_time(CHAIN, by_queue=by_queue) - chain_time(0, by_queue=by_queue)
        print(f"{name:14} {seconds / CHAIN * 1e9:7.1f} ns a node of a chain")
    empty, full = loop_time(0), loop_time(BODY)
    print(f"{'loop':14} {empty / ITERATIONS * 1e9:7.1f} ns an iteration of 7 nodes that counts")
    print(f"{'':14} {(full - empty) / ITERATIONS / BODY * 1e9:7.1f} ns a further node of the body")


if __name__ == "__main__":
    main()
