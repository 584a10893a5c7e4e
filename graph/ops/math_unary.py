"""Elementwise math of one operand, and the gradient ops of sqrt, rsqrt and reciprocal."""
from __future__ import annotations

import numpy as np

from ..define import Array, Op, define
from ..dtypes import FLOATS, NUMBERS
from ..operation import Operation, Tensor
from ..samples import distinct, normal, positive
from .rules import build, first_shape, merged_shape


def _sample_shapes(op: Op, positive_only: bool = False) -> None:
    """Scalar, odd, two vector widths and a rest, matrix and empty."""
    for shape in ((), (7,), (37,), (3, 5), (2, 0, 3)):
        op.sample(positive(*shape) if positive_only else normal(*shape))


@define("Neg(x: T) -> y: T", T=NUMBERS, elementwise=True, shape=first_shape)
def negative(x: Array) -> Array:
    """y = -x"""
    return np.negative(x)


negative.gradient(lambda op, grad: [negative(grad)])
_sample_shapes(negative)


@define("Abs(x: T) -> y: T", T=NUMBERS, elementwise=True, shape=first_shape)
def abs_(x: Array) -> Array:
    """y = |x|; the gradient at 0 is 0"""
    return np.abs(x)


abs_.gradient(lambda op, grad: [grad * build("Sign", op.inputs[0])])
for _shape in ((), (7,), (37,), (3, 5), (2, 0)):
    abs_.sample(distinct(*_shape))


@define("Sign(x: T) -> y: T", T=NUMBERS, elementwise=True, shape=first_shape)
def sign(x: Array) -> Array:
    """y = -1, 0 or 1; nan of nan. The gradient is 0 everywhere"""
    return np.sign(x)


sign.gradient(lambda op, grad: [build("ZerosLike", op.inputs[0])])
sign.sample(np.array([-2.5, -0.0, 0.0, 3.0, np.inf], np.float32), gradient=False)
for _shape in ((), (7,), (37,), (3, 5), (2, 0)):
    sign.sample(distinct(*_shape))


@define("Reciprocal(x: T) -> y: T", T=FLOATS, elementwise=True, shape=first_shape)
def reciprocal(x: Array) -> Array:
    """y = 1 / x; inf at 0"""
    return np.reciprocal(x)


reciprocal.gradient(lambda op, grad: [build("ReciprocalGrad", op.outputs[0], grad)])
_sample_shapes(reciprocal, positive_only=True)
reciprocal.sample(np.array([-4.0, 0.0, np.inf], np.float32), gradient=False)


@define("ReciprocalGrad(y: T, dy: T) -> z: T", T=FLOATS, elementwise=True, shape=merged_shape)
def _reciprocal_grad(y: Array, dy: Array) -> Array:
    """z = -dy * y^2, the gradient of y = 1 / x"""
    return -dy * y * y


@_reciprocal_grad.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    y, dy = op.inputs
    return [grad * dy * y * -2.0, _reciprocal_grad(y, grad)]


@define("Square(x: T) -> y: T", T=NUMBERS, elementwise=True, shape=first_shape)
def square(x: Array) -> Array:
    """y = x^2"""
    return np.square(x)


square.gradient(lambda op, grad: [grad * (op.inputs[0] * 2.0)])
_sample_shapes(square)


@define("Sqrt(x: T) -> y: T", T=FLOATS, elementwise=True, shape=first_shape)
def sqrt(x: Array) -> Array:
    """y = x^(1/2); nan below 0"""
    return np.sqrt(x)


sqrt.gradient(lambda op, grad: [build("SqrtGrad", op.outputs[0], grad)])
_sample_shapes(sqrt, positive_only=True)
sqrt.sample(np.array([0.0, -1.0, np.inf], np.float32), gradient=False)


@define("SqrtGrad(y: T, dy: T) -> z: T", T=FLOATS, elementwise=True, shape=merged_shape)
def _sqrt_grad(y: Array, dy: Array) -> Array:
    """z = dy / (2 y), the gradient of y = sqrt(x)"""
    return np.asarray(dy * y.dtype.type(0.5) / y)


@_sqrt_grad.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    y, dy = op.inputs
    to_dy = _sqrt_grad(y, grad)
    return [negative(to_dy * dy / y), to_dy]


@define("Rsqrt(x: T) -> y: T", T=FLOATS, elementwise=True, shape=first_shape)
def rsqrt(x: Array) -> Array:
    """y = x^(-1/2); inf at 0, nan below"""
    return np.asarray(1 / np.sqrt(x), x.dtype)


