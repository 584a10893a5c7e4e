"""Neural-network building blocks that are made of several ops: losses, normalisation, dropout, layers, pooling."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..constant import constant_value
from ..define import convert_to_tensor
from ..dtypes import float32
from ..errors import InvalidArgumentError
from ..graph import get_default_graph
from ..operation import Tensor
from ..ops.activation import leaky_relu as _leaky_relu, relu, softplus
from ..ops.bias import bias_add
from ..ops.core import stop_gradient
from ..ops.math_binary import maximum, squared_difference
from ..ops.math_unary import rsqrt, square
from ..ops.matmul import matmul_any
from ..ops.reductions import reduce_mean, reduce_sum
from ..ops.rules import build
from ..ops.softmax import log_softmax as _log_softmax, softmax as _softmax


def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Tensor:
    """features where positive, else alpha * features"""
    result: Tensor = _leaky_relu(features, alpha=float(alpha), name=name)
    return result


# ---- softmax and cross entropies
def softmax(logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None) -> Tensor:
    """e^logits / sum(e^logits) along `axis` (default the last; `dim` is its old name)."""
    return _along_axis(_softmax, logits, axis if dim is None else dim, name)


def log_softmax(logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None) -> Tensor:
    """logits - ln(sum(e^logits)) along `axis` (default the last; `dim` is its old name)."""
    return _along_axis(_log_softmax, logits, axis if dim is None else dim, name)


def _along_axis(op: Any, logits: Any, axis: int | None, name: str | None) -> Tensor:
    x = convert_to_tensor(logits)
    rank = x.shape.rank
    if axis is None or axis == -1 or (rank is not None and axis == rank - 1):
        result: Tensor = op(x, name=name)
        return result
    if rank is None or not -rank <= axis < rank:
        raise InvalidArgumentError(f"[{op.name}] 'axis' is {axis}: must be in [{-(rank or 0)}, {rank or 0}) for logits "
                                   f"of shape {x.shape}")
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    perm = np.array(order, np.int32)
    result = build("Transpose", op(build("Transpose", x, perm)), perm, name=name)
    return result


def _labels_and_logits(where: str, sentinel: Any, labels: Any, logits: Any) -> None:
    if sentinel is not None or labels is None or logits is None:
        raise InvalidArgumentError(
            f"[{where}] both labels and logits are needed, by name. Fix: {where}(labels=..., logits=...)"
        )


def softmax_cross_entropy_with_logits_v2(_sentinel: Any = None, labels: Any = None, logits: Any = None, axis: int = -1,
                                         name: str | None = None) -> Tensor:
    """-sum(labels * log_softmax(logits)) along the last axis. labels, logits: (..., classes), result: (...).

    The gradient reaches labels too. Raises: InvalidArgumentError for an axis but the last, for shapes that differ.
    """
    _labels_and_logits("softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    x = convert_to_tensor(logits)
    z = convert_to_tensor(labels, x.dtype)
    if axis not in (-1, None if x.shape.rank is None else x.shape.rank - 1):
        raise InvalidArgumentError(
            f"[softmax_cross_entropy_with_logits] 'axis' is {axis}: only the last axis is supported. "
            "Fix: rf.transpose labels and logits"
        )
    if x.shape.rank == 2 and z.shape.rank in (2, None):
        loss: Tensor = build("SoftmaxCrossEntropyWithLogits", x, z, name=name)[0]
        return loss
    with x.graph.name_scope(name or "softmax_cross_entropy_with_logits"):
        loss = build("SoftmaxCrossEntropyWithLogits", _rows(x), _rows(z))[0]
        return _unflatten(loss, build("Shape", x)[:-1], x.shape[:-1])


def softmax_cross_entropy_with_logits(_sentinel: Any = None, labels: Any = None, logits: Any = None, dim: int = -1,
                                      name: str | None = None, axis: int | None = None) -> Tensor:
    """As ``softmax_cross_entropy_with_logits_v2``, with labels a constant for `rf.gradients`."""
    _labels_and_logits("softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    labels = stop_gradient(
        convert_to_tensor(labels, convert_to_tensor(logits).dtype if isinstance(logits, Tensor) else None)
    )
    return softmax_cross_entropy_with_logits_v2(
        labels=labels, logits=logits, axis=dim if axis is None else axis, name=name
    )


def sparse_softmax_cross_entropy_with_logits(_sentinel: Any = None, labels: Any = None, logits: Any = None,
                                             name: str | None = None) -> Tensor:
    """-log_softmax(logits)[..., labels]. logits: (..., classes), labels: (...) int32 or int64, result: (...).

    Raises: InvalidArgumentError where shapes do not fit; at run for a label outside [0, classes).
    """
    _labels_and_logits("sparse_softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    x, z = convert_to_tensor(logits), convert_to_tensor(labels)
    if x.shape.rank is not None and z.shape.rank is not None and x.shape.rank != z.shape.rank + 1:
        raise InvalidArgumentError(
            f"[sparse_softmax_cross_entropy_with_logits] logits must have one axis more than labels: "
            f"logits {x.shape}, labels {z.shape}"
        )
    if x.shape.rank == 2:
        loss: Tensor = build("SparseSoftmaxCrossEntropyWithLogits", x, z, name=name)[0]
        return loss
    with x.graph.name_scope(name or "sparse_softmax_cross_entropy_with_logits"):
        loss = build("SparseSoftmaxCrossEntropyWithLogits", _rows(x), build("Reshape", z, [-1]))[0]
        return _unflatten(loss, build("Shape", z), z.shape)


def _rows(x: Tensor) -> Tensor:
    """(..., classes) as (n, classes)."""
    classes = None if x.shape.dims is None else x.shape.dims[-1]
    if classes:
        rows: Tensor = build("Reshape", x, np.array([-1, classes], np.int32))
        return rows
    rows = build("Reshape", x, build("ConcatV2", [[-1], build("Shape", x)[-1:]], 0))
    return rows


def _unflatten(loss: Tensor, shape: Tensor, static: Any) -> Tensor:
    result: Tensor = build("Reshape", loss, np.array(static.known, np.int32) if static.is_fully_defined() else shape)
    result.set_shape(static)
    return result


def sigmoid_cross_entropy_with_logits(_sentinel: Any = None, labels: Any = None, logits: Any = None,
                                      name: str | None = None) -> Tensor:
    """-labels * ln(sigmoid(logits)) - (1 - labels) * ln(1 - sigmoid(logits)), element by element, without overflow.

    Computed as softplus(x) - x z = max(x, 0) - x z + ln(1 + e^-|x|), whose gradient sigmoid(x) - z holds at 0 too.
    """
    _labels_and_logits("sigmoid_cross_entropy_with_logits", _sentinel, labels, logits)
    x = convert_to_tensor(logits)
    z = convert_to_tensor(labels, x.dtype)
    if not x.shape.is_compatible_with(z.shape):
        raise InvalidArgumentError(f"[sigmoid_cross_entropy_with_logits] logits and labels must have one shape: "
                                   f"logits {x.shape}, labels {z.shape}")
    result: Tensor = build("Sub", softplus(x), x * z, name=name or "logistic_loss")
    return result


def weighted_cross_entropy_with_logits(targets: Any = None, logits: Any = None, pos_weight: Any = None,
                                       name: str | None = None, labels: Any = None) -> Tensor:
    """``sigmoid_cross_entropy_with_logits`` whose part for targets of 1 counts `pos_weight` times."""
    x = convert_to_tensor(logits)
    z = convert_to_tensor(labels if targets is None else targets, x.dtype)
    weight = 1 + (pos_weight - 1) * z
    result: Tensor = build("AddV2", (1 - z) * x, weight * softplus(-x), name=name or "logistic_loss")
    return result


def log_sigmoid(x: Any, name: str | None = None) -> Tensor:
    """ln(sigmoid(x)), without underflow"""
    return build("Neg", softplus(build("Neg", x)), name=name or "LogSigmoid")  # type: ignore[no-any-return]


def softsign(features: Any, name: str | None = None) -> Tensor:
    """x / (1 + |x|)"""
    x = convert_to_tensor(features)
    return build("RealDiv", x, build("Abs", x) + 1.0, name=name or "Softsign")  # type: ignore[no-any-return]


def selu(features: Any, name: str | None = None) -> Tensor:
    """1.0507 * (x, or 1.6733 * (e^x - 1) below 0): keeps mean 0 and variance 1 (Klambauer et al. 2017)"""
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    x = convert_to_tensor(features)
    negative = build("Elu", build("Minimum", x, 0.0)) * (scale * alpha)
    return build("AddV2", relu(x) * scale, negative, name=name or "Selu")  # type: ignore[no-any-return]


def zero_fraction(value: Any, name: str | None = None) -> Tensor:
    """The share of elements that are 0."""
    zeros = build("Equal", value, np.zeros((), convert_to_tensor(value).dtype.as_numpy_dtype))
    return reduce_mean(build("Cast", zeros, DstT=float32), name=name)


# ---- normalisation
def moments(x: Any, axes: Any, shift: Any = None, name: str | None = None, keep_dims: bool | None = None,
            keepdims: bool | None = None) -> tuple[Tensor, Tensor]:
    """(mean, variance) of `x` along `axes`; the variance is the biased one. `shift` is accepted and not needed."""
    keep = bool(keepdims if keep_dims is None else keep_dims)
    x = convert_to_tensor(x)
    with x.graph.name_scope(name or "moments"):
        mean = reduce_mean(x, axes, keepdims=True, name="mean")
        variance = reduce_mean(squared_difference(x, stop_gradient(mean)), axes, keepdims=keep, name="variance")
        if not keep:
            mean = build("Reshape", mean, build("Shape", variance))
            mean.set_shape(variance.shape)
        return mean, variance


def batch_normalization(x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: float,
                        name: str | None = None) -> Tensor:
    """scale * (x - mean) / sqrt(variance + variance_epsilon) + offset; offset and scale may be None."""
    with get_default_graph().name_scope(name or "batchnorm"):
        factor: Any = rsqrt(convert_to_tensor(variance) + variance_epsilon)
        if scale is not None:
            factor = factor * scale
        mean = convert_to_tensor(mean)
        result: Tensor = x * factor + (offset - mean * factor if offset is not None else -mean * factor)
        return result


def fused_batch_norm(x: Any, scale: Any, offset: Any, mean: Any = None, variance: Any = None, epsilon: float = 0.001,
                     data_format: str = "NHWC", is_training: bool = True, name: str | None = None
                     ) -> tuple[Tensor, Tensor, Tensor]:
    """(y, batch_mean, batch_variance) of images x: (n, h, w, c); the variance is the unbiased one.

    Training takes the moments from x, else `mean` and `variance` are needed. scale, offset, mean, variance: (c,)
    """
    if not is_training and (mean is None or variance is None):
        raise InvalidArgumentError("[fused_batch_norm] is_training=False needs 'mean' and 'variance'")
    none = np.zeros(0, np.float32)
    y, batch_mean, batch_variance = build(
        "FusedBatchNormV3", x, scale, offset, none if mean is None else mean, none if variance is None else variance,
        epsilon=epsilon, data_format=data_format, is_training=is_training, name=name)[:3]
    return y, batch_mean, batch_variance


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None, dim: Any = None) -> Tensor:
    """x / sqrt(max(sum(x^2), epsilon)) along `axis` (`dim` is its old name)."""
    x = convert_to_tensor(x)
    with x.graph.name_scope(name or "l2_normalize"):
        total = reduce_sum(square(x), axis if dim is None else dim, keepdims=True)
        result: Tensor = x * rsqrt(maximum(total, epsilon))
        return result


# ---- layers
def dropout(x: Any, keep_prob: Any = None, noise_shape: Any = None, seed: int | None = None, name: str | None = None,
            rate: Any = None) -> Tensor:
    """Each element with probability `keep_prob` divided by it, else 0. rate = 1 - keep_prob; either may be a tensor.

    noise_shape: the shape of the random choices, which broadcasts against x (default: x's).
    Raises: InvalidArgumentError where both or neither are given, or the probability is outside (0, 1].
    """
    if (keep_prob is None) == (rate is None):
        raise InvalidArgumentError("[dropout] give one of 'keep_prob' and 'rate'")
    x = convert_to_tensor(x)
    keep: Any = keep_prob if rate is None else 1 - rate
    known: Any = constant_value(keep) if isinstance(keep, Tensor) else keep
    if known is not None:
        if not 0 < known <= 1:
            raise InvalidArgumentError(f"[dropout] the probability to keep must be in (0, 1]: got {known}")
        if known == 1:
            return convert_to_tensor(x)
    from ..ops.random import random_uniform

    with x.graph.name_scope(name or "dropout"):
        shape = noise_shape if noise_shape is not None else (
            x.shape.known if x.shape.is_fully_defined() else build("Shape", x))
        chosen = build("Less", random_uniform(shape, dtype=x.dtype, seed=seed), keep)
        scale = (
            build("Reciprocal", keep) if isinstance(keep, Tensor) else np.array(1 / float(keep), x.dtype.as_numpy_dtype)
        )
        result: Tensor = x * build("SelectV2", chosen, scale, np.zeros((), x.dtype.as_numpy_dtype))
        result.set_shape(x.shape)
        return result


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """x @ weights + biases. x: (m, k), weights: (k, n), biases: (n,)"""
    with get_default_graph().name_scope(name or "xw_plus_b"):
        return bias_add(matmul_any(x, weights), biases)


def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """relu(x @ weights + biases). x: (m, k), weights: (k, n), biases: (n,)"""
    with get_default_graph().name_scope(name or "relu_layer"):
        result: Tensor = relu(xw_plus_b(x, weights, biases))
        return result


def embedding_lookup(params: Any, ids: Any, partition_strategy: str = "mod", name: str | None = None,
                     validate_indices: bool = True, max_norm: float | None = None) -> Tensor:
    """Rows `ids` of `params`. params: (vocabulary, ...) tensor or variable, ids: any shape of int32 or int64.

    `partition_strategy` and `validate_indices` are accepted for compatibility; ids are always checked. The gradient of
    a variable is IndexedSlices. `max_norm`: longer rows are scaled down to that length.
    """
    if isinstance(params, (list, tuple)):
        if len(params) != 1:
            raise InvalidArgumentError(
                f"[embedding_lookup] takes one table: {len(params)} were given. Fix: rf.concat them"
            )
        params = params[0]
    rows: Tensor = build("GatherV2", params, ids, 0, name=name or "embedding_lookup")
    if max_norm is None:
        return rows
    axes = list(range(len(rows.op.inputs[1].shape), len(rows.shape)))
    length = reduce_sum(square(rows), axes, keepdims=True)
    clipped: Tensor = rows * (rsqrt(maximum(length, max_norm * max_norm)) * max_norm)
    return clipped


# ---- convolution and pooling
def _four(name: str, value: Any, data_format: str) -> list[int]:
    """A number or a pair for height and width, or all four dimensions."""
    values = [int(v) for v in value] if isinstance(value, (list, tuple)) else [int(value)]
    if len(values) == 4:
        return values
    if len(values) not in (1, 2):
        raise InvalidArgumentError(f"[nn] '{name}' must be a number, a pair or four numbers: got {value!r}")
    spatial = values * 2 if len(values) == 1 else values
    return [1, *spatial, 1] if data_format == "NHWC" else [1, 1, *spatial]


def conv2d(input: Any, filter: Any = None, strides: Any = None, padding: Any = None, use_cudnn_on_gpu: bool = True,
           data_format: str = "NHWC", dilations: Sequence[int] | int = (1, 1, 1, 1), name: str | None = None,
           filters: Any = None) -> Tensor:
    """2-D convolution. input: (n, h, w, c_in), filter: (kh, kw, c_in, c_out), result: (n, h', w', c_out).

    padding: "SAME", "VALID" or four pairs of numbers. `filters` is another name of `filter`.
    """
    kernel = filters if filter is None else filter
    if kernel is None or padding is None:
        raise InvalidArgumentError("[conv2d] 'filter' and 'padding' are needed")
    explicit: list[int] = []
    if not isinstance(padding, str):
        explicit, padding = [int(p) for pair in padding for p in pair], "EXPLICIT"
    result: Tensor = build(
        "Conv2D",
        input,
        kernel,
        strides=_four("strides", 1 if strides is None else strides, data_format),
        padding=padding.upper(),
        explicit_paddings=explicit,
        data_format=data_format,
        dilations=_four("dilations", dilations, data_format),
        name=name,
    )
    return result


def max_pool(value: Any, ksize: Any, strides: Any, padding: str, data_format: str = "NHWC",
             name: str | None = None) -> Tensor:
    """The largest element of each window. value: (n, h, w, c)"""
    result: Tensor = build("MaxPool", value, ksize=_four("ksize", ksize, data_format), padding=padding.upper(),
                           strides=_four("strides", strides, data_format), data_format=data_format, name=name)
    return result


def avg_pool(value: Any, ksize: Any, strides: Any, padding: str, data_format: str = "NHWC",
             name: str | None = None) -> Tensor:
    """The mean of each window; padding does not count. value: (n, h, w, c)"""
    result: Tensor = build("AvgPool", value, ksize=_four("ksize", ksize, data_format), padding=padding.upper(),
                           strides=_four("strides", strides, data_format), data_format=data_format, name=name)
    return result
