"""Ops of the reproducible mode (strategies/reproducible.py).

``ShardMean`` and ``ShardConcat`` stand in the user's graph; the pass in shards.py copies what is before them for each
of this rank's shards, and puts buckets of ``_ExactMaxima``, ``_ExactSum`` and ``_ExactMean``, or a gather, in their
place. The references compute the same bits as the kernels (exact.py).
"""
from __future__ import annotations

from typing import Any

import numpy as np
from ringflow.graph.define import Array, attr, convert_to_tensor, define
from ringflow.graph.dtypes import FIXED, FLOATS
from ringflow.graph.errors import GraphError, InternalError, InvalidArgumentError
from ringflow.graph.graph import Graph
from ringflow.graph.interpreter import State
from ringflow.graph.operation import Operation, Tensor
from ringflow.graph.ops.rules import first_shape
from ringflow.graph.shapes import TensorShape

from . import exact
from .attach import communicator_of
from .ops import next_keys

_COLLECTION = "shards"  # of a graph: the settings of its reproducible train steps, one for all

# shards: their number over all ranks; batch: names of the placeholders whose rows are divided; random: a hash of the
# seeds before the op, for the consensus
_SHARDED = {"shards": attr("int"), "batch": attr("list(string)"), "random": "", "group_size": attr("int"),
            "group_key": attr("int"), "instance_key": attr("int")}


@define("ShardMean(input: T) -> mean: T", T=FLOATS, stateful=True, differentiable=False, shape=first_shape, **_SHARDED)
def shard_mean_op(input: Array, *, op: Operation) -> Array:
    """The mean over all shards of all ranks of what `input` is on each; the same bits on any number of ranks."""
    raise InternalError(f"[ShardMean] {op.name!r} has not been split into shards. Fix: report this as a bug of "
                        "ringflow")


@define("ShardConcat(input: T) -> rows: T", T=FIXED, stateful=True, differentiable=False, **_SHARDED)
def shard_concat(input: Array, *, op: Operation) -> Array:
    """The rows of `input` of all shards of all ranks, in the order of the shards."""
    raise InternalError(f"[ShardConcat] {op.name!r} has not been split into shards. Fix: report this as a bug of "
                        "ringflow")


@shard_concat.shape
def _(op: Operation) -> list[TensorShape]:
    shape = op.inputs[0].shape
    return [shape if shape.dims is None else TensorShape([None, *shape.dims[1:]])]


# bucket: its number; elements: of each of its tensors; rows: of one shard in each placeholder; inputs: for each tensor
# its values in this rank's shards. `rows` and the number of inputs may differ by rank.
_EXACT = {"bucket": attr("int"), "elements": attr("list(int)"), "shards": attr("int"), "rows": attr("list(int)"),
          "overlap": True, "group_size": attr("int")}


@define("_ExactMaxima(inputs: N*T)", T=FLOATS, stateful=True, differentiable=False, **_EXACT)
def exact_maxima(inputs: list[Array], *, op: Operation, state: State) -> None:
    """Begins the maximum over the ranks of the exponents in each block."""
    words = [np.array([w for rows in op.attrs["rows"] for w in (rows, -rows)], np.int32)]
    words += [np.concatenate(exact.maxima(shards)) for shards in _by_tensor(op, inputs)]
    state.containers.setdefault("_exact", {})[op.attrs["bucket"]] = _reduce(op, np.concatenate(words), "max")


