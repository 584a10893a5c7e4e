"""The one reader of environment variables: ringflow's own, from one table, and the launcher's.

Nothing is cached: a value is what the environment says when asked. Everything else is handed what it needs.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InvalidArgumentError


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise ValueError
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _count_or_auto(text: str) -> int:
    return 0 if text == "auto" else _count(text)


def _switch(text: str) -> bool:
    return {"1": True, "0": False, "true": True, "false": False, "on": True, "off": False}[text.lower()]


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return parse


@dataclass(frozen=True)
class Setting:
    """One variable: its name, its default as text, the unit or the choices, what it means."""

    name: str
    default: str
    unit: str
    meaning: str
    parse: Callable[[str], Any]


SETTINGS = {
    s.name: s
    for s in (
        Setting("RINGFLOW_TIMEOUT_S", "600", "seconds > 0",
                "how long a rank waits for another before it ends with an error", _positive),
        Setting("RINGFLOW_WARN_S", "30", "seconds > 0",
                "how long a rank waits for another before it says so", _positive),
        Setting("RINGFLOW_ALLREDUCE", "auto", "auto, one_pass, ring, halving_doubling, tree, hierarchical",
                "the allreduce algorithm; auto: by a table of message sizes (docs/collectives.md)",
                _one_of("auto", "one_pass", "ring", "halving_doubling", "tree", "hierarchical")),
        Setting("RINGFLOW_TUNING_FILE", "", "a path",
                "the table of measured allreduce choices that `ringflow bench allreduce --tune` writes and init reads; "
                "default: ringflow/allreduce.json in $XDG_CACHE_HOME or ~/.cache", str),
        Setting("RINGFLOW_LOG_DIR", "", "a directory",
                "where rank r of several appends to rank-r.log what it warns of and how it fails; made if need be; "
                "default: stderr only", str),
        Setting("RINGFLOW_SHARED_MEMORY", "1", "0 or 1",
                "whether ranks of one node exchange data in shared memory", _switch),
        Setting("RINGFLOW_SHARED_VARIABLES", "1", "0 or 1",
                "whether ranks of one node hold the variables that they train in common, and each updates a part; a "
                "rank that assigns to one then assigns for all", _switch),
        Setting("RINGFLOW_BUCKET_BYTES", "auto", "bytes >= 1, or auto",
                "how much of the gradients is reduced at once, the same on every rank; auto: decided by the costs of "
                "the operations and of the link", _count_or_auto),
        Setting("RINGFLOW_ISA", "avx512", "baseline, avx2, avx512",
                "the widest vector instructions that kernels may use",
                _one_of("baseline", "avx2", "avx512")),
        Setting("RINGFLOW_DUMP_PASSES", "", "a folder",
                "where each plan is written as text before the first pass, after each, and by device; default: nowhere",
                str),
        Setting("RINGFLOW_NUM_THREADS", "auto", "threads >= 1, or auto",
                "threads that one operation may use in this process; results do not depend on it; auto: "
                "OMP_NUM_THREADS, or else 1", _count_or_auto),
        Setting("RINGFLOW_INTER_OP_THREADS", "1", "threads >= 1",
                "threads that run costly nodes of graphs with control flow or queues side by side, where the session's "
                "inter_op_parallelism_threads does not say", _count),
    )
}


def is_set(name: str) -> bool:
    return name in os.environ


def text_of(name: str) -> str:
    """What the environment says, or the default, unparsed."""
    return os.environ.get(name, SETTINGS[name].default)


def get(name: str) -> Any:
    """The value of a setting.

    Raises: InvalidArgumentError where the environment holds a value that it cannot have.
    """
    setting = SETTINGS[name]
    text = text_of(name)
    try:
        return setting.parse(text)
    except (ValueError, KeyError):
        raise InvalidArgumentError(f"[config] {name} must be {setting.unit}: received '{text}'. "
                                   f"Fix: correct it or unset it (default {setting.default}).") from None


def cache_folder() -> Path:
    """Where measured facts about this user's machines are kept."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "ringflow"


def mpi_settings() -> dict[str, str]:
    """The MCA and UCX variables of this process: they belong to every published time."""
    prefixes = ("OMPI_MCA_", "PRTE_MCA_", "PMIX_MCA_", "UCX_", "MPIR_CVAR_", "I_MPI_")
    # set by mpirun itself, for every process
    own = ("OMPI_MCA_PREFIXES", "OMPI_MCA_cpu_type", "OMPI_MCA_initial_wdir", "OMPI_MCA_num_procs", "OMPI_MCA_orte_",
           "OMPI_MCA_ess", "PMIX_MCA_mca_base_component_show_load_errors", "PRTE_MCA_prte_")
    return {name: text for name, text in sorted(os.environ.items())
            if name.startswith(prefixes) and not name.startswith(own)}


def intra_op_threads() -> int:
    """Threads that one operation may use: RINGFLOW_NUM_THREADS, else OMP_NUM_THREADS (its first number), else 1: where
    ranks have a core each, more only get into each other's way."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(get("RINGFLOW_NUM_THREADS")) or (int(first) if first.isdigit() else 0) or 1


@dataclass(frozen=True)
class Launch:
    """What a launcher has told this process. `launcher` is '' where there was none; unknown numbers are None."""

    launcher: str = ""
    rank: int = 0
    size: int = 1
    local_rank: int | None = None
    local_size: int | None = None
    job: str = ""


# (launcher, rank, size, local rank, local size), the first whose rank and size are set counts. Order matters: under
# mpirun inside a Slurm allocation every rank also inherits SLURM_PROCID=0 of the daemon's own step.
_LAUNCHERS = (
    ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
     "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("MVAPICH2", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE",
     "MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE"),
    ("hydra", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ("PALS", "PALS_RANKID", "PALS_SIZE", "PALS_LOCAL_RANKID", "PALS_LOCAL_SIZE"),
    ("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", ""),
    ("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
)
# A step's own variable, without which the others may be leftovers of a surrounding shell.
_MARK = {"srun": "SLURM_STEP_ID", "torchrun": "TORCHELASTIC_RUN_ID"}
_JOB = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "PMIX_NAMESPACE")


def launch(environ: Mapping[str, str] | None = None) -> Launch:
    """How this process was started, before MPI is asked. MPI knows better, where it is initialised."""
    env = os.environ if environ is None else environ

    def number(name: str) -> int | None:
        text = env.get(name, "")
        return int(text) if text.isdigit() else None

    job = next((env[name] for name in _JOB if env.get(name)), "")
    for launcher, rank_name, size_name, local_rank, local_size in _LAUNCHERS:
        if launcher in _MARK and _MARK[launcher] not in env:
            continue
        if launcher == "srun" and "PRTE_LAUNCHED" in env:
            continue
        if launcher == "hydra" and "SLURM_STEP_ID" in env and "MPI_LOCALRANKID" not in env:
            launcher, local_rank = "srun", "SLURM_LOCALID"  # srun --mpi=pmi2 speaks hydra's dialect
        rank, size = number(rank_name), number(size_name)
        if rank is not None and size is not None:
            return Launch(launcher, rank, size, number(local_rank), number(local_size), job)
    return Launch(job=job)
