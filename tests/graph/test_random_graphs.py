"""Random graphs give the same on the interpreter, on the runtime, and without any one of the passes."""
import importlib.util
import random

import numpy as np
import pytest
import ringflow as rf
from hypothesis import HealthCheck, given, settings, strategies as st
from ringflow.graph import passes
from ringflow.graph.passes.fusion import fuse

from .random_graphs import random_graph

HAS_CORE = importlib.util.find_spec("ringflow._core") is not None
# all but the one that orders reads and updates, which is part of what a graph means
OPTIONAL = ["fold constants", "simplify", "join common subexpressions", "drop dead code", "fuse elementwise ops"]
EXECUTIONS = [("reference", OPTIONAL), ("reference", [])]
if HAS_CORE:
    EXECUTIONS += [("cpp", []), ("cpp", OPTIONAL), *(("cpp", [name]) for name in OPTIONAL)]


@pytest.fixture(autouse=True)
def small_tensors_fuse_too(monkeypatch):
    monkeypatch.setattr(fuse, "_LEAST_ELEMENTS", 1)


def outcome(made, backend, dropped):
    """What all runs of a session give, and the variables at the end."""
    all_passes = list(passes.PASSES)
    passes.PASSES[:] = [p for p in all_passes if p[0] not in dropped]
    try:
        with rf.Session(graph=made.graph, backend=backend) as session:
            session.run(made.initialise)
            results = [session.run(fetches, feeds) for fetches, feeds in made.runs]
            return [*results, session.run(made.finals)]
    finally:
        passes.PASSES[:] = all_passes


def check(source, nodes):
    made = random_graph(source, nodes)
    fetched = [*(fetches for fetches, _ in made.runs), made.finals]
    first = None
    for backend, dropped in EXECUTIONS:
        results = outcome(made, backend, dropped)
        if first is None:
            first = results
        for k, (got, want) in enumerate(zip(results, first)):
            for t, a, b in zip(fetched[k], got, want):
                what = f"run {k} of {len(made.runs)}, {t!r}, {backend} without {dropped}"
                assert (a is None) == (b is None), what
                if a is None:
                    continue
                assert a.dtype == b.dtype and a.shape == b.shape, what
                error = made.errors.get(t, 0.0)
                if error == 0:
                    np.testing.assert_array_equal(a, b, what)
                else:
                    np.testing.assert_allclose(a, b, rtol=1e-6, atol=error, err_msg=what)


@settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.integers(5, 30))
def test_a_random_graph_means_one_thing(source, nodes):
    check(source, nodes)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_many_random_graphs_mean_one_thing(block):
    for seed in range(block * 100, block * 100 + 100):
        print(f"seed {seed}")
        check(random.Random(seed), 10 + seed % 50)
