"""The seven benchmark workloads as ringflow graphs: what the peers train, in our public API.

``build(name)`` gives placeholders, loss and train op; ``load`` sets the weights. A model is a function of
(weights, x, y) that returns the loss.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import ringflow as rf
import workload_inputs as inputs

Weights = dict[str, Any]


def _cross_entropy(logits: rf.Tensor, labels: rf.Tensor) -> rf.Tensor:
    with rf.name_scope("loss"):
        return rf.reduce_mean(rf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def tiny(w: Weights, x: rf.Tensor, y: rf.Tensor) -> rf.Tensor:
    """16-32-1 tanh regression: what a step costs beside its arithmetic."""
    h = rf.tanh(rf.matmul(x, w["w1"]) + w["b1"])
    return rf.reduce_mean(rf.square(rf.matmul(h, w["w2"]) + w["b2"] - y))


def mlp(w: Weights, x: rf.Tensor, y: rf.Tensor) -> rf.Tensor:
    """784-1024-1024-10 classifier."""
    h = rf.nn.relu(rf.matmul(x, w["w1"]) + w["b1"])
    h = rf.nn.relu(rf.matmul(h, w["w2"]) + w["b2"])
    return _cross_entropy(rf.matmul(h, w["w3"]) + w["b3"], y)


def _conv(x: rf.Tensor, w: Any, stride: int = 1) -> rf.Tensor:
    return rf.nn.conv2d(x, w, strides=[1, stride, stride, 1], padding="SAME")


def lenet(w: Weights, x: rf.Tensor, y: rf.Tensor) -> rf.Tensor:
    """Two 5x5 convolutions of 32 and 64 channels, each with a 2x2 max pool, then 1024 and 10 units."""
    h = x
    for k in "12":
        with rf.name_scope("conv" + k):
            h = rf.nn.relu(rf.nn.bias_add(_conv(h, w["c" + k]), w["cb" + k]))
            h = rf.nn.max_pool(h, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID")
    with rf.name_scope("dense"):
        h = rf.nn.relu(rf.matmul(rf.reshape(h, [-1, 3136]), w["w1"]) + w["b1"])
    return _cross_entropy(rf.matmul(h, w["w2"]) + w["b2"], y)


def resnet20(w: Weights, x: rf.Tensor, y: rf.Tensor) -> rf.Tensor:
    """The CIFAR ResNet of 20 layers, batch norm on the batch's statistics."""
    def normalised(h: rf.Tensor, scale: Any, offset: Any) -> rf.Tensor:
        return rf.nn.fused_batch_norm(h, scale, offset, epsilon=1e-5, is_training=True)[0]

    h = rf.nn.relu(normalised(_conv(x, w["stem"]), w["stem_g"], w["stem_b"]))
    for stage, (_, first_stride) in enumerate(inputs.RESNET_STAGES):
        for block in range(3):
            k, stride = f"s{stage}b{block}_", first_stride if block == 0 else 1
            r = rf.nn.relu(normalised(_conv(h, w[k + "c1"], stride), w[k + "g1"], w[k + "b1"]))
            r = normalised(_conv(r, w[k + "c2"]), w[k + "g2"], w[k + "b2"])
            h = rf.nn.relu(r + (_conv(h, w[k + "sc"], stride) if k + "sc" in w else h))
    return _cross_entropy(rf.matmul(rf.reduce_mean(h, [1, 2]), w["w"]) + w["b"], y)


def lstm(w: Weights, x: rf.Tensor, y: rf.Tensor) -> rf.Tensor:
    """One layer of 256 units over 64 steps, unrolled; time-major, so that a step's rows are contiguous."""
    n, units, steps = inputs.LSTM["batch"], inputs.LSTM["units"], inputs.LSTM["steps"]
    embedded = rf.nn.embedding_lookup(w["emb"], rf.reshape(rf.transpose(x), [-1]))
    gates = rf.split(rf.matmul(embedded, w["wx"]) + w["bg"], steps, axis=0)
    h = c = rf.zeros([n, units])
    outputs = []
    for t in range(steps):
        i, f, g, o = rf.split(gates[t] + rf.matmul(h, w["wh"]), 4, axis=1)
        c = rf.sigmoid(f) * c + rf.sigmoid(i) * rf.tanh(g)
        h = rf.sigmoid(o) * rf.tanh(c)
        outputs.append(h)
    logits = rf.matmul(rf.concat(outputs, axis=0), w["w"]) + w["b"]
    return _cross_entropy(logits, rf.reshape(rf.transpose(y), [-1]))


def _layer_norm(h: rf.Tensor, scale: Any, offset: Any) -> rf.Tensor:
    with rf.name_scope("norm"):
        mean, variance = rf.nn.moments(h, [-1], keep_dims=True)
        return (h - mean) * rf.rsqrt(variance + 1e-5) * scale + offset


