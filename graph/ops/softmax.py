"""Softmax, LogSoftmax and the cross entropies with their logits; all along the last axis.

Every row's maximum is subtracted first, so that nothing overflows.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..define import Array, attr, define
from ..dtypes import FLOATS, INDEX, int64
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..samples import Random, integers, normal
from ..shapes import TensorShape, broadcast
from .rules import build, dim, ranked, same_dim, unbroadcast_both


def _at_least_vector(op: Operation) -> list[TensorShape]:
    return [ranked(op, 0, 1, at_least=True)]


def _log_softmax_of(logits: Array) -> Array:
    top = np.max(logits, -1, keepdims=True, initial=-np.inf)
    shifted = logits - np.where(np.isfinite(top), top, 0)
    return np.asarray(shifted - np.log(np.sum(np.exp(shifted), -1, logits.dtype, keepdims=True)))


@define("Softmax(logits: T) -> softmax: T", T=FLOATS, shape=_at_least_vector)
def softmax(logits: Array) -> Array:
    """softmax = e^logits / sum(e^logits) of each row. logits: (..., classes)"""
    shifted = np.exp(logits - np.max(logits, -1, keepdims=True, initial=-np.inf))
    return np.asarray(shifted / np.sum(shifted, -1, logits.dtype, keepdims=True))


@softmax.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    y = op.outputs[0]
    return [(grad - build("Sum", grad * y, -1, keep_dims=True)) * y]


@define("LogSoftmax(logits: T) -> logsoftmax: T", T=FLOATS, shape=_at_least_vector)
def log_softmax(logits: Array) -> Array:
    """logsoftmax = logits - ln(sum(e^logits)) of each row. logits: (..., classes)"""
    return _log_softmax_of(logits)


@log_softmax.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    return [grad - build("Exp", op.outputs[0]) * build("Sum", grad, -1, keep_dims=True)]


_FAR: Any = np.array([[1000, 1000, -1000], [-1000, -1001, -1002], [0, 88, 89]], np.float32)
for _op in (softmax, log_softmax):
    for _dims in ((1,), (7,), (3, 5), (2, 37), (5, 1), (2, 3, 5), (0, 4)):
        _op.sample(normal(*_dims, scale=2.0))
    _op.sample(_FAR, gradient=False)


def _row_gradient(op: Operation, to_loss: Tensor | None, to_backprop: Tensor | None) -> Tensor | None:
    """The gradient for the logits: backprop is d loss / d logits = softmax - target; its derivative is softmax's."""
    result = None if to_loss is None else build("ExpandDims", to_loss, -1) * op.outputs[1]
    if to_backprop is not None:
        y = softmax(op.inputs[0])
        second = (to_backprop - build("Sum", to_backprop * y, -1, keep_dims=True)) * y
        result = second if result is None else result + second
    return result


@define("SoftmaxCrossEntropyWithLogits(features: T, labels: T) -> loss: T, backprop: T", T=FLOATS)
def _softmax_xent(features: Array, labels: Array) -> tuple[Array, Array]:
    """loss = -sum(labels * log_softmax(features)) of each row; backprop = softmax(features) - labels.

    features, labels, backprop: (n, classes), one row or column standing for many; loss: (n,). backprop is
    d loss / d features where labels sum to 1.
    """
    if features.ndim != 2 or labels.ndim != 2 or any(m != n and 1 not in (m, n)
                                                     for m, n in zip(features.shape, labels.shape)):
        raise InvalidArgumentError(
            f"[SoftmaxCrossEntropyWithLogits] 'features' and 'labels' must be matrices that broadcast: "
            f"{features.shape} and {labels.shape}"
        )
    features, labels = np.broadcast_arrays(features, labels)
    logs = _log_softmax_of(features)
    return -np.sum(labels * logs, -1, features.dtype), np.exp(logs) - labels


@_softmax_xent.shape
def _(op: Operation) -> list[TensorShape]:
    features, labels = ranked(op, 0, 2), ranked(op, 1, 2)
    shape = broadcast(features, labels, op.type)
    return [TensorShape([dim(shape, 0)]), shape]


