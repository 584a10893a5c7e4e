"""Local response normalization across channels, and its gradient. Source: Krizhevsky et al., NIPS 2012, section 3.3."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..define import Array, attr, define
from ..dtypes import FLOATS
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import TensorShape
from .rules import merged_shape, ranked

_ATTRS: dict[str, Any] = {"depth_radius": 5, "bias": 1.0, "alpha": 1.0, "beta": 0.5,
                          "T": attr("type", dtypes.float32, FLOATS)}


def _lrn_shape(op: Operation) -> list[TensorShape]:
    for i in range(len(op.inputs)):
        ranked(op, i, 4)
    return merged_shape(op)


def _near(x: Array, radius: int) -> Array:
    """The sum of `x` over the channels at most `radius` away."""
    around = np.pad(x, ((0, 0),) * 3 + ((radius, radius),))
    near: Array = np.lib.stride_tricks.sliding_window_view(around, 2 * radius + 1, axis=3).sum(-1, x.dtype)
    return near


@define("LRN(input: T) -> output: T", **_ATTRS, shape=_lrn_shape)
def lrn(input: Array, *, depth_radius: int, bias: float, alpha: float, beta: float) -> Array:
    """output = input / (bias + alpha * sum of input^2 over the channels at most depth_radius away)^beta."""
    kind = input.dtype.type
    norm = kind(bias) + kind(alpha) * _near(input * input, depth_radius)
    return np.asarray(input * np.power(norm, -kind(beta)))


@lrn.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    return [lrn_grad(grad, op.inputs[0], op.outputs[0], **{k: op.attrs[k] for k in _ATTRS})]


@define("LRNGrad(input_grads: T, input_image: T, output_image: T) -> output: T", **_ATTRS, differentiable=False,
        shape=_lrn_shape)
def lrn_grad(input_grads: Array, input_image: Array, output_image: Array, *, depth_radius: int, bias: float,
             alpha: float, beta: float) -> Array:
    """With n = bias + alpha * sum: grads n^-beta - 2 alpha beta input * (sum of grads output / n nearby)."""
    kind = input_image.dtype.type
    norm = kind(bias) + kind(alpha) * _near(input_image * input_image, depth_radius)
    spread = _near(input_grads * output_image / norm, depth_radius)
    return np.asarray(input_grads * np.power(norm, -kind(beta)) - kind(2 * alpha * beta) * input_image * spread)


_SAMPLES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 2, 7), {}),
    ((1, 2, 2, 12), {"depth_radius": 2, "alpha": 0.1, "beta": 0.75}),
    ((1, 1, 1, 3), {"depth_radius": 1, "bias": 2.0}),
    ((0, 2, 2, 3), {}),
]
for _dims, _values in _SAMPLES:
    lrn.sample(normal(*_dims), **_values)
    lrn_grad.sample(normal(*_dims), normal(*_dims), normal(*_dims), **_values)

__all__ = ["lrn"]
