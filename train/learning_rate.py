"""Learning rates that depend on the step."""
from __future__ import annotations

from typing import Any

from ringflow.graph.define import convert_to_tensor
from ringflow.graph.dtypes import float32
from ringflow.graph.graph import get_default_graph
from ringflow.graph.operation import Tensor
from ringflow.graph.ops.rules import build


def exponential_decay(learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False,
                      name: str | None = None) -> Tensor:
    """learning_rate * decay_rate ** (global_step / decay_steps); the exponent is rounded down with `staircase`."""
    with get_default_graph().name_scope(name or "ExponentialDecay"):
        rate = convert_to_tensor(learning_rate, None if hasattr(learning_rate, "dtype") else float32)
        step = convert_to_tensor(global_step)
        exponent = build("Cast", step, DstT=rate.dtype) / _as(decay_steps, rate)
        if staircase:
            exponent = build("Floor", exponent)
        return rate * build("Pow", _as(decay_rate, rate), exponent)


def _as(value: Any, like: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value if value.dtype is like.dtype else build("Cast", value, DstT=like.dtype)
    return convert_to_tensor(float(value), like.dtype)
