"""`ringflow bench allreduce`: ours, MPI_Allreduce and memcpy side by side, in nccl-tests' columns.

algbw = bytes / time. busbw = algbw x 2(P-1)/P: what the slowest link of a ring would have carried.
Source: nccl-tests, doc/PERFORMANCE.md.
"""
from __future__ import annotations

import argparse
import json
import re
import socket
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from ringflow.collectives import tuning, world as worlds
from ringflow.collectives.communicator import Communicator
from ringflow.graph.errors import FailedPreconditionError, InvalidArgumentError

from . import machine, measure
from .measure import Timing

SIZES = "4K,64K,1M,4M,16M,64M"
TUNE_SIZES = "256,1K,4K,16K,64K,256K,1M,4M,16M,64M"
DTYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
OPS = ("sum", "mean", "prod", "min", "max")

EXAMPLES = """examples:
  mpirun -np 2 python -m ringflow bench allreduce
  mpirun -np 2 python -m ringflow bench allreduce --sizes 4K,1M --algorithms one_pass,ring --json allreduce.jsonl
  mpirun -np 8 python -m ringflow bench allreduce --tune      write the table that ringflow.init() reads

rows:
  NAME bucket     the path of training: gradients are written into the bucket, the result is read in place
  NAME array      comm.allreduce on an array of the caller, by algorithm NAME
  MPI_Allreduce   of the same MPI, by mpi4py on prepared buffers
  memcpy          of the same bytes on every rank at once

time is a call's: the maximum over ranks, then the median over rounds. MPI/x: how many times faster than MPI_Allreduce.
x/memcpy: in copies of the same bytes. #wrong counts elements over all ranks and rounds; exit code 1 unless 0.
"""


def add(commands: Any) -> None:
    bench = commands.add_parser("bench", help="measure collectives", description="Measure collectives.")
    what = bench.add_subparsers(metavar="COLLECTIVE", required=True)
    p = what.add_parser("allreduce", help="against MPI_Allreduce and memcpy, in one interleaved run", epilog=EXAMPLES,
                        description="Time allreduces of the ranks that mpirun has started, and check them exactly.",
                        formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sizes", type=sizes, metavar="LIST", help=f"bytes, with K, M or G (default {SIZES})")
    p.add_argument("--algorithms", type=words, metavar="LIST", help="for arrays (default: every one usable here)")
    p.add_argument("--dtype", choices=DTYPES, default="float32")
    p.add_argument("--op", choices=OPS, default="sum")
    p.add_argument("--iterations", type=positive, metavar="N", help="rounds (default 15 to 100, by size)")
    p.add_argument("--warmup", type=count, default=3, metavar="N", help="untimed rounds before (default 3)")
    p.add_argument("--json", metavar="FILE", help="append a JSON line for each row of ours")
    p.add_argument("--tune", action="store_true",
                   help="write which algorithm to use at which size into the user's cache")
    p.set_defaults(run=run)


def sizes(text: str) -> list[int]:
    """[4096, 1048576] of "4K,1M"."""
    return [size(word) for word in text.split(",")]


def size(text: str) -> int:
    match = re.fullmatch(r"\s*(\d+)\s*([a-zA-Z]*)\s*", text)
    factor = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(
        match[2].upper().removesuffix("IB") if match else "?")
    if match is None or factor is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"a size is a number with K, M, G or nothing behind it, not '{text}'")
    return int(match[1]) * factor


def words(text: str) -> list[str]:
    return [w.strip() for w in text.split(",") if w.strip()]


def count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"a whole number is needed, not '{text}'")
    return int(text)


def positive(text: str) -> int:
    if count(text) < 1:
        raise argparse.ArgumentTypeError(f"at least 1 is needed, not '{text}'")
    return int(text)


def run(options: argparse.Namespace) -> int:
    world = worlds.init()
    if world.size == 1:
        raise FailedPreconditionError("[bench allreduce] at least 2 ranks are needed: this job has 1. "
                                      "Fix: mpirun -np 2 python -m ringflow bench allreduce.")
    from mpi4py import MPI

    mpi = MPI.COMM_WORLD if MPI.Is_initialized() else None
    return bench(world, options, mpi, MPI.Get_library_version())


