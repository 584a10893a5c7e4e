"""``rf.losses``: losses with weights. Each is added to the collection of losses, from which training takes the sum.

`weights` is a number, or broadcasts to the losses; `reduction` says how they become one number.
"""
from __future__ import annotations

from typing import Any

from .. import dtypes
from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..graph import GraphKeys, get_default_graph
from ..operation import Tensor
from ..ops.activation import relu
from ..ops.cast import cast
from ..ops.core import ones_like, stop_gradient
from ..ops.math import abs
from ..ops.math_binary import add_n, div_no_nan, minimum, squared_difference
from ..ops.math_unary import log, square
from ..ops.reductions import reduce_sum
from ..ops.rules import build
from .neural import (
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits_v2,
    sparse_softmax_cross_entropy_with_logits,
)


class Reduction:
    """How losses become a number."""

    NONE = "none"
    SUM = "weighted_sum"
    MEAN = "weighted_mean"                                # over the weights
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"  # over the number of losses
    SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    SUM_OVER_NONZERO_WEIGHTS = SUM_BY_NONZERO_WEIGHTS

    @classmethod
    def all(cls) -> tuple[str, ...]:
        return cls.NONE, cls.SUM, cls.MEAN, cls.SUM_OVER_BATCH_SIZE, cls.SUM_BY_NONZERO_WEIGHTS


