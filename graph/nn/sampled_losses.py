"""Losses over many classes that look at the true ones and a few sampled ones only.

Sources: Mikolov et al. 2013 and Gutmann and Hyvärinen 2010 (noise contrastive estimation), Jean et al. 2015 (sampled
softmax).
"""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..graph import get_default_graph
from ..operation import Tensor
from ..ops.cast import cast
from ..ops.concat import concat
from ..ops.core import ones_like, stop_gradient, zeros_like
from ..ops.math_unary import log
from ..ops.matmul import matmul_any as matmul
from ..ops.random import get_seed
from ..ops.reductions import reduce_sum
from ..ops.rules import build
from ..ops.shape_ops import reshape
from .neural import embedding_lookup, sigmoid_cross_entropy_with_logits, softmax_cross_entropy_with_logits_v2

Sampled = tuple[Tensor, Tensor, Tensor]


def log_uniform_candidate_sampler(true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int,
                                  seed: int | None = None, name: str | None = None) -> Sampled:
    """(sampled classes (num_sampled,), expected counts of the true ones (n, num_true) and of the sampled ones).

    P(k) = ln((k + 2) / (k + 1)) / ln(range_max + 1): classes should be numbered by falling frequency.
    """
    first, second = get_seed(seed)
    result: Sampled = build("LogUniformCandidateSampler", cast(convert_to_tensor(true_classes), dtypes.int64),
                            num_true=num_true, num_sampled=num_sampled, unique=unique, range_max=range_max, seed=first,
                            seed2=second, name=name)
    return result


def nce_loss(weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int, num_true: int = 1,
             sampled_values: Sampled | None = None, remove_accidental_hits: bool = False,
             partition_strategy: str = "mod", name: str = "nce_loss") -> Tensor:
    """Noise contrastive estimation, (n,): tells the true classes from sampled ones.

    weights: (num_classes, dim), biases: (num_classes,), labels: (n, num_true) integers, inputs: (n, dim).
    """
    with get_default_graph().name_scope(name):
        logits, targets = _sampled(weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values,
                                   remove_accidental_hits)
        return reduce_sum(sigmoid_cross_entropy_with_logits(labels=targets, logits=logits), 1)


def sampled_softmax_loss(weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int,
                         num_true: int = 1, sampled_values: Sampled | None = None, remove_accidental_hits: bool = True,
                         partition_strategy: str = "mod", name: str = "sampled_softmax_loss") -> Tensor:
    """Softmax cross entropy over the true and sampled classes, (n,). Arguments as for ``nce_loss``."""
    with get_default_graph().name_scope(name):
        logits, targets = _sampled(weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values,
                                   remove_accidental_hits)
        return softmax_cross_entropy_with_logits_v2(labels=stop_gradient(targets), logits=logits)


def _sampled(weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int, num_true: int,
             sampled_values: Sampled | None, remove_hits: bool) -> tuple[Tensor, Tensor]:
    """(logits, targets), both (n, num_true + num_sampled): first the true classes, then the sampled ones."""
    x = convert_to_tensor(inputs)
    classes = cast(convert_to_tensor(labels), dtypes.int64)
    if classes.shape.rank == 1:
        classes = reshape(classes, [-1, 1])
    if classes.shape.rank == 2 and classes.shape[1] not in (None, num_true):
        raise InvalidArgumentError(f"[sampled_loss] labels must be (n, num_true = {num_true}): they have shape "
                                   f"{classes.shape}")
    sampled, true_expected, sampled_expected = sampled_values or log_uniform_candidate_sampler(
        classes, num_true, num_sampled, True, num_classes)
    drawn = stop_gradient(sampled)
    ids = concat([reshape(classes, [-1]), drawn], 0)
    rows, offsets = embedding_lookup(weights, ids), embedding_lookup(biases, ids)
    n = build("Shape", classes)[0] * num_true
    depth = rows.shape[1]
    true_rows = reshape(rows[:n], [-1, num_true, depth])
    true_logits = reduce_sum(build("ExpandDims", x, 1) * true_rows, 2) + reshape(offsets[:n], [-1, num_true])
    other_logits = matmul(x, rows[n:], transpose_b=True) + offsets[n:]
    if remove_hits:
        other_logits = other_logits + _hits(classes, drawn, num_true, build("Shape", other_logits), x.dtype)
    true_logits -= log(stop_gradient(true_expected))  # what is drawn often counts less
    other_logits -= log(stop_gradient(sampled_expected))
    logits = concat([true_logits, other_logits], 1)
    targets = concat([ones_like(true_logits) / num_true, zeros_like(other_logits)], 1)
    return logits, targets


def _hits(classes: Tensor, sampled: Tensor, num_true: int, shape: Tensor, dtype: dtypes.DType) -> Any:
    """A hugely negative number where a sampled class is a true one, 0 elsewhere."""
    at, ids, minus = build("ComputeAccidentalHits", classes, sampled, num_true=num_true)
    places = build("Pack", [at, cast(ids, dtypes.int32)], axis=1)
    return build("ScatterNd", places, cast(minus, dtype), cast(shape, np.int32))
