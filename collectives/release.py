"""The end of a step whose gradients were reduced in place: no rank writes the next ones before all have read the last.

A bucket in place keeps the result in the windows of the ranks, where the next step's gradients are going to be written
(csrc/collectives/one_pass.h). So a program with such buckets ends with a meeting, after everything else that it does.
Where there is control flow `_BucketWait` copies the result, and nobody else reads it. Ranks have just met to reduce;
what this costs is how much longer one rank's updates take than another's.
"""
from __future__ import annotations

from ringflow.graph.passes import Program
from ringflow.graph.topology import predecessors

from .attach import always_run, collective_ops


def release_results(program: Program) -> None:
    """Pass: a program that reduces in place ends with a `_RanksMeet`."""
    waits = [op for op in collective_ops(program) if op.type == "_BucketWait" and op.attrs["in_place"]]
    if not waits:
        return
    followed = {p for op in program.graph._ops for p in predecessors(op)}
    always = always_run(program)
    ends = [op for op in program.graph._ops if op in waits or (op not in followed and always(op))]
    program.targets.append(program.add("_RanksMeet", [], {}, "release_results", ends, waits[0]))