def bench(world: Communicator, options: argparse.Namespace, mpi: Any, mpi_version: str) -> int:
    """Collective. mpi: an mpi4py communicator of the same ranks, or None."""
    known = world.algorithms()
    algorithms = options.algorithms or known
    unknown = [name for name in algorithms if name not in known]
    if unknown:
        raise InvalidArgumentError(f"[bench allreduce] no algorithm '{unknown[0]}' here: there are {', '.join(known)}. "
                                   "Fix: correct --algorithms.")
    job = {**describe(world, mpi_version), "dtype": options.dtype, "op": options.op}
    show = print if world.rank == 0 else lambda *_, **__: None
    show(heading(job), flush=True)
    wrong = 0
    fastest: dict[int, dict[str, float]] = {}
    records = []
    for nbytes in options.sizes or sizes(TUNE_SIZES if options.tune else SIZES):
        nbytes = max(nbytes, np.dtype(options.dtype).itemsize)
        timings = measure.compare(world, nbytes, algorithms, mpi=mpi, dtype=options.dtype, op=options.op,
                                  iterations=options.iterations, warmup=options.warmup)
        rivals = {t.path: t for t in timings if t.path in (measure.MPI, measure.MEMCPY)}
        for t in timings:
            show(row(t, rivals, job), flush=True)
        ours = [t for t in timings if t.path in (measure.BUCKET, measure.ARRAY)]
        records += [record(t, rivals, job) for t in ours]
        wrong += sum(t.wrong for t in timings)
        fastest[nbytes] = {t.algorithm: t.time_us for t in ours if t.path == measure.ARRAY}
    show(f"# {wrong} wrong elements" + (": FAILED" if wrong else ""))
    if world.rank == 0 and options.json:
        with open(options.json, "a", encoding="utf-8") as out:
            out.writelines(json.dumps(r) + "\n" for r in records)
    if options.tune and not wrong:
        choices = tuning.choose(fastest)
        if world.rank == 0:
            evidence = {"time_us": fastest, **{k: job[k] for k in ("machine", "version", "commit", "load", "date")}}
            print(f"# table: {', '.join(f'{n} up to {show_size(b)}' for b, n in choices)}")
            setup = tuning.Setup(**{field.name: job[field.name] for field in fields(tuning.Setup)})
            print(f"# written to {tuning.save(setup, choices, evidence)}", flush=True)
        world.barrier()
    return 1 if wrong else 0


def describe(world: Communicator, mpi_version: str) -> dict[str, Any]:
    """Collective. What belongs to every figure of this job."""
    hosts = world.allgather_object((socket.gethostname(), world.local_size, machine.cores()))
    names = sorted({name for name, _, _ in hosts})
    crowded = any(sum(n == name for n, _, _ in hosts) > len(set().union(*(c for n, _, c in hosts if n == name)))
                  for name in names)
    setup = tuning.setup_of([name for name, _, _ in hosts], max(n for _, n, _ in hosts), mpi_version)
    return {**machine.facts(), **asdict(setup), "nodes": len(names), "oversubscribed": crowded,
            "transport": world.native.transport}


def heading(job: dict[str, Any]) -> str:
    settings = " ".join(f"{name}={text}" for name, text in job["mpi_settings"].items()) or "none"
    lines = [f"# ringflow {job['version']} ({job['commit'] or 'installed'}): allreduce, {job['dtype']} {job['op']}, "
             f"{job['ranks']} ranks on {job['nodes']} node{'s' if job['nodes'] > 1 else ''}",
             f"# {job['machine']}, Linux {job['kernel']}, load {job['load']}; {job['mpi']}, settings: {settings}"]
    if job["oversubscribed"]:
        lines.append("# OVERSUBSCRIBED: more ranks than cores; these times say nothing about speed")
    lines.append(f"#{'size':>11}{'count':>13}  {'algorithm':24}{'time':>12}{'algbw':>9}{'busbw':>9}{'#wrong':>8}"
                 f"{'MPI/x':>8}{'x/memcpy':>10}")
    lines.append(f"#{'(B)':>11}{'(elements)':>13}  {'':24}{'(us)':>12}{'(GB/s)':>9}{'(GB/s)':>9}")
    return "\n".join(lines)


def row(t: Timing, rivals: dict[str, Timing], job: dict[str, Any]) -> str:
    ours = t.path in (measure.BUCKET, measure.ARRAY)
    name = f"{t.algorithm} {t.path}" if ours else t.algorithm
    algbw = t.bytes / t.time_us / 1e3
    bus = f"{algbw * 2 * (job['ranks'] - 1) / job['ranks']:.2f}" if t.path != measure.MEMCPY else "-"
    mpi, memcpy = rivals.get(measure.MPI), rivals[measure.MEMCPY]
    faster = f"{mpi.time_us / t.time_us:.2f}" if mpi and ours else "-"
    copies = f"{t.time_us / memcpy.time_us:.2f}" if ours else "-"
    elements = t.bytes // np.dtype(job["dtype"]).itemsize
    return (f"{t.bytes:12}{elements:13}  {name:24}{t.time_us:12.2f}{algbw:9.2f}{bus:>9}{t.wrong:8}"
            f"{faster:>8}{copies:>10}")


def record(t: Timing, rivals: dict[str, Timing], job: dict[str, Any]) -> dict[str, Any]:
    mpi, memcpy = rivals.get(measure.MPI), rivals[measure.MEMCPY]
    return {"bytes": t.bytes, "algorithm": t.algorithm, "path": t.path, "time_us": t.time_us,
            "mpi_us": mpi.time_us if mpi else None, "memcpy_us": memcpy.time_us, "wrong": t.wrong,
            "time_p5_us": t.quantile_us(0.05), "time_p95_us": t.quantile_us(0.95), "rounds": len(t.times_us),
            "mpi_wrong": mpi.wrong if mpi else None, **job}


def show_size(nbytes: int) -> str:
    if nbytes >= tuning.NO_LIMIT:
        return "any size"
    for unit, letter in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if nbytes >= unit:
            return f"{nbytes / unit:.4g}{letter}"
    return str(nbytes)
