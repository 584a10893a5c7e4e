"""Random ops, and how seeds make a sequence repeatable.

Every random node has a stream of its own, keyed by its attrs (seed, seed2) and kept from run to run; (0,
                                                                                                       0) is seeded by
the machine. Kernels and the references here draw from the same distributions, not the same numbers.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..constant import constant_shape, constant_value
from ..define import Array, convert_to_tensor, define
from ..dtypes import FLOATS, INDEX, MOVABLE
from ..errors import InvalidArgumentError
from ..graph import get_default_graph
from ..interpreter import State
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import TensorShape
from .rules import build, first_shape, ranked

_DEFAULT_GRAPH_SEED = 87654321
_INT_INDEX = attr("type", allowed=INDEX)


# ---- seeds
def set_random_seed(seed: int | None) -> None:
    """Makes random ops of the default graph that are built from now on repeatable."""
    get_default_graph().seed = seed


def get_seed(op_seed: int | None) -> tuple[int, int]:
    """The attrs (seed, seed2) of a random op, from the graph's seed and its own; (0, 0), not repeatable, without."""
    graph = get_default_graph()
    if graph.seed is None and op_seed is None:
        return 0, 0
    first = _DEFAULT_GRAPH_SEED if graph.seed is None else graph.seed
    second = len(graph.get_operations()) if op_seed is None else op_seed
    pair = first % 2**31, second % 2**31
    return pair if pair != (0, 0) else (0, 2**31 - 1)


def stream_of(op: Operation, state: State) -> np.random.Generator:
    """The stream of a random op, kept in `state` from run to run."""
    slots = state.containers.setdefault("", {})
    key = f"{op.name}:stream"  # no variable's name: those have no colon
    if key not in slots:
        seeds = (op.attrs["seed"], op.attrs["seed2"])
        sequence = np.random.SeedSequence() if seeds == (0, 0) else np.random.SeedSequence([s % 2**64 for s in seeds])
        slots[key] = np.random.Generator(np.random.Philox(sequence))
    stream: np.random.Generator = slots[key]
    return stream


def _shape_of_vector(op: Operation) -> list[TensorShape]:
    ranked(op, 0, 1)
    return [constant_shape(op.inputs[0])]


def _dims(op: Operation, shape: Array) -> list[int]:
    if np.any(shape < 0):
        raise InvalidArgumentError(f"[{op.type}] 'shape' must be >= 0: got {shape.tolist()}")
    return [int(d) for d in shape]


# ---- numbers
@define("RandomUniform(shape: T) -> output: dtype", T=_INT_INDEX, dtype=attr("type", allowed=FLOATS), seed=0, seed2=0,
        stateful=True, statistical=True, differentiable=False, shape=_shape_of_vector)
def random_uniform_op(shape: Array, *, op: Operation, state: State) -> Array:
    """Uniform in [0, 1), of the dimensions `shape` (n,)."""
    drawn = stream_of(op, state).random(_dims(op, shape), op.attrs["dtype"].as_numpy_dtype)
    return np.asarray(drawn)


@define("RandomUniformInt(shape: T, minval: Tout, maxval: Tout) -> output: Tout", T=_INT_INDEX, Tout=INDEX, seed=0,
        seed2=0,
        stateful=True, statistical=True, differentiable=False)
def random_uniform_int(shape: Array, minval: Array, maxval: Array, *, op: Operation, state: State) -> Array:
    """Uniform among the integers in [minval, maxval), of the dimensions `shape` (n,)."""
    if minval >= maxval:
        raise InvalidArgumentError(f"[RandomUniformInt] 'minval' must be below 'maxval': got {minval} and {maxval}")
    return np.asarray(stream_of(op, state).integers(minval, maxval, _dims(op, shape), minval.dtype))


@random_uniform_int.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 1, 0)
    ranked(op, 2, 0)
    return _shape_of_vector(op)


