"""Random programs with branches, loops and variables mean what Python says, however they are optimised and executed."""
import random

import numpy as np
import pytest
import ringflow as rf
from hypothesis import HealthCheck, given, settings, strategies as st
from ringflow.graph import passes

from .random_programs import random_program
from .test_random_graphs import EXECUTIONS, OPTIONAL

SOME = [e for e in EXECUTIONS if e[1] in ([], OPTIONAL)]
QUIETLY = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def check(source, length, executions=EXECUTIONS):
    made = random_program(source, length)
    values = [np.full(3, 1.0 + k) for k in range(len(made.variables))]
    want = [(made.expected(k, values), list(values)) for k in range(len(made.feeds))]
    for backend, dropped in executions:
        all_passes = list(passes.PASSES)
        passes.PASSES[:] = [p for p in all_passes if p[0] not in dropped]
        try:
            with rf.Session(graph=made.graph, backend=backend) as session:
                session.run([v.initializer for v in made.variables])
                for k, (results, after) in enumerate(want):
                    what = f"run {k}, {backend} without {dropped}"
                    got, _ = session.run([made.results, made.end], made.feeds[k])
                    for a, b in zip(got, results):
                        np.testing.assert_array_equal(a, b, what)
                    for a, b in zip(session.run(made.variables), after):
                        np.testing.assert_array_equal(a, b, what)
        finally:
            passes.PASSES[:] = all_passes


def check_gradient(source, length):
    made = random_program(source, length, smooth=True)
    floats = [t for t in made.results if t.dtype is rf.float64]
    with made.graph.as_default():
        (g,) = rf.gradients(floats, made.x)
        g = rf.zeros_like(made.x) if g is None else g
    feed = made.feeds[0]
    with rf.Session(graph=made.graph) as session:
        session.run([v.initializer for v in made.variables])
        direction = np.random.default_rng(1).standard_normal(3)
        (got, values) = session.run([g, floats], feed)

    def total(step):
        start = [np.full(3, 1.0 + k) for k in range(len(made.variables))]
        results = made.expected(0, start, feed[made.x] + step * direction)
        return sum(np.sum(r) for r, t in zip(results, made.results) if t.dtype is rf.float64)

    np.testing.assert_allclose(sum(np.sum(v) for v in values), total(0.0), rtol=1e-9, atol=1e-9)
    numeric = (total(1e-6) - total(-1e-6)) / 2e-6
    np.testing.assert_allclose(np.sum(got * direction), numeric, rtol=1e-5, atol=1e-7)


@settings(QUIETLY, max_examples=10)
@given(st.randoms(use_true_random=False), st.integers(3, 12))
def test_a_random_program_means_what_python_says(source, length):
    check(source, length, SOME)


@settings(QUIETLY, max_examples=10)
@given(st.randoms(use_true_random=False), st.integers(3, 9))
def test_the_gradient_of_a_random_program_equals_differences(source, length):
    check_gradient(source, length)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_random_programs_mean_what_python_says(block):
    for seed in range(block * 100, block * 100 + 100):
        print(f"seed {seed}")
        check(random.Random(seed), 4 + seed % 12)
        check_gradient(random.Random(seed), 3 + seed % 9)
