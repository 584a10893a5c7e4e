"""Waiting ranks say whom they wait for; init names who does not come; leftovers of killed jobs are removed."""
import os
import re
import time

import numpy as np
import pytest
from ringflow.collectives import loopback, world
from ringflow.collectives.segments import sweep
from ringflow.graph.errors import InvalidArgumentError

WARN_S = 1.0  # longer than a busy machine takes for a collective in which all ranks join


class Said:
    """What the ranks of this process say, seen by all of them."""

    def __init__(self, capfd):
        self.capfd, self.text = capfd, ""

    def lines(self):
        self.text += self.capfd.readouterr().err
        return self.text.splitlines()

    def wait_for(self, number):
        """Until so many lines have been said."""
        until = time.monotonic() + 60
        while len(self.lines()) < number:
            assert time.monotonic() < until, self.text
            time.sleep(0.01)


@pytest.fixture
def said(capfd):
    return Said(capfd)


@pytest.mark.parametrize("algorithm", ["one_pass", "ring"])
def test_each_waiting_rank_warns_once_with_the_missing_rank_and_its_last_collective(said, algorithm):
    def body(comm):
        comm.broadcast(np.ones(3))
        if comm.rank == 2:
            said.wait_for(2)
        comm.allreduce(np.ones(7, np.float32))
        comm.barrier()

    loopback.run(3, body, algorithm=algorithm, warn_s=WARN_S)
    lines = said.lines()
    for r in (0, 1):
        own = [x for x in lines if f"rank {r}/3" in x]
        assert re.fullmatch(rf"ringflow: warning: \[allreduce\] rank {r}/3 has waited [\d.]+ s in collective 2 "
                            r"\(sum, 7 x float32\): rank 2 has not joined, last seen in collective 1 \(broadcast\)",
                            own[0]), lines
        assert re.fullmatch(rf"ringflow: \[allreduce\] rank {r}/3 goes on after [\d.]+ s in collective 2 .*", own[1])
        assert len(own) == 2
    assert len(lines) == 4


def test_a_warning_tells_bucket_step_and_size(said):
    def body(comm):
        bucket = comm.bucket(1 << 20)
        for step in range(3):
            if comm.rank == 1 and step == 2:
                said.wait_for(1)
            comm.wait(comm.start(bucket, 1 << 18, np.float32))

    loopback.run(2, body, warn_s=WARN_S)
    warning = said.lines()[0]
    assert "in collective 4 (bucket 0, step 3, sum, 1.0 MiB float32): rank 1 has not joined, " \
        "last seen in collective 3 (bucket 0, step 2)" in warning


def test_several_missing_ranks_are_told_together(said):
    loopback.run(4, lambda c: (said.wait_for(2 * (c.rank > 1)), c.barrier()), warn_s=WARN_S)
    warning = said.lines()[0]
    assert warning.endswith("in collective 1 (barrier): ranks 2, 3 have not joined")


WAIT_FOR = """
import os, time
def wait_for(words, rank):  # until the log of that rank holds them
    until = time.time() + 100
    while words.encode() not in open(f"{os.environ['RINGFLOW_LOG_DIR']}/rank-{rank}.log", "rb").read():
        assert time.time() < until
        time.sleep(0.05)
"""


def test_ranks_without_shared_memory_ask_each_other_and_name_the_one_that_does_not_answer(mpirun, tmp_path):
    done = mpirun(4, WAIT_FOR + """
import numpy as np
from ringflow import collectives
world = collectives.init()
world.barrier()
if world.rank == 2:
    for r in (0, 1, 3):
        wait_for("[allreduce]", r)
world.allreduce(np.ones(100_000))
""", RINGFLOW_SHARED_MEMORY="0", RINGFLOW_WARN_S="1.5", RINGFLOW_LOG_DIR=str(tmp_path / "logs"))
    warnings = [x for x in done.stderr.splitlines() if x.startswith("ringflow: warning: [allreduce]")]
    assert len(warnings) == 3 and all("rank 2 has not joined" in w for w in warnings), done.stderr