@define("RandomStandardNormal(shape: T) -> output: dtype", T=_INT_INDEX, dtype=attr("type", allowed=FLOATS), seed=0,
        seed2=0,
        stateful=True, statistical=True, differentiable=False, shape=_shape_of_vector)
def random_standard_normal(shape: Array, *, op: Operation, state: State) -> Array:
    """Normal with mean 0 and deviation 1, of the dimensions `shape` (n,)."""
    return np.asarray(stream_of(op, state).standard_normal(_dims(op, shape), op.attrs["dtype"].as_numpy_dtype))


@define("TruncatedNormal(shape: T) -> output: dtype", T=_INT_INDEX, dtype=attr("type", allowed=FLOATS), seed=0, seed2=0,
        stateful=True, statistical=True, differentiable=False, shape=_shape_of_vector)
def truncated_normal_op(shape: Array, *, op: Operation, state: State) -> Array:
    """Normal with mean 0 and deviation 1, drawn again where outside [-2, 2], of the dimensions `shape` (n,)."""
    stream = stream_of(op, state)
    drawn: Array = np.asarray(stream.standard_normal(_dims(op, shape), op.attrs["dtype"].as_numpy_dtype))
    while (outside := np.abs(drawn) > 2).any():
        drawn[outside] = stream.standard_normal(int(outside.sum()), drawn.dtype)
    return drawn


for _op in (random_uniform_op, random_standard_normal, truncated_normal_op):
    for _dtype in FLOATS:
        _op.sample(np.array([40, 100], np.int32), dtype=_dtype, seed=7, seed2=11)
    _op.sample(np.array([5000], np.int64), dtype=dtypes.float32, seed=3)
    _op.sample(np.zeros(0, np.int32), dtype=dtypes.float32, seed=3)
    _op.sample(np.array([3, 0], np.int32), dtype=dtypes.float32)
for _low, _high in ((0, 10), (-500, 2**30)):
    for _int in (np.int32, np.int64):
        random_uniform_int.sample(np.array([40, 100], np.int32), np.array(_low, _int), np.array(_high, _int), seed=5)


# ---- order, classes
@define("RandomShuffle(value: T) -> output: T", T=MOVABLE, seed=0, seed2=0, stateful=True, statistical=True,
        differentiable=False,
        shape=first_shape)
def random_shuffle_op(value: Array, *, op: Operation, state: State) -> Array:
    """The rows of `value` (along axis 0) in random order, each order as likely as another."""
    stream = stream_of(op, state)
    return value if value.ndim == 0 else value[stream.permutation(value.shape[0])]


random_shuffle_op.sample(normal(500), seed=3)
random_shuffle_op.sample(normal(100, 3), seed=3, seed2=1)
random_shuffle_op.sample(normal(), seed=3)
random_shuffle_op.sample(normal(0, 2))


@define("Multinomial(logits: T, num_samples: int32) -> output: output_dtype", T=FLOATS, seed=0, seed2=0,
        output_dtype=attr("type", dtypes.int64, INDEX), stateful=True, statistical=True, differentiable=False)
def multinomial_op(logits: Array, num_samples: Array, *, op: Operation, state: State) -> Array:
    """Classes drawn with probabilities softmax(logits[i]): logits (m, classes), output (m, num_samples)."""
    if logits.ndim != 2 or logits.shape[1] == 0 or num_samples < 0:
        raise InvalidArgumentError(f"[Multinomial] 'logits' must be (m, classes >= 1) and 'num_samples' >= 0: got "
                                   f"{logits.shape} "
                                   f"and {num_samples}")
    z = logits.astype(np.float64)
    p = np.exp(z - z.max(1, keepdims=True))
    edges = np.cumsum(p, 1)
    drawn = stream_of(op, state).random((len(z), int(num_samples))) * edges[:, -1:]
    return np.asarray((drawn[:, :, None] >= edges[:, None, :]).sum(2))


