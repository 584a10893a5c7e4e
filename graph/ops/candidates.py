"""Candidate sampling, for losses over many classes: LogUniformCandidateSampler and ComputeAccidentalHits."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..define import Array, attr, define
from ..errors import InvalidArgumentError
from ..interpreter import State
from ..operation import Operation
from ..shapes import TensorShape
from .random import stream_of
from .rules import dim, ranked


def _probability(classes: Array, range_max: int) -> Array:
    """P(k) = (log(k + 2) - log(k + 1)) / log(range_max + 1)."""
    return np.asarray(np.log((classes + 2.0) / (classes + 1.0)) / np.log1p(range_max))


@define("LogUniformCandidateSampler(true_classes: int64) -> sampled_candidates: int64, true_expected_count: float32, "
        "sampled_expected_count: float32", num_true=attr("int"), num_sampled=attr("int"), unique=attr("bool"),
        range_max=attr("int"), seed=0, seed2=0, stateful=True, statistical=True, differentiable=False)
def log_uniform_sampler(true_classes: Array, *, num_sampled: int, unique: bool, range_max: int, op: Operation,
                        state: State) -> tuple[Array, Array, Array]:
    """Classes in [0, range_max), small ones more often: P(k) = log((k + 2) / (k + 1)) / log(range_max + 1).

    true_classes: (n, num_true); the expected counts say how often a class is expected among the samples.
    Raises: InvalidArgumentError where more different classes are wanted than there are.
    """
    if unique and num_sampled > range_max:
        raise InvalidArgumentError(f"[LogUniformCandidateSampler] {num_sampled} different classes cannot be drawn from "
                                   f"{range_max}")
    draws = stream_of(op, state)
    drawn: list[int] = []
    tries = 0
    while len(drawn) < num_sampled:
        k = min(int(np.exp(draws.random() * np.log1p(range_max))) - 1, range_max - 1)
        tries += 1
        if not unique or k not in drawn:
            drawn.append(k)
    sampled = np.array(drawn, np.int64)

    def expected(classes: Array) -> Array:
        p = _probability(classes.astype(np.float64), range_max)
        counts = -np.expm1(tries * np.log1p(-p)) if unique else num_sampled * p
        return np.asarray(counts, np.float32)

    return sampled, expected(true_classes), expected(sampled)


@log_uniform_sampler.shape
def _(op: Operation) -> list[TensorShape]:
    n = dim(ranked(op, 0, 2), 0)
    sampled = TensorShape([op.attrs["num_sampled"]])
    return [sampled, TensorShape([n, op.attrs["num_true"]]), sampled]


_TRUE: Any = np.array([[0], [3], [40]], np.int64)
log_uniform_sampler.sample(_TRUE, num_true=1, num_sampled=3000, unique=False, range_max=50, seed=3)
log_uniform_sampler.sample(_TRUE, num_true=1, num_sampled=6, unique=True, range_max=50, seed=3)
log_uniform_sampler.sample(_TRUE, num_true=1, num_sampled=7, unique=True, range_max=6, seed=3)  # refused


@define("ComputeAccidentalHits(true_classes: int64, sampled_candidates: int64) -> indices: int32, ids: int64, "
        "weights: float32", num_true=attr("int"), seed=0, seed2=0, differentiable=False)
def accidental_hits(true_classes: Array, sampled_candidates: Array) -> tuple[Array, Array, Array]:
    """Where a sampled class is a true one: the row, the position of the sample, and the most negative float32.

    true_classes: (n, num_true), sampled_candidates: (m,). Of equal samples the last counts.
    """
    place = {int(k): i for i, k in enumerate(sampled_candidates)}
    hits = [(i, place[int(k)]) for i, row in enumerate(true_classes) for k in row if int(k) in place]
    rows, ids = np.array(hits, np.int64).reshape(-1, 2).T
    return rows.astype(np.int32), ids, np.full(len(hits), np.finfo(np.float32).min, np.float32)


@accidental_hits.shape
def _(op: Operation) -> list[TensorShape]:
    true = ranked(op, 0, 2)[1]
    if true not in (None, op.attrs["num_true"]):
        raise InvalidArgumentError(f"[ComputeAccidentalHits] 'true_classes' must have num_true = "
                                   f"{op.attrs['num_true']} columns: it has {true}")
    ranked(op, 1, 1)
    return [TensorShape([None])] * 3


accidental_hits.sample(np.array([[0], [4], [4], [2]], np.int64), np.array([5, 3, 2, 4, 1, 0], np.int64), num_true=1)
accidental_hits.sample(np.array([[7, 1], [1, 9]], np.int64), np.array([1, 9, 1], np.int64), num_true=2)
accidental_hits.sample(np.array([[55], [55]], np.int64), np.array([2, 0], np.int64), num_true=1)
