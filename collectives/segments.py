"""Removes what jobs that were killed have left in /dev/shm.

A segment has a name, ringflow.<job>.<pid> or ringflow.<job>.<pid>.<n>, only for the moment in which the ranks attach; a
job that is killed in that moment leaves it behind. `init` removes segments whose process is gone.
"""
from __future__ import annotations

import os
import re
import time

_NAME = re.compile(r"ringflow\..+?\.(\d+)(\.\d+)?$")
_AGE_S = 60.0  # younger ones may belong to a process that this PID namespace does not show


def sweep(directory: str = "/dev/shm", age_s: float = _AGE_S) -> list[str]:
    """Removes segments of this user whose process has ended; their names."""
    removed = []
    try:
        names = [n for n in os.listdir(directory) if n.startswith("ringflow.")]
    except OSError:
        return removed
    for name in names:
        match, path = _NAME.match(name), os.path.join(directory, name)
        try:
            status = os.stat(path)
            if match and status.st_uid == os.getuid() and time.time() - status.st_mtime > age_s \
                    and not _alive(int(match[1])):
                os.unlink(path)
                removed.append(name)
        except OSError:
            pass  # another rank was quicker
    return removed


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