@_softmax_xent.gradient
def _(op: Operation, to_loss: Tensor | None, to_backprop: Tensor | None) -> list[Tensor | None]:
    to_labels = None
    if to_loss is not None:
        to_labels = -build("ExpandDims", to_loss, -1) * log_softmax(op.inputs[0])
    if to_backprop is not None:
        to_labels = -to_backprop if to_labels is None else to_labels - to_backprop
    to_features = _row_gradient(op, to_loss, to_backprop)
    if to_features is None or to_labels is None or op.inputs[0].shape == op.inputs[1].shape:
        return [to_features, to_labels]
    return list(unbroadcast_both(op, to_features, to_labels))


def _distributions(*shape: int) -> Random:
    def draw(rng: np.random.Generator, dtype: Any) -> Any:
        p = rng.uniform(0.1, 1.0, shape)
        return p / p.sum(-1, keepdims=True)
    return Random(draw)


for _n, _classes in ((1, 1), (3, 5), (7, 37), (0, 4)):
    # only the labels of a distribution make backprop the derivative, and those no difference quotient keeps: the
    # gradient is tested by test_nn on logits alone
    _softmax_xent.sample(normal(_n, _classes, scale=2.0), _distributions(_n, _classes), gradient=False)
_softmax_xent.sample(_FAR, np.eye(3, dtype=np.float32), gradient=False)
for _a, _b in (((3, 5), (1, 5)), ((1, 5), (3, 5)), ((3, 1), (3, 4))):
    _softmax_xent.sample(normal(*_a), _distributions(*_b), gradient=False)
_softmax_xent.sample(normal(3, 5), normal(2, 5))  # refused


@define("SparseSoftmaxCrossEntropyWithLogits(features: T, labels: Tlabels) -> loss: T, backprop: T", T=FLOATS,
        Tlabels=attr("type", int64, INDEX))
def _sparse_softmax_xent(features: Array, labels: Array) -> tuple[Array, Array]:
    """loss[i] = -log_softmax(features[i])[labels[i]]; backprop = softmax(features) - one_hot(labels).

    features, backprop: (n, classes); labels, loss: (n,). Raises: InvalidArgumentError for a label outside [0, classes).
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise InvalidArgumentError(f"[SparseSoftmaxCrossEntropyWithLogits] 'labels' must have a label for each row of "
                                   f"'features': {labels.shape} and {features.shape}")
    wrong = (labels < 0) | (labels >= features.shape[1])
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidArgumentError(
            f"[SparseSoftmaxCrossEntropyWithLogits] labels[{row}] is outside the classes: {labels[row]} "
            f"is not in [0, {features.shape[1]})"
        )
    logs = _log_softmax_of(features)
    rows = np.arange(len(labels))
    backprop = np.exp(logs)
    backprop[rows, labels] -= 1
    return -logs[rows, labels], backprop


@_sparse_softmax_xent.shape
def _(op: Operation) -> list[TensorShape]:
    features, labels = ranked(op, 0, 2), ranked(op, 1, 1)
    rows = same_dim(op, "'features' and 'labels' differ in rows", dim(features, 0), dim(labels, 0))
    return [TensorShape([rows]), TensorShape([rows, dim(features, 1)])]


@_sparse_softmax_xent.gradient
def _(op: Operation, to_loss: Tensor | None, to_backprop: Tensor | None) -> list[Tensor | None]:
    return [_row_gradient(op, to_loss, to_backprop), None]


for _n, _classes in ((1, 1), (3, 5), (7, 37), (0, 4)):
    _sparse_softmax_xent.sample(normal(_n, _classes, scale=2.0), integers(_n, high=_classes))
for _label in (-1, 3):
    _sparse_softmax_xent.sample(normal(2, 3), np.array([0, _label], np.int32))  # refused
_sparse_softmax_xent.sample(_FAR, np.array([2, 0, 1], np.int64), gradient=False)
