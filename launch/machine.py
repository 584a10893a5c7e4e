"""Facts about this machine and installation that belong to every published figure. Reads files; starts only `git`."""
from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from ringflow.graph import config
from ringflow.version import __version__


def processor() -> str:
    """"AMD EPYC, 2 cores"."""
    model = platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    cores = os.cpu_count() or 1
    return f"{model}, {cores} core{'s' if cores > 1 else ''}"


def cores() -> list[int]:
    """The processors that this process may run on."""
    return sorted(os.sched_getaffinity(0))


def ranges(numbers: list[int]) -> str:
    """"0-3,8" for [0, 1, 2, 3, 8]."""
    parts: list[list[int]] = []
    for n in numbers:
        if parts and n == parts[-1][1] + 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def commit() -> str | None:
    """The commit of the checkout that this package runs from, "+" where files differ; None where it is installed."""
    folder = Path(__file__).resolve().parent
    if not (folder.parent / ".git").exists():
        return None

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(folder.parent), *words], capture_output=True, text=True, timeout=10,
                              check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def shared_memory_mib() -> tuple[int, int] | None:
    """(free, total) MiB of /dev/shm; None where there is none."""
    try:
        usage = shutil.disk_usage("/dev/shm")
    except OSError:
        return None
    return usage.free >> 20, usage.total >> 20


def load() -> float:
    """Runnable processes, averaged over the last minute."""
    return round(os.getloadavg()[0], 2)


def first_line(mpi_version: str) -> str:
    """"Open MPI v5.0.11" of MPI_Get_library_version."""
    return mpi_version.strip("\0").strip().splitlines()[0].split(",")[0]


def facts() -> dict[str, Any]:
    return {"machine": processor(), "kernel": platform.release(), "version": __version__, "commit": commit(),
            "load": load(),
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "mpi_settings": config.mpi_settings()}
