"""From the lines of all runs to the figures of a workload: medians, ratios, and whether the aims are met."""
from __future__ import annotations

import math
import statistics
from typing import Any

TOLERANCE = 1e-3  # relative, of the losses of the first steps
QUIET = 0.9  # the least CPU seconds a second of a run that had its core to itself
AIMS = {"tiny": 4.0, "mlp": 1.05, "lenet": 1.1, "resnet20": 1.2, "lstm": 1.15, "gpt": 1.05, "embed": 1.5}
AIM_OF_MEAN = 1.45


def aim(workload: str, ranks: int) -> float:
    """The least best peer's time / ours."""
    return AIMS[workload] if ranks == 1 else 1.4 if workload == "mlp" else 1.1


def same_losses(losses: list[float], reference: list[float]) -> bool:
    return len(losses) == len(reference) and all(
        abs(loss - expected) <= TOLERANCE * abs(expected) for loss, expected in zip(losses, reference))


def of_framework(lines: list[dict[str, Any]], reference: list[float] | None) -> dict[str, Any]:
    """One framework's figures on one workload; `lines` has one of each round, `reference` ringflow's losses."""
    times = [line["median_ms"] for line in lines]
    return {
        "framework": lines[0]["framework"],
        "ms": round(statistics.median(times), 5), "ms_range": [min(times), max(times)],
        "peak_mib": round(statistics.median(max(line["peak_mib"]) for line in lines), 1),  # of the largest rank
        "peak_sum_mib": round(statistics.median(sum(line["peak_mib"]) for line in lines), 1),
        "cpu_ms": round(statistics.median(line["cpu_ms"] for line in lines), 5),
        "cpu_share": round(statistics.median(line["cpu_share"] for line in lines), 3),
        "losses": lines[0]["losses"],
        "same_losses": None if reference is None else all(same_losses(line["losses"], reference) for line in lines),
    }


def of_workload(workload: str, ranks: int, lines: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The row of a workload. `lines` by framework; those that ran, and "ringflow" among them or there is no ratio."""
    reference = lines["ringflow"][0]["losses"] if lines.get("ringflow") else None
    runs = {name: {**of_framework(found, reference), "framework": name} for name, found in lines.items() if found}
    row: dict[str, Any] = {"workload": workload, "ranks": ranks, "runs": list(runs.values()),
                           "best_peer": None, "ratio": None, "aim": aim(workload, ranks), "met": None,
                           "smallest_peer": None, "memory_ratio": None, "memory_met": None}
    mine = runs.pop("ringflow", None)
    peers = [run for run in runs.values() if run["same_losses"]]  # others do other work
    if mine and peers:
        best, smallest = (min(peers, key=lambda run: run[of]) for of in ("ms", "peak_mib"))
        row.update(best_peer=best["framework"], ratio=round(best["ms"] / mine["ms"], 3),
                   smallest_peer=smallest["framework"], memory_ratio=round(smallest["peak_mib"] / mine["peak_mib"], 3))
        row.update(met=row["ratio"] >= row["aim"], memory_met=row["memory_ratio"] > 1)
    return row


def mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The geometric mean of the ratios; the aim is one of all seven workloads on one rank."""
    ratios = [row["ratio"] for row in rows if row["ratio"]]
    value = round(math.exp(statistics.mean(map(math.log, ratios))), 3) if ratios else None
    whole = len(ratios) == len(AIMS) and all(row["ranks"] == 1 for row in rows)
    return {"ratio": value, "of": len(ratios), "aim": AIM_OF_MEAN if whole else None,
            "met": value >= AIM_OF_MEAN if whole and value else None}
