"""The allreduce strategy: every rank computes gradients of its own batch, the ranks' mean is applied everywhere.

    gradient -> update         becomes   gradient -> CollectiveReduce (mean) -> update
    IndexedSlices -> update    becomes   values / P, indices -> CollectiveGather -> update, or a dense sum (sparse.py)

The reduction stands where gradients leave ``compute_gradients``, so that clipping and decay see the gradient of the
global batch, and P ranks of batch b equal one rank of batch P*b for a loss that is a mean over its batch. Variables
start from rank 0's values. Nothing is added with one rank. The collectives become buckets at plan time (buckets.py).
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ringflow.graph.errors import GraphError, InvalidArgumentError
from ringflow.graph.graph import Graph, GraphKeys
from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.operation import Operation, Tensor
from ringflow.graph.ops.core import group
from ringflow.graph.ops.rules import build
from ringflow.graph.topology import ancestors
from ringflow.graph.train_step import TrainStep, find_train_step
from ringflow.graph.variables import Variable

from ..attach import use_communicator
from ..communicator import Communicator
from ..ops import collective_bcast, collective_reduce, next_keys
from ..shards import SHARDED_OPS
from ..sparse import check_choice, exchange, scale_rows_first
from ..world import current
from . import reproducible as by_shards

NAME = "allreduce"


def distribute(train_op: Operation, *, communicator: Communicator | None = None, sparse: str = "auto",
               reproducible: bool = False, shards: int | None = None, batch: Sequence[Any] | None = None) -> Operation:
    """Makes `train_op` (of ``optimizer.minimize`` or ``apply_gradients``) train on all ranks; returns it.

    Call it once, on every rank, before the train op has run. `communicator`: default that of the launched world.
    `sparse`: how IndexedSlices travel: "gather", "dense", or "auto", the one that costs fewer bytes (sparse.py).
    `reproducible`: the same weights, to the bit, on any number of ranks up to `shards`, the number of equal parts that
    the global batch is divided into; each rank feeds the rows that ``collectives.shard_rows`` says. `batch`: the
    placeholders that hold the batch, default those of unknown first dimension (docs/reproducible.md).
    Raises: GraphError where `train_op` is no optimizer's, has run, or is distributed already, and where a reproducible
    one holds random ops without seeds; InvalidArgumentError for options that do not fit.

    >>> train_op = rf.distribute(rf.train.AdamOptimizer().minimize(loss))  # doctest: +SKIP
    """
    step = find_train_step(train_op, "distribute")
    if step.strategy:
        raise GraphError(f"[distribute] {train_op.name!r} is distributed already, by the {step.strategy} strategy."
                         f"{train_op.where} Fix: call distribute once", train_op.name)
    check_choice(sparse)
    world = communicator or current()
    if reproducible:
        _distribute_by_shards(step, world, shards, batch)
        return train_op
    if shards is not None or batch is not None:
        raise InvalidArgumentError("[distribute] shards= and batch= are for reproducible=True. Fix: add it, or leave "
                                   "them out")
    if world.size > 1:
        graph = train_op.graph
        needed = ancestors([train_op])
        edges = _edges(step, needed)
        use_communicator(graph, world)
        with graph.as_default(), graph.name_scope(""), graph.control_dependencies(None), graph.name_scope(NAME):
            slices: dict[Variable, IndexedSlices] = {}
            for tensor, (gradient, variable, users) in edges.items():
                with graph.device(tensor.device):
                    if not isinstance(gradient, IndexedSlices):
                        reduced = _mean(tensor, variable, world.size)
                    else:
                        if variable not in slices:
                            rows_stay = getattr(step.optimizer, "zero_rows_stay", False)
                            slices[variable] = exchange(gradient, variable, world.size, choice=sparse,
                                                        zero_rows_stay=rows_stay)
                        reduced = slices[variable].indices if tensor is gradient.indices else slices[variable].values
                _read_instead(users, reduced)
            for gradient in slices.values():
                for tensor, scaled in scale_rows_first(gradient.values).items():
                    _read_instead([(op, i) for op in tensor.consumers for i, t in enumerate(op.inputs) if t is tensor],
                                  scaled)
            _broadcast_at_start(graph, needed, world.size)
    step.strategy = NAME
    return train_op


def _distribute_by_shards(step: TrainStep, world: Communicator, shards: Any, batch: Sequence[Any] | None) -> None:
    by_shards.check_settings(shards, world)
    graph = step.train_op.graph
    edges = _edges(step, ancestors([step.train_op]))
    use_communicator(graph, world)
    with graph.as_default(), graph.name_scope(""), graph.control_dependencies(None), graph.name_scope(by_shards.NAME):
        _broadcast_at_start(graph, by_shards.share_by_shards(step, edges, shards, batch), world.size, SHARDED_OPS)
    step.strategy = by_shards.NAME


Edges = dict[Tensor, tuple[Any, Variable, list[tuple[Operation, int]]]]


def _edges(step: TrainStep, needed: set[Operation]) -> Edges:
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


def _mean(tensor: Tensor, variable: Variable, size: int) -> Tensor:
    reduced: Tensor = collective_reduce(tensor, merge_op="Add", final_op="Div", name=variable.op.name,
                                        **next_keys(tensor.graph, size))
    reduced.set_shape(variable.shape)
    return reduced


def _read_instead(places: list[tuple[Operation, int]], tensor: Tensor) -> None:
    for op, index in places:
        op._update_input(index, tensor)


def _broadcast_at_start(graph: Graph, needed: set[Operation], size: int,
                        types: frozenset[str] = frozenset({"CollectiveReduce", "CollectiveGather"})) -> None:
    """Sessions run this once before the first step: the variables of the step take rank 0's values."""
    assigns = []
    for v in graph.get_collection(GraphKeys.GLOBAL_VARIABLES):
        if v.op in needed:
            value = collective_bcast(v, root=0, name=f"start/{v.op.name}", **next_keys(graph, size))
            assigns.append(build("Assign", v, value, name=f"start/{v.op.name}/Assign"))
    start = group(*assigns, name="start_from_rank_0")
    graph.add_to_collection(GraphKeys.BEFORE_FIRST_RUN, (types, start))
