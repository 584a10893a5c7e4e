"""Batch normalisation of images over all axes but the channels, and its gradient.

Training normalises with the batch's own mean and biased variance, which the gradient receives through
reserve_space_1 and 2; batch_variance, meant for the moving average, is the unbiased one.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..define import Array, define
from ..dtypes import FLOATS
from ..errors import InvalidArgumentError, UnimplementedError
from ..operation import Operation, Tensor
from ..samples import normal, positive
from ..shapes import TensorShape
from .rules import ranked, same_dim
from .window import DATA_FORMAT, from_nhwc, nhwc_dims, to_nhwc


def _channels(op: Operation, x: int, *vectors: int) -> TensorShape:
    """(channels,), which the image batch at flat input `x` and the vectors must agree on."""
    if op.attrs["T"] is not op.attrs["U"]:
        raise InvalidArgumentError(f"[{op.type}] scale and statistics must have the dtype of the images: they are "
                                   f"{op.attrs['U']}, the images {op.attrs['T']}. Fix: rf.cast them")
    c = nhwc_dims(op.attrs["data_format"], ranked(op, x, 4))[3]
    for i in vectors:
        c = same_dim(op, "channels differ", c, ranked(op, i, 1)[0])  # type: ignore[arg-type]
    return TensorShape([c])


@define("FusedBatchNormV3(x: T, scale: U, offset: U, mean: U, variance: U) -> y: T, batch_mean: U, batch_variance: U, "
        "reserve_space_1: U, reserve_space_2: U, reserve_space_3: U",
        T=FLOATS, U=FLOATS, epsilon=0.0001, exponential_avg_factor=1.0, data_format=DATA_FORMAT, is_training=True)
def fused_batch_norm(x: Array, scale: Array, offset: Array, mean: Array, variance: Array, *, epsilon: float,
                        exponential_avg_factor: float, data_format: str, is_training: bool) -> tuple[Array, ...]:
    """y = (x - m) / sqrt(v + epsilon) * scale + offset, per channel. x, y: (n, h, w, c); all else (c,).

    Training: m, v are the mean and biased variance of x over n, h, w; `mean` and `variance` enter only with a factor f
    other than 1: batch_mean = (1 - f) * mean + f * m, and so batch_variance with the unbiased v * count / (count - 1).
    Inference: m = mean, v = variance.
    """
    image = to_nhwc(data_format, x)
    if not is_training:
        m, v, new_mean, new_variance = mean, variance, mean, variance
    else:
        count = image.size // max(image.shape[3], 1)
        m = image.mean((0, 1, 2), dtype=np.float64) if count else np.zeros(image.shape[3])
        v = np.square(image - m).mean((0, 1, 2)) if count else np.zeros(image.shape[3])
        f = exponential_avg_factor
        new_mean, new_variance = m, v * (count / max(count - 1, 1))
        if f != 1:
            new_mean, new_variance = (1 - f) * mean + f * new_mean, (1 - f) * variance + f * new_variance
    y = (image - m) / np.sqrt(v + epsilon) * scale + offset
    return from_nhwc(data_format, y), new_mean, new_variance, m, v, np.zeros(0)


@fused_batch_norm.shape
def _(op: Operation) -> list[TensorShape]:
    uses_moving = not op.attrs["is_training"] or op.attrs["exponential_avg_factor"] != 1
    c = _channels(op, 0, 1, 2, *((3, 4) if uses_moving else ()))
    return [op.inputs[0].shape.with_rank(4), c, c, c, c, TensorShape([0])]


@fused_batch_norm.gradient
def _(op: Operation, grad: Tensor | None, *others: Tensor | None) -> list[Any]:
    if grad is None:
        return [None] * 5
    x, scale, _, mean, variance = op.inputs
    training = op.attrs["is_training"]
    m, v = op.outputs[3:5] if training else (mean, variance)
    outputs = fused_batch_norm_grad(grad, x, scale, m, v, op.outputs[5], epsilon=op.attrs["epsilon"],
                                    data_format=op.attrs["data_format"], is_training=training)
    return [*outputs[:3], None, None]


@define("FusedBatchNormGradV3(y_backprop: T, x: T, scale: U, reserve_space_1: U, reserve_space_2: U, "
        "reserve_space_3: U) -> x_backprop: T, scale_backprop: U, offset_backprop: U, reserve_space_4: U, "
        "reserve_space_5: U",
        T=FLOATS, U=FLOATS, epsilon=0.0001, data_format=DATA_FORMAT, is_training=True)
def fused_batch_norm_grad(y_backprop: Array, x: Array, scale: Array, reserve_space_1: Array, reserve_space_2: Array,
                          reserve_space_3: Array, *, epsilon: float, data_format: str,
                          is_training: bool) -> tuple[Array, ...]:
    """With z = (x - m) / sqrt(v + epsilon), m and v in reserve_space_1 and 2: offset_backprop = sum dy,
    scale_backprop = sum dy*z, x_backprop = scale / sqrt(v + epsilon) * (dy - mean dy - z * mean(dy*z)), in inference
    without the means."""
    image, dy = to_nhwc(data_format, x).astype(np.float64), to_nhwc(data_format, y_backprop)
    inverse = 1 / np.sqrt(reserve_space_2.astype(np.float64) + epsilon)
    z = (image - reserve_space_1) * inverse
    doffset, dscale = dy.sum((0, 1, 2), dtype=np.float64), (dy * z).sum((0, 1, 2))
    dx = scale * inverse * dy
    if is_training:
        count = max(image.size // max(image.shape[3], 1), 1)
        dx = scale * inverse * (dy - doffset / count - z * dscale / count)
    return from_nhwc(data_format, dx), dscale, doffset, np.zeros(0), np.zeros(0)


@fused_batch_norm_grad.shape
def _(op: Operation) -> list[TensorShape]:
    c = _channels(op, 1, 2, 3, 4)
    dy, x = op.inputs[0].shape, op.inputs[1].shape
    if not dy.is_compatible_with(x):
        raise InvalidArgumentError(f"[FusedBatchNormGradV3] shapes differ: 'y_backprop' is {dy}, 'x' {x}")
    return [x.merge_with(dy).with_rank(4), c, c, TensorShape([0]), TensorShape([0])]


@fused_batch_norm_grad.gradient
def _(op: Operation, *grads: Tensor | None) -> list[Any]:
    raise UnimplementedError(f"[FusedBatchNormGradV3] second derivatives of fused batch norm are not defined: "
                             f"{op.name!r}. Fix: build it of rf.nn.moments and rf.nn.batch_normalization")


def _vectors(c: int) -> tuple[Any, ...]:
    return positive(c), normal(c), normal(c), positive(c)


# gradient=False: as TensorFlow's, the rule leaves out batch_mean and batch_variance, which feed moving averages only
for _dtype in FLOATS:
    _types: dict[str, Any] = {"T": _dtype, "U": _dtype, "gradient": False}
    fused_batch_norm.sample(normal(2, 3, 4, 3), *_vectors(3), epsilon=0.001, **_types)
    fused_batch_norm.sample(normal(2, 3, 4, 3), *_vectors(3), exponential_avg_factor=0.9, **_types)
    fused_batch_norm.sample(normal(4, 1, 1, 2), *_vectors(2), is_training=False, epsilon=0.01, **_types)
    fused_batch_norm.sample(normal(2, 5, 3, 17), positive(17), normal(17), normal(0), normal(0), **_types)
    fused_batch_norm_grad.sample(normal(2, 3, 4, 3), normal(2, 3, 4, 3), positive(3), normal(3), positive(3), normal(0),
                                 **_types)
    fused_batch_norm_grad.sample(normal(2, 2, 2, 17), normal(2, 2, 2, 17), positive(17), normal(17), positive(17),
                                 normal(0), is_training=False, epsilon=0.01, **_types)

__all__ = ["fused_batch_norm", "fused_batch_norm_grad"]
