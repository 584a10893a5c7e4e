"""Comparisons and logic: bool results of operands that broadcast; no gradients."""
from __future__ import annotations

import numpy as np

from ..define import Array, define
from ..dtypes import NUMBERS, bool_, int8, string, uint8
from ..operation import Operation
from ..samples import Random, normal
from ..shapes import UNKNOWN, TensorShape
from .math_binary import PAIRS
from .rules import broadcast_shape, first_shape

_EQUAL_TYPES = (*NUMBERS, uint8, int8, bool_, string)


@define("Less(x: T, y: T) -> z: bool", T=NUMBERS, elementwise=True, differentiable=False, shape=broadcast_shape)
def less(x: Array, y: Array) -> Array:
    """z = x < y"""
    return np.less(x, y)


@define("LessEqual(x: T, y: T) -> z: bool", T=NUMBERS, elementwise=True, differentiable=False, shape=broadcast_shape)
def less_equal(x: Array, y: Array) -> Array:
    """z = x <= y"""
    return np.less_equal(x, y)


@define("Greater(x: T, y: T) -> z: bool", T=NUMBERS, elementwise=True, differentiable=False, shape=broadcast_shape)
def greater(x: Array, y: Array) -> Array:
    """z = x > y"""
    return np.greater(x, y)


@define("GreaterEqual(x: T, y: T) -> z: bool", T=NUMBERS, elementwise=True, differentiable=False, shape=broadcast_shape)
def greater_equal(x: Array, y: Array) -> Array:
    """z = x >= y"""
    return np.greater_equal(x, y)


def _equality_shape(op: Operation) -> list[TensorShape]:
    """As broadcast; without incompatible_shape_error shapes that do not broadcast give a scalar."""
    if op.attrs["incompatible_shape_error"]:
        return broadcast_shape(op)
    a, b = op.inputs[0].shape, op.inputs[1].shape
    return [a] if a == b and a.is_fully_defined() else [UNKNOWN]


def _broadcast_or_none(x: Array, y: Array, strict: bool) -> bool:
    """Whether x and y broadcast; raises NumPy's error where they do not and `strict`."""
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        if strict:
            raise
        return False
    return True


@define(
    "Equal(x: T, y: T) -> z: bool",
    T=_EQUAL_TYPES,
    incompatible_shape_error=True,
    elementwise=True,
    commutative=True,
    differentiable=False,
    shape=_equality_shape,
)
def equal(x: Array, y: Array, *, incompatible_shape_error: bool) -> Array:
    """z = x == y; False, a scalar, for shapes that do not broadcast where `incompatible_shape_error` is off"""
    return np.equal(x, y) if _broadcast_or_none(x, y, incompatible_shape_error) else np.array(False)


@define("NotEqual(x: T, y: T) -> z: bool", T=_EQUAL_TYPES, incompatible_shape_error=True, elementwise=True,
        commutative=True, differentiable=False, shape=_equality_shape)
def not_equal(x: Array, y: Array, *, incompatible_shape_error: bool) -> Array:
    """z = x != y; True, a scalar, for shapes that do not broadcast where `incompatible_shape_error` is off"""
    return np.not_equal(x, y) if _broadcast_or_none(x, y, incompatible_shape_error) else np.array(True)


_WORDS = np.array([b"a", b"", b"bc"], object)
for _op in (equal, not_equal):
    _op.sample(_WORDS, np.array([b"a", b"b", b"bc"], object), T=string)
    _op.sample(_WORDS[:, None], _WORDS, T=string)


def _few(*shape: int) -> Random:
    return Random(lambda rng, dtype: rng.integers(0 if dtype.kind in "ub" else -2, 3, shape))  # so that many are equal


for _op in (less, less_equal, greater, greater_equal, equal, not_equal):
    for _a, _b in PAIRS:
        _op.sample(_few(*_a), _few(*_b))
    _op.sample(np.array([np.nan, 1, np.inf, -0.0], np.float32), np.array([np.nan, np.nan, np.inf, 0.0], np.float32))


@define("LogicalAnd(x: bool, y: bool) -> z: bool", elementwise=True, commutative=True, differentiable=False,
        shape=broadcast_shape)
def logical_and(x: Array, y: Array) -> Array:
    """z = x and y"""
    return np.logical_and(x, y)


@define("LogicalOr(x: bool, y: bool) -> z: bool", elementwise=True, commutative=True, differentiable=False,
        shape=broadcast_shape)
def logical_or(x: Array, y: Array) -> Array:
    """z = x or y"""
    return np.logical_or(x, y)


@define("LogicalNot(x: bool) -> y: bool", elementwise=True, differentiable=False, shape=first_shape)
def logical_not(x: Array) -> Array:
    """y = not x"""
    return np.logical_not(x)


@define("IsNan(x: T) -> y: bool", T=NUMBERS[:2], elementwise=True, differentiable=False, shape=first_shape)
def is_nan(x: Array) -> Array:
    """y = x is not a number"""
    return np.isnan(x)


@define("IsInf(x: T) -> y: bool", T=NUMBERS[:2], elementwise=True, differentiable=False, shape=first_shape)
def is_inf(x: Array) -> Array:
    """y = x is inf or -inf"""
    return np.isinf(x)


@define("IsFinite(x: T) -> y: bool", T=NUMBERS[:2], elementwise=True, differentiable=False, shape=first_shape)
def is_finite(x: Array) -> Array:
    """y = x is neither infinite nor nan"""
    return np.isfinite(x)


for _a, _b in PAIRS:
    logical_and.sample(normal(*_a), normal(*_b))
    logical_or.sample(normal(*_a), normal(*_b))
for _a in ((), (7,), (37,), (3, 5), (2, 0)):
    logical_not.sample(normal(*_a))
    for _op in (is_finite, is_nan, is_inf):
        _op.sample(normal(*_a))
for _op in (is_finite, is_nan, is_inf):
    _op.sample(np.array([np.nan, np.inf, -np.inf, 0, 3e38], np.float32))
