"""Where the ranks come from: launchers, host programs, half-launched jobs, settings."""
import os
import subprocess
import sys

import pytest
from ringflow import collectives
from ringflow.collectives import loopback
from ringflow.collectives.world import check_versions
from ringflow.graph import config
from ringflow.graph.errors import InvalidArgumentError, UnavailableError


def python(code, **environ):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMI", "SLURM_"))}
    return subprocess.run([sys.executable, "-c", code], env={**env, **environ}, capture_output=True, text=True,
                          timeout=300)


def test_without_a_launcher_the_world_has_one_rank_and_mpi_is_not_loaded():
    done = python("import sys\nfrom ringflow import collectives as c\n"
                  "print(c.rank(), c.size(), c.local_rank(), c.local_size(), c.init().allreduce([2.0]), "
                  "any('mpi4py' in m for m in sys.modules))")
    assert done.stdout == "0 1 0 1 [2.] False\n", done.stderr


@pytest.mark.parametrize("environ, fix", [
    ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4"}, "an Open MPI's was used"),
    ({"SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}, "srun --mpi=pmix"),
    ({"MPI_LOCALRANKID": "1", "PMI_RANK": "1", "PMI_SIZE": "4"}, "the mpiexec of the MPI that mpi4py loads"),
], ids=["mpirun", "srun", "hydra"])
def test_a_half_launched_job_is_refused(environ, fix):
    pytest.importorskip("mpi4py")
    done = python("from ringflow import collectives; collectives.init()", **environ)
    if "cannot be loaded" in done.stderr:
        pytest.skip("there is no MPI")
    if "FailedPreconditionError" not in done.stderr and "PM" in done.stderr + done.stdout:
        pytest.skip("this MPI refuses such an environment by itself")
    assert done.returncode != 0
    assert "says rank 1 of 4, MPI says it is alone" in done.stderr and fix in done.stderr, done.stderr


@pytest.mark.parametrize("environ, expected", [
    ({}, ("", 0, 1)),
    ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0",
      "SLURM_STEP_NUM_TASKS": "1"}, ("Open MPI", 2, 4)),
    ({"SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4"}, ("srun", 3, 4)),
    ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, ("", 0, 1)),  # the shell of an sbatch script
    ({"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "PRTE_LAUNCHED": "1"}, ("", 0, 1)),
    ({"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}, ("hydra", 1, 2)),
    ({"RANK": "1", "WORLD_SIZE": "2"}, ("", 0, 1)),
    ({"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"}, ("torchrun", 1, 2)),
])
def test_launchers_are_recognised_in_the_right_order(environ, expected):
    launch = config.launch(environ)
    assert (launch.launcher, launch.rank, launch.size) == expected


@pytest.mark.parametrize("name, value", [("RINGFLOW_TIMEOUT_S", "0"), ("RINGFLOW_TIMEOUT_S", "soon"),
                                         ("RINGFLOW_ALLREDUCE", "star"), ("RINGFLOW_SHARED_MEMORY", "2")])
def test_a_setting_with_an_impossible_value_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidArgumentError, match=f"{name} must be .*: received '{value}'"):
        config.get(name)


def test_every_default_parses():
    assert all(s.parse(s.default) is not None for s in config.SETTINGS.values())


def test_another_mpi_than_the_one_built_for_is_refused():
    check_versions("Open MPI v5.0.11", "Open MPI v5.0.3, package: Debian\0", "Open MPI v5.0.3")
    with pytest.raises(UnavailableError, match="built for Open MPI v5.0.11, but mpi4py has loaded Open MPI v4.1.4"):
        check_versions("Open MPI v5.0.11", "Open MPI v4.1.4, package: Debian\0", "Open MPI v4.1.4")
    with pytest.raises(UnavailableError, match="ringflow._mpi meets MPICH Version"):
        check_versions("Open MPI v5.0.11", "Open MPI v5.0.11", "MPICH Version:      5.0.2\nMPICH Release date")


def test_threads_of_a_loopback_world_see_their_own_rank():
    def body(comm):
        assert collectives.current() is comm is collectives.init()
        return collectives.rank(), collectives.size(), collectives.local_rank()

    assert loopback.run(3, body) == [(0, 3, 0), (1, 3, 1), (2, 3, 2)]
    assert loopback._current.get() is None


def test_init_inside_a_program_that_has_started_mpi(mpirun):
    done = mpirun(3, """
from mpi4py import MPI
half = MPI.COMM_WORLD.Split(MPI.COMM_WORLD.Get_rank() // 2)
from ringflow import collectives
c = collectives.init(half)
assert c is collectives.init() and c.size == half.Get_size() and c.allreduce(1) == half.Get_size()
print("ok", MPI.COMM_WORLD.allreduce(c.rank))
""")
    assert done.stdout.count("ok 1") == 3, done.stderr


@pytest.mark.parametrize("level", ["single", "funneled"])
def test_below_serialized_jobs_run_on_the_calling_thread(mpirun, level):
    done = mpirun(2, f"""
import mpi4py
mpi4py.rc.thread_level = "{level}"
from mpi4py import MPI
import numpy as np, threading
from ringflow import collectives
c = collectives.init()
b = c.bucket(4000)
b.input("f4")[:] = c.rank + 1
c.wait(c.start(b, 1000, "f4"))
assert (b.result("f4") == 3).all()
print("ok", MPI.Query_thread() < MPI.THREAD_SERIALIZED)
""")
    assert done.stdout.count("ok") == 2, done.stderr


def test_rank_zeros_settings_hold_for_all(mpirun):
    done = mpirun(2, """
import os
os.environ["RINGFLOW_ALLREDUCE"] = "ring" if os.environ["OMPI_COMM_WORLD_RANK"] == "0" else "auto"
from ringflow import collectives
print(collectives.init().native.algorithm)
""")
    assert done.stdout == "ring\nring\n", done.stderr
