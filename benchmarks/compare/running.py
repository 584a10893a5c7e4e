"""Starts one program, on one thread a rank, and gives the line of JSON that it prints."""
from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RINGFLOW_NUM_THREADS"), "1")
AS_ROOT = dict.fromkeys(("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"), "1")


class Failed(Exception):
    """The program gave no line; the message says why and ends with the tail of its stderr."""


def last_line(output: str) -> dict[str, Any] | None:
    """The last line of JSON of a program that may print others."""
    for text in reversed(output.splitlines()):
        if text.startswith("{"):
            try:
                line: dict[str, Any] = json.loads(text)
                return line
            except ValueError:
                continue
    return None


def run(command: list[str], *, core: int | None, timeout_s: float) -> dict[str, Any]:
    """Runs a command to its end, on one core if `core` is given, and with everything that it started.

    Raises: Failed if it gave no line, failed, or did not end in time.
    """
    def pin() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})

    environment = {**os.environ, **ONE_THREAD, **(AS_ROOT if os.geteuid() == 0 else {})}
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
                                   start_new_session=True, preexec_fn=pin)
    except OSError as error:
        raise Failed(f"did not start: {error}") from None
    try:
        output, errors = process.communicate(timeout=timeout_s)
        problem = f"ended with {process.returncode}" if process.returncode else "printed no line of JSON"
    except subprocess.TimeoutExpired:
        output, errors = _end(process)
        problem = f"had not ended after {timeout_s:g} s"
    finally:
        if process.poll() is None:  # this program was interrupted
            _end(process)
    line = last_line(output)
    if line is None or process.returncode:
        raise Failed("\n    ".join([problem, *errors.strip().splitlines()[-12:]]))
    return line


def _end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Ends a program and its processes: politely first, because mpirun ends its ranks only then."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
            return process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            break
    return process.communicate()
