"""Errors, not hangs: every rank ends within seconds, and says which rank is to blame."""
import re
import threading
import time

import faults
import numpy as np
import pytest
from ringflow.collectives import loopback
from ringflow.graph.errors import AbortedError, DeadlineExceededError, InvalidArgumentError

ALGORITHMS = ["one_pass", "ring", "halving_doubling", "tree"]

ENDING = """
import os, sys, time
import numpy as np
from ringflow import collectives
how, others, timeout_s = sys.argv[1:]
import mpi4py
mpi4py.rc.thread_level = "serialized"
from mpi4py import MPI
os.environ["RINGFLOW_TIMEOUT_S"] = timeout_s  # MPI_Init, which it would limit too, is over
world = collectives.init()
world.allreduce(np.ones(100000))
if world.rank == 1:
    print("fault at", time.time(), flush=True)
    if how == "raise":
        raise ValueError("bad batch")
    if how == "sleep":
        time.sleep(120)
    sys.exit(3 if how == "exit" else 0)
if others == "collective":
    world.allreduce(np.ones(10))
else:
    until = time.time() + 120
    while time.time() < until:
        pass
"""


def caught(size, function, **options):
    """The exceptions of the ranks that raise inside `function`, by rank."""
    def body(comm):
        try:
            function(comm)
        except Exception as e:
            return e

    return loopback.run(size, body, **options)


def caught_with_cause(size, function, **options):
    """The same, where a rank that raises ends the others, as it does outside tests."""
    errors = [None] * size

    def body(comm):
        try:
            function(comm)
        except Exception as e:
            errors[comm.rank] = e
            raise

    with pytest.raises(Exception, match="rank"):
        loopback.run(size, body, **options)
    return errors


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_raising_rank_ends_the_others_with_its_name_and_text(algorithm):
    seen = {}

    def body(comm):
        if comm.rank == 1:
            raise ValueError("bad batch")
        try:
            comm.allreduce(np.ones(1000))
        except AbortedError as e:
            seen[comm.rank] = str(e)
            raise

    start = time.monotonic()
    with pytest.raises(ValueError, match="rank 1/3: bad batch") as error:
        loopback.run(3, body, algorithm=algorithm)
    assert error.value.rank == 1
    assert time.monotonic() - start < 30
    for r in (0, 2):
        assert seen[r].startswith("[allreduce] rank 1/3 (") and seen[r].endswith("ended: ValueError: bad batch")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nobody_waits_for_a_rank_that_has_left(algorithm):
    errors = caught(3, lambda c: None if c.rank == 1 else c.barrier(), algorithm=algorithm)
    assert errors[1] is None
    for r in (0, 2):
        assert isinstance(errors[r], AbortedError)
        assert "rank 1 has left the program and cannot join collective 1 (barrier)" in str(errors[r])


def late_rank(late, size):
    """A body in which one rank comes when all others have given up."""
    given_up = threading.Semaphore(0)

    def body(comm):
        comm.broadcast(np.ones(3))
        if comm.rank == late:
            for _ in range(size - 1):
                assert given_up.acquire(timeout=60)
        try:
            comm.allreduce(np.ones(7, np.float32))
        finally:
            given_up.release()

    return body


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_late_rank_is_named_at_the_deadline(algorithm):
    errors = caught(3, late_rank(2, 3), algorithm=algorithm, timeout_s=1.0)
    late = next(e for e in errors if isinstance(e, DeadlineExceededError))
    assert ("timed out after 1 s in collective 2 (sum, 7 x float32): "
            "rank 2 has not joined, last seen in collective 1 (broadcast)") in str(late)
    assert all(isinstance(e, (AbortedError, DeadlineExceededError)) for e in errors)
    assert "timed out" in str(errors[2])


@pytest.mark.parametrize("world", ["hierarchical", "halving_doubling", "ring"])
def test_a_late_rank_of_another_node_is_named_at_the_deadline(world):
    errors = caught(4, late_rank(3, 4), algorithm=world, timeout_s=1.0, nodes=[2, 2])
    assert any("rank 3 has not joined" in str(e) for e in errors), errors
    assert all(isinstance(e, (AbortedError, DeadlineExceededError)) and "timed out after 1 s" in str(e) for e in errors)


def test_ranks_of_a_split_learn_of_a_failure_outside_it():
    def body(comm):
        half = comm.split(comm.rank % 2)
        half.barrier()
        if comm.rank == 3:
            raise ValueError("bad batch")
        half.allreduce(np.ones(3))
        if half.rank == 0:  # ranks 0 and 1; 0's half is complete
            comm.barrier() if comm.rank == 1 else half.barrier()
        time.sleep(0.3)
        half.barrier()

    start = time.monotonic()
    errors = caught_with_cause(4, body)
    assert time.monotonic() - start < 30
    assert isinstance(errors[3], ValueError)
    for error in errors[:3]:
        assert isinstance(error, AbortedError) and "ended: ValueError: bad batch" in str(error)