def test_a_rank_that_others_wait_for_shows_where_it_is_and_each_has_a_log(mpirun, tmp_path):
    done = mpirun(2, WAIT_FOR + """
from ringflow import collectives
def load_batch():
    wait_for("is here", 1)
world = collectives.init()
if world.rank == 1:
    load_batch()
world.barrier()
if world.rank == 1:
    raise ValueError("bad batch")
world.barrier()
""", RINGFLOW_WARN_S="0.3", RINGFLOW_LOG_DIR=str(tmp_path / "new" / "logs"))
    assert re.search(r"rank 1/2 on \S+, for which others wait, is here \(MainThread\): \S+script.py:\d+ in wait_for < "
                     r"\S+script.py:11 in load_batch < \S+script.py:14 in <module>", done.stderr), done.stderr
    first, second = (tmp_path / "new" / "logs" / f"rank-{r}.log" for r in (0, 1))
    at = r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ringflow: "
    assert re.search(at + r"warning: \[barrier\] rank 0/2 .*rank 1 has not joined", first.read_text())
    assert re.search(at + r"rank 0/2 .* because rank 1/2 .* ended: ValueError: bad batch", first.read_text())
    assert re.search(at + r"rank 1/2 .* is here", second.read_text())
    assert re.search(at + r"rank 1/2 on \S+ failed and ends the job:\n.*Traceback", second.read_text())
    assert "ValueError: bad batch" in second.read_text()


def test_a_log_that_cannot_be_written_is_an_error_that_names_it(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RINGFLOW_LOG_DIR", str(tmp_path / "file"))
    with pytest.raises(InvalidArgumentError, match="rank-3.log cannot be written"):
        world._log(3)


def test_init_names_the_rank_that_has_started_mpi_but_does_not_join(mpirun):
    done = mpirun(3, """
import time
from ringflow import collectives
from mpi4py import MPI
if MPI.COMM_WORLD.Get_rank() == 1:
    time.sleep(120)
collectives.init()
""", RINGFLOW_WARN_S="1", RINGFLOW_TIMEOUT_S="3")
    assert done.returncode == 1
    for r in (0, 2):
        said = [x for x in done.stderr.splitlines() if f"rank {r}/3" in x and "rank 1 has not joined" in x]
        assert any("warning: [init]" in x for x in said) and any("timed out" in x for x in said), done.stderr


def test_a_rank_that_cannot_start_tells_the_others_why(mpirun):
    done = mpirun(2, """
import os, sys
if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
    sys.modules["ringflow._mpi"] = None
from ringflow import collectives
collectives.init()
""")
    assert done.returncode == 1
    for r in (0, 1):
        assert re.search(rf"rank {r}/2 \(\S+\): rank 1/2 \(\S+\) cannot start: .*ringflow._mpi", done.stderr), \
            done.stderr


def test_segments_of_processes_that_are_gone_are_removed(tmp_path):
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    names = [f"ringflow.prterun-vm-5@1.{gone}", f"ringflow.prterun-vm-5@1.{gone}.3", f"ringflow.job.{os.getpid()}",
             f"other.job.{gone}"]
    for name in names:
        (tmp_path / name).write_text("")
    assert sweep(str(tmp_path)) == [], "they are too young"
    assert sorted(sweep(str(tmp_path), age_s=-1)) == names[:2]
    assert sorted(os.listdir(tmp_path)) == sorted(names[2:])


def test_a_rank_that_has_finished_says_that_it_waits_for_others(mpirun, tmp_path):
    done = mpirun(2, WAIT_FOR + """
from ringflow import collectives
if collectives.init().rank == 1:
    wait_for("has finished", 0)
""", RINGFLOW_WARN_S="0.4", RINGFLOW_LOG_DIR=str(tmp_path))
    assert done.returncode == 0
    assert re.search(r"warning: rank 0/2 on \S+ has finished and has waited 0.4 s in MPI_Finalize", done.stderr), \
        done.stderr


@pytest.mark.slow
def test_a_job_whose_programs_all_wait_for_something_else_is_ended(mpirun):
    """The bucket's wait times out on the communication thread, and no program ever asks for its result."""
    begin = time.monotonic()
    done = mpirun(2, """
import time
from ringflow import collectives
world = collectives.init()
bucket = world.bucket(4000)
if world.rank == 0:
    world.start(bucket, 1000, "f4")
time.sleep(100)
""", RINGFLOW_WARN_S="1", RINGFLOW_TIMEOUT_S="2")
    assert done.returncode == 1 and time.monotonic() - begin < 30
    for r in (0, 1):
        assert re.search(rf"rank {r}/2 on \S+ ends because .*rank 1 has not joined", done.stderr), done.stderr
    assert "which does not end by itself, is here (MainThread)" in done.stderr
