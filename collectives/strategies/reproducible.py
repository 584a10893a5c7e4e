"""The reproducible strategy: training whose weights are the same, to the bit, on any number of ranks.

    gradient -> update         becomes   gradient -> ShardMean -> update
    IndexedSlices -> update    becomes   values / L, indices -> ShardConcat -> update
    batch -> variable update   becomes   value -> ShardMean -> update    (moving averages of batch statistics)

The global batch is divided into L shards, a range of which belongs to each rank. Nothing that follows the sharded ops
depends on the number of ranks: their results are the same everywhere, and so are the updates. shards.py says what
happens to the part before them at plan time. The path is the same with one rank, which then has all L shards.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ringflow.graph.autodiff.train_step import TrainStep
from ringflow.graph.dtypes import FLOATS
from ringflow.graph.errors import GraphError, InvalidArgumentError
from ringflow.graph.graph import Graph, GraphKeys
from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.operation import Operation, Tensor
from ringflow.graph.ops.rules import build
from ringflow.graph.state.variables import Variable
from ringflow.graph.topology import ancestors, topological_order

from ..communicator import Communicator
from ..exact import MOST_SHARDS
from ..shard_ops import shard_concat, shard_mean_op, sharded_keys, use_shards
from ..shards import check_shards, followers, is_update, random_key

NAME = "reproducible"

Edges = dict[Tensor, tuple[Any, Variable, list[tuple[Operation, int]]]]


def check_settings(shards: Any, world: Communicator) -> None:
    """Raises: InvalidArgumentError for a number of shards that cannot be."""
    if isinstance(shards, bool) or not isinstance(shards, (int, np.integer)) or not 1 <= shards <= MOST_SHARDS:
        raise InvalidArgumentError("[distribute] reproducible=True needs shards=L, the number of parts of the global "
                                   "batch, "
                                   f"in [1, {MOST_SHARDS}]: got {shards!r}. Fix: choose L once, at least the largest "
                                   "number "
                                   "of ranks that will ever run this")
    check_shards(int(shards), world.size)


def share_by_shards(step: TrainStep, edges: Edges, shards: int, batch: Sequence[Any] | None) -> set[Operation]:
    """Rewrites the train step; inside its graph's scopes. Returns the operations whose variables must start alike.

    edges: the gradient tensors with their users. batch: placeholders, or None for those of unknown first dimension.
    Raises: GraphError, InvalidArgumentError as ``distribute`` tells.
    """
    graph = step.train_op.graph
    before = ancestors(tensor.op for tensor in edges)
    random = random_key(before)
    updates = ancestors([step.train_op, *_update_ops(graph)])
    placeholders = _batch(graph, batch, updates)
    use_shards(graph, {"shards": int(shards), "batch": [op.name for op in placeholders]})
    for tensor, (gradient, variable, users) in edges.items():
        with graph.device(tensor.device):
            shared = _shared(tensor, gradient, variable, int(shards), random)
        for op, index in users:
            op._update_input(index, shared)
    moving = followers(set(placeholders), topological_order(graph.get_operations()))
    for op in sorted(updates, key=lambda o: o.id):
        if is_update(op):
            _average_inputs(op, moving)
    return updates


def _update_ops(graph: Graph) -> list[Operation]:
    return [x.op if isinstance(x, Tensor) else x for x in graph.get_collection(GraphKeys.UPDATE_OPS)]


def _shared(tensor: Tensor, gradient: Any, variable: Variable, shards: int, random: str) -> Tensor:
    name, keys = variable.op.name, sharded_keys(tensor.graph, random)
    if tensor.dtype.is_floating and tensor.dtype not in FLOATS:
        raise InvalidArgumentError(f"[distribute] reproducible gradients are float32 or float64: that of {name!r} is "
                                   f"{tensor.dtype}.{tensor.op.where} Fix: rf.cast it to float32")
    result: Tensor
    if not isinstance(gradient, IndexedSlices):
        result = shard_mean_op(tensor, name=name, **keys)
        result.set_shape(variable.shape)
        return result
    if tensor is gradient.indices:
        result = shard_concat(tensor, name=f"{name}/indices", **keys)
        return result
    scaled = build("Mul", tensor, np.array(1 / shards, tensor.dtype.as_numpy_dtype), name=f"{name}/scaled")
    result = shard_concat(scaled, name=f"{name}/values", **keys)
    return result


def _average_inputs(op: Operation, moving: set[Operation]) -> None:
    """Where `op` updates a variable by something of the batch, it takes the mean over all shards."""
    for i, t in enumerate(op.inputs):
        if t.op not in moving:
            continue
        if t.dtype not in FLOATS or not t.shape.is_fully_defined():
            raise GraphError(f"[distribute] {op.name!r} ({op.type}) updates a variable by {t.name!r}, {t.dtype} of "
                             "shape "
                             f"{t.shape}, which depends on the batch: only floats of known shape can be averaged over "
                             f"shards.{op.where} Fix: keep it out of the train op, or reduce it to a float of known "
                             "shape",
                             op.name)
        op._update_input(i, shard_mean_op(t, name=f"moving/{op.name}", **sharded_keys(t.graph)))


def _batch(graph: Graph, given: Sequence[Any] | None, needed: set[Operation]) -> list[Operation]:
    """The placeholders of the batch, sorted by name."""
    if given is None:
        found = []
        for op in needed:
            if op.type != "Placeholder":
                continue
            shape = op.outputs[0].shape
            if shape.dims is None:
                raise InvalidArgumentError(f"[distribute] placeholder {op.name!r} has no declared shape, so it may or "
                                           "may not "
                                           f"be part of the batch.{op.where} Fix: declare its shape, or pass "
                                           "batch=[...]")
            if shape.dims and shape.dims[0] is None:
                found.append(op)
        return sorted(found, key=lambda op: op.name)
    batch = []
    for x in given:
        element = graph.as_graph_element(x)
        op = element.op if isinstance(element, Tensor) else element
        shape = op.outputs[0].shape if op.outputs else None
        if op.type != "Placeholder" or shape is None or (shape.dims is not None and (shape.dims[:1] != (None,))):
            raise InvalidArgumentError("[distribute] batch= takes placeholders whose first dimension is None: "
                                       f"{op.name!r} is "
                                       f"a {op.type} of shape {shape}.{op.where} Fix: declare it [None, ...], because "
                                       "a "
                                       "shard has fewer rows than the batch")
        batch.append(op)
    return sorted(set(batch), key=lambda op: op.name)
