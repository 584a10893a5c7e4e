"""Results: one body, many back ends (threads on one node and on several; processes in shared memory and over MPI)."""
import pathlib

import grid
import numpy as np
import pytest
from ringflow.collectives import loopback
from ringflow.graph.errors import InvalidArgumentError

ALGORITHMS = ["one_pass", "ring", "halving_doubling", "tree"]
NODES = [(2, 2), (3, 3), (2, 2, 2, 2), (3, 2), (1, 1, 1)]
ONE_NODE = [(p,) for p in range(1, 9)]


def name(nodes):
    return "x".join(map(str, nodes))


@pytest.mark.parametrize("nodes", [(1,), (2,), (5,), (8,), (2, 2), (3, 2)], ids=name)
def test_allreduce_on_threads(nodes):
    loopback.run(sum(nodes), grid.check_allreduce, nodes=nodes)


@pytest.mark.slow
@pytest.mark.parametrize("nodes", ONE_NODE + NODES, ids=name)
def test_every_allreduce_on_threads(nodes):
    compared = loopback.run(sum(nodes), lambda c: grid.check_allreduce(c, grid.SIZES, grid.DTYPES), nodes=nodes)
    print(name(nodes), compared[0])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_setting_chooses_the_algorithm(algorithm):
    def body(comm):
        assert comm.native.algorithm == algorithm
        return grid.check_allreduce(comm, [7, 1000], [np.float32], ["auto"])

    assert loopback.run(3, body, algorithm=algorithm) == [10] * 3


@pytest.mark.parametrize("nodes", [(1,), (2,), (5,), (3, 2)], ids=name)
@pytest.mark.parametrize("check", grid.CHECKS[1:], ids=lambda check: check.__name__)
def test_on_threads(check, nodes):
    loopback.run(sum(nodes), check, nodes=nodes)


@pytest.mark.slow
@pytest.mark.parametrize("nodes", ONE_NODE + NODES, ids=name)
@pytest.mark.parametrize("check", grid.CHECKS[1:], ids=lambda check: check.__name__)
def test_everything_on_threads(check, nodes):
    loopback.run(sum(nodes), check, nodes=nodes)


def run_processes(mpirun, ranks, algorithm, *args, **settings):
    done = mpirun(ranks, pathlib.Path(grid.__file__), *args, timeout_s=600, **settings)
    assert done.returncode == 0, done.stderr
    for r in range(ranks):
        assert f"rank {r}/{ranks} {algorithm} passed {len(grid.CHECKS)}" in done.stdout
    print(done.stdout)


@pytest.mark.parametrize("ranks, algorithm, args, shared_memory", [
    (2, "one_pass", [], "1"),
    (3, "ring", [], "0"),
    (4, "hierarchical", ["--nodes", "0,0,1,1"], "1"),
], ids=["one_node", "no_shared_memory", "two_nodes"])
def test_grid_on_processes(mpirun, ranks, algorithm, args, shared_memory):
    run_processes(mpirun, ranks, algorithm, *args, RINGFLOW_SHARED_MEMORY=shared_memory)


@pytest.mark.slow
@pytest.mark.parametrize("nodes, algorithm", [("", "one_pass"), ("", "ring"), ("0,0,1,1", "hierarchical"),
                                              ("0,0,0,1,1", "hierarchical"), ("0,1,0", "ring")])
@pytest.mark.parametrize("ranks", [2, 3, 4, 5])
def test_full_grid_on_processes(mpirun, ranks, nodes, algorithm):
    if nodes and len(nodes.split(",")) != ranks:
        pytest.skip("the nodes are of other ranks")
    shared_memory = "0" if algorithm == "ring" and not nodes else "1"
    run_processes(mpirun, ranks, algorithm, "--full", *(["--nodes", nodes] if nodes else []),
                  RINGFLOW_SHARED_MEMORY=shared_memory)


def test_algorithms_agree_with_float64_to_rounding():
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
