"""The seven workloads as a JAX user writes them; times the training step and prints one JSON line.

    PYTHON benchmarks/peers/train_jax.py mlp --seconds 4

One jitted function is the whole step; it takes over the buffers of the weights and of optax's state. Weights and
batches are ringflow's, in the same layouts.
"""
from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402
from jax import Array, lax  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import step_timing  # noqa: E402
import workload_inputs as inputs  # noqa: E402

Weights = dict[str, Array]


def cross_entropy(logits: Array, y: Array) -> Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def tiny(w: Weights, x: Array, y: Array) -> Array:
    return jnp.mean((jnp.tanh(x @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"] - y) ** 2)


def mlp(w: Weights, x: Array, y: Array) -> Array:
    h = jax.nn.relu(x @ w["w1"] + w["b1"])
    h = jax.nn.relu(h @ w["w2"] + w["b2"])
    return cross_entropy(h @ w["w3"] + w["b3"], y)


def conv(x: Array, w: Array, stride: int = 1) -> Array:
    return lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def lenet(w: Weights, x: Array, y: Array) -> Array:
    h = x
    for k in "12":
        h = jax.nn.relu(conv(h, w["c" + k]) + w["cb" + k])
        h = lax.reduce_window(h, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    h = jax.nn.relu(h.reshape(-1, 3136) @ w["w1"] + w["b1"])
    return cross_entropy(h @ w["w2"] + w["b2"], y)


def norm(h: Array, scale: Array, offset: Array) -> Array:
    return (h - h.mean((0, 1, 2))) * (lax.rsqrt(h.var((0, 1, 2)) + 1e-5) * scale) + offset


def resnet20(w: Weights, x: Array, y: Array) -> Array:
    h = jax.nn.relu(norm(conv(x, w["stem"]), w["stem_g"], w["stem_b"]))
    for stage, (_, first_stride) in enumerate(inputs.RESNET_STAGES):
        for block in range(3):
            k, stride = f"s{stage}b{block}_", first_stride if block == 0 else 1
            r = jax.nn.relu(norm(conv(h, w[k + "c1"], stride), w[k + "g1"], w[k + "b1"]))
            r = norm(conv(r, w[k + "c2"]), w[k + "g2"], w[k + "b2"])
            h = jax.nn.relu(r + (conv(h, w[k + "sc"], stride) if k + "sc" in w else h))
    return cross_entropy(h.mean((1, 2)) @ w["w"] + w["b"], y)


def lstm(w: Weights, x: Array, y: Array) -> Array:
    def cell(state: tuple[Array, Array], gates: Array) -> tuple[tuple[Array, Array], Array]:
        h, c = state
        i, f, g, o = jnp.split(gates + h @ w["wh"], 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros((inputs.LSTM["batch"], inputs.LSTM["units"]))
    outputs = lax.scan(cell, (zero, zero), w["emb"][x.T] @ w["wx"] + w["bg"])[1]
    return cross_entropy(outputs @ w["w"] + w["b"], y.T)


def layer_norm(h: Array, scale: Array, offset: Array) -> Array:
    return (h - h.mean(-1, keepdims=True)) * lax.rsqrt(h.var(-1, keepdims=True) + 1e-5) * scale + offset


def gpt(w: Weights, x: Array, y: Array) -> Array:
    n, t, d, heads = (inputs.GPT[k] for k in ("batch", "context", "width", "heads"))
    h = w["wte"][x] + w["wpe"]
    for layer in range(inputs.GPT["layers"]):
        k = f"l{layer}_"
        a = layer_norm(h, w[k + "ln1g"], w[k + "ln1b"]) @ w[k + "qkv"] + w[k + "qkvb"]
        query, key, value = (z.reshape(n, t, heads, d // heads) for z in jnp.split(a, 3, axis=2))
        a = jax.nn.dot_product_attention(query, key, value, is_causal=True).reshape(n, t, d)
        h = h + a @ w[k + "o"] + w[k + "ob"]
        a = layer_norm(h, w[k + "ln2g"], w[k + "ln2b"]) @ w[k + "f1"] + w[k + "f1b"]
        h = h + jax.nn.gelu(a, approximate=True) @ w[k + "f2"] + w[k + "f2b"]
    return cross_entropy(layer_norm(h, w["lnfg"], w["lnfb"]) @ w["head"], y)


def embed_rows(w: Weights, rows: Array, y: Array) -> Array:
    h = jax.nn.relu(rows.mean(1) @ w["w1"] + w["b1"])
    return optax.sigmoid_binary_cross_entropy(h @ w["w2"] + w["b2"], y).mean()


MODELS: dict[str, tuple[Callable[[Weights, Array, Array], Array], optax.GradientTransformation]] = {
    "tiny": (tiny, optax.sgd(0.05)),
    "mlp": (mlp, optax.sgd(0.01, 0.9)),
    "lenet": (lenet, optax.sgd(0.001, 0.9)),
    "resnet20": (resnet20, optax.sgd(0.005, 0.9)),
    "lstm": (lstm, optax.sgd(0.5)),
    "gpt": (gpt, optax.adam(1e-3)),
    "embed": (embed_rows, optax.sgd(1.0)),
}
Train = Callable[[Weights, Any, Array, Array], tuple[Weights, Any, Array]]


def dense_step(model: Callable[[Weights, Array, Array], Array], optimizer: optax.GradientTransformation) -> Train:
    def train(weights: Weights, state: Any, x: Array, y: Array) -> tuple[Weights, Any, Array]:
        loss, gradients = jax.value_and_grad(model)(weights, x, y)
        updates, state = optimizer.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state, loss
    return train


def sparse_step(model: Callable[[Weights, Array, Array], Array], rate: float) -> Train:
    """JAX's gradient of a table is as large as the table; this step takes that of the rows read, and scatters it."""
    def train(weights: Weights, state: Any, x: Array, y: Array) -> tuple[Weights, Any, Array]:
        table, w = weights["table"], {k: v for k, v in weights.items() if k != "table"}
        loss, (dense, rows) = jax.value_and_grad(model, (0, 1))(w, table[x], y)
        w = jax.tree.map(lambda value, gradient: value - rate * gradient, w, dense)
        return {**w, "table": table.at[x].add(-rate * rows)}, state, loss
    return train


def main() -> None:
    options = step_timing.arguments(__doc__).parse_args()
    model, optimizer = MODELS[options.workload]
    weights = {name: jnp.array(value) for name, value in inputs.weights(options.workload)}
    sparse = options.workload == "embed"
    state = None if sparse else optimizer.init(weights)
    train = jax.jit(sparse_step(model, 1.0) if sparse else dense_step(model, optimizer), donate_argnums=(0, 1))
    batches = [(jnp.array(x), jnp.array(y)) for x, y in inputs.batches(options.workload)]
    taken = 0

    def step() -> float:
        nonlocal weights, state, taken
        weights, state, loss = train(weights, state, *batches[taken % len(batches)])
        taken += 1
        return float(loss)

    step_timing.report("jax", options.workload, step, options.seconds,
                       versions={"jax": jax.__version__, "optax": optax.__version__})


if __name__ == "__main__":
    main()
