"""The seven workloads as a TensorFlow 2 user writes them; times the training step and prints one JSON line.

    PYTHON benchmarks/peers/train_tensorflow.py mlp --seconds 4 [--xla]

One tf.function is the whole step. The optimizers are those of tf.compat.v1, which need no Keras and update by one fused
op for each variable. Weights and batches are ringflow's, in the same layouts.
"""
from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import step_timing  # noqa: E402
import workload_inputs as inputs  # noqa: E402

Weights = dict[str, tf.Variable]


def cross_entropy(logits: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))


def tiny(w: Weights, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    h = tf.tanh(tf.matmul(x, w["w1"]) + w["b1"])
    return tf.reduce_mean(tf.square(tf.matmul(h, w["w2"]) + w["b2"] - y))


def mlp(w: Weights, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    h = tf.nn.relu(tf.matmul(x, w["w1"]) + w["b1"])
    h = tf.nn.relu(tf.matmul(h, w["w2"]) + w["b2"])
    return cross_entropy(tf.matmul(h, w["w3"]) + w["b3"], y)


def conv(x: tf.Tensor, w: tf.Variable, stride: int = 1) -> tf.Tensor:
    return tf.nn.conv2d(x, w, strides=stride, padding="SAME")


def lenet(w: Weights, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    h = x
    for k in "12":
        h = tf.nn.relu(tf.nn.bias_add(conv(h, w["c" + k]), w["cb" + k]))
        h = tf.nn.max_pool2d(h, 2, 2, "VALID")
    h = tf.nn.relu(tf.matmul(tf.reshape(h, [-1, 3136]), w["w1"]) + w["b1"])
    return cross_entropy(tf.matmul(h, w["w2"]) + w["b2"], y)


def norm(h: tf.Tensor, scale: tf.Variable, offset: tf.Variable) -> tf.Tensor:
    return tf.compat.v1.nn.fused_batch_norm(h, scale, offset, epsilon=1e-5, is_training=True)[0]


def resnet20(w: Weights, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    h = tf.nn.relu(norm(conv(x, w["stem"]), w["stem_g"], w["stem_b"]))
    for stage, (_, first_stride) in enumerate(inputs.RESNET_STAGES):
        for block in range(3):
            k, stride = f"s{stage}b{block}_", first_stride if block == 0 else 1
            r = tf.nn.relu(norm(conv(h, w[k + "c1"], stride), w[k + "g1"], w[k + "b1"]))
            r = norm(conv(r, w[k + "c2"]), w[k + "g2"], w[k + "b2"])
            h = tf.nn.relu(r + (conv(h, w[k + "sc"], stride) if k + "sc" in w else h))
    return cross_entropy(tf.matmul(tf.reduce_mean(h, [1, 2]), w["w"]) + w["b"], y)


def lstm(w: Weights, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Unrolled, which is no slower than tf.while_loop; time-major."""
    steps = inputs.LSTM["steps"]
    embedded = tf.nn.embedding_lookup(w["emb"], tf.reshape(tf.transpose(x), [-1]))
    gates = tf.split(tf.matmul(embedded, w["wx"]) + w["bg"], steps)
    h = c = tf.zeros([inputs.LSTM["batch"], inputs.LSTM["units"]])
    outputs = []
    for t in range(steps):
        i, f, g, o = tf.split(gates[t] + tf.matmul(h, w["wh"]), 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        outputs.append(h)
    return cross_entropy(tf.matmul(tf.concat(outputs, 0), w["w"]) + w["b"], tf.reshape(tf.transpose(y), [-1]))


def layer_norm(h: tf.Tensor, scale: tf.Variable, offset: tf.Variable) -> tf.Tensor:
    mean, variance = tf.nn.moments(h, [-1], keepdims=True)
    return (h - mean) * tf.math.rsqrt(variance + 1e-5) * scale + offset


def gpt(w: Weights, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    n, t, d, heads = (inputs.GPT[k] for k in ("batch", "context", "width", "heads"))
    mask = tf.linalg.band_part(tf.ones([t, t]), -1, 0) * 1e9 - 1e9

    def by_head(z: tf.Tensor) -> tf.Tensor:
        return tf.transpose(tf.reshape(z, [n, t, heads, d // heads]), [0, 2, 1, 3])

    h = tf.reshape(tf.gather(w["wte"], x) + w["wpe"], [n * t, d])
    for layer in range(inputs.GPT["layers"]):
        k = f"l{layer}_"
        a = tf.matmul(layer_norm(h, w[k + "ln1g"], w[k + "ln1b"]), w[k + "qkv"]) + w[k + "qkvb"]
        query, key, value = (by_head(z) for z in tf.split(a, 3, axis=1))
        scores = tf.matmul(query, key, transpose_b=True) * (1.0 / (d // heads) ** 0.5) + mask
        a = tf.transpose(tf.matmul(tf.nn.softmax(scores), value), [0, 2, 1, 3])
        h = h + tf.matmul(tf.reshape(a, [n * t, d]), w[k + "o"]) + w[k + "ob"]
        a = tf.matmul(layer_norm(h, w[k + "ln2g"], w[k + "ln2b"]), w[k + "f1"]) + w[k + "f1b"]
        h = h + tf.matmul(tf.nn.gelu(a, approximate=True), w[k + "f2"]) + w[k + "f2b"]
    return cross_entropy(tf.matmul(layer_norm(h, w["lnfg"], w["lnfb"]), w["head"]), tf.reshape(y, [-1]))


def embed(w: Weights, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The gradient of the gather is IndexedSlices, which the optimizer scatters."""
    h = tf.nn.relu(tf.matmul(tf.reduce_mean(tf.gather(w["table"], x), 1), w["w1"]) + w["b1"])
    logits = tf.matmul(h, w["w2"]) + w["b2"]
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits))


optimizers = tf.compat.v1.train
# name: (model, optimizer)
MODELS: dict[str, tuple[Callable[[Weights, tf.Tensor, tf.Tensor], tf.Tensor], Callable[[], Any]]] = {
    "tiny": (tiny, lambda: optimizers.GradientDescentOptimizer(0.05)),
    "mlp": (mlp, lambda: optimizers.MomentumOptimizer(0.01, 0.9)),
    "lenet": (lenet, lambda: optimizers.MomentumOptimizer(0.001, 0.9)),
    "resnet20": (resnet20, lambda: optimizers.MomentumOptimizer(0.005, 0.9)),
    "lstm": (lstm, lambda: optimizers.GradientDescentOptimizer(0.5)),
    "gpt": (gpt, lambda: optimizers.AdamOptimizer(1e-3)),
    "embed": (embed, lambda: optimizers.GradientDescentOptimizer(1.0)),
}


def main() -> None:
    parser = step_timing.arguments(__doc__)
    parser.add_argument("--xla", action="store_true", help="compile the step by XLA")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model, optimizer_of = MODELS[options.workload]
    weights = {name: tf.Variable(value, name=name) for name, value in inputs.weights(options.workload)}
    optimizer, trained = optimizer_of(), list(weights.values())
    batches = [(tf.constant(x), tf.constant(y)) for x, y in inputs.batches(options.workload)]

    @tf.function(jit_compile=options.xla)
    def train(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = model(weights, x, y)
        optimizer.apply_gradients(zip(tape.gradient(loss, trained), trained))
        return loss

    taken = 0

    def step() -> float:
        nonlocal taken
        loss = train(*batches[taken % len(batches)])
        taken += 1
        return float(loss)

    step_timing.report("tensorflow" + ("-xla" if options.xla else ""), options.workload, step, options.seconds,
                       versions={"tensorflow": tf.__version__})


if __name__ == "__main__":
    main()
