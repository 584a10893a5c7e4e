"""Consensus: before ranks first run a program that holds collectives, they prove that it is the same on all of them.

Every rank hashes the graph as its user wrote it, a definition a node in topological order, and then the sequence of
collectives that the passes made of it, into a chain of 128-bit prefix hashes. One allgather of the last hash decides.
Where they differ, bisection over the prefix hashes finds the first definition that is not the same everywhere, and
every rank raises an error with all versions of it. What collectives depend on is compared, and the updates that depend
on collectives. Left out, because it may differ: what else a rank fetches (a loss to print, a summary), shapes of feeds,
devices, random seeds, and the values (not the shapes) of constants that initialise variables.

Steps: 1 allgather of 24 bytes a rank if all agree, else ceil(log2 nodes) more. What has been agreed on once over a
communicator is not asked again; so plans for further feed shapes, which ranks need not make together, ask nothing.
Ranks that run different programs do not meet here at all: the communicator's deadline ends that.
"""
from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from ringflow.graph.dtypes import resource
from ringflow.graph.errors import GraphError
from ringflow.graph.files.text import node_text
from ringflow.graph.graph import Graph, GraphKeys
from ringflow.graph.operation import Operation
from ringflow.graph.passes import Program
from ringflow.graph.topology import ancestors, predecessors

from .attach import COLLECTIVE_OPS, OF_SHARDS, collective_ops, communicator_of
from .communicator import Communicator

_HASH_BYTES = 16
_NOT_COMPARED = frozenset({"seed", "seed2", "_class"})


def check_consensus(program: Program) -> None:
    """Pass: raises GraphError on every rank unless all hold the same graph and sequence of collectives."""
    if not collective_ops(program):
        return
    world = communicator_of(program.source)
    if world.size == 1:
        return
    written, collectives = _compared(program.source_ops), program.notes["collectives"]
    definitions = _definitions(program.source, written)
    definitions += [f"{op.name}: {op.type} {_shapes(op)} {_attrs(op, False)}" for op in collectives]
    chain = _chain(definitions)
    if chain[-1] in world.agreed:
        return
    first = _first_difference(world, chain)
    if first is None:
        world.agreed.add(chain[-1])
        return
    ops = [*written, *collectives]
    mine = (definitions[first], _told(ops[first]), ops[first].where) if first < len(ops) else None
    raise GraphError(_report(world, first, world.allgather_object(mine)), ops[first].name if mine else "")


def _compared(ops: list[Operation]) -> list[Operation]:
    """Of `ops` (in topological order) the collectives, the updates that depend on them, and all that these need."""
    after: set[Operation] = set()
    for op in ops:
        if op.type in COLLECTIVE_OPS or not after.isdisjoint(predecessors(op)):
            after.add(op)
    ends = [op for op in after if op.type in COLLECTIVE_OPS
            or any(a.is_ref or a.dtype is resource for a in op.op_def.inputs)]
    needed = ancestors(ends)
    return [op for op in ops if op in needed]


def _definitions(graph: Graph, ops: list[Operation]) -> list[str]:
    """A definition of each operation, without what may differ."""
    initial = _initial_values(graph, set(ops))
    definitions = []
    for op in ops:
        inputs = [*(t.name for t in op.inputs), *("^" + c.name for c in op.control_inputs)]
        outputs = [f"{t.dtype} {t.shape}" for t in op.outputs]
        definitions.append(f"{op.name}: {op.type}({', '.join(inputs)}) {_attrs(op, op in initial)} -> {outputs}")
    return definitions


def _initial_values(graph: Graph, needed: set[Operation]) -> set[Operation]:
    """Constants that only say how variables start."""
    variables = graph.get_collection(GraphKeys.GLOBAL_VARIABLES)
    if not any(v.initializer in needed for v in variables):
        return set()
    return {op for op in ancestors(v.initial_value.op for v in variables) if op.type == "Const"}


def _attrs(op: Operation, initial: bool) -> str:
    skipped = _NOT_COMPARED | {"N", "rows"} if op.type in OF_SHARDS else _NOT_COMPARED
    return ", ".join(f"{k}={_attr(v, initial)}" for k, v in sorted(op.attrs.items()) if k not in skipped)


def _attr(value: Any, initial: bool) -> str:
    if not isinstance(value, np.ndarray):
        return str(value)
    content = "" if initial else value.tobytes() if value.dtype != object else repr(value.tolist()).encode()
    return f"{value.dtype}{value.shape}" + (f"#{blake2b(content, digest_size=8).hexdigest()}" if content else "")


def _shapes(op: Operation) -> list[str]:
    """Dtypes and shapes that must be the same everywhere: all but the dimension along which ranks are gathered."""
    if op.type in OF_SHARDS:
        return []
    skip = op.type == "CollectiveGather"
    return [f"{t.dtype} {t.shape[1:] if skip else t.shape}" for t in op.inputs]


def _told(op: Operation) -> str:
    """The operation as an error shows it: with the value of a constant, if only its beginning."""
    text = node_text(op)
    value = op.attrs.get("value")
    if isinstance(value, np.ndarray) and value.size > 4:
        text += f" value {value.ravel()[:4].tolist()}... hash {blake2b(value.tobytes(), digest_size=4).hexdigest()}"
    return text


def _chain(definitions: list[str]) -> list[bytes]:
    """chain[i]: the hash of the first i definitions."""
    chain = [bytes(_HASH_BYTES)]
    for text in definitions:
        chain.append(blake2b(chain[-1] + text.encode(), digest_size=_HASH_BYTES).digest())
    return chain


def _first_difference(world: Communicator, chain: list[bytes]) -> int | None:
    """The number of the first definition that the ranks do not share; None where all are the same. Collective."""
    ends = world.allgather(np.frombuffer(chain[-1] + len(chain).to_bytes(8, "little"), np.uint8).reshape(1, -1))
    if (ends == ends[0]).all():
        return None
    lengths = ends[:, _HASH_BYTES:].copy().view("<u8")
    same, other = 0, int(lengths.min())  # the first `same` definitions are shared; of the first `other`, not all are
    while other - same > 1:
        middle = (same + other) // 2
        hashes = world.allgather(np.frombuffer(chain[middle], np.uint8).reshape(1, -1))
        if (hashes == hashes[0]).all():
            same = middle
        else:
            other = middle
    return same


def _report(world: Communicator, first: int, versions: list[tuple[str, str, str] | None]) -> str:
    """`versions`: by rank, (what was compared, how it reads, where it was created), None where the graph has ended."""
    groups: dict[str | None, list[int]] = {}
    for rank, version in enumerate(versions):
        groups.setdefault(version[0] if version else None, []).append(rank)
    lines = []
    for ranks in groups.values():
        version = versions[ranks[0]]
        who = f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
        have = "has" if len(ranks) == 1 else "have"
        lines.append(f"  {who} {have} {version[1]}{version[2]}" if version else f"  {who} {have} no further node")
    names = dict.fromkeys(v[1].split(" ", 1)[0] for v in versions if v)
    return (f"[consensus] rank {world.rank}/{world.size}: the ranks hold different graphs. The first node that differs "
            f"is number {first + 1}, {' / '.join(repr(n) for n in names)}:\n" + "\n".join(lines)
            + "\nFix: build the same graph on every rank; let only feeds, seeds and initial values depend on the rank.")
