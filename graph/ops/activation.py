"""Activations and their gradient ops, which have gradients themselves.

An activation's gradient reads its output where that is enough (Relu, Relu6, Elu, Sigmoid, Tanh), so that its input need
not be kept.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..define import Array, attr, define
from ..dtypes import FLOATS, NUMBERS, float32
from ..operation import Operation, Tensor
from ..samples import distinct, normal, uniform
from .rules import build, first_shape, merged_shape

_SHAPES: tuple[tuple[int, ...], ...] = ((), (7,), (37,), (3, 5), (2, 3, 1, 5), (0, 4))


def _zeros(x: Tensor) -> Tensor:
    zeros: Tensor = build("ZerosLike", x)
    return zeros


# ---- Relu
@define("Relu(features: T) -> activations: T", T=NUMBERS, elementwise=True, shape=first_shape)
def relu(features: Array) -> Array:
    """activations = max(features, 0)"""
    return np.maximum(features, 0)


relu.gradient(lambda op, grad: [build("ReluGrad", grad, op.outputs[0])])


@define("ReluGrad(gradients: T, features: T) -> backprops: T", T=FLOATS, elementwise=True, shape=merged_shape)
def _relu_grad(gradients: Array, features: Array) -> Array:
    """backprops = gradients where features > 0, else 0. `features` may be Relu's output."""
    return np.where(features > 0, gradients, 0)


_relu_grad.gradient(lambda op, grad: [build("ReluGrad", grad, op.inputs[1]), _zeros(op.inputs[1])])


# ---- Relu6
@define("Relu6(features: T) -> activations: T", T=FLOATS, elementwise=True, shape=first_shape)
def relu6(features: Array) -> Array:
    """activations = min(max(features, 0), 6)"""
    return np.minimum(np.maximum(features, 0), 6)


relu6.gradient(lambda op, grad: [build("Relu6Grad", grad, op.outputs[0])])


@define("Relu6Grad(gradients: T, features: T) -> backprops: T", T=FLOATS, elementwise=True, shape=merged_shape)
def _relu6_grad(gradients: Array, features: Array) -> Array:
    """backprops = gradients where 0 < features < 6, else 0. `features` may be Relu6's output."""
    return np.where((features > 0) & (features < 6), gradients, 0)


_relu6_grad.gradient(lambda op, grad: [build("Relu6Grad", grad, op.inputs[1]), _zeros(op.inputs[1])])


# ---- LeakyRelu
_FLOATS = attr("type", float32, FLOATS)


@define("LeakyRelu(features: T) -> activations: T", T=_FLOATS, alpha=0.2, elementwise=True, shape=first_shape)
def leaky_relu(features: Array, *, alpha: float) -> Array:
    """activations = features where that is positive, else alpha * features"""
    return np.where(features > 0, features, np.asarray(alpha, features.dtype) * features)


@leaky_relu.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    return [build("LeakyReluGrad", grad, op.inputs[0], alpha=op.attrs["alpha"])]


@define("LeakyReluGrad(gradients: T, features: T) -> backprops: T", T=_FLOATS, alpha=0.2, elementwise=True,
        shape=merged_shape)
def _leaky_relu_grad(gradients: Array, features: Array, *, alpha: float) -> Array:
    """backprops = gradients where features > 0, else alpha * gradients"""
    return np.where(features > 0, gradients, np.asarray(alpha, gradients.dtype) * gradients)


@_leaky_relu_grad.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    return [build("LeakyReluGrad", grad, op.inputs[1], alpha=op.attrs["alpha"]), _zeros(op.inputs[1])]


# ---- Elu
@define("Elu(features: T) -> activations: T", T=FLOATS, elementwise=True, shape=first_shape)
def elu(features: Array) -> Array:
    """activations = features where that is >= 0, else e^features - 1"""
    return np.where(features < 0, np.expm1(np.minimum(features, 0)), features)


elu.gradient(lambda op, grad: [build("EluGrad", grad, op.outputs[0])])


@define("EluGrad(gradients: T, outputs: T) -> backprops: T", T=FLOATS, elementwise=True, shape=merged_shape)
def _elu_grad(gradients: Array, outputs: Array) -> Array:
    """backprops = gradients where outputs >= 0, else gradients * (outputs + 1). `outputs` is Elu's output."""
    return np.where(outputs < 0, gradients * (outputs + 1), gradients)


