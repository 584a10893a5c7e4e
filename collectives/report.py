"""The buckets of a step as a table before it runs, and their boundaries from measured op times.

    print(rf.collectives.describe(session, train_op, {x: batch, y: labels}))
    rf.collectives.measure(session, train_op, {x: batch, y: labels})     # some training steps, timed node by node

Both are collective over the graph's communicator where they meet a set of reductions for the first time.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ringflow.graph.errors import InvalidArgumentError, UnimplementedError
from ringflow.graph.operation import Operation
from ringflow.graph.passes import Program, extract, optimise
from ringflow.graph.session import Session
from ringflow.graph.session.fetches import Fetches
from ringflow.graph.shapes import TensorShape
from ringflow.graph.topology import predecessors, topological_order

from .attach import COLLECTIVE_OPS, communicator_of
from .buckets import Bucket
from .costs import Link, link_of
from .schedule import timeline

_COLUMNS = ("bucket", "bytes", "tensors", "ready ms", "start ms", "end ms", "exposed ms", "overlap", "members")


def describe(session: Session, fetches: Any, feed_dict: Mapping[Any, Any] | None = None) -> str:
    """A table of the buckets that running `fetches` reduces: when each is ready, and the predicted exchange.

    feed_dict: as of ``session.run``; only the shapes count. Times begin with the step; those of operations are
    estimates until `measure` has run. Exposed: what of the exchange is left when nothing else is to be computed.
    Nothing is run.
    """
    program, _ = _program(session, fetches, feed_dict or {})
    buckets: list[Bucket] = program.notes.get("buckets", [])
    world = communicator_of(session.graph)
    if not buckets:
        return f"{world.size} ranks, no reductions"
    link, found = link_of(world), program.notes["reductions"]
    measured = world.remembered.get(("measured", *found.name()))
    ready = {op: s for op, s in zip(found.members, found.ready_s)}
    end_s = found.end_s
    if measured is not None:
        ready, end_s = {op: measured[0][op.name] for op in found.members}, measured[1]
    return table(buckets, [max(ready[op] for op in b.members) for b in buckets], end_s, link,
                 f"{world.size} ranks, {world.native.algorithm}: {link}; op times: "
                 + ("estimated" if measured is None else "measured"))


def table(buckets: list[Bucket], ready_s: list[float], end_s: float, link: Link, heading: str) -> str:
    """The table of `describe`: `ready_s` of each bucket, computing ends at `end_s`."""
    starts = ready_s if link.concurrent else [max(r, end_s) for r in ready_s]
    times = timeline(starts, [b.bytes for b in buckets], link)
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for bucket, ready, (start, end) in zip(buckets, ready_s, times):
        exposed = max(0.0, end - max(start, end_s))
        rows.append((str(bucket.number), str(bucket.bytes), str(len(bucket.members)),
                     *(f"{s * 1e3:.3f}" for s in (ready, start, end, exposed)), "yes" if bucket.overlap else "no",
                     ", ".join(op.name for op in bucket.members)))
    widths = [max(len(row[c]) for row in rows) for c in range(len(_COLUMNS) - 1)]
    lines = ["  ".join([*(cell.rjust(w) for cell, w in zip(row, widths)), row[-1]]) for row in rows]
    last = max([end_s, *(end for _, end in times)])
    return "\n".join([heading, *lines, f"computing ends at {end_s * 1e3:.3f} ms, the exchange at {last * 1e3:.3f} ms, "
                      f"{(last - end_s) * 1e3:.3f} ms of it exposed"])


def measure(session: Session, fetches: Any, feed_dict: Mapping[Any, Any] | None = None, *, steps: int = 3) -> None:
    """Runs `fetches` `steps` times with a clock on every node; later runs have buckets that fit these times.

    These are real steps: a train op trains. Collective: every rank calls it at the same place of its program. All
    plans of the session are made anew. Ready times are the medians of the steps, and of the ranks the latest.

    Raises: InvalidArgumentError for steps < 1; UnimplementedError where the session's backend has no clock.
    """
    if steps < 1:
        raise InvalidArgumentError(f"[measure] at least one step must run: received steps={steps}")
    if not hasattr(session.backend, "compile_timed"):
        raise UnimplementedError("[measure] this session's backend times no nodes. Fix: use backend='cpp'")
    program, arrays = _program(session, fetches, feed_dict or {})
    for op in program.source_ops:
        op.has_run = True
    session._run_first(program)
    run: Callable[[Any], Any] = session.backend.compile_timed(program)
    seconds: dict[str, list[float]] = {}
    for _ in range(steps):
        for name, start_ns, end_ns, *_ in run(arrays)[1]:
            seconds.setdefault(name, []).append((end_ns - start_ns) * 1e-9)
    if "buckets" not in program.notes:
        return
    _remember(program, {name: float(np.median(values)) for name, values in seconds.items()})
    for plan in session._plans.values():
        plan.forget()


def _remember(program: Program, seconds: dict[str, float]) -> None:
    """Ready times for plan_buckets, from those of the nodes: the same on all ranks."""
    world, found = communicator_of(program.source), program.notes["reductions"]
    at: dict[Operation, float] = {}
    after: set[Operation] = set()
    now = 0.0
    for op in topological_order(program.graph.get_operations()):
        if op.type in COLLECTIVE_OPS or not after.isdisjoint(predecessors(op)):
            after.add(op)  # what the exchange holds up is not computed before it
        else:
            now += seconds.get(op.name, 0.0)
        at[op] = now
    names = sorted(op.name for op in found.members)
    times = {op.name: at[op.inputs[0].op] for op in found.members}
    latest = world.allreduce(np.array([*(times[n] for n in names), now]), "max")
    name = found.name()
    world.remembered[("measured", *name)] = dict(zip(names, latest[:-1].tolist())), float(latest[-1])
    world.remembered.pop(name, None)


def _program(session: Session, fetches: Any, feed_dict: Mapping[Any, Any]) -> tuple[Program, list[np.ndarray]]:
    feeds = [session._feed(key) for key in feed_dict]
    arrays = [np.ascontiguousarray(v, t.dtype.as_numpy_dtype) for t, v in zip(feeds, feed_dict.values())]
    wanted = Fetches(session.graph, fetches)
    program = extract(session.graph, wanted.tensors, wanted.operations, feeds,
                      [TensorShape(a.shape) for a in arrays], session)
    return optimise(program), arrays