WORLDS = {"one_pass": {}, "ring": {}, "halving_doubling": {}, "tree": {}, "ring on 2 nodes": {"nodes": [2, 2]},
          "hierarchical": {"nodes": [2, 2]}, "halving_doubling on 4 nodes": {"nodes": [1, 1, 1, 1]}}
CALLS = {
    "count": lambda c: c.allreduce(np.ones(7 + (c.rank == 1), np.float32)),
    "size": lambda c: c.allreduce(np.ones(10 ** (2 + 4 * (c.rank == 3)), np.float32)),  # another algorithm
    "dtype": lambda c: c.allreduce(np.ones(7, np.float32 if c.rank else np.int32)),
    "op": lambda c: c.allreduce(np.ones(7), "sum" if c.rank else "max"),
    "kind": lambda c: c.barrier() if c.rank else c.allreduce(np.ones(3)),
    "root": lambda c: c.broadcast(np.ones(3), root=c.rank),
    "root of reduce": lambda c: c.reduce(np.ones(3), root=c.rank % 2),
    "broadcast bytes": lambda c: c.broadcast(np.ones(3 + (c.rank == 2))),
    "gather or scatter": lambda c: c.reduce_scatter(np.ones(4)) if c.rank else c.allgather(np.ones(1)),
    "alltoall or barrier": lambda c: c.alltoall(np.ones(4)) if c.rank else c.barrier(),
    "bucket": lambda c: c.bucket(100 + c.rank),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("world", WORLDS)
def test_different_calls_are_an_error_on_every_rank_and_leave_them_in_step(call, world):
    def body(comm):
        with pytest.raises(InvalidArgumentError, match="the ranks call different collectives as number 1: rank . "):
            CALLS[call](comm)
        assert comm.allreduce(1.0) == comm.size

    begin = time.monotonic()
    loopback.run(4, body, algorithm=world.split()[0], **WORLDS[world])
    assert time.monotonic() - begin < 30


def test_a_message_of_a_wrong_size_names_its_sender():
    def body(comm):
        if comm.rank == 1:
            comm.send(np.ones(4), 0)
        else:
            comm.recv(np.empty(3), 1)

    assert "rank 0/2 expects 24 bytes from rank 1, which sent 32" in str(caught(2, body)[0])


def test_gathering_arrays_that_do_not_fit_names_a_rank():
    rule = r"shapes may differ in axis 0 only: float32 \(2, 3\) here, rank 1 has float32 \(2, 4\)"
    with pytest.raises(InvalidArgumentError, match=rule):
        loopback.run(2, lambda c: c.allgather(np.ones((2, 3 + c.rank), np.float32)))


def check_job(done, ended, naming):
    """ended: the time of the end of mpirun."""
    assert done.returncode != 0
    assert ended - float(re.search(r"fault at ([\d.]+)", done.stdout).group(1)) < 20
    for r, line in naming.items():
        assert any(f"rank {r}/3" in out and line in out for out in done.stderr.splitlines()), done.stderr
    assert not faults.left_behind(), "a segment was left behind"


BY_RANK_1 = "because rank 1/3"


@pytest.mark.parametrize("how, others, shared_memory, naming", [
    ("raise", "collective", "1", {0: BY_RANK_1, 1: "failed and ends the job", 2: "ended: ValueError: bad batch"}),
    ("raise", "collective", "0", {0: BY_RANK_1, 1: "failed and ends the job", 2: "ended: ValueError: bad batch"}),
    ("raise", "python", "1", {1: "failed and ends the job"}),
    ("exit", "collective", "1", {0: BY_RANK_1, 1: "sys.exit(3)", 2: "ended: sys.exit(3)"}),
    ("leave", "collective", "1", {0: "rank 1 has left", 2: "rank 1 has left"}),
    ("leave", "collective", "0", {0: "rank 1 has left", 2: "rank 1 has left"}),
    ("sleep", "collective", "1", {0: "timed out", 2: "timed out"}),
])
def test_a_rank_that_ends_takes_the_job_along(mpirun, how, others, shared_memory, naming):
    timeout_s = "4" if how == "sleep" else "100"
    done = mpirun(3, ENDING, how, others, timeout_s, RINGFLOW_SHARED_MEMORY=shared_memory)
    check_job(done, time.time(), naming)
    if how == "raise":
        assert done.stderr.count("Traceback") == 1, "the traceback is printed once"
    if how == "exit":
        assert done.returncode == 3


def test_an_agreed_exit_code_is_no_failure_of_anybody(mpirun):
    done = mpirun(2, "import sys\nfrom ringflow import collectives\ncollectives.init().barrier()\nsys.exit(4)\n")
    assert done.returncode == 4
    assert "ringflow:" not in done.stderr
