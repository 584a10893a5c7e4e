"""What strategies share: which edges of a graph carry its gradients to the updates, and the start from rank 0."""
from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ringflow.graph.autodiff.train_step import TrainStep
from ringflow.graph.errors import GraphError
from ringflow.graph.graph import Graph, GraphKeys
from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.operation import Operation, Tensor
from ringflow.graph.ops.core import group
from ringflow.graph.ops.rules import build
from ringflow.graph.state.variables import Variable

from ..ops import collective_bcast, next_keys

Edges = dict[Tensor, tuple[Any, Variable, list[tuple[Operation, int]]]]


def edges_of(step: TrainStep, needed: set[Operation]) -> Edges:
    """Where collectives go: for each gradient tensor its users, (operation, input index), that lead to the updates.

    Raises: GraphError where one of them has run.
    """
    edges: Edges = {}
    for gradient, variable in step.grads_and_vars:
        for tensor in [gradient.values, gradient.indices] if isinstance(gradient, IndexedSlices) else [gradient]:
            users = [op for op in dict.fromkeys(tensor.consumers) if op.id >= step.consumers_from and op in needed]
            for op in users:
                if op.has_run:
                    raise GraphError(f"[distribute] {step.train_op.name!r} has already run.{step.train_op.where} "
                                     "Fix: call distribute before the first session.run", op.name)
            if users:
                places = [(op, i) for op in users for i, t in enumerate(op.inputs) if t is tensor]
                edges[tensor] = gradient, variable, places
    return edges


def read_instead(places: list[tuple[Operation, int]], tensor: Tensor) -> None:
    for op, index in places:
        op._update_input(index, tensor)


def broadcast_at_start(graph: Graph, needed: set[Operation], size: int,
                        types: frozenset[str] = frozenset({"CollectiveReduce", "CollectiveGather"}),
                        shared: Collection[Operation] = ()) -> None:
    """Sessions run this once before the first step: the variables of the step take rank 0's values; those in `shared`
    move to memory that the ranks have in common."""
    assigns = []
    for v in graph.get_collection(GraphKeys.GLOBAL_VARIABLES):
        if v.op in needed:
            value = collective_bcast(v, root=0, name=f"start/{v.op.name}", **next_keys(graph, size))
            assign = v.assign(value, name=f"start/{v.op.name}/Assign")
            if v.op in shared:
                assign = build("_ShareVariable", assign, name=f"start/{v.op.name}/share", **next_keys(graph, size))
            assigns.append(assign)
    start = group(*assigns, name="start_from_rank_0")
    graph.add_to_collection(GraphKeys.BEFORE_FIRST_RUN, (types, start))
