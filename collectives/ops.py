"""Collective operations as ordinary ops of the graph: every rank runs the same ones in the same order.

``CollectiveReduce`` and ``CollectiveGather`` have TensorFlow's attrs. ``_BucketReduce`` and ``_BucketWait`` are made by
the pass in buckets.py: many reductions as one, begun here and awaited there. The NumPy references call the communicator
of the graph, or that of the calling thread; with one rank they give back their input.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from ringflow.graph.define import Array, attr, convert_to_tensor, define
from ringflow.graph.dtypes import FIXED, bfloat16, float16, float32, float64, int32, int64
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.graph import Graph
from ringflow.graph.interpreter import State
from ringflow.graph.operation import Operation, Tensor
from ringflow.graph.ops.rules import first_shape
from ringflow.graph.shapes import TensorShape

from .attach import communicator_of
from .wire_dtype import compress, expand

REDUCIBLE = (float32, float64, int32, int64, float16, bfloat16)
BUCKETED = (float32, float64, float16, bfloat16)

_MERGES = {("Add", "Id"): "sum", ("Add", "Div"): "mean", ("Mul", "Id"): "prod", ("Min", "Id"): "min",
           ("Max", "Id"): "max"}
_GROUP = {"group_size": attr("int"), "group_key": attr("int"), "instance_key": attr("int"),
          "communication_hint": "auto", "timeout_seconds": 0.0}


def reduction_of(op: Operation) -> str:
    """'sum', 'mean', ... of a CollectiveReduce node. Raises: InvalidArgumentError for a pair that means nothing."""
    merge, final = op.attrs["merge_op"], op.attrs["final_op"]
    if (merge, final) not in _MERGES:
        raise InvalidArgumentError(f"[CollectiveReduce] merge_op {merge!r} with final_op {final!r} is not supported. "
                                   "Fix: use Add with Id or Div, or Mul, Min or Max with Id")
    return _MERGES[merge, final]


@define("CollectiveReduce(input: T) -> data: T", T=REDUCIBLE, stateful=True,
        merge_op=attr("string", "Add", ("Min", "Max", "Mul", "Add")), final_op=attr("string", "Id", ("Id", "Div")),
        subdiv_offsets=attr("list(int)", []), wait_for=attr("list(int)", []), **_GROUP)
def collective_reduce(input: Array, *, op: Operation) -> Array:
    """data = the sum (or product, minimum, maximum) of the ranks' inputs, divided by their number for final_op Div."""
    group = communicator_of(op.graph)
    return input if group.size == 1 else group.allreduce(input, reduction_of(op))


@collective_reduce.shape
def _(op: Operation) -> list[TensorShape]:
    reduction_of(op)
    return first_shape(op)


@collective_reduce.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    if op.attrs["merge_op"] != "Add":
        raise InvalidArgumentError(f"[CollectiveReduce] no gradient for merge_op {op.attrs['merge_op']}: {op.name!r}")
    return [collective_reduce(grad, merge_op="Add", final_op=op.attrs["final_op"],
                              **next_keys(op.graph, op.attrs["group_size"]))]


@define("CollectiveBcast(input: T) -> data: T", T=FIXED, root=0, stateful=True, shape=first_shape, **_GROUP)
def collective_bcast(input: Array, *, root: int, op: Operation) -> Array:
    """data = the input of rank `root`. Inputs have one shape on all ranks."""
    return communicator_of(op.graph).broadcast(input, root)


@define("CollectiveGather(input: T) -> data: T", T=FIXED, stateful=True, **_GROUP)
def collective_gather(input: Array, *, op: Operation) -> Array:
    """data = the ranks' inputs one after another along dimension 0, in which they may differ."""
    return communicator_of(op.graph).allgather(input)


@collective_gather.shape
def _(op: Operation) -> list[TensorShape]:
    shape = op.inputs[0].shape
    if shape.dims is None:
        return [shape]
    if not shape.dims:
        raise InvalidArgumentError("[CollectiveGather] 'input' must have a dimension to gather along: it is a scalar")
    return [TensorShape([None, *shape.dims[1:]])]


