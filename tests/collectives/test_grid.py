"""Results: one body, many back ends (threads by one pass and by ring; processes in shared memory and over MPI)."""
import pathlib

import grid
import numpy as np
import pytest
from ringflow.collectives import loopback
from ringflow.graph.errors import InvalidArgumentError

ALGORITHMS = ["one_pass", "ring"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("ranks", range(1, 9))
def test_allreduce_on_threads(ranks, algorithm):
    sizes = grid.SIZES if ranks <= 3 else grid.SIZES[:-1]
    loopback.run(ranks, lambda c: grid.check_allreduce(c, sizes), algorithm=algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("check", grid.CHECKS[1:], ids=lambda check: check.__name__)
def test_on_threads(check, ranks, algorithm):
    loopback.run(ranks, check, algorithm=algorithm)


@pytest.mark.parametrize("shared_memory", ["1", "0"])
@pytest.mark.parametrize("ranks", [2, 3])
def test_grid_on_processes(mpirun, ranks, shared_memory):
    done = mpirun(ranks, pathlib.Path(grid.__file__), RINGFLOW_SHARED_MEMORY=shared_memory)
    assert done.returncode == 0, done.stderr
    algorithm = "one_pass" if shared_memory == "1" else "ring"
    for r in range(ranks):
        assert f"rank {r}/{ranks} {algorithm} passed {len(grid.CHECKS)}" in done.stdout


def test_ring_and_one_pass_agree_with_float64_to_rounding():
    def reduce(comm):
        return comm.allreduce(np.random.default_rng(comm.rank).standard_normal(10007).astype(np.float32))

    exact = sum(np.random.default_rng(r).standard_normal(10007).astype(np.float32).astype(np.float64) for r in range(5))
    for algorithm in ALGORITHMS:
        np.testing.assert_allclose(loopback.run(5, reduce, algorithm=algorithm)[0], exact, atol=3e-6)


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("x, op, rule", [
    (np.ones(3, np.int32), "mean", "mean of int32"),
    (np.ones(3, bool), "mean", "mean of bool"),
    (np.ones(3), "median", "op must be sum"),
])
def test_reductions_without_a_meaning_are_refused(ranks, x, op, rule):
    with pytest.raises(InvalidArgumentError, match=rule):
        loopback.run(ranks, lambda c: c.allreduce(x, op))


def test_arrays_that_cannot_be_reduced_are_refused():
    with pytest.raises(TypeError, match="no supported dtype: received <U1"):
        loopback.run(2, lambda c: c.allreduce(np.array(["a", "b"])))


def test_a_bucket_refuses_more_than_it_holds():
    with pytest.raises(InvalidArgumentError, match="101 x float32 do not fit into the 400 bytes"):
        loopback.run(2, lambda c: c.start(c.bucket(400), 101, np.float32))
