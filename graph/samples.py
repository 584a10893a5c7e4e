"""Sample inputs of an op, from which its tests are generated.

``matmul.sample(normal(2, 3), normal(3, 4), transpose_a=False)``. An input is a generator made here (drawn for each
dtype under test), a NumPy array taken as it is, or a list of those for a list input; or ``Made``, where it is a handle
to something other than a variable.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .dtypes import DType

Draw = Callable[[np.random.Generator, Any], Any]


@dataclass(frozen=True)
class Random:
    """Draws an array of the dtype under test; used for inputs whose type is a type attr."""

    draw: Draw

    def __call__(self, rng: np.random.Generator, dtype: DType) -> Any:
        return np.asarray(self.draw(rng, dtype)).astype(dtype.as_numpy_dtype)


@dataclass(frozen=True)
class Made:
    """A handle that other nodes make: ``build(attrs)`` adds them to the default graph and returns the handle's tensor.

    `attrs` are those of the op under test; it runs after all nodes that take the handle (a push before a pop).
    """

    build: Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Sample:
    """Inputs and attrs of one call. `gradient` False: do not check the gradient here (a kink, an index)."""

    inputs: tuple[Any, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    gradient: bool = True


def ints(*values: int) -> Any:
    """These values as an int32 array."""
    return np.array(values, np.int32)


def normal(*shape: int, scale: float = 1.0) -> Random:
    """Normal floats; small integers of either sign for integer dtypes."""
    def draw(rng: np.random.Generator, dtype: DType) -> Any:
        if dtype.is_bool:
            return rng.integers(0, 2, shape)
        if dtype.is_integer:
            return rng.integers(-9 if dtype.kind == "i" else 0, 10, shape)
        return rng.standard_normal(shape) * scale
    return Random(draw)


def positive(*shape: int, low: float = 0.2, high: float = 3.0) -> Random:
    """Numbers in [low, high), at least 1 for integers."""
    def draw(rng: np.random.Generator, dtype: DType) -> Any:
        if dtype.is_integer:
            return rng.integers(max(1, int(low)), max(2, int(high) + 1), shape)
        return rng.uniform(low, high, shape)
    return Random(draw)


def uniform(*shape: int, low: float = -1.0, high: float = 1.0) -> Random:
    return Random(lambda rng, dtype: rng.uniform(low, high, shape))


def distinct(*shape: int) -> Random:
    """Numbers that are well apart, so that max, sort and relu have no ties or kinks near them."""
    def draw(rng: np.random.Generator, dtype: DType) -> Any:
        n = int(np.prod(shape))
        values = rng.permutation(n) - n // 2
        return ((values + 0.5) / (1 if dtype.is_integer else 4)).reshape(shape)
    return Random(draw)


def integers(*shape: int, low: int = 0, high: int) -> Random:
    """Integers in [low, high)."""
    return Random(lambda rng, dtype: rng.integers(low, high, shape))
