"""Learning rates that depend on the step."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ringflow.graph.define import convert_to_tensor
from ringflow.graph.dtypes import float32, int32
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.graph import get_default_graph
from ringflow.graph.operation import Tensor
from ringflow.graph.ops.rules import build


def exponential_decay(learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False,
                      name: str | None = None) -> Tensor:
    """learning_rate * decay_rate ** (global_step / decay_steps); the exponent is rounded down with `staircase`."""
    with get_default_graph().name_scope(name or "ExponentialDecay"):
        rate, done = _progress(learning_rate, global_step, decay_steps, staircase)
        return rate * build("Pow", _as(decay_rate, rate), done)


def natural_exp_decay(learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False,
                      name: str | None = None) -> Tensor:
    """learning_rate * e ** (-decay_rate * global_step / decay_steps); the quotient is rounded down with `staircase`."""
    with get_default_graph().name_scope(name or "NaturalExpDecay"):
        rate, done = _progress(learning_rate, global_step, decay_steps, staircase)
        return rate * build("Exp", -_as(decay_rate, rate) * done)


def inverse_time_decay(learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False,
                       name: str | None = None) -> Tensor:
    """learning_rate / (1 + decay_rate * global_step / decay_steps); the quotient is rounded down with `staircase`."""
    with get_default_graph().name_scope(name or "InverseTimeDecay"):
        rate, done = _progress(learning_rate, global_step, decay_steps, staircase)
        return rate / (1.0 + _as(decay_rate, rate) * done)


def polynomial_decay(learning_rate: Any, global_step: Any, decay_steps: Any, end_learning_rate: Any = 0.0001,
                     power: Any = 1.0, cycle: bool = False, name: str | None = None) -> Tensor:
    """From learning_rate to end_learning_rate in decay_steps, as (1 - global_step / decay_steps) ** power; then it
    stays, or with `cycle` begins anew over 2, 3, ... times the steps."""
    with get_default_graph().name_scope(name or "PolynomialDecay"):
        rate, done = _progress(learning_rate, global_step, decay_steps, False)
        if cycle:
            done = done / build("Maximum", -build("Floor", -done), build("OnesLike", done))
        else:
            done = build("Minimum", done, build("OnesLike", done))
        end = _as(end_learning_rate, rate)
        return (rate - end) * build("Pow", 1.0 - done, _as(power, rate)) + end


def cosine_decay(learning_rate: Any, global_step: Any, decay_steps: Any, alpha: Any = 0.0,
                 name: str | None = None) -> Tensor:
    """learning_rate * ((1 - alpha) * (1 + cos(pi * done)) / 2 + alpha), done = min(global_step / decay_steps, 1)."""
    with get_default_graph().name_scope(name or "CosineDecay"):
        rate, done = _progress(learning_rate, global_step, decay_steps, False)
        done = build("Minimum", done, build("OnesLike", done))
        low = _as(alpha, rate)
        return rate * ((1.0 - low) * 0.5 * (1.0 + build("Cos", done * math.pi)) + low)


def piecewise_constant(x: Any, boundaries: Sequence[Any], values: Sequence[Any], name: str | None = None) -> Tensor:
    """values[0] for x <= boundaries[0], values[i] for boundaries[i - 1] < x <= boundaries[i], then values[-1]. x: ().

    Raises: InvalidArgumentError where there is not one value more than boundaries, or those do not ascend.
    """
    if len(values) != len(boundaries) + 1 or not boundaries or any(a >= b for a, b in zip(boundaries, boundaries[1:])):
        raise InvalidArgumentError(f"[piecewise_constant] boundaries must ascend and values be one more: got "
                                   f"{list(boundaries)} and {len(values)} values")
    with get_default_graph().name_scope(name or "PiecewiseConstant"):
        step = convert_to_tensor(x)
        passed = build("Cast", build("Greater", step, convert_to_tensor(list(boundaries), step.dtype)), DstT=int32)
        table = convert_to_tensor(list(values), None if hasattr(values[0], "dtype") else float32)
        return build("GatherV2", table, build("Sum", passed, convert_to_tensor(0)), convert_to_tensor(0))  # type: ignore[no-any-return]


def _progress(learning_rate: Any, global_step: Any, decay_steps: Any, staircase: bool) -> tuple[Tensor, Tensor]:
    """The rate, and global_step / decay_steps in its dtype."""
    rate = convert_to_tensor(learning_rate, None if hasattr(learning_rate, "dtype") else float32)
    done = build("Cast", convert_to_tensor(global_step), DstT=rate.dtype) / _as(decay_steps, rate)
    return rate, build("Floor", done) if staircase else done


def _as(value: Any, like: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value if value.dtype is like.dtype else build("Cast", value, DstT=like.dtype)
    return convert_to_tensor(float(value), like.dtype)