def compute_weighted_loss(losses: Any, weights: Any = 1.0, scope: str | None = None,
                          loss_collection: str | None = GraphKeys.LOSSES,
                          reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """weights * losses as one number, added to `loss_collection`. Raises: InvalidArgumentError for a reduction that
    there is not."""
    if reduction not in Reduction.all():
        raise InvalidArgumentError(f"[losses] no reduction is called {reduction!r}: there are {Reduction.all()}")
    with get_default_graph().name_scope(scope or "weighted_loss"):
        values = convert_to_tensor(losses)
        factor = cast(convert_to_tensor(weights), values.dtype)
        weighted = values * factor
        total = weighted if reduction == Reduction.NONE else reduce_sum(weighted)
        everywhere = ones_like(values) * factor
        if reduction == Reduction.MEAN:
            total = div_no_nan(total, reduce_sum(everywhere))
        elif reduction == Reduction.SUM_BY_NONZERO_WEIGHTS:
            total = div_no_nan(total, reduce_sum(cast(build("NotEqual", everywhere, 0.0), values.dtype)))
        elif reduction == Reduction.SUM_OVER_BATCH_SIZE:
            total = div_no_nan(total, cast(build("Size", values), values.dtype))
        if loss_collection:
            get_default_graph().add_to_collection(loss_collection, total)
        return total


def _pair(labels: Any, predictions: Any, where: str) -> tuple[Tensor, Tensor]:
    """Both as floats of one shape."""
    if labels is None or predictions is None:
        raise InvalidArgumentError(f"[{where}] both labels and predictions are needed")
    y = convert_to_tensor(predictions)
    y = y if y.dtype.is_floating else cast(y, dtypes.float32)
    z = cast(convert_to_tensor(labels, y.dtype if not hasattr(labels, "dtype") else None), y.dtype)
    if not y.shape.is_compatible_with(z.shape):
        raise InvalidArgumentError(f"[{where}] labels and predictions must have one shape: labels {z.shape}, "
                                   f"predictions {y.shape}")
    return z, y


def mean_squared_error(labels: Any, predictions: Any, weights: Any = 1.0, scope: str | None = None,
                       loss_collection: str | None = GraphKeys.LOSSES,
                       reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """(predictions - labels)^2"""
    z, y = _pair(labels, predictions, "mean_squared_error")
    return compute_weighted_loss(squared_difference(y, z), weights, scope or "mean_squared_error", loss_collection,
                                 reduction)


def absolute_difference(labels: Any, predictions: Any, weights: Any = 1.0, scope: str | None = None,
                        loss_collection: str | None = GraphKeys.LOSSES,
                        reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """|predictions - labels|"""
    z, y = _pair(labels, predictions, "absolute_difference")
    return compute_weighted_loss(abs(y - z), weights, scope or "absolute_difference", loss_collection, reduction)


def huber_loss(labels: Any, predictions: Any, weights: Any = 1.0, delta: float = 1.0, scope: str | None = None,
               loss_collection: str | None = GraphKeys.LOSSES,
               reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """e^2 / 2 where e = |predictions - labels| <= delta, else delta * e - delta^2 / 2"""
    z, y = _pair(labels, predictions, "huber_loss")
    error = abs(y - z)
    near = minimum(error, delta)
    return compute_weighted_loss(0.5 * square(near) + delta * (error - near), weights, scope or "huber_loss",
                                 loss_collection, reduction)


def log_loss(labels: Any, predictions: Any, weights: Any = 1.0, epsilon: float = 1e-7, scope: str | None = None,
             loss_collection: str | None = GraphKeys.LOSSES,
             reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """-labels * ln(predictions + epsilon) - (1 - labels) * ln(1 - predictions + epsilon)"""
    z, y = _pair(labels, predictions, "log_loss")
    losses = -z * log(y + epsilon) - (1.0 - z) * log(1.0 - y + epsilon)
    return compute_weighted_loss(losses, weights, scope or "log_loss", loss_collection, reduction)


def hinge_loss(labels: Any, logits: Any, weights: Any = 1.0, scope: str | None = None,
               loss_collection: str | None = GraphKeys.LOSSES,
               reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """max(0, 1 - (2 labels - 1) * logits), labels being 0 or 1"""
    z, y = _pair(labels, logits, "hinge_loss")
    return compute_weighted_loss(relu(1.0 - (2.0 * z - 1.0) * y), weights, scope or "hinge_loss", loss_collection,
                                 reduction)


def sigmoid_cross_entropy(multi_class_labels: Any, logits: Any, weights: Any = 1.0, label_smoothing: float = 0,
                          scope: str | None = None, loss_collection: str | None = GraphKeys.LOSSES,
                          reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """Sigmoid cross entropy; labels are drawn to 1/2 by `label_smoothing`."""
    z, y = _pair(multi_class_labels, logits, "sigmoid_cross_entropy")
    if label_smoothing:
        z = z * (1 - label_smoothing) + 0.5 * label_smoothing
    return compute_weighted_loss(sigmoid_cross_entropy_with_logits(labels=z, logits=y), weights,
                                 scope or "sigmoid_cross_entropy_loss", loss_collection, reduction)


def softmax_cross_entropy(onehot_labels: Any, logits: Any, weights: Any = 1.0, label_smoothing: float = 0,
                          scope: str | None = None, loss_collection: str | None = GraphKeys.LOSSES,
                          reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """Softmax cross entropy of (n, classes); labels are drawn to 1/classes by `label_smoothing`."""
    z, y = _pair(onehot_labels, logits, "softmax_cross_entropy")
    if label_smoothing:
        z = z * (1 - label_smoothing) + label_smoothing / cast(build("Shape", z)[-1], z.dtype)
    losses = softmax_cross_entropy_with_logits_v2(labels=stop_gradient(z), logits=y)
    return compute_weighted_loss(losses, weights, scope or "softmax_cross_entropy_loss", loss_collection, reduction)


def sparse_softmax_cross_entropy(labels: Any, logits: Any, weights: Any = 1.0, scope: str | None = None,
                                 loss_collection: str | None = GraphKeys.LOSSES,
                                 reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """Softmax cross entropy of logits (n, classes) and class numbers (n,) or (n, 1)."""
    z, y = convert_to_tensor(labels), convert_to_tensor(logits)
    if z.shape.rank is not None and z.shape.rank == y.shape.rank and z.shape[-1] == 1:
        z = build("Squeeze", z, squeeze_dims=[-1])
    losses = sparse_softmax_cross_entropy_with_logits(labels=z, logits=y)
    return compute_weighted_loss(losses, weights, scope or "sparse_softmax_cross_entropy_loss", loss_collection,
                                 reduction)


# ---- the collection
def add_loss(loss: Tensor, loss_collection: str = GraphKeys.LOSSES) -> None:
    get_default_graph().add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: str = GraphKeys.LOSSES) -> list[Tensor]:
    return get_default_graph().get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Tensor]:
    return get_default_graph().get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_total_loss(add_regularization_losses: bool = True, name: str = "total_loss", scope: str | None = None
                   ) -> Tensor:
    """The sum of all losses, and of what regularizers made. Raises: InvalidArgumentError where there are none."""
    losses = get_losses(scope) + (get_regularization_losses(scope) if add_regularization_losses else [])
    if not losses:
        raise InvalidArgumentError("[get_total_loss] there are no losses. Fix: make one by rf.losses.*, or add_loss")
    result: Tensor = add_n(losses, name=name)
    return result