rsqrt.gradient(lambda op, grad: [build("RsqrtGrad", op.outputs[0], grad)])
_sample_shapes(rsqrt, positive_only=True)
rsqrt.sample(np.array([0.0, -1.0, np.inf], np.float32), gradient=False)


@define("RsqrtGrad(y: T, dy: T) -> z: T", T=FLOATS, elementwise=True, shape=merged_shape)
def _rsqrt_grad(y: Array, dy: Array) -> Array:
    """z = -dy * y^3 / 2, the gradient of y = x^(-1/2)"""
    return np.asarray(dy * (y.dtype.type(-0.5) * y) * (y * y))


@_rsqrt_grad.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    y, dy = op.inputs
    return [grad * dy * square(y) * -1.5, _rsqrt_grad(y, grad)]


for _op in (_reciprocal_grad, _sqrt_grad, _rsqrt_grad):
    for _shape in ((), (7,), (37,), (3, 5), (2, 0)):
        _op.sample(positive(*_shape), normal(*_shape))


@define("Exp(x: T) -> y: T", T=FLOATS, elementwise=True, shape=first_shape)
def exp(x: Array) -> Array:
    """y = e^x"""
    return np.exp(x)


exp.gradient(lambda op, grad: [grad * op.outputs[0]])
_sample_shapes(exp)
exp.sample(np.array([-200.0, -87.0, -0.0, 88.0, 200.0, np.inf, -np.inf, np.nan], np.float32), gradient=False)


@define("Log(x: T) -> y: T", T=FLOATS, elementwise=True, shape=first_shape)
def log(x: Array) -> Array:
    """y = ln x; -inf at 0, nan below"""
    return np.log(x)


log.gradient(lambda op, grad: [grad / op.inputs[0]])
_sample_shapes(log, positive_only=True)
log.sample(np.array([0.0, -1.0, 1.0, 1e-30, 1e30, np.inf, np.nan], np.float32), gradient=False)


@define("Log1p(x: T) -> y: T", T=FLOATS, elementwise=True, shape=first_shape)
def log1p(x: Array) -> Array:
    """y = ln(1 + x), exact for small x; -inf at -1, nan below"""
    return np.log1p(x)


log1p.gradient(lambda op, grad: [grad / (op.inputs[0] + 1.0)])
_sample_shapes(log1p, positive_only=True)
log1p.sample(np.array([0.0, 1e-10, -1e-6, -0.5, -1.0, -2.0, np.inf], np.float32), gradient=False)


@define("Floor(x: T) -> y: T", T=FLOATS, elementwise=True, differentiable=False, shape=first_shape)
def floor(x: Array) -> Array:
    """y = the largest integer <= x"""
    return np.floor(x)


@define("Round(x: T) -> y: T", T=NUMBERS, elementwise=True, differentiable=False, shape=first_shape)
def round_(x: Array) -> Array:
    """y = the nearest integer, the even one of two"""
    return np.rint(x) if x.dtype.kind == "f" else x


for _op in (floor, round_):
    _sample_shapes(_op)
    _op.sample(np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999997, 8388609.0, np.inf], np.float32))


@define("Ceil(x: T) -> y: T", T=FLOATS, elementwise=True, differentiable=False, shape=first_shape)
def ceil(x: Array) -> Array:
    """y = the smallest integer >= x"""
    return np.ceil(x)


_sample_shapes(ceil)
ceil.sample(np.array([-2.5, -0.5, 0.5, 8388609.0, -np.inf], np.float32))


@define("Expm1(x: T) -> y: T", T=FLOATS, elementwise=True, shape=first_shape)
def expm1(x: Array) -> Array:
    """y = e^x - 1, exact for small x"""
    return np.expm1(x)


expm1.gradient(lambda op, grad: [grad * (op.outputs[0] + 1.0)])
_sample_shapes(expm1)
expm1.sample(np.array([-200.0, -1e-6, 0.0, 1e-10, 88.0, np.inf], np.float32), gradient=False)


@define("Sin(x: T) -> y: T", T=FLOATS, elementwise=True, shape=first_shape)
def sin(x: Array) -> Array:
    """y = sin x"""
    return np.sin(x)


@define("Cos(x: T) -> y: T", T=FLOATS, elementwise=True, shape=first_shape)
def cos(x: Array) -> Array:
    """y = cos x"""
    return np.cos(x)


sin.gradient(lambda op, grad: [grad * cos(op.inputs[0])])
cos.gradient(lambda op, grad: [negative(grad * sin(op.inputs[0]))])
_sample_shapes(sin)
_sample_shapes(cos)
