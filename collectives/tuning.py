"""Which allreduce to use at which size, as measured on these hosts: the user's table, written by `bench --tune`.

One JSON file holds an entry for each set-up that has been measured. A set-up is what decides the times: ranks, ranks
per node, the MPI's version and the hosts (a hash of their names). An entry lists (up to this many bytes, algorithm).
Until a set-up has been measured the communicator's own table holds; RINGFLOW_ALLREDUCE overrides both.
Reading never fails: a table that cannot be understood is a warning and ignored. Writing is atomic.
"""
from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ringflow.graph import config

from .communicator import Communicator

SCHEMA = 1
NO_LIMIT = 2**62
Choices = list[tuple[int, str]]


@dataclass(frozen=True)
class Setup:
    ranks: int
    ranks_per_node: int
    mpi: str    # "Open MPI v5.0.11"
    hosts: str  # hosts_hash


def hosts_hash(names: Iterable[str]) -> str:
    """The same for the same hosts, in whatever order the ranks lie on them."""
    return hashlib.sha256("\n".join(sorted(set(names))).encode()).hexdigest()[:16]


def setup_of(hosts: Sequence[str], ranks_per_node: int, mpi_version: str) -> Setup:
    """hosts: the name of every rank's. mpi_version: what MPI_Get_library_version says."""
    first_line = mpi_version.strip("\0").strip().splitlines()[0]
    return Setup(len(hosts), ranks_per_node, first_line.split(",")[0], hosts_hash(hosts))


def apply(world: Communicator, setup: Setup) -> None:
    """Collective. Gives the communicator the table that rank 0 finds for `setup`, if any."""
    choices = world.broadcast_object(load(setup, world.algorithms()) if world.rank == 0 else None)
    if choices:
        world.set_selection(choices)


def path() -> Path:
    named = config.get("RINGFLOW_TUNING_FILE")
    return Path(named) if named else config.cache_folder() / "allreduce.json"


def load(setup: Setup, known: Sequence[str], file: Path | None = None) -> Choices | None:
    """The choices measured for `setup`; None where there are none. known: the algorithms that exist here."""
    file = file or path()
    try:
        for entry in _read(file):
            if entry["setup"] == asdict(setup):
                return _checked(entry["choices"], known)
    except (ValueError, KeyError, TypeError) as e:
        warnings.warn(f"[tuning] {file} is ignored: {type(e).__name__}: {e}. "
                      "Fix: delete it, or measure again with `ringflow bench allreduce --tune`.", stacklevel=2)
    except OSError:
        pass  # no table, or none for us to read: the built-in one serves
    return None


def save(setup: Setup, choices: Choices, evidence: Any = None, file: Path | None = None) -> Path:
    """Adds or replaces the entry of `setup`. evidence: what was measured, kept beside it for people."""
    file = file or path()
    try:
        entries = [e for e in _read(file) if e.get("setup") not in (None, asdict(setup))]
    except (OSError, ValueError, AttributeError):
        entries = []
    entries.append({"setup": asdict(setup), "choices": [list(c) for c in choices], "measured": evidence})
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    try:
        with os.fdopen(handle, "w") as out:
            json.dump({"schema": SCHEMA, "entries": entries}, out, indent=1)
            out.flush()
            os.fsync(out.fileno())
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
    return file


def choose(times: dict[int, dict[str, float]]) -> Choices:
    """Choices from the times of algorithms at each size: the fastest, changing half way (in powers) between sizes."""
    choices: Choices = []
    sizes = sorted(times)
    for size, following in zip(sizes, [*sizes[1:], None]):
        best = min(times[size], key=lambda name: times[size][name])
        limit = NO_LIMIT if following is None else int((size * following) ** 0.5)
        if choices and choices[-1][1] == best:
            choices.pop()
        choices.append((limit, best))
    return choices


def _read(file: Path) -> list[Any]:
    table = json.loads(file.read_text())
    if not isinstance(table, dict) or table.get("schema") != SCHEMA or not isinstance(table.get("entries"), list):
        raise ValueError(f"it is no table of schema {SCHEMA}")
    return table["entries"]


def _checked(choices: Any, known: Sequence[str]) -> Choices:
    checked = [(int(limit), str(name)) for limit, name in choices]
    limits = [limit for limit, _ in checked]
    if not checked or limits != sorted(set(limits)) or limits[0] < 0:
        raise ValueError(f"sizes must rise: {choices}")
    unknown = {name for _, name in checked} - set(known)
    if unknown:
        raise ValueError(f"unknown algorithms {sorted(unknown)}")
    return checked
