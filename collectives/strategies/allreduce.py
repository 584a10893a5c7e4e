"""The allreduce strategy: every rank computes gradients of its own batch, the ranks' mean is applied everywhere.

    gradient -> update         becomes   gradient -> CollectiveReduce (mean) -> update
    IndexedSlices -> update    becomes   values / P, indices -> CollectiveGather -> update, or a dense sum (sparse.py)

The reduction stands where gradients leave ``compute_gradients``, so that clipping and decay see the gradient of the
global batch, and P ranks of batch b equal one rank of batch P*b for a loss that is a mean over its batch. Variables
start from rank 0's values. Nothing is added with one rank. The collectives become buckets at plan time (buckets.py).
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ringflow.graph.autodiff.train_step import TrainStep, find_train_step
from ringflow.graph.errors import GraphError, InvalidArgumentError
from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.operation import Operation, Tensor
from ringflow.graph.state.variables import Variable
from ringflow.graph.topology import ancestors

from ..attach import use_communicator
from ..communicator import Communicator
from ..lane import Options, StepParts
from ..loss_scale import DynamicLossScale
from ..shards import SHARDED_OPS
from ..shared_variables import mark_shared
from ..sparse import check_choice, exchange, scale_rows_first
from ..world import current
from . import reproducible as by_shards
from .rewiring import broadcast_at_start, edges_of, read_instead

NAME = "allreduce"


def distribute(train_op: Operation, *, communicator: Communicator | None = None, sparse: str = "auto",
               reproducible: bool = False, shards: int | None = None, batch: Sequence[Any] | None = None,
               clip_norm: float | None = None, loss_scale: DynamicLossScale | float | None = None,
               metrics: Mapping[str, Tensor] | None = None, samples: Tensor | None = None, checks: bool = False,
               accumulate: int = 1, wire_dtype: Any = None, rounding: str = "nearest") -> Operation:
    """Makes `train_op` (of ``optimizer.minimize`` or ``apply_gradients``) train on all ranks; returns it.

    Call it once, on every rank, before the train op has run. `communicator`: default that of the launched world.
    `sparse`: how IndexedSlices travel: "gather", "dense", or "auto", the one that costs fewer bytes (sparse.py).
    `reproducible`: the same weights, to the bit, on any number of ranks up to `shards`, the number of equal parts that
    the global batch is divided into; each rank feeds the rows that ``collectives.shard_rows`` says. `batch`: the
    placeholders that hold the batch, default those of unknown first dimension (docs/reproducible.md).
    `samples`: the number in this rank's batch (a scalar); gradients are then weighted by it, and so are `metrics`,
    which ``collectives.averages(train_op)`` gives averaged over all ranks. `clip_norm`: the most that the global norm
    of the averaged gradients may be. `loss_scale`: a number, or a DynamicLossScale, which skips steps that overflow.
    `checks`: compare rank count, step and weights at every step. `accumulate`: runs whose mean is applied at once, at
    the last of them. `wire_dtype`, `rounding`: 16 bits for what travels (docs/collectives.md explains all of these).
    Raises: GraphError where `train_op` is no optimizer's, has run, or is distributed already, and where a reproducible
    one holds random ops without seeds; InvalidArgumentError for options that do not fit.

    >>> train_op = rf.distribute(rf.train.AdamOptimizer().minimize(loss))  # doctest: +SKIP
    """
    step = find_train_step(train_op, "distribute")
    if step.strategy:
        raise GraphError(f"[distribute] {train_op.name!r} is distributed already, by the {step.strategy} strategy."
                         f"{train_op.where} Fix: call distribute once", train_op.name)
    check_choice(sparse)
    options = Options(clip_norm, loss_scale, metrics or {}, samples, checks, accumulate, wire_dtype, rounding)
    world = communicator or current()
    if reproducible:
        if options != Options():
            raise InvalidArgumentError("[distribute] reproducible=True goes with shards= and batch= only")
        _distribute_by_shards(step, world, shards, batch)
        return train_op
    if shards is not None or batch is not None:
        raise InvalidArgumentError("[distribute] shards= and batch= are for reproducible=True. Fix: add it, or leave "
                                   "them out")
    if world.size > 1 or options.changes_one_rank:
        _distribute(step, world, options, sparse)
    step.strategy = NAME
    return train_op


def _distribute(step: TrainStep, world: Communicator, options: Options, sparse: str) -> None:
    graph = step.train_op.graph
    edges = edges_of(step, ancestors([step.train_op]))
    use_communicator(graph, world)
    with graph.as_default(), graph.name_scope(""), graph.control_dependencies(None), graph.name_scope(NAME):
        parts = StepParts(step, options, world.size)
        slices: dict[Variable, IndexedSlices] = {}
        for tensor, (gradient, variable, users) in edges.items():
            with graph.device(tensor.device):
                if not isinstance(gradient, IndexedSlices):
                    reduced = parts.reduce(tensor, variable.op.name)
                    reduced.set_shape(variable.shape)
                else:
                    parts.refuse_sparse(variable.op.name)
                    if variable not in slices:
                        rows_stay = getattr(step.optimizer, "zero_rows_stay", False)
                        slices[variable] = gradient if world.size == 1 else exchange(
                            gradient, variable, world.size, choice=sparse, zero_rows_stay=rows_stay)
                    reduced = slices[variable].indices if tensor is gradient.indices else slices[variable].values
            read_instead(users, reduced)
        parts.finish([place for tensor, (gradient, _, users) in edges.items() for place in users
                      if not isinstance(gradient, IndexedSlices) or tensor is gradient.values], list(slices.values()))
        for gradient in slices.values() if world.size > 1 else ():
            for tensor, scaled in scale_rows_first(gradient.values).items():
                places = [(op, i) for op in tensor.consumers for i, t in enumerate(op.inputs) if t is tensor]
                read_instead(places, scaled)
        if world.size > 1:
            shared = set() if options.checks else mark_shared(step, world)
            broadcast_at_start(graph, ancestors([step.train_op]), world.size, shared=shared)


def _distribute_by_shards(step: TrainStep, world: Communicator, shards: Any, batch: Sequence[Any] | None) -> None:
    by_shards.check_settings(shards, world)
    graph = step.train_op.graph
    edges = edges_of(step, ancestors([step.train_op]))
    use_communicator(graph, world)
    with graph.as_default(), graph.name_scope(""), graph.control_dependencies(None), graph.name_scope(by_shards.NAME):
        broadcast_at_start(graph, by_shards.share_by_shards(step, edges, shards, batch), world.size, SHARDED_OPS)
    step.strategy = by_shards.NAME
