"""Random graphs of wide rows have the same bits with the passes and without, on any number of threads."""
import random

import numpy as np
import pytest

pytest.importorskip("ringflow._core")

import ringflow as rf
from ringflow.graph import passes

from .random_rows import random_rows

ROWS = frozenset({"broadcast late", "join products", "fuse elementwise ops"})
EXECUTIONS = [(ROWS, 1), (frozenset(), 1), (frozenset(), 3), ({"fuse elementwise ops"}, 3), ({"broadcast late"}, 1),
              ({"join products"}, 1)]


def outcome(made, dropped, threads, backend="cpp", devices=1):
    """What all runs give, and the variables at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "PASSES", [p for p in passes.PASSES if p[0] not in dropped])
        config = rf.ConfigProto(intra_op_parallelism_threads=threads, device_count={"CPU": devices})
        with rf.Session(graph=made.graph, backend=backend, config=config) as session, np.errstate(all="ignore"):
            session.run(made.initialise)
            results = [session.run(made.fetches, made.feeds) for _ in range(made.runs)]
            return [a for r in [*results, session.run(made.finals)] for a in r if a is not None]


def check(seed, steps):
    made = random_rows(random.Random(seed), steps)
    want = outcome(made, *EXECUTIONS[0])
    for dropped, threads in EXECUTIONS[1:]:
        for k, (a, b) in enumerate(zip(outcome(made, dropped, threads), want)):
            assert a.tobytes() == b.tobytes(), f"seed {seed}, {steps} steps: result {k} without {dropped}"
    for k, (a, b) in enumerate(zip(outcome(made, frozenset(), 1, "reference"), want)):
        tolerance = 2e-4 if a.dtype == np.float32 else 1e-10
        np.testing.assert_allclose(a, b, tolerance, tolerance, err_msg=f"seed {seed}, {steps} steps: result {k}")


@pytest.mark.parametrize("seed", range(12))
def test_a_random_graph_of_rows_keeps_its_bits(seed):
    check(seed, 6 + seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_many_random_graphs_of_rows_keep_their_bits(block):
    for seed in range(block * 100, block * 100 + 100):
        print(f"seed {seed}")
        check(seed, 4 + seed % 20)
