"""Which communicator the collective ops of a graph use, and how the C++ runtime gets it.

A graph remembers the communicator it was distributed over; other graphs use that of the calling thread. The pass here
runs first: it hands the communicator to the session's resources before anything is compiled.
"""
from __future__ import annotations

from collections.abc import Callable

from ringflow.graph.errors import GraphError, InvalidArgumentError
from ringflow.graph.graph import Graph
from ringflow.graph.operation import Operation, at_site
from ringflow.graph.passes import Program
from ringflow.graph.passes.devices.place import TOGETHER
from ringflow.graph.places import ROOT, find_places

from .communicator import Communicator, _core
from .world import current

COLLECTIVE_OPS = frozenset({"CollectiveReduce", "CollectiveBcast", "CollectiveGather", "_BucketReduce", "_BucketWait",
                            "ShardMean", "ShardConcat", "_ExactMaxima", "_ExactSum", "_ShareVariable"})
OF_SHARDS = frozenset({"_ExactMaxima", "_ExactSum"})  # inputs and attrs N and rows follow from the rank's own shards

TOGETHER |= COLLECTIVE_OPS  # one device, so that they happen in one order

_COLLECTION = "communicator"


def use_communicator(graph: Graph, communicator: Communicator) -> None:
    """Makes the collectives of `graph` run over `communicator`. Raises: GraphError where they run over another."""
    known = graph.get_collection_ref(_COLLECTION)
    if not known:
        known.append(communicator)
    elif known[0] is not communicator:
        raise GraphError(f"[distribute] this graph's collectives run over {known[0]!r} already: got {communicator!r}. "
                         "Fix: build one graph for each communicator")


def communicator_of(graph: Graph) -> Communicator:
    known = graph.get_collection(_COLLECTION)
    return known[0] if known else current()


def collective_ops(program: Program) -> list[Operation]:
    return [op for op in program.graph.get_operations() if op.type in COLLECTIVE_OPS]


def always_run(program: Program) -> Callable[[Operation], bool]:
    """Whether an operation runs once in every run of the program, and so may precede a collective by a control edge."""
    places = find_places(program.graph.get_operations())
    return lambda op: places is None or places.after(op) == ROOT


def attach_communicator(program: Program) -> None:
    """Pass: gives a program that holds collectives its communicator, and the C++ resources of its session.

    Raises: InvalidArgumentError where the graph was built for another number of ranks.
    """
    collectives = collective_ops(program)
    if not collectives:
        return
    world = communicator_of(program.source)
    for op in collectives:
        if op.attrs["group_size"] != world.size:
            raise at_site(InvalidArgumentError(
                f"[{op.type}] {op.name!r} was built for {op.attrs['group_size']} ranks, there are {world.size}. "
                "Fix: build the graph under the mpirun that runs it", op.name), op.site)
    use_communicator(program.graph, world)
    resources = getattr(getattr(program.session, "backend", None), "resources", None)
    if resources is not None:
        _core().set_communicator(resources, world.native)
