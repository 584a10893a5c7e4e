"""A graph as readable text, one line a node, for people and for golden files.

    loss = Mean(xent, mean_axes) {T=float32, keep_dims=False} -> () float32
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..graph import Graph
from ..operation import Operation
from .wire import input_name


def graph_text(graph: Graph, ops: Iterable[Operation] | None = None) -> str:
    """All nodes in the order they were made; control inputs are marked ``^``, devices ``@``."""
    return "\n".join(node_text(op) for op in (graph.get_operations() if ops is None else ops)) + "\n"


def node_text(op: Operation) -> str:
    inputs = ", ".join([*map(input_name, op.inputs), *("^" + c.name for c in op.control_inputs)])
    attrs = ", ".join(f"{k}={_value(v)}" for k, v in sorted(op.attrs.items()))
    outputs = ", ".join(f"{t.shape} {t.dtype}" for t in op.outputs)
    return "".join([f"{op.name} = {op.type}({inputs})", f" {{{attrs}}}" if attrs else "",
                    f" @{op.device}" if op.device else "", f" -> {outputs}" if outputs else ""])


def _value(value: Any) -> str:
    if isinstance(value, np.ndarray):
        if value.size <= 4:
            return np.array2string(value, separator=", ")
        return f"<{'x'.join(map(str, value.shape))} array>"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value)
