"""What can be compared: how each framework's program is started, and whether an interpreter has what it needs."""
from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent
IMAGES = ("lenet", "resnet20")


@dataclass(frozen=True)
class Kind:
    """A way to run a framework. `launchers`: how one rank is started and how several are, where they can be."""

    script: str
    package: str  # that the interpreter must import
    flags: tuple[str, ...] = ()
    launchers: tuple[str, ...] = ("python",)
    only: tuple[str, ...] = ()  # workloads; elsewhere it is the same program as another kind
    install: str = ""


OURS = Kind("train_step.py", "ringflow", launchers=("python", "mpirun --bind-to core"))
TORCH = Kind("peers/train_torch.py", "torch", launchers=("python", "torchrun"), install="torch numpy")
TENSORFLOW = Kind("peers/train_tensorflow.py", "tensorflow", install="tensorflow-cpu")
KINDS: dict[str, Kind] = {
    "torch": TORCH,
    "torch-compile": Kind(TORCH.script, "torch", ("--compile",), TORCH.launchers, install=TORCH.install),
    "torch-last": Kind(TORCH.script, "torch", ("--channels-last",), TORCH.launchers, IMAGES, TORCH.install),
    "tensorflow": TENSORFLOW,
    "tensorflow-xla": Kind(TENSORFLOW.script, "tensorflow", ("--xla",), install=TENSORFLOW.install),
    "jax": Kind("peers/train_jax.py", "optax", install="jax optax"),
    # the binding that Horovod's documents ask for
    "horovod": Kind(TORCH.script, "horovod.torch", ("--horovod",), ("mpirun --bind-to none --map-by slot",) * 2,
                    install="horovod, built as docs/benchmarks.md says"),
}


@dataclass(frozen=True)
class Framework:
    """A kind and the interpreter that runs it."""

    name: str
    python: str
    kind: Kind = field(compare=False)

    def runs(self, workload: str, ranks: int) -> bool:
        return workload in (self.kind.only or (workload,)) and (ranks == 1 or len(self.kind.launchers) > 1)

    def command(self, workload: str, seconds: float, ranks: int) -> list[str]:
        program = [str(BENCHMARKS / self.kind.script), workload, "--seconds", str(seconds), *self.kind.flags]
        launcher = self.kind.launchers[ranks > 1]
        if launcher == "python":
            return [self.python, *program]
        if launcher == "torchrun":
            return [self.python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks),
                    *program]
        _, *options = launcher.split()
        return [self.mpirun() or "mpirun", "-np", str(ranks), *options, self.python, *program]

    def mpirun(self) -> str | None:
        """The one beside the interpreter, else the one on PATH."""
        return shutil.which("mpirun", path=os.pathsep.join([os.path.dirname(self.python), os.environ.get("PATH", "")]))

    def missing(self, ranks: int) -> str | None:
        """Why it cannot run, in words for the user; None where it can."""
        if ranks > 1 and len(self.kind.launchers) < 2:
            return f"has no program for {ranks} ranks here; torch and horovod have"
        if self.kind.launchers[ranks > 1].startswith("mpirun") and self.mpirun() is None:
            return f"needs mpirun: none beside {self.python} nor on PATH. Fix: install an MPI there"
        try:
            found = subprocess.run([self.python, "-c", f"import {self.kind.package}"], capture_output=True, text=True,
                                   timeout=300)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{self.python} does not run: {error}. Fix: --peer {self.name}=PATH of a Python interpreter"
        if found.returncode:
            last = (found.stderr.strip() or f"exit status {found.returncode}").splitlines()[-1]
            return (f"{self.python} cannot import {self.kind.package}: {last}. "
                    f"Fix: {self.python} -m pip install {self.kind.install}")
        return None


def ours() -> Framework:
    return Framework("ringflow", sys.executable, OURS)


def peer(text: str) -> Framework:
    """The framework of "KIND=PYTHON".

    Raises: ArgumentTypeError if there is no such kind, or no interpreter.
    """
    name, _, python = text.partition("=")
    if name not in KINDS or not python:
        raise argparse.ArgumentTypeError(f"a peer is KIND=PYTHON with a kind of {', '.join(KINDS)}: {text!r}")
    return Framework(name, os.path.abspath(os.path.expanduser(python)) if os.sep in python else python, KINDS[name])
