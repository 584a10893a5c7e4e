"""Older spellings of ops in graph files: how a node of each becomes one of an op that is defined here.

TensorFlow kept old op names when signatures changed. Files hold both; here one op of each kind is defined, and the
importer rewrites the others through this table. A name that is not here is looked up as it stands.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import dtypes
from ..graph import Graph
from ..operation import Tensor

Inputs = list[Tensor]
Rewrite = Callable[[Graph, Inputs, dict[str, Any], str], Inputs]


@dataclass(frozen=True)
class Spelling:
    """The op that a node becomes, attrs of its own that it loses or that `rewrite` turns into inputs, and how."""

    op: str
    drops: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    rewrite: Rewrite | None = None


def _constant(graph: Graph, value: Any, name: str) -> Tensor:
    array = np.asarray(value)
    attrs = {"value": array, "dtype": dtypes.as_dtype(array.dtype)}
    return graph.create_op("Const", [], attrs, name).outputs[0]


def _axis_last(graph: Graph, inputs: Inputs, attrs: dict[str, Any], name: str) -> Inputs:
    return [*inputs[1:], inputs[0]]


def _axis_0(graph: Graph, inputs: Inputs, attrs: dict[str, Any], name: str) -> Inputs:
    return [*inputs, _constant(graph, np.int32(0), f"{name}/axis")]


def _k_input(graph: Graph, inputs: Inputs, attrs: dict[str, Any], name: str) -> Inputs:
    k = attrs.pop("k")
    return [*inputs, _constant(graph, np.asarray(k, inputs[-1].dtype.as_numpy_dtype), f"{name}/k")]


def _top_k(graph: Graph, inputs: Inputs, attrs: dict[str, Any], name: str) -> Inputs:
    return [*inputs, _constant(graph, np.int32(attrs.pop("k")), f"{name}/k")]


def _reserve_again(graph: Graph, inputs: Inputs, attrs: dict[str, Any], name: str) -> Inputs:
    return [*inputs, inputs[-1]]  # reserve_space_3 is another runtime's scratch: any tensor of the type will do


SPELLINGS: dict[str, Spelling] = {
    "Add": Spelling("AddV2"),
    "Div": Spelling("RealDiv"),
    "BatchMatMul": Spelling("BatchMatMulV2"),
    "BatchMatMulV3": Spelling("BatchMatMulV2", drops=("Ta", "Tb", "Tout")),
    "Concat": Spelling("ConcatV2", rewrite=_axis_last),
    "Convolution2D": Spelling("Conv2D"),
    "FusedBatchNorm": Spelling("FusedBatchNormV3"),
    "FusedBatchNormV2": Spelling("FusedBatchNormV3"),
    "FusedBatchNormGrad": Spelling("FusedBatchNormGradV3", rewrite=_reserve_again),
    "FusedBatchNormGradV2": Spelling("FusedBatchNormGradV3", rewrite=_reserve_again),
    "Gather": Spelling("GatherV2", drops=("validate_indices",), rewrite=_axis_0),
    "InTopK": Spelling("InTopKV2", reads=("k",), rewrite=_k_input),
    "Leave": Spelling("Exit"),
    "PlaceholderV2": Spelling("Placeholder"),
    "RefIdentity": Spelling("Identity"),
    "SoftMax": Spelling("Softmax"),
    **{old: Spelling(f"{old}V2") for old in (
        "FIFOQueue", "PaddingFIFOQueue", "PriorityQueue", "RandomShuffleQueue", "QueueEnqueue", "QueueEnqueueMany",
        "QueueDequeue", "QueueDequeueMany", "QueueDequeueUpTo", "QueueClose", "QueueSize", "QueueIsClosed")},
    "TopK": Spelling("TopKV2", reads=("k",), rewrite=_top_k),
    "Variable": Spelling("VariableV2"),
}
