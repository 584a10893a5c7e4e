"""Results as a picture: each peer's time over ringflow's with the aims, and the peak memory. Needs matplotlib."""
from __future__ import annotations

import pathlib
from typing import Any

from frameworks import KINDS
from table import columns

COLOURS = dict(zip(KINDS, ("#d55e00", "#e69f00", "#8c4a00", "#0072b2", "#56b4e9", "#009e73", "#cc79a7")))  # Okabe, Ito
AIM, MEMORY = "aim for the best peer", "ringflow's memory"
OURS, MET, MISSED = "#222222", "#00795a", "#b23a00"


def draw(results: dict[str, Any], path: pathlib.Path) -> None:
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("[compare] --plot needs matplotlib. Fix: pip install matplotlib, then --from FILE.json "
                         "--plot FILE.png") from None
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 10, "svg.hashsalt": "ringflow", "axes.spines.top": False,
                                "axes.spines.right": False, "axes.spines.left": False, "ytick.left": False})
    from matplotlib import pyplot

    rows = [row for row in results["workloads"] if row["ratio"] is not None]
    if not rows:
        raise SystemExit("[compare] there is nothing to draw: no workload has a time of ringflow and of a peer")
    figure, (times, memory) = pyplot.subplots(1, 2, figsize=(9, 1.5 + 0.42 * len(rows)), sharey=True,
                                              width_ratios=(3, 2), layout="constrained")
    _times(times, rows)
    _memory(memory, rows)
    times.set_yticks(range(len(rows)), [row["workload"] for row in rows])
    times.set_ylim(len(rows) - 0.4, -0.6)
    handles = {label: handle for axes in (times, memory) for handle, label in zip(*axes.get_legend_handles_labels())}
    labels = [label for label in (AIM, *columns(rows), MEMORY) if label in handles]
    figure.legend([handles[label] for label in labels], labels, loc="outside lower center", ncols=len(labels),
                  frameon=False, handletextpad=0.3, columnspacing=1.2, fontsize=9)
    figure.suptitle(_title(results), fontsize=9, color="#555555", x=0.01, ha="left")
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _title(results: dict[str, Any]) -> str:
    ranks, mean = results["settings"]["ranks"], results["mean"]["ratio"]
    return (f"{results['machine']['machine']}; {ranks} rank{'s' if ranks > 1 else ''} of one thread; "
            f"best peer / ringflow, geometric mean: {mean:.2f}")


def _times(axes: Any, rows: list[dict[str, Any]]) -> None:
    """A bar as long as the best peer's time, a dot for every peer, a tick for the aim; ringflow's time is 1."""
    for y, row in enumerate(rows):
        mine = next(run["ms"] for run in row["runs"] if run["framework"] == "ringflow")
        axes.plot([1, row["ratio"]], [y, y], color="#c8d3dc", linewidth=9, solid_capstyle="butt", zorder=1)
        axes.plot(row["aim"], y, marker="|", markersize=18, markeredgewidth=2, color=OURS, linestyle="none", zorder=2.5,
                  label=AIM)
        for run in row["runs"]:
            if run["same_losses"] and run["framework"] in COLOURS:
                axes.plot(run["ms"] / mine, y, marker="o", markersize=6, color=COLOURS[run["framework"]],
                          linestyle="none", label=run["framework"], zorder=3, alpha=0.9)
        axes.annotate(f"{row['ratio']:.2f}", (0, y), xycoords=("axes fraction", "data"), xytext=(2, 0),
                      textcoords="offset points", va="center", weight="bold", color=MET if row["met"] else MISSED)
    axes.axvline(1, color=OURS, linewidth=1)
    axes.set_xscale("log")
    least, most = axes.get_xlim()
    axes.set_xlim(0.55 * min(1, least), most * 1.1)  # room for the ratios, written at the left edge
    axes.set_axisbelow(True)
    ticks = [t for t in (0.5, 1, 2, 3, 5, 10, 20, 50, 100) if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.grid(axis="x", color="#e4e4e4")
    axes.set_xlabel("time of a step / ringflow's; in figures: the best peer's")


def _memory(axes: Any, rows: list[dict[str, Any]]) -> None:
    for y, row in enumerate(rows):
        for run in row["runs"]:
            if run["framework"] == "ringflow":
                axes.barh(y, run["peak_mib"], height=0.5, color="#7a8791", label=MEMORY)
            elif run["same_losses"]:
                axes.plot(run["peak_mib"], y, marker="o", markersize=6, color=COLOURS[run["framework"]],
                          linestyle="none", label=run["framework"], zorder=3, alpha=0.9)
    axes.set_xlim(0)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color="#e4e4e4")
    axes.set_xlabel("peak resident memory, MiB")