@_elu_grad.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    gradients, outputs = op.inputs
    return [build("EluGrad", grad, outputs), build("SelectV2", outputs < 0.0, grad * gradients, 0.0)]


# ---- Softplus
@define("Softplus(features: T) -> activations: T", T=FLOATS, elementwise=True, shape=first_shape)
def softplus(features: Array) -> Array:
    """activations = ln(1 + e^features), without overflow"""
    return np.asarray(np.maximum(features, 0) + np.log1p(np.exp(-np.abs(features))))


softplus.gradient(lambda op, grad: [build("SoftplusGrad", grad, op.inputs[0])])


@define("SoftplusGrad(gradients: T, features: T) -> backprops: T", T=FLOATS, elementwise=True, shape=merged_shape)
def _softplus_grad(gradients: Array, features: Array) -> Array:
    """backprops = gradients / (1 + e^-features)"""
    return np.asarray(gradients / (1 + np.exp(-features)))


@_softplus_grad.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    gradients, features = op.inputs
    return [build("SoftplusGrad", grad, features),
            grad * gradients / (build("Exp", -features) + 2.0 + build("Exp", features))]


# ---- Sigmoid
def _sigmoid_of(x: Array) -> Array:
    small = np.exp(-np.abs(x))  # never overflows
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small))


@define("Sigmoid(x: T) -> y: T", T=FLOATS, elementwise=True, shape=first_shape)
def sigmoid(x: Array) -> Array:
    """y = 1 / (1 + e^-x)"""
    return _sigmoid_of(x)


sigmoid.gradient(lambda op, grad: [build("SigmoidGrad", op.outputs[0], grad)])


@define("SigmoidGrad(y: T, dy: T) -> z: T", T=FLOATS, elementwise=True, shape=merged_shape)
def _sigmoid_grad(y: Array, dy: Array) -> Array:
    """z = dy * y * (1 - y), the gradient of y = sigmoid(x)"""
    return np.asarray(dy * y * (1 - y))


@_sigmoid_grad.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    y, dy = op.inputs
    both = grad * dy
    return [both - both * y * 2.0, build("SigmoidGrad", y, grad)]


# ---- Tanh
@define("Tanh(x: T) -> y: T", T=FLOATS, elementwise=True, shape=first_shape)
def tanh(x: Array) -> Array:
    """y = (e^x - e^-x) / (e^x + e^-x)"""
    return np.tanh(x)


tanh.gradient(lambda op, grad: [build("TanhGrad", op.outputs[0], grad)])


@define("TanhGrad(y: T, dy: T) -> z: T", T=FLOATS, elementwise=True, shape=merged_shape)
def _tanh_grad(y: Array, dy: Array) -> Array:
    """z = dy * (1 - y^2), the gradient of y = tanh(x)"""
    return np.asarray(dy * (1 - y * y))


@_tanh_grad.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    y, dy = op.inputs
    return [grad * dy * y * -2.0, build("TanhGrad", y, grad)]


# ---- samples
_FAR: Any = np.array([-1000, -89, -30, -1e-8, 0, 1e-8, 30, 89, 1000], np.float32)
for _dims in _SHAPES:
    for _op in (relu, relu6, elu, leaky_relu):
        _op.sample(distinct(*_dims))
    for _op in (softplus, sigmoid, tanh):
        _op.sample(normal(*_dims, scale=3.0))
    for _op in (_relu_grad, _relu6_grad, _leaky_relu_grad, _softplus_grad):
        _op.sample(normal(*_dims), distinct(*_dims))
    for _op in (_sigmoid_grad, _tanh_grad):
        _op.sample(uniform(*_dims), normal(*_dims))
    _elu_grad.sample(normal(*_dims), uniform(*_dims, low=-0.9, high=0.9))
leaky_relu.sample(distinct(9), alpha=0.01)
_leaky_relu_grad.sample(normal(9), distinct(9), alpha=0.0)
for _op in (relu, relu6, elu, softplus, sigmoid, tanh):
    _op.sample(_FAR, gradient=False)
_relu_grad.sample(np.ones(3, np.float32), np.array([-0.0, 0.0, 1e-30], np.float32), gradient=False)