@multinomial_op.shape
def _(op: Operation) -> list[TensorShape]:
    n = constant_value(op.inputs[1])
    ranked(op, 1, 0)
    return [TensorShape([ranked(op, 0, 2)[0], None if n is None else int(n)])]  # type: ignore[list-item]


multinomial_op.sample(normal(2, 5), np.array(3000, np.int32), seed=3, seed2=4)
multinomial_op.sample(np.array([[0.0, -50.0, 0.0]], np.float32), np.array(2000, np.int32), seed=3,
                      output_dtype=dtypes.int32)
multinomial_op.sample(normal(0, 3), np.array(4, np.int32), seed=3)
multinomial_op.sample(normal(2, 3), np.array(0, np.int32), seed=3)


# ---- TensorFlow's names where the call differs from the op's
def _dims_tensor(shape: Any) -> Tensor:
    """A shape (ints, TensorShape, or an integer tensor) as a 1-D tensor."""
    if isinstance(shape, TensorShape):
        shape = shape.known
    if isinstance(shape, (int, np.integer)):
        shape = [shape]
    if isinstance(shape, (list, tuple)) and not shape:
        shape = np.zeros(0, np.int32)
    return convert_to_tensor(shape)


def _scaled(drawn: Tensor, scale: Any, offset: Any) -> Tensor:
    if not _is(scale, 1):
        drawn = build("Mul", drawn, scale)
    return drawn if _is(offset, 0) else build("AddV2", drawn, offset)


def _is(value: Any, number: int) -> bool:
    return isinstance(value, (int, float)) and value == number


def random_uniform(shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = dtypes.float32,
                   seed: int | None = None,
                   name: str | None = None) -> Tensor:
    """Uniform in [minval, maxval) (1 for floats where not given), of the dimensions `shape`."""
    dtype = dtypes.as_dtype(dtype)
    first, second = get_seed(seed)
    with get_default_graph().name_scope(name or "random_uniform"):
        if dtype.is_integer:
            if maxval is None:
                raise InvalidArgumentError("[random_uniform] integers need a maxval")
            integers: Tensor = random_uniform_int(_dims_tensor(shape), minval, maxval, seed=first, seed2=second,
                                                  Tout=dtype)
            return integers
        drawn = random_uniform_op(_dims_tensor(shape), dtype=dtype, seed=first, seed2=second)
        return _scaled(drawn, (1 if maxval is None else maxval) - minval, minval)


def random_normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, seed: int | None = None,
                  name: str | None = None) -> Tensor:
    """Normal, of the dimensions `shape`."""
    first, second = get_seed(seed)
    with get_default_graph().name_scope(name or "random_normal"):
        return _scaled(random_standard_normal(_dims_tensor(shape), dtype=dtype, seed=first, seed2=second), stddev, mean)


def truncated_normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32,
                     seed: int | None = None,
                     name: str | None = None) -> Tensor:
    """Normal within two deviations of the mean, of the dimensions `shape`."""
    first, second = get_seed(seed)
    with get_default_graph().name_scope(name or "truncated_normal"):
        return _scaled(truncated_normal_op(_dims_tensor(shape), dtype=dtype, seed=first, seed2=second), stddev, mean)


def random_shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """The rows of `value` in random order."""
    first, second = get_seed(seed)
    result: Tensor = random_shuffle_op(value, seed=first, seed2=second, name=name)
    return result


def multinomial(logits: Any, num_samples: Any, seed: int | None = None, name: str | None = None,
                output_dtype: Any = dtypes.int64) -> Tensor:
    """Classes drawn with probabilities softmax(logits[i]): (m, classes) -> (m, num_samples)."""
    first, second = get_seed(seed)
    result: Tensor = multinomial_op(logits, num_samples, seed=first, seed2=second, output_dtype=output_dtype, name=name)
    return result


__all__ = ["get_seed", "multinomial", "random_normal", "random_shuffle", "random_uniform", "set_random_seed",
           "truncated_normal"]
