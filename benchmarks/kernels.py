"""How fast each kernel is beside what the core can do, measured in the same run.

    python benchmarks/kernels.py                          every case
    python benchmarks/kernels.py convolution "256^3"      those whose family or name holds one of the words
    python benchmarks/kernels.py --json before.json       keep the figures ...
    python benchmarks/kernels.py --against before.json    ... and compare: a last column with time before / time now

A case is an op, or a chain of them, that a callable of a session runs (kernel_cases.py); its results are not fetched.
Its limit is the longer of two times: its operations at the rate of multiply-adds between registers, its bytes at the
rate of a copy, or a negation in place, of as many: in the cache where they fit there. `of it` is that time by the
kernel's. What only reads may exceed 100 %, and so may what needs fewer operations than counted. The time is the fastest
of short stretches. One thread, unless RINGFLOW_NUM_THREADS says otherwise; pin it (taskset -c 1), keep the core free.
"""
from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import ringflow as rf
from kernel_cases import CASES, Case
from kernel_limits import Limits, fastest
from ringflow.kernels import processor
from ringflow.launch import machine

Row = dict[str, Any]


def prepared(case: Case) -> tuple[Callable[[], Any], float]:
    """(what runs the case once, the bytes that it must move)."""
    graph, arrays = rf.Graph(), case.arrays()
    with graph.as_default():
        inputs = [rf.placeholder(a.dtype, a.shape) for a in arrays]
        built = case.build(*inputs)
        results = list(built) if isinstance(built, (list, tuple)) else [built]
        done = rf.group(*results)  # fetched in their place: no copies for Python
        session = rf.Session(graph=graph)
        session.run(rf.global_variables_initializer())
    tensors = [t for t in results if isinstance(t, rf.Tensor)]
    call = session.make_callable(done, inputs)
    call(*arrays)
    moved = case.bytes_moved
    if moved is None:
        moved = sum(a.nbytes for a in arrays) + sum(t.dtype.size * int(t.shape.num_elements()) for t in tensors)
    return lambda: call(*arrays), moved


def measured(case: Case, limits: Limits, seconds: float) -> Row:
    """One row: time, rates, and the part of the limit that the kernel reaches."""
    call, moved = prepared(case)
    time = fastest(call, seconds)
    least, which = limits.least_seconds(case.flops, moved)
    row: Row = {"case": str(case), "us": time * 1e6, "of_limit": least / time, "limit": which}
    row["GB/s"] = moved / time / 1e9
    if case.flops:
        row["GFLOP/s"] = case.flops / time / 1e9
    row["rate_limit"] = (limits.flops() if which == "FLOP" else limits.bandwidth(moved)) / 1e9
    return row


def chosen(words: list[str]) -> Iterator[Case]:
    return (c for c in CASES if not words or any(w.lower() in str(c).lower() for w in words))


def line(row: Row, before: Row | None) -> str:
    unit = "GFLOP/s" if row["limit"] == "FLOP" else "GB/s"
    text = f"{row['case']:58} {row['us']:10.1f} {row[unit]:8.1f} {row['rate_limit']:8.1f} {unit:8}"
    return text + f"{100 * row['of_limit']:6.0f} %" + (f" {before['us'] / row['us']:8.2f}" if before else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only cases whose family or name holds one of these")
    parser.add_argument("--seconds", type=float, default=0.2, help="how long to time each case (default 0.2)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    parser.add_argument("--against", metavar="FILE", help="figures of an earlier run to compare with")
    parser.add_argument("--list", action="store_true", help="name the cases, measure nothing")
    options = parser.parse_args()
    cases = list(chosen(options.words))
    if not cases:
        parser.error(f"no case's family or name holds {' or '.join(options.words)}. Fix: --list names them")
    if options.list:
        print("\n".join(map(str, cases)))
        return
    before = {}
    if options.against:
        with open(options.against) as f:
            before = {row["case"]: row for row in json.load(f)["rows"]}

    about = {**machine.facts(), "isa": processor.isa()}
    limits = Limits(options.seconds)
    print(f"# {about['machine']}, {about['isa']}, commit {about['commit'] or 'installed'}, load {about['load']}; "
          f"multiply-adds {limits.flops() / 1e9:.0f} GFLOP/s")
    print(f"{'case':58} {'us':>10} {'rate':>8} {'limit':>8} {'':8}{'of it':>8}" + (f" {'before':>8}" if before else ""))
    rows = []
    for case in cases:
        rows.append(measured(case, limits, options.seconds))
        print(line(rows[-1], before.get(str(case))), flush=True)
    if options.json:
        with open(options.json, "w") as f:
            json.dump({**about, "multiply_adds": limits.flops(), "rows": rows}, f, indent=1)
    if before:
        missing = [str(c) for c in cases if str(c) not in before]
        print(f"# not in {options.against}: {', '.join(missing)}" if missing else "", end="\n" if missing else "",
              file=sys.stderr)


if __name__ == "__main__":
    main()
