"""Results as text: two tables, milliseconds and memory, and what a reader must know of them."""
from __future__ import annotations

from typing import Any

from frameworks import KINDS
from results import QUIET

MARKS = {"!": "not the same losses", "~": "others took part of the core in these runs: repeat them when it is quiet"}


def heading(results: dict[str, Any]) -> list[str]:
    machine, settings = results["machine"], results["settings"]
    ranks = settings["ranks"]
    where = (f"one rank, on one of the cores {settings['cores']} in turn" if ranks == 1 else f"{ranks} ranks")
    return [
        f"# {machine['machine']}, governor {machine['governor']}, load {machine['load']}; "
        f"commit {machine['commit'] or 'unknown'}; {machine['date']}",
        "# " + ", ".join(f"{name} {version}" for name, version in sorted(results["versions"].items())),
        f"# {where}, one thread each; {settings['rounds']} interleaved rounds of {settings['seconds']:g} s",
    ]


def columns(rows: list[dict[str, Any]]) -> list[str]:
    """The frameworks that ran, always in the same order."""
    ran = {run["framework"] for row in rows for run in row["runs"]}
    return [name for name in ("ringflow", *KINDS) if name in ran]


def _number(value: float) -> str:
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _marks(run: dict[str, Any], ranks: int) -> str:
    return ("!" if run["same_losses"] is False else "") + ("~" if ranks == 1 and run["cpu_share"] < QUIET else "")


def _verdict(ratio: float | None, of: str | None, aim: str, met: bool | None) -> str:
    if ratio is None:
        return "  -"
    return f"{ratio:8.2f}  {of or '':14} {aim:>5}  {'' if met is None else 'met' if met else 'not met'}".rstrip()


def _cpu_verdict(row: dict[str, Any]) -> str:
    runs = {run["framework"]: run["cpu_ms"] for run in row["runs"] if run["same_losses"]}
    mine = runs.pop("ringflow", None)
    if not mine or not runs:
        return _verdict(None, None, "", None)
    best = min(runs, key=lambda name: runs[name])
    return _verdict(runs[best] / mine, best, "", None)


def _table(results: dict[str, Any], title: str, value: str, of: str, verdicts: list[str]) -> list[str]:
    names = columns(results["workloads"])
    widths = [max(10, len(name) + 2) for name in names]
    heads = "".join(f"{name:>{width}} " for name, width in zip(names, widths))
    lines = ["", title, f"{'workload':10}{heads}" + (f"  {of:24} {'aim':>5}" if of else "")]
    for row, verdict in zip(results["workloads"], verdicts):
        runs = {run["framework"]: run for run in row["runs"]}
        cells = ""
        for name, width in zip(names, widths):
            cells += f"{_number(runs[name][value]) if name in runs else '-':>{width}}"
            cells += f"{_marks(runs[name], row['ranks']) if name in runs and value == 'ms' else '':1}"
        lines.append((f"{row['workload']:10}{cells}" + verdict).rstrip())
    return lines


def text(results: dict[str, Any]) -> str:
    rows, mean = results["workloads"], results["mean"]
    lines = heading(results)
    lines += _table(results, "Milliseconds a step: the median over the rounds of each run's median", "ms",
                    "best peer / ringflow", [_verdict(row["ratio"], row["best_peer"], f"{row['aim']:.2f}", row["met"])
                                             for row in rows])
    if mean["ratio"] is not None:
        lines.append(f"geometric mean of {mean['of']}: {mean['ratio']:.2f}" + (
            "" if mean["aim"] is None else f", aim {mean['aim']:.2f}: {'met' if mean['met'] else 'not met'}"))
    if any("~" in _marks(run, row["ranks"]) for row in rows for run in row["runs"]):
        lines += _table(results, "CPU milliseconds a step, by the mean: what others disturb less", "cpu_ms",
                        "best peer / ringflow", [_cpu_verdict(row) for row in rows])
    verdicts = [_verdict(row["memory_ratio"], row["smallest_peer"], "> 1", row["memory_met"]) for row in rows]
    several = any(row["ranks"] > 1 for row in rows)
    lines += _table(results, "Peak resident memory, MiB" + (", of the largest rank" if several else ""), "peak_mib",
                    "smallest peer / ringflow", verdicts)
    if several:
        lines += _table(results, "Peak resident memory, MiB, all ranks together (what they share counts for each)",
                        "peak_sum_mib", "", [""] * len(rows))
    return "\n".join(lines + _remarks(results))


def _remarks(results: dict[str, Any]) -> list[str]:
    rows = results["workloads"]
    used = "".join(_marks(run, row["ranks"]) for row in rows for run in row["runs"])
    lines = [""] + [f"{mark} {meaning}" for mark, meaning in MARKS.items() if mark in used]
    for row in rows:
        reference = next((run["losses"] for run in row["runs"] if run["framework"] == "ringflow"), [])
        lines += [f"LOSSES DIFFER: {row['workload']}, {run['framework']}: {run['losses']}, ringflow: {reference}"
                  for run in row["runs"] if run["same_losses"] is False]
        lines += [f"MORE THAN ONE THREAD: {row['workload']}, {run['framework']}: {run['cpu_share']} CPU s a second"
                  for run in row["runs"] if row["ranks"] == 1 and run["cpu_share"] > 1.05]
    lines += [f"left out: {name}: {why}" for name, why in results["left_out"].items()]
    lines += [f"failed: {f['workload']}, {f['framework']}: {f['why']}" for f in results["failures"]]
    return lines if len(lines) > 1 else []