def gpt(w: Weights, x: rf.Tensor, y: rf.Tensor) -> rf.Tensor:
    """4 pre-norm transformer blocks of width 256 and 4 heads, context 128, tanh GELU."""
    n, t, d, heads = (inputs.GPT[k] for k in ("batch", "context", "width", "heads"))
    mask = rf.constant((1 - np.tri(t, dtype=np.float32)) * np.float32(-1e9))

    def by_head(z: rf.Tensor) -> rf.Tensor:
        return rf.transpose(rf.reshape(z, [n, t, heads, d // heads]), [0, 2, 1, 3])

    def attention(h: rf.Tensor, k: str) -> rf.Tensor:
        a = rf.matmul(_layer_norm(h, w[k + "ln1g"], w[k + "ln1b"]), w[k + "qkv"]) + w[k + "qkvb"]
        query, key, value = (by_head(z) for z in rf.split(a, 3, axis=1))
        scores = rf.matmul(query, key, transpose_b=True) * (1.0 / (d // heads) ** 0.5) + mask
        a = rf.transpose(rf.matmul(rf.nn.softmax(scores), value), [0, 2, 1, 3])
        return h + rf.matmul(rf.reshape(a, [n * t, d]), w[k + "o"]) + w[k + "ob"]

    def feed_forward(h: rf.Tensor, k: str) -> rf.Tensor:
        a = rf.matmul(_layer_norm(h, w[k + "ln2g"], w[k + "ln2b"]), w[k + "f1"]) + w[k + "f1b"]
        a = 0.5 * a * (1.0 + rf.tanh(0.7978845608 * (a + 0.044715 * a * a * a)))
        return h + rf.matmul(a, w[k + "f2"]) + w[k + "f2b"]

    with rf.name_scope("embedding"):
        h = rf.reshape(rf.gather(w["wte"], x) + w["wpe"], [n * t, d])
    for layer in range(inputs.GPT["layers"]):
        with rf.name_scope(f"block{layer}"):
            with rf.name_scope("attention"):
                h = attention(h, f"l{layer}_")
            with rf.name_scope("feed_forward"):
                h = feed_forward(h, f"l{layer}_")
    with rf.name_scope("logits"):
        logits = rf.matmul(_layer_norm(h, w["lnfg"], w["lnfb"]), w["head"])
    return _cross_entropy(logits, rf.reshape(y, [-1]))


def embed(w: Weights, x: rf.Tensor, y: rf.Tensor) -> rf.Tensor:
    """Bags of 20 rows of a table of 1,000,000, then 32-64-1: a sparse gradient."""
    h = rf.reduce_mean(rf.gather(w["table"], x), 1)
    h = rf.nn.relu(rf.matmul(h, w["w1"]) + w["b1"])
    logits = rf.matmul(h, w["w2"]) + w["b2"]
    return rf.reduce_mean(rf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits))


# name: (model, optimizer)
WORKLOADS: dict[str, tuple[Callable[[Weights, rf.Tensor, rf.Tensor], rf.Tensor], Callable[[], Any]]] = {
    "tiny": (tiny, lambda: rf.train.GradientDescentOptimizer(0.05)),
    "mlp": (mlp, lambda: rf.train.MomentumOptimizer(0.01, 0.9)),
    "lenet": (lenet, lambda: rf.train.MomentumOptimizer(0.001, 0.9)),
    "resnet20": (resnet20, lambda: rf.train.MomentumOptimizer(0.005, 0.9)),
    "lstm": (lstm, lambda: rf.train.GradientDescentOptimizer(0.5)),
    "gpt": (gpt, lambda: rf.train.AdamOptimizer(1e-3)),
    "embed": (embed, lambda: rf.train.GradientDescentOptimizer(1.0)),
}


@dataclass
class Workload:
    """A built workload: feed `x` and `y`, run `loss` and `train_op`."""

    x: rf.Tensor
    y: rf.Tensor
    loss: rf.Tensor
    train_op: rf.Operation
    variables: dict[str, rf.Variable]

    def load(self, session: rf.Session, weights: Iterable[tuple[str, np.ndarray[Any, Any]]]) -> None:
        """Initialises all variables, the weights to `weights`."""
        session.run(rf.global_variables_initializer())
        for name, value in weights:
            self.variables[name].load(value, session)


def build(name: str) -> Workload:
    """The workload in the default graph; the weights get their values by ``load``."""
    model, optimizer = WORKLOADS[name]
    (x0, y0), = inputs.batches(name, count=1)
    x = rf.placeholder(x0.dtype, x0.shape, name="x")
    y = rf.placeholder(y0.dtype, y0.shape, name="y")
    variables = {k: rf.Variable(rf.zeros(shape), name=k) for k, shape in inputs.shapes(name).items()}
    loss = model(variables, x, y)
    return Workload(x, y, loss, optimizer().minimize(loss), variables)