@define("_ExactSum(inputs: N*T)", T=FLOATS, stateful=True, differentiable=False, **_EXACT)
def exact_sum(inputs: list[Array], *, op: Operation, state: State) -> None:
    """Adds this rank's shards as fixed-point numbers and begins their sum over the ranks."""
    words = state.containers["_exact"][op.attrs["bucket"]]
    rows = op.attrs["rows"]
    group = communicator_of(op.graph)
    for i, n in enumerate(rows):
        if words[2 * i] != -words[2 * i + 1]:
            raise InvalidArgumentError(
                f"[distribute] rank {group.rank}/{group.size}: the ranks must feed shards of one size: this one feeds "
                f"{n} "
                f"rows a shard, others between {-words[2 * i + 1]} and {words[2 * i]}. Fix: feed the rows that "
                "shard_rows(global_batch, shards) says, of one global batch.")
    at, results = 2 * len(rows), []
    for shards in _by_tensor(op, inputs):
        blocks = -(-shards[0].size // exact.BLOCK)
        exponents, odd = words[at:at + blocks], words[at + blocks:at + 2 * blocks].any()
        at += 2 * blocks
        sums = _reduce(op, exact.add(shards, exponents, op.attrs["shards"]), "sum")
        results.append((sums, exponents, _reduce(op, exact.classify(shards), "sum") if odd else None))
    state.containers["_exact"][op.attrs["bucket"]] = results


@define("_ExactMean() -> means: N*T", T=attr("type", allowed=FLOATS), shapes=attr("list(shape)"), stateful=True,
        differentiable=False, **_EXACT)
def exact_mean(*, op: Operation, state: State) -> list[Array]:
    """Waits for the sums; the means."""
    means = []
    for (sums, exponents, codes), t in zip(state.containers["_exact"].pop(op.attrs["bucket"]), op.outputs):
        x = exact.mean(sums, exponents, op.attrs["shards"], t.dtype.as_numpy_dtype)
        means.append((x if codes is None else exact.mark(codes, x)).reshape(t.shape.known))
    return means


@exact_mean.shape
def _(op: Operation) -> list[TensorShape]:
    return list(op.attrs["shapes"])


def _by_tensor(op: Operation, inputs: list[Array]) -> list[list[Array]]:
    own = len(inputs) // len(op.attrs["elements"])
    return [[x.ravel() for x in inputs[i:i + own]] for i in range(0, len(inputs), own)]


def _reduce(op: Operation, x: Array, how: str) -> Array:
    group = communicator_of(op.graph)
    return x if group.size == 1 else group.allreduce(x, how)


# ---- functions that build them
def use_shards(graph: Graph, settings: dict[str, Any]) -> None:
    """Notes what the sharded ops of `graph` share. Raises: GraphError where it differs from before."""
    known = graph.get_collection_ref(_COLLECTION)
    if known and known[0] != settings:
        raise GraphError("[distribute] all reproducible train ops of a graph divide the same batch: this one "
                         f"{settings}, "
                         f"the one before {known[0]}. Fix: give both the same shards= and batch=")
    known[:] = [settings]


def sharded_keys(graph: Graph, random: str = "") -> dict[str, Any]:
    """The attrs of a new sharded op. Raises: GraphError where nothing has been distributed with reproducible=True."""
    known = graph.get_collection(_COLLECTION)
    if not known:
        raise GraphError("[shard_mean] this graph has no shards. Fix: call it after rf.distribute(train_op, "
                         "reproducible=True, shards=...)")
    return {**known[0], "random": random, **next_keys(graph, communicator_of(graph).size)}


def shard_mean(x: Any, name: str | None = None) -> Tensor:
    """The mean over all shards of all ranks of a tensor that is computed from the batch, such as the loss.

    The same bits on any number of ranks. Every rank must fetch it, in the same runs. Fetched together with the train op
    it costs no second forward pass. Raises: GraphError where no train op was distributed with reproducible=True.
    """
    x = convert_to_tensor(x)
    if x.dtype not in FLOATS or not x.shape.is_fully_defined():
        raise InvalidArgumentError(f"[shard_mean] a float tensor of known shape is needed: {x.name!r} is {x.dtype} of "
                                   "shape "
                                   f"{x.shape}.{x.op.where} Fix: reduce it over the batch first")
    result: Tensor = shard_mean_op(x, name=name, **sharded_keys(x.graph))
    return result
