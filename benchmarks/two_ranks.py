"""What two ranks on one machine keep of the speed of one: runs workloads in turn, round by round, prints a table.

    python benchmarks/two_ranks.py                       # mlp lenet gpt resnet20
    python benchmarks/two_ranks.py embed --rounds 5 --seconds 4 --json two_ranks.jsonl

Each round times the median training step of (a) one rank, (b) two processes of one rank each that know nothing of each
other, (c) two ranks that exchange gradients; every process is pinned to a core of its own. Batches are per rank, so
perfect scaling is (c) = (a).

    kept        (a) / (c): speed of a rank of two, of that of one rank
    machine     (a) / (b): what sharing memory, cache and clock leaves to two busy cores, communication apart
    exchange    (b) / (c): what communication leaves of that

The figures are medians over the rounds of the round's ratio, with the least and the greatest. Rounds in which other
processes took more than 3 % of the cores say nothing; they are repeated, up to `--patience` times. If there are still
not enough of them the quietest count, and the last column says how much others took.
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
BARS = {"mlp": 0.90, "lenet": 0.93, "gpt": 0.97, "resnet20": 0.97}  # least `kept` that we hold ourselves to
SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def step(workload: str, seconds: float) -> list[str]:
    return [sys.executable, str(HERE / "train_step.py"), workload, "--seconds", str(seconds)]


def start(command: list[str], core: int | None = None) -> subprocess.Popen[str]:
    pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
    environment = {**os.environ, **SINGLE_THREADED, **AS_ROOT}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
                            preexec_fn=pin)


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, errors = process.communicate(timeout=300)
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if process.returncode or not lines:
        raise SystemExit(f"[two_ranks] {' '.join(process.args)} ended with {process.returncode}:\n{errors[-2000:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def one_round(workload: str, seconds: float, cores: list[int], turn: int) -> dict[str, float]:
    """Milliseconds a step of (a), (b) and (c)."""
    alone = result(start(step(workload, seconds), cores[turn % 2]))["median_ms"]
    apart = [start(step(workload, seconds), core) for core in cores[:2]]
    apart_ms = statistics.mean(result(p)["median_ms"] for p in apart)
    mpirun = ["mpirun", "-np", "2", "--bind-to", "core"]
    together = result(start(mpirun + step(workload, seconds)))["median_ms"]
    return {"one_ms": alone, "apart_ms": apart_ms, "two_ms": together}


QUIET = 0.03  # of the cores, that others may take in a round


def busy_s() -> float:
    """Seconds that all cores of this machine have been busy so far, and not with children of this process."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, softirq, *_ = map(int, f.readline().split()[1:])
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK") - own.ru_utime - own.ru_stime


def quiet_rounds(workload: str, seconds: float, cores: list[int], wanted: int, patience: int) -> list[dict[str, float]]:
    """`wanted` rounds with `others`, the share of the cores that other processes took; the quietest ones."""
    rounds: list[dict[str, float]] = []
    while len(rounds) < wanted + patience and sum(r["others"] <= QUIET for r in rounds) < wanted:
        begin, before = time.perf_counter(), busy_s()
        found = one_round(workload, seconds, cores, len(rounds))
        found["others"] = max(0.0, busy_s() - before) / ((time.perf_counter() - begin) * len(cores))
        rounds.append(found)
    return sorted(rounds, key=lambda r: r["others"])[:wanted]


def summary(workload: str, rounds: list[dict[str, float]]) -> dict[str, Any]:
    row: dict[str, Any] = {"workload": workload, "rounds": len(rounds)}
    for name in ("one_ms", "apart_ms", "two_ms"):
        row[name] = round(statistics.median(r[name] for r in rounds), 4)
    for name, above, below in (("kept", "one_ms", "two_ms"), ("machine", "one_ms", "apart_ms"),
                               ("exchange", "apart_ms", "two_ms")):
        ratios = [r[above] / r[below] for r in rounds]
        row[name] = round(statistics.median(ratios), 3)
        row[f"{name}_range"] = [round(min(ratios), 3), round(max(ratios), 3)]
    row["others"] = round(max(r["others"] for r in rounds), 3)
    row["bar"] = BARS.get(workload)
    return row


def text(row: dict[str, Any]) -> str:
    def ratio(name: str) -> str:
        least, most = row[f"{name}_range"]
        return f"{row[name]:6.3f} [{least:.2f} .. {most:.2f}]"

    bar = "" if row["bar"] is None else f"  bar {row['bar']:.2f} {'met' if row['kept'] >= row['bar'] else 'missed'}"
    return (f"{row['workload']:9} {row['one_ms']:9.3f} {row['apart_ms']:9.3f} {row['two_ms']:9.3f}  {ratio('kept')} "
            f"{ratio('machine')} {ratio('exchange')}  {100 * row['others']:5.1f} %{bar}")


def machine() -> str:
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())
    described = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True)
    return (f"# {model}, cores {sorted(os.sched_getaffinity(0))}, load {os.getloadavg()[0]:.1f}, "
            f"commit {described.stdout.strip() or 'unknown'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=list(BARS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patience", type=int, default=10, help="rounds to repeat on a busy machine (default 10)")
    parser.add_argument("--seconds", type=float, default=3.0, help="to time each step for (default 3)")
    parser.add_argument("--json", type=pathlib.Path, help="appends a line for each workload")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or not shutil.which("mpirun"):
        raise SystemExit(f"[two_ranks] two cores and mpirun are needed: {len(cores)} cores, "
                         f"mpirun {shutil.which('mpirun') or 'not on PATH'}")
    print(machine())
    print("workload   one (ms)    apart      two    kept                 machine              exchange"
          "              others")
    for workload in options.workloads:
        row = summary(workload, quiet_rounds(workload, options.seconds, cores, options.rounds, options.patience))
        print(text(row), flush=True)
        if options.json:
            with options.json.open("a") as f:
                f.write(json.dumps({"machine": machine(), **row}) + "\n")


if __name__ == "__main__":
    main()
