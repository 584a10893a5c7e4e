"""Allreduce between hosts: time, payload rate against the link, and bytes on the wire against theory.

    mpirun --hostfile hosts -np 2 --map-by slot --bind-to none --mca mpi_yield_when_idle 1 \\
        python benchmarks/between_hosts.py --link-gbit 1 --sizes 1M,16M --algorithms ring,hierarchical

Bytes are what the hosts' network interfaces counted, less the headers of their packets (66 bytes each: Ethernet, IP and
TCP with time stamps), so other traffic must rest. Theory, per host, for n bytes on h hosts of g ranks, P = h g:

    ring            2 n (P-1)/P     its ranks in slot order: one of each host's sends to another host
    hierarchical    2 n (h-1)/h     memory within a host; its ranks carry n/g each between hosts (g > 1)
    halving_doubling                as ring where g = 1 and P is a power of two
    others          not predicted

Rate: bytes of theory, or of the interface where there is none, by the time of the slowest rank, the median of the
repetitions.
"""
from __future__ import annotations

import argparse
import inspect
import json
import pathlib
import statistics
import time
from typing import Any

import numpy as np
import ringflow as rf

HEADER_BYTES = 66
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def size_of(text: str) -> int:
    return int(text[:-1]) * UNITS[text[-1]] if text[-1] in UNITS else int(text)


def sent_payload() -> int:
    """Bytes of TCP payload that this host's interfaces have sent so far."""
    total = 0
    for interface in pathlib.Path("/sys/class/net").iterdir():
        if interface.name != "lo":
            statistic = interface / "statistics"
            packets = int((statistic / "tx_packets").read_text())
            total += int((statistic / "tx_bytes").read_text()) - HEADER_BYTES * packets
    return total


def theory(algorithm: str, nbytes: int, hosts: int, ranks: int) -> float | None:
    if algorithm == "ring" or (algorithm == "halving_doubling" and hosts == ranks and ranks & (ranks - 1) == 0):
        return 2 * nbytes * (ranks - 1) / ranks
    if algorithm == "hierarchical":
        return 2 * nbytes * (hosts - 1) / hosts
    return None


def measure(world: rf.collectives.Communicator, algorithm: str, nbytes: int, repetitions: int) -> dict[str, Any]:
    """One algorithm at one size; the same dictionary on every rank."""
    x = np.empty(nbytes // 4, np.float32)
    options: dict[str, Any] = {} if algorithm == "auto" else {"algorithm": algorithm}
    if "out" in inspect.signature(world.allreduce).parameters:
        options["out"] = x

    def once() -> float:
        x.fill(world.rank + 1)
        world.barrier()
        begin = time.perf_counter()
        y = world.allreduce(x, **options)
        took = time.perf_counter() - begin
        if y.size and not (y == world.size * (world.size + 1) / 2).all():
            raise SystemExit(f"[between_hosts] rank {world.rank}: a wrong sum by {algorithm} at {nbytes} bytes")
        return took

    once()
    world.barrier()
    time.sleep(0.1)  # acknowledgements settle
    before = sent_payload()
    world.barrier()
    times = [once() for _ in range(repetitions)]
    world.barrier()
    time.sleep(0.1)
    sent = (sent_payload() - before) / repetitions
    slowest = np.max(world.allgather(np.array([times])), axis=0)
    hosts = {host: bytes_ for host, bytes_ in world.allgather_object((world.host, sent))}
    expected = theory(algorithm, nbytes, len(hosts), world.size)
    return {"algorithm": algorithm, "bytes": nbytes, "hosts": len(hosts), "ranks": world.size,
            "ms": 1e3 * statistics.median(slowest), "wire": max(hosts.values()), "theory": expected}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1M,16M", help="of the payload, with K or M (default 1M,16M)")
    parser.add_argument("--algorithms", default="ring,hierarchical")
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--link-gbit", type=float, default=1.0, help="rate of a host's link (default 1)")
    parser.add_argument("--json", action="store_true", help="print a JSON line for each row instead of a table")
    options = parser.parse_args()
    world = rf.init()
    if world.rank == 0 and not options.json:
        print("hosts x ranks  algorithm          bytes       ms   rate/link   wire/n  theory/n  difference", flush=True)
    for algorithm in options.algorithms.split(","):
        if algorithm not in ("auto", *world.algorithms()):
            if world.rank == 0:
                print(f"# {algorithm} is not usable on these ranks: {', '.join(world.algorithms())}", flush=True)
            continue
        for nbytes in map(size_of, options.sizes.split(",")):
            row = measure(world, algorithm, nbytes, options.repetitions)
            of_link = (row["theory"] or row["wire"]) * 8 / (row["ms"] * 1e-3) / (options.link_gbit * 1e9)
            if world.rank:
                continue
            if options.json:
                print(json.dumps({**row, "of_link": round(of_link, 4)}), flush=True)
                continue
            expected = "" if row["theory"] is None else (f"{row['theory'] / nbytes:9.3f}  "
                                                         f"{100 * (row['wire'] / row['theory'] - 1):+8.2f} %")
            print(f"{row['hosts']} x {row['ranks'] // row['hosts']:<10} {algorithm:14} {nbytes:9}  {row['ms']:8.2f}"
                  f"  {of_link:8.3f}  {row['wire'] / nbytes:8.4f} {expected}", flush=True)


if __name__ == "__main__":
    main()
