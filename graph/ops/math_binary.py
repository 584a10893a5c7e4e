"""Elementwise math of two operands that broadcast as in NumPy, and AddN."""
from __future__ import annotations

import numpy as np

from ..define import Array, Op, define
from ..dtypes import FLOATS, NUMBERS, WITH_SHORT
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..samples import Random, distinct, normal, positive
from .math_unary import floor, log, negative
from .rules import broadcast_shape, build, merged_shape, unbroadcast_both

# Equal, scalar with array either way, row, column, outer, both repeated, leading axes, odd sizes, empty.
PAIRS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((), ()),
    ((7,), (7,)),
    ((37,), (37,)),
    ((3, 5), ()),
    ((), (4,)),
    ((3, 5), (5,)),
    ((3, 5), (3, 1)),
    ((1, 5), (3, 1)),
    ((2, 1, 3), (4, 1)),
    ((4, 3), (2, 4, 3)),
    ((2, 3, 1, 5), (3, 7, 1)),
    ((0, 3), (3,)),
    ((2, 0), (2, 1)),
)


def sample_pairs(op: Op) -> None:
    for a, b in PAIRS:
        op.sample(normal(*a), normal(*b))
    op.sample(normal(2, 3), normal(4))  # refused


@define("AddV2(x: T, y: T) -> z: T", T=WITH_SHORT, elementwise=True, commutative=True, shape=broadcast_shape)
def add(x: Array, y: Array) -> Array:
    """z = x + y"""
    return np.add(x, y)


add.gradient(lambda op, grad: unbroadcast_both(op, grad, grad))
sample_pairs(add)


@define("Sub(x: T, y: T) -> z: T", T=WITH_SHORT, elementwise=True, shape=broadcast_shape)
def subtract(x: Array, y: Array) -> Array:
    """z = x - y"""
    return np.subtract(x, y)


subtract.gradient(lambda op, grad: unbroadcast_both(op, grad, negative(grad)))
sample_pairs(subtract)


@define("Mul(x: T, y: T) -> z: T", T=WITH_SHORT, elementwise=True, commutative=True, shape=broadcast_shape)
def multiply(x: Array, y: Array) -> Array:
    """z = x * y"""
    return np.multiply(x, y)


multiply.gradient(lambda op, grad: unbroadcast_both(op, grad * op.inputs[1], grad * op.inputs[0]))
sample_pairs(multiply)


@define("RealDiv(x: T, y: T) -> z: T", T=FLOATS, elementwise=True, shape=broadcast_shape)
def realdiv(x: Array, y: Array) -> Array:
    """z = x / y; +-inf or nan where y is 0"""
    return np.true_divide(x, y)


@realdiv.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    to_x = realdiv(grad, op.inputs[1])
    return unbroadcast_both(op, to_x, negative(to_x * op.outputs[0]))


@define("DivNoNan(x: T, y: T) -> z: T", T=FLOATS, elementwise=True, shape=broadcast_shape)
def div_no_nan(x: Array, y: Array) -> Array:
    """z = x / y, 0 where y is 0"""
    return np.where(y == 0, np.zeros((), x.dtype), np.true_divide(x, y))


@div_no_nan.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    to_x = div_no_nan(grad, op.inputs[1])
    return unbroadcast_both(op, to_x, negative(to_x * op.outputs[0]))


for _op in (realdiv, div_no_nan):
    for _a, _b in PAIRS:
        _op.sample(normal(*_a), positive(*_b))
    _op.sample(np.array([1, -1, 0, np.inf, 2], np.float32), np.array([0, 0, 0, 2, np.inf], np.float32), gradient=False)


def _refuse_integer_zero(op: str, x: Array, y: Array) -> None:
    if x.size and y.dtype.kind in "iu" and not y.all():
        raise InvalidArgumentError(f"[{op}] integer division by zero: 'y' holds a 0")


@define("FloorDiv(x: T, y: T) -> z: T", T=NUMBERS, elementwise=True, differentiable=False, shape=broadcast_shape)
def floordiv(x: Array, y: Array) -> Array:
    """z = floor(x / y). Raises: InvalidArgumentError where an integer y is 0."""
    _refuse_integer_zero("FloorDiv", x, y)
    return np.floor(np.true_divide(x, y)) if x.dtype.kind == "f" else np.floor_divide(x, y)


