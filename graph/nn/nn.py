"""``rf.nn``: neural-network functions under TensorFlow 1's names. This module only gathers them."""
from __future__ import annotations

from ..ops.activation import elu, relu, relu6, sigmoid, softplus, tanh
from ..ops.argmax import in_top_k, top_k
from ..ops.bias import bias_add
from ..ops.reduce import l2_loss
from . import rnn_cell
from .dynamic_rnn import bidirectional_dynamic_rnn, dynamic_rnn, raw_rnn
from .image_layers import (
    conv2d_transpose,
    depthwise_conv2d,
    local_response_normalization,
    local_response_normalization as lrn,
)
from .neural import (
    avg_pool,
    batch_normalization,
    conv2d,
    dropout,
    embedding_lookup,
    fused_batch_norm,
    l2_normalize,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    max_pool,
    moments,
    relu_layer,
    selu,
    sigmoid_cross_entropy_with_logits,
    softmax,
    softmax_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits_v2,
    softsign,
    sparse_softmax_cross_entropy_with_logits,
    weighted_cross_entropy_with_logits,
    xw_plus_b,
    zero_fraction,
)
from .rnn import static_bidirectional_rnn, static_rnn
from .sampled_losses import log_uniform_candidate_sampler, nce_loss, sampled_softmax_loss

__all__ = [
    "avg_pool", "batch_normalization", "bias_add", "bidirectional_dynamic_rnn", "conv2d", "conv2d_transpose",
    "depthwise_conv2d", "dropout", "dynamic_rnn", "elu", "embedding_lookup", "fused_batch_norm", "in_top_k", "l2_loss",
    "l2_normalize", "leaky_relu", "local_response_normalization", "log_sigmoid", "log_softmax",
    "log_uniform_candidate_sampler", "lrn", "max_pool", "moments", "nce_loss", "raw_rnn", "relu", "relu6",
    "relu_layer", "rnn_cell", "sampled_softmax_loss", "selu", "sigmoid", "sigmoid_cross_entropy_with_logits",
    "softmax", "softmax_cross_entropy_with_logits", "softmax_cross_entropy_with_logits_v2", "softplus", "softsign",
    "sparse_softmax_cross_entropy_with_logits", "static_bidirectional_rnn", "static_rnn", "tanh", "top_k",
    "weighted_cross_entropy_with_logits", "xw_plus_b", "zero_fraction"]