_BUCKET = {"bucket": attr("int"), "elements": attr("list(int)"), "wire": "", "in_place": False}


@define("_BucketReduce(inputs: N*T)", T=BUCKETED, op=attr("string", "sum", ("sum", "mean")), overlap=True,
        stateful=True, differentiable=False, **_BUCKET)
def bucket_reduce(inputs: list[Array], *, bucket: int, wire: str, state: State, op: Operation) -> None:
    """Begins the reduction of bucket number `bucket` over the ranks; `elements`: of each input.

    overlap: false where the wait follows at once, so that the waiting thread had better do it itself. wire: the dtype
    and rounding in which the values travel (wire_dtype.py), "" for their own. in_place: the result replaces the inputs,
    so all ranks must have read it before one of them writes the next (release.py).
    """
    group = communicator_of(op.graph)
    started = state.containers.setdefault("_buckets", {})
    if wire:
        scale = 1 / group.size if op.attrs["op"] == "mean" else 1.0
        kept = state.containers.setdefault("_residuals", {}).setdefault((bucket, tuple(op.attrs["elements"])), {})
        words = [compress(x, scale, wire, kept, i) for i, x in enumerate(inputs)]
        started[bucket] = [expand(group.allreduce(w, "sum")).astype(x.dtype) for w, x in zip(words, inputs)]
        return
    started[bucket] = [x if group.size == 1 else group.allreduce(x, op.attrs["op"]) for x in inputs]


@define("_BucketWait() -> outputs: N*T", T=attr("type", allowed=BUCKETED), shapes=attr("list(shape)"), stateful=True,
        differentiable=False, **_BUCKET)
def bucket_wait(*, bucket: int, state: State, op: Operation) -> list[Array]:
    """The reduced inputs of bucket number `bucket`; anything where its `_BucketReduce` was held back by a gate."""
    reduced: list[Array] | None = state.containers.get("_buckets", {}).pop(bucket, None)
    return [np.zeros(t.shape.known, t.dtype.as_numpy_dtype) for t in op.outputs] if reduced is None else reduced


@bucket_wait.shape
def _(op: Operation) -> list[TensorShape]:
    return list(op.attrs["shapes"])


# ---- functions that build them
def next_keys(graph: Graph, size: int) -> dict[str, int]:
    """The attrs that tell one collective of `graph` from another."""
    keys = graph.get_collection_ref("collective_instances")
    keys.append(len(keys) + 1)
    return {"group_size": size, "group_key": 1, "instance_key": keys[-1]}


def _keys(x: Tensor) -> dict[str, int]:
    return next_keys(x.graph, communicator_of(x.graph).size)


def all_reduce(x: Any, op: str = "sum", name: str | None = None) -> Tensor:
    """The sum ("sum") or mean ("mean") of the ranks' tensors; "prod", "min" and "max" have no gradient."""
    x = convert_to_tensor(x)
    for (merge, final), word in _MERGES.items():
        if word == op:
            return collective_reduce(x, merge_op=merge, final_op=final, name=name, **_keys(x))
    raise InvalidArgumentError(f"[all_reduce] op must be one of {', '.join(_MERGES.values())}: got {op!r}")


def all_gather(x: Any, name: str | None = None) -> Tensor:
    """The ranks' tensors one after another along dimension 0, in which they may differ."""
    x = convert_to_tensor(x)
    return collective_gather(x, name=name, **_keys(x))


def broadcast(x: Any, root: int = 0, name: str | None = None) -> Tensor:
    """The tensor of rank `root`."""
    x = convert_to_tensor(x)
    keys = _keys(x)
    if not 0 <= root < keys["group_size"]:
        raise InvalidArgumentError(f"[broadcast] root must be a rank, in [0, {keys['group_size']}): got {root}")
    return collective_bcast(x, root=root, name=name, **keys)
