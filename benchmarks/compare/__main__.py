"""Trains the same workloads in ringflow and in its peers, in turn, and says how their times and memory compare.

    python benchmarks/compare --peer torch=TORCH/bin/python --peer torch-compile=TORCH/bin/python \\
        --peer torch-last=TORCH/bin/python --peer tensorflow=TF/bin/python --peer jax=JAX/bin/python \\
        --json speed.json --plot speed.png
    python benchmarks/compare --ranks 2 --peer torch=TORCH/bin/python --peer horovod=HVD/bin/python mlp gpt
    python benchmarks/compare --from speed.json --plot speed.png

Every program starts from the same weights, takes the same batches and must reach ringflow's losses of the first 8 steps
to 1e-3, or is marked and does not count. Rounds are interleaved: in each, every framework trains the workload once, so
a slow minute of the machine meets all. A figure is the median over the rounds of each run's median step.

One rank: each run has one core and no other, the next core in the next round, so no program gains by a thread that it
was not asked to start. Several: ringflow by `mpirun --bind-to core`; torch is DistributedDataParallel over gloo by
torch.distributed.run; Horovod by `mpirun --bind-to none`, as its documents ask. Each rank has one thread.

Memory is the most that a process had resident (VmHWM, which the process reads after its last step).
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import frameworks  # noqa: E402
import results  # noqa: E402
import running  # noqa: E402
import step_timing  # noqa: E402
import table  # noqa: E402
from ringflow.launch import machine  # noqa: E402


def governor() -> str:
    """The first core's frequency governor."""
    try:
        return pathlib.Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return "unknown"


def say(text: str) -> None:
    print(f"[compare] {text}", file=sys.stderr, flush=True)


def usable(peers: list[frameworks.Framework], ranks: int) -> tuple[list[frameworks.Framework], dict[str, str]]:
    """The peers that can run, and why the others are left out."""
    found, left_out = [], {}
    for peer in peers:
        why = peer.missing(ranks)
        if why is None:
            found.append(peer)
        else:
            left_out[peer.name] = why
            say(f"peer {peer.name} is left out: {why}")
    return found, left_out


def measure(options: argparse.Namespace, peers: list[frameworks.Framework]) -> tuple[
        list[dict[str, Any]], dict[str, str], list[dict[str, str]]]:
    """The rows of all workloads, versions by package, and the runs that failed."""
    cores = machine.cores()
    rows, versions, failures = [], {}, []
    for workload in options.workloads:
        chosen = [f for f in [frameworks.ours(), *peers] if f.runs(workload, options.ranks)]
        lines: dict[str, list[dict[str, Any]]] = {f.name: [] for f in chosen}
        for turn in range(options.rounds):
            for framework in list(chosen):
                try:
                    line = running.run(framework.command(workload, options.seconds, options.ranks),
                                       core=cores[turn % len(cores)] if options.ranks == 1 else None,
                                       timeout_s=options.timeout)
                except running.Failed as error:
                    say(f"{workload}, {framework.name}: {error}")
                    failures.append({"workload": workload, "framework": framework.name, "why": str(error)})
                    chosen.remove(framework)
                    continue
                lines[framework.name].append(line)
                versions.update(line["versions"])
                say(f"{workload}, round {turn + 1} of {options.rounds}, {framework.name}: {line['median_ms']} ms")
        rows.append(results.of_workload(workload, options.ranks, lines))
    return rows, versions, failures


def compare(options: argparse.Namespace) -> dict[str, Any]:
    peers, left_out = usable(options.peer, options.ranks)
    facts = {**machine.facts(), "governor": governor()}
    rows, versions, failures = measure(options, peers)
    settings = {"ranks": options.ranks, "rounds": options.rounds, "seconds": options.seconds,
                "cores": machine.ranges(machine.cores())}
    return {"machine": facts, "versions": versions, "settings": settings, "workloads": rows,
            "mean": results.mean(rows), "left_out": left_out, "failures": failures}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="compare", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="workload", help=f"of {', '.join(step_timing.WORKLOADS)}; all")
    parser.add_argument("--peer", action="append", default=[], type=frameworks.peer, metavar="KIND=PYTHON",
                        help=f"a peer and the interpreter that has it; kinds: {', '.join(frameworks.KINDS)}")
    parser.add_argument("--ranks", type=int, default=1, help="processes that train together (default 1)")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--seconds", type=float, default=4.0, help="to time steps for, in each run (default 4)")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds a run may take in all (default 900)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the results")
    parser.add_argument("--plot", type=pathlib.Path, metavar="FILE", help="draw them: .png or .svg; needs matplotlib")
    parser.add_argument("--from", dest="earlier", type=pathlib.Path, metavar="FILE",
                        help="run nothing: print and plot the results of a --json FILE")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.workloads if name not in step_timing.WORKLOADS]
    if unknown:
        parser.error(f"no workload {', '.join(unknown)}: there are {', '.join(step_timing.WORKLOADS)}")
    if not 1 <= options.ranks <= (os.cpu_count() or 1) or options.rounds < 1:
        parser.error(f"--ranks is 1 to the number of cores, --rounds 1 or more: {options.ranks}, {options.rounds}")
    options.workloads = options.workloads or list(step_timing.WORKLOADS)
    return options


def main() -> int:
    options = parse()
    found = json.loads(options.earlier.read_text()) if options.earlier else compare(options)
    print(table.text(found), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.plot:
        import plot  # only here: matplotlib
        plot.draw(found, options.plot)
    runs = [run for row in found["workloads"] for run in row["runs"]]
    complete = all(any(run["framework"] == "ringflow" for run in row["runs"]) for row in found["workloads"])
    return 0 if complete and all(run["same_losses"] for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
