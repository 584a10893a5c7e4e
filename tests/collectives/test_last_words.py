"""Who notices a death has first heard what the dead rank said: its error is told, not that it died without a word."""
import os
import re
import subprocess
import threading
import time

import pytest
from ringflow.collectives.communicator import _core


@pytest.fixture(params=["no memory is shared", "three ranks of two nodes"])
def ranks(request):
    """(communicators, the process whose end rank 0 takes for rank 1's)."""
    nodes = [0, 0, 1] if "three" in request.param else [0, 1]
    natives = _core().Communicator.loopback(len(nodes), nodes=nodes)
    process = subprocess.Popen(["sleep", "600"])
    peers = [("here", os.getpid(), True), ("here", process.pid, True), ("there", 1, False)]
    natives[0].set_peers(peers[:len(nodes)])
    yield natives, process
    process.kill()
    process.wait()


def told_of_the_end(natives, process):
    """What rank 0 holds for the cause when rank 1's process has ended."""
    process.kill()
    process.wait()
    supervisor = threading.Thread(target=natives[0].supervise)
    supervisor.start()
    until = time.monotonic() + 30
    while not natives[0].abort_text and time.monotonic() < until:
        time.sleep(0.01)
    for native in natives:
        native.close()
    supervisor.join()
    return natives[0].abort_text


def test_an_error_that_nobody_has_read_before_the_death_is_the_cause(ranks, capfd):
    natives, process = ranks
    natives[1].abort("rank 1 (here) ended: ValueError: bad batch")
    assert told_of_the_end(natives, process) == "rank 1 (here) ended: ValueError: bad batch"
    assert capfd.readouterr().err == ""


def test_a_rank_that_has_said_nothing_has_died_without_a_word(ranks, capfd):
    natives, process = ranks
    said = rf"rank 1 \(here, pid {process.pid}\) has died without a word \(killed, or os._exit\)"
    assert re.fullmatch(said, told_of_the_end(natives, process))
    assert re.fullmatch(rf"ringflow: rank 0/\d on here: {said}\n", capfd.readouterr().err)


def test_ranks_that_read_no_notice_before_the_job_is_ended_do_not_say_that_nothing_was_said(mpirun):
    """They compute when rank 1 raises, and survive the first signal of mpirun."""
    done = mpirun(3, """
import signal, time
from ringflow import collectives
world = collectives.init()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
world.barrier()
if world.rank == 1:
    raise ValueError("bad batch")
time.sleep(60)
""", RINGFLOW_SHARED_MEMORY="0")
    assert done.returncode == 1
    assert "failed and ends the job" in done.stderr and "without a word" not in done.stderr, done.stderr
