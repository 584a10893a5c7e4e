"""How the costs of a graph grow with its size: building, differentiating, writing, planning, and the first run.

    python benchmarks/graph_growth.py [--nodes 20000] [--json]

The graph is a network of many small layers, y = relu(y * w + b) on (4,) vectors, and a train op: the gradients with
respect to all w and b, and their updates. Sizes double up to `--nodes`; "growth" is the exponent
of the time between the two largest sizes: 1 is linear. Each size is measured in the same process, best of two.
"""
from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ringflow as rf
from ringflow.launch import machine

COLUMNS = ("build", "gradients", "write", "plan", "total", "step")


def measure(layers: int) -> dict[str, Any]:
    """Seconds of each phase, and the number of nodes."""
    times: dict[str, Any] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        result = work()
        times[name] = time.perf_counter() - begin
        return result

    graph = rf.Graph()
    with graph.as_default(), rf.Session() as session:
        x = rf.placeholder(rf.float32, [4], name="x")

        def build() -> tuple[rf.Tensor, list[rf.Variable]]:
            y, variables = x, []
            for _ in range(layers):
                w, b = (rf.Variable(np.ones(4, np.float32)) for _ in range(2))
                y = rf.nn.relu(y * w + b)
                variables += [w, b]
            return rf.reduce_sum(y), variables

        loss, variables = timed("build", build)
        train = timed("gradients", lambda: rf.train.GradientDescentOptimizer(0.1).minimize(loss, var_list=variables))
        timed("write", lambda: graph.as_graph_def().SerializeToString())
        session.run(rf.global_variables_initializer())
        fetches, feeds = [loss, train], {x: np.ones(4, np.float32)}
        timed("plan", lambda: session.run(fetches, feeds))  # planning, and one run, which is far shorter
        timed("step", lambda: session.run(fetches, feeds))
        times["plan"] -= times["step"]
        times["nodes"] = len(graph.get_operations())
    times["total"] = times["build"] + times["gradients"] + times["plan"]
    return times


def table(most: int) -> list[dict[str, Any]]:
    """A row for each size, the last of about `most` nodes."""
    per_layer = (measure(40)["nodes"] - measure(20)["nodes"]) / 20
    rows = []
    for size in (most // 8, most // 4, most // 2, most):
        tries = [measure(round(size / per_layer)) for _ in range(2)]
        rows.append(min(tries, key=lambda t: t["total"]))
    return rows


def growth(rows: list[dict[str, Any]], name: str) -> float:
    """The exponent between the two largest sizes."""
    a, b = rows[-2], rows[-1]
    return math.log(b[name] / a[name]) / math.log(b["nodes"] / a["nodes"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=20000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = table(options.nodes)
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{machine.processor()}, Python {platform.python_version()}, {machine.commit() or 'installed'}; seconds")
    print(f"{'nodes':>8}" + "".join(f"{c:>11}" for c in COLUMNS))
    for row in rows:
        print(f"{row['nodes']:>8}" + "".join(f"{row[c]:>11.4f}" for c in COLUMNS))
    print(f"{'growth':>8}" + "".join(f"{growth(rows, c):>11.2f}" for c in COLUMNS))


if __name__ == "__main__":
    main()
