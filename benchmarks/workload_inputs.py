"""Initial weights and batches of the seven benchmark workloads. Only NumPy.

Every framework that is compared starts from the same numbers, so they follow from fixed seeds and a fixed order of
draws: weights from seed 1234, each drawn in the order of ``_draws``; batches of rank r from seed 99 + r. Layouts are
TensorFlow's: images NHWC, filters HWIO, dense weights (in, out).
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

RESNET_STAGES = ((16, 1), (32, 2), (64, 2))  # width, stride of the first of 3 blocks
LSTM = {"units": 256, "steps": 64, "vocabulary": 64, "batch": 32}
GPT = {"layers": 4, "width": 256, "heads": 4, "context": 128, "vocabulary": 512, "batch": 8}
EMBED = {"rows": 1_000_000, "width": 32, "bag": 20, "batch": 1024, "hidden": 64}
PIECE = 1 << 18  # elements drawn at once: a whole table in float64 would be the most memory that its run ever takes
IMAGES = {"mlp": (128, 784), "lenet": (64, 28, 28, 1), "resnet20": (32, 32, 32, 3)}  # a batch


@dataclass
class _Draw:
    """A weight: its shape, and how it is filled: normal of a standard deviation, or with a constant."""

    shape: tuple[int, ...]
    deviation: float | None = None
    constant: float = 0.0
    half: bool = False  # times 0.5 after rounding to float32, which is not the same as half the deviation

    def __call__(self, rng: np.random.Generator) -> Array:
        value = np.full(self.shape, self.constant, np.float32)
        if self.deviation is not None:
            for piece in np.array_split(value.reshape(-1), 1 + value.size // PIECE):
                piece[:] = rng.standard_normal(piece.size) * self.deviation
                if self.half:
                    piece *= np.float32(0.5)
        return value


def _dense(rows: int, columns: int, half: bool = False) -> _Draw:
    return _Draw((rows, columns), np.sqrt(2.0 / rows), half=half)


def _filter(size: int, channels_in: int, channels_out: int) -> _Draw:
    return _Draw((size, size, channels_in, channels_out), np.sqrt(2.0 / (size * size * channels_in)))


def _zeros(size: int) -> _Draw:
    return _Draw((size,))


def _ones(size: int) -> _Draw:
    return _Draw((size,), constant=1.0)


def _draws(workload: str) -> Iterator[tuple[str, _Draw]]:
    if workload in ("tiny", "mlp"):
        widths = (16, 32, 1) if workload == "tiny" else (784, 1024, 1024, 10)
        for k, (rows, columns) in enumerate(zip(widths, widths[1:]), 1):
            yield f"w{k}", _dense(rows, columns)
            yield f"b{k}", _zeros(columns)
    elif workload == "lenet":
        yield from (("c1", _filter(5, 1, 32)), ("cb1", _zeros(32)), ("c2", _filter(5, 32, 64)), ("cb2", _zeros(64)),
                    ("w1", _dense(3136, 1024)), ("b1", _zeros(1024)), ("w2", _dense(1024, 10)), ("b2", _zeros(10)))
    elif workload == "resnet20":
        yield from _resnet_weights()
    elif workload == "lstm":
        units, vocabulary = LSTM["units"], LSTM["vocabulary"]
        yield "emb", _Draw((vocabulary, units), 0.1)
        yield "wx", _dense(units, 4 * units, half=True)
        yield "wh", _dense(units, 4 * units, half=True)
        yield from (("bg", _zeros(4 * units)), ("w", _dense(units, vocabulary)), ("b", _zeros(vocabulary)))
    elif workload == "gpt":
        yield from _gpt_weights(GPT["width"], GPT["vocabulary"])
    elif workload == "embed":
        yield "table", _Draw((EMBED["rows"], EMBED["width"]), 0.1)
        yield from (("w1", _dense(EMBED["width"], EMBED["hidden"])), ("b1", _zeros(EMBED["hidden"])),
                    ("w2", _dense(EMBED["hidden"], 1)), ("b2", _zeros(1)))


def _resnet_weights() -> Iterator[tuple[str, _Draw]]:
    yield from (("stem", _filter(3, 3, 16)), ("stem_g", _ones(16)), ("stem_b", _zeros(16)))
    before = 16
    for stage, (width, _) in enumerate(RESNET_STAGES):
        for block in range(3):
            name = f"s{stage}b{block}_"
            yield name + "c1", _filter(3, before, width)
            yield from ((name + "g1", _ones(width)), (name + "b1", _zeros(width)))
            yield name + "c2", _filter(3, width, width)
            yield from ((name + "g2", _ones(width)), (name + "b2", _zeros(width)))
            if before != width:
                yield name + "sc", _filter(1, before, width)
            before = width
    yield from (("w", _dense(64, 10)), ("b", _zeros(10)))


def _gpt_weights(width: int, vocabulary: int) -> Iterator[tuple[str, _Draw]]:
    yield "wte", _Draw((vocabulary, width), 0.02)
    yield "wpe", _Draw((GPT["context"], width), 0.02)
    for layer in range(GPT["layers"]):
        for name, draw in (("ln1g", _ones(width)), ("ln1b", _zeros(width)),
                           ("qkv", _dense(width, 3 * width, half=True)), ("qkvb", _zeros(3 * width)),
                           ("o", _dense(width, width, half=True)), ("ob", _zeros(width)),
                           ("ln2g", _ones(width)), ("ln2b", _zeros(width)),
                           ("f1", _dense(width, 4 * width)), ("f1b", _zeros(4 * width)),
                           ("f2", _dense(4 * width, width, half=True)), ("f2b", _zeros(width))):
            yield f"l{layer}_{name}", draw
    yield from (("lnfg", _ones(width)), ("lnfb", _zeros(width)), ("head", _dense(width, vocabulary, half=True)))


def shapes(workload: str) -> dict[str, tuple[int, ...]]:
    """The weights' shapes by name."""
    return {name: draw.shape for name, draw in _draws(workload)}


def weights(workload: str) -> Iterator[tuple[str, Array]]:
    """The initial weights, one after the other, so that a program can load each and let go of it."""
    rng = np.random.default_rng(1234)
    return ((name, draw(rng)) for name, draw in _draws(workload))


def initial_weights(workload: str) -> dict[str, Array]:
    """float32 arrays by name."""
    return dict(weights(workload))


def batches(workload: str, rank: int = 0, count: int = 8) -> list[tuple[Array, Array]]:
    """The first `count` batches (x, y) of a rank."""
    rng = np.random.default_rng(99 + rank)
    return [_batch(workload, rng) for _ in range(count)]


def _batch(workload: str, rng: np.random.Generator) -> tuple[Array, Array]:
    if workload == "tiny":
        x = rng.standard_normal((8, 16)).astype(np.float32)
        return x, np.sin(x.sum(1, keepdims=True)).astype(np.float32)
    if workload in IMAGES:
        x = rng.standard_normal(IMAGES[workload]).astype(np.float32)
        return x, np.abs(x.reshape(len(x), -1)[:, :10]).argmax(1).astype(np.int32)
    if workload == "embed":
        x = rng.integers(0, EMBED["rows"], (EMBED["batch"], EMBED["bag"])).astype(np.int32)
        return x, (x.sum(1, keepdims=True) % 2).astype(np.float32)
    of, length = (LSTM, LSTM["steps"]) if workload == "lstm" else (GPT, GPT["context"])
    text = rng.integers(0, of["vocabulary"], (of["batch"], length + 1)).astype(np.int32)
    return text[:, :-1].copy(), text[:, 1:].copy()
