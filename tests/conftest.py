"""Fixtures of all tests: graphs, sessions, and scripts on several ranks under mpirun."""
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
import ringflow as rf
from ringflow.graph.session import BACKENDS

QUIET = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMP_NUM_THREADS": "1",
         "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", "OMPI_MCA_mpi_yield_when_idle": "1"}


@pytest.fixture
def graph():
    """A new default graph; ``pytestmark = pytest.mark.usefixtures("graph")`` gives one to each test of a file."""
    with rf.Graph().as_default() as g:
        yield g


@pytest.fixture(params=sorted(BACKENDS))
def session(graph, request):
    """A session of a new default graph, on each backend."""
    with rf.Session(graph=graph, backend=request.param) as s:
        yield s


@pytest.fixture
def mpirun(tmp_path):
    """Runs a script on several ranks; a test that needs it is skipped, visibly, where there is no mpirun."""
    own = pathlib.Path(sys.prefix) / "bin" / "mpirun"
    program = str(own) if own.exists() else shutil.which("mpirun")
    if program is None:
        pytest.skip("there is no mpirun")
    pytest.importorskip("ringflow._mpi" if "mpi4py.MPI" in sys.modules else "mpi4py")

    def run(ranks, source, *args, timeout_s=150, within=(), **settings):
        """source: a path, or the text of a script. within: a command that runs mpirun."""
        script = source if isinstance(source, pathlib.Path) else tmp_path / "script.py"
        if script is not source:
            script.write_text(source)
        env = {**os.environ, **QUIET, **settings, "TMPDIR": "/tmp"}
        command = [*within, program, "-np", str(ranks), sys.executable, str(script), *args]
        return subprocess.run(command, env=env, text=True, capture_output=True, timeout=timeout_s)

    return run