@define("FloorMod(x: T, y: T) -> z: T", T=NUMBERS, elementwise=True, shape=broadcast_shape)
def floormod(x: Array, y: Array) -> Array:
    """z = x - floor(x / y) y, of the sign of y. Raises: InvalidArgumentError where an integer y is 0."""
    _refuse_integer_zero("FloorMod", x, y)
    return np.mod(x, y)


@floormod.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    return unbroadcast_both(op, grad, negative(grad * floor(op.inputs[0] / op.inputs[1])))


def _choice(values: list[int], shape: tuple[int, ...], fraction: float = 0) -> Random:
    """Draws from `values`; `fraction` is added to floats."""
    return Random(lambda rng, dtype: rng.choice(values, shape) + (fraction if dtype.is_floating else 0))


for _op in (floordiv, floormod):
    for _a, _b in PAIRS:
        _op.sample(distinct(*_a), _choice([-4, -3, 2, 3, 5], _b))
    _op.sample(np.array([7, -7], np.int32), np.array([2, 0], np.int32), gradient=False)  # refused for integers
    _op.sample(np.zeros(0, np.int32), np.array(0, np.int32), gradient=False)  # nothing is divided


@define("Pow(x: T, y: T) -> z: T", T=NUMBERS, elementwise=True, shape=broadcast_shape)
def pow_(x: Array, y: Array) -> Array:
    """z = x^y; nan for a negative x and a fractional y. Raises: InvalidArgumentError for integers where y < 0."""
    if x.dtype.kind == "i" and y.size and y.min() < 0:
        raise InvalidArgumentError(f"[Pow] integers to negative integer powers are not allowed: got exponent {y.min()}")
    return np.power(x, y)


@pow_.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    x, y = op.inputs
    # where x <= 0 the power does not depend smoothly on y: log(x) counts as 0, and is not taken, lest nan spreads
    logarithm = build("SelectV2", x > 0.0, log(build("SelectV2", x > 0.0, x, 1.0)), 0.0)
    return unbroadcast_both(op, grad * y * pow_(x, y - 1.0), grad * op.outputs[0] * logarithm)


for _a, _b in PAIRS:
    pow_.sample(positive(*_a), _choice([0, 1, 2, 3], _b, 0.5))
pow_.sample(np.array([-2, -2, 0, 0, 3], np.float32), np.array([3, 2, 0, 2, -2], np.float32), gradient=False)


@define("Maximum(x: T, y: T) -> z: T", T=NUMBERS, elementwise=True, shape=broadcast_shape)
def maximum(x: Array, y: Array) -> Array:
    """z = the larger of x and y; at a tie the gradient goes to x"""
    return np.maximum(x, y)


@maximum.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    x, y = op.inputs
    return _selected(op, grad, x >= y)


@define("Minimum(x: T, y: T) -> z: T", T=NUMBERS, elementwise=True, shape=broadcast_shape)
def minimum(x: Array, y: Array) -> Array:
    """z = the smaller of x and y; at a tie the gradient goes to x"""
    return np.minimum(x, y)


@minimum.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    x, y = op.inputs
    return _selected(op, grad, x <= y)


def _selected(op: Operation, grad: Tensor, to_x: Tensor) -> list[Tensor]:
    return unbroadcast_both(op, build("SelectV2", to_x, grad, 0.0), build("SelectV2", to_x, 0.0, grad))


for _op in (maximum, minimum):
    for _a, _b in PAIRS:
        _op.sample(distinct(*_a), _choice([-3, -2, -1, 0, 1, 2, 3], _b))


@define("SquaredDifference(x: T, y: T) -> z: T", T=NUMBERS, elementwise=True, commutative=True, shape=broadcast_shape)
def squared_difference(x: Array, y: Array) -> Array:
    """z = (x - y)^2"""
    return np.asarray(np.square(x - y))


@squared_difference.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    to_x = grad * 2.0 * (op.inputs[0] - op.inputs[1])
    return unbroadcast_both(op, to_x, negative(to_x))


sample_pairs(squared_difference)


@define("AddN(inputs: N*T) -> sum: T", T=NUMBERS, elementwise=True, shape=merged_shape)
def add_n(inputs: list[Array]) -> Array:
    """sum = inputs[0] + inputs[1] + ..., all of one shape, added in that order"""
    total = inputs[0]
    for x in inputs[1:]:
        total = np.add(total, x)
    return np.asarray(total)


add_n.gradient(lambda op, grad: [grad] * len(op.inputs))
for _n, _shape in ((1, (3,)), (2, ()), (3, (2, 5)), (5, (37,)), (4, (0, 2))):
    add_n.sample([normal(*_shape) for _ in range(_n)])
