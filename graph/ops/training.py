"""One step of an optimizer on one variable. Steps on the rows of a sparse gradient: training_rows.py.

The first inputs are the variable and its slots, which are changed in place; hyperparameters are scalars. Every op
exists twice, on references (ApplyAdam) and on handles (ResourceApplyAdam).
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..define import Array, Op, define
from ..dtypes import FLOATS
from ..errors import InvalidArgumentError
from ..interpreter import Ref
from ..opdef import Arg
from ..operation import Operation
from ..samples import Random, normal, positive, uniform
from ..shapes import TensorShape
from .rules import ranked, variable_shape


def update_op(signature: str, **attrs: Any) -> Callable[[Callable[..., Any]], Op]:
    """``define`` for an update through references ``&T``, and for its twin that takes handles and returns nothing."""
    twin = "Resource" + signature.partition(" -> ")[0].replace("&T", "resource")

    def decorate(reference: Callable[..., Any]) -> Op:
        rules: dict[str, Any] = {"use_locking": False, "stateful": True, "differentiable": False, **attrs}
        op = define(signature, **rules)(reference)
        define(twin, **rules)(reference).samples = op.samples  # one list, filled below each op
        return op

    return decorate


def is_variable(arg: Arg) -> bool:
    return arg.is_ref or arg.dtype is dtypes.resource


def _one_shape(op: Operation) -> list[TensorShape]:
    """Variables and the gradient have one shape; all else is scalar. Raises: InvalidArgumentError."""
    var = variable_shape(op.inputs[0])
    for i, arg in enumerate(op.op_def.inputs):
        if is_variable(arg) or arg.name in ("grad", "delta"):
            shape = variable_shape(op.inputs[i])
            if not var.is_compatible_with(shape):
                raise InvalidArgumentError(f"[{op.type}] shapes differ: 'var' is {var}, '{arg.name}' {shape}")
            var = var.merge_with(shape)
        else:
            ranked(op, i, 0)
    return [var] * len(op.outputs)


def _value(where: str, ref: Ref, grad: Array) -> Array:
    value: Array = ref.read()
    if value.shape != grad.shape:
        raise InvalidArgumentError(f"[{where}] shapes differ: variable {ref.name!r} is {value.shape}, the gradient "
                                   f"{grad.shape}")
    return value


@update_op("ApplyGradientDescent(var: &T, alpha: T, delta: T) -> out: &T", T=FLOATS, shape=_one_shape)
def apply_gradient_descent(var: Ref, alpha: Array, delta: Array) -> Ref:
    """var -= alpha * delta"""
    var.value = _value("ApplyGradientDescent", var, delta) - alpha * delta
    return var


apply_gradient_descent.sample(normal(3, 2), positive(), normal(3, 2))
apply_gradient_descent.sample(normal(), positive(), normal())
apply_gradient_descent.sample(normal(37), positive(), normal(37))
apply_gradient_descent.sample(normal(0, 2), positive(), normal(0, 2))


@update_op("ApplyMomentum(var: &T, accum: &T, lr: T, grad: T, momentum: T) -> out: &T", T=FLOATS,
           use_nesterov=False, shape=_one_shape)
def apply_momentum(var: Ref, accum: Ref, lr: Array, grad: Array, momentum: Array, *, use_nesterov: bool) -> Ref:
    """accum = momentum * accum + grad; var -= lr * accum, with Nesterov lr * (grad + momentum * accum)"""
    a = _value("ApplyMomentum", accum, grad) * momentum + grad
    accum.value = a
    var.value = _value("ApplyMomentum", var, grad) - lr * (grad + momentum * a if use_nesterov else a)
    return var


apply_momentum.sample(normal(3, 2), normal(3, 2), positive(), normal(3, 2), uniform(low=0.5, high=0.95))
apply_momentum.sample(normal(37), normal(37), positive(), normal(37), uniform(low=0.5, high=0.95), use_nesterov=True)
apply_momentum.sample(normal(), normal(), positive(), normal(), uniform(low=0.5, high=0.95))
apply_momentum.sample(normal(0), normal(0), positive(), normal(0), uniform(low=0.5, high=0.95))


@update_op("ApplyAdam(var: &T, m: &T, v: &T, beta1_power: T, beta2_power: T, lr: T, beta1: T, beta2: T, epsilon: T, "
           "grad: T) -> out: &T", T=FLOATS, use_nesterov=False, shape=_one_shape)
def apply_adam(var: Ref, m: Ref, v: Ref, beta1_power: Array, beta2_power: Array, lr: Array, beta1: Array, beta2: Array,
               epsilon: Array, grad: Array, *, use_nesterov: bool) -> Ref:
    """m += (grad - m)(1 - beta1); v += (grad^2 - v)(1 - beta2);
    var -= lr sqrt(1 - beta2_power) / (1 - beta1_power) m / (sqrt(v) + epsilon), with Nesterov m beta1 + (1 - beta1)
    grad in place of m. The powers belong to this step."""
    step = lr * np.sqrt(1 - beta2_power) / (1 - beta1_power)
    first = _value("ApplyAdam", m, grad)
    first = first + (grad - first) * (1 - beta1)
    second = _value("ApplyAdam", v, grad)
    second = second + (grad * grad - second) * (1 - beta2)
    m.value, v.value = first, second
    direction = first * beta1 + (1 - beta1) * grad if use_nesterov else first
    var.value = _value("ApplyAdam", var, grad) - step * direction / (np.sqrt(second) + epsilon)
    return var


_ADAM = (uniform(low=0.6, high=0.8), uniform(low=0.9, high=0.95), uniform(low=0.01, high=0.1),
         uniform(low=0.8, high=0.9),
         uniform(low=0.95, high=0.99), uniform(low=1e-8, high=1e-7))
apply_adam.sample(normal(3, 2), normal(3, 2), positive(3, 2), *_ADAM, normal(3, 2))
apply_adam.sample(normal(37), normal(37), positive(37), *_ADAM, normal(37), use_nesterov=True)
apply_adam.sample(normal(), normal(), positive(), *_ADAM, normal())
apply_adam.sample(normal(0, 3), normal(0, 3), positive(0, 3), *_ADAM, normal(0, 3))


@update_op("ApplyAdagrad(var: &T, accum: &T, lr: T, grad: T) -> out: &T", T=FLOATS, update_slots=True,
           shape=_one_shape)
def apply_adagrad(var: Ref, accum: Ref, lr: Array, grad: Array, *, update_slots: bool) -> Ref:
    """accum += grad^2 (with update_slots); var -= lr * grad / sqrt(accum)"""
    a = _value("ApplyAdagrad", accum, grad)
    if update_slots:
        a = a + grad * grad
        accum.value = a
    var.value = _value("ApplyAdagrad", var, grad) - lr * grad / np.sqrt(a)
    return var


apply_adagrad.sample(normal(3, 2), positive(3, 2), positive(), normal(3, 2))
apply_adagrad.sample(normal(37), positive(37), positive(), normal(37), update_slots=False)
apply_adagrad.sample(normal(), positive(), positive(), normal())


@update_op("ApplyRMSProp(var: &T, ms: &T, mom: &T, lr: T, rho: T, momentum: T, epsilon: T, grad: T) -> out: &T",
           T=FLOATS, shape=_one_shape)
def apply_rms_prop(var: Ref, ms: Ref, mom: Ref, lr: Array, rho: Array, momentum: Array, epsilon: Array,
                   grad: Array) -> Ref:
    """ms += (grad^2 - ms)(1 - rho); mom = momentum * mom + lr * grad / sqrt(ms + epsilon); var -= mom"""
    mean = _value("ApplyRMSProp", ms, grad)
    mean = mean + (grad * grad - mean) * (1 - rho)
    step = _value("ApplyRMSProp", mom, grad) * momentum + lr * grad / np.sqrt(mean + epsilon)
    ms.value, mom.value = mean, step
    var.value = _value("ApplyRMSProp", var, grad) - step
    return var


RMS = (uniform(low=0.01, high=0.1), uniform(low=0.8, high=0.95), uniform(low=0.5, high=0.9),
        uniform(low=1e-3, high=1e-2))
apply_rms_prop.sample(normal(3, 2), positive(3, 2), normal(3, 2), *RMS, normal(3, 2))
apply_rms_prop.sample(normal(37), positive(37), normal(37), *RMS, normal(37))
apply_rms_prop.sample(normal(), positive(), normal(), *RMS, normal())


@update_op("ApplyAdagradV2(var: &T, accum: &T, lr: T, epsilon: T, grad: T) -> out: &T", T=FLOATS,
           update_slots=True, shape=_one_shape)
def apply_adagrad_v2(var: Ref, accum: Ref, lr: Array, epsilon: Array, grad: Array, *, update_slots: bool) -> Ref:
    """accum += grad^2 (with update_slots); var -= lr * grad / (sqrt(accum) + epsilon)"""
    a = _value("ApplyAdagradV2", accum, grad)
    if update_slots:
        a = a + grad * grad
        accum.value = a
    var.value = _value("ApplyAdagradV2", var, grad) - lr * grad / (np.sqrt(a) + epsilon)
    return var


SMALL = uniform(low=1e-3, high=1e-2)
apply_adagrad_v2.sample(normal(3, 2), positive(3, 2), positive(), SMALL, normal(3, 2))
apply_adagrad_v2.sample(normal(37), positive(37), positive(), SMALL, normal(37), update_slots=False)


def ftrl_step(w: Array, a: Array, z: Array, g: Array, lr: Array, l1: Array, l2: Array, lr_power: Array,
              multiply: bool) -> tuple[Array, Array, Array]:
    """The variable, its accumulator and its linear term after one step."""
    new = a + g * g
    now, before = np.power(new, -lr_power), np.power(a, -lr_power)
    if multiply:
        z = z + (g * lr - (now - before) * w)
        l1, quadratic = l1 * lr, now + 2 * l2 * lr
    else:
        z = z + (g - (now - before) / lr * w)
        quadratic = now / lr + 2 * l2
    w = np.where(np.abs(z) > l1, (np.sign(z) * l1 - z) / quadratic, np.zeros((), w.dtype))
    return w, new, z


@update_op("ApplyFtrl(var: &T, accum: &T, linear: &T, grad: T, lr: T, l1: T, l2: T, lr_power: T) -> out: &T",
           T=FLOATS, multiply_linear_by_lr=False, shape=_one_shape)
def apply_ftrl(var: Ref, accum: Ref, linear: Ref, grad: Array, lr: Array, l1: Array, l2: Array, lr_power: Array, *,
               multiply_linear_by_lr: bool) -> Ref:
    """a = accum + grad^2; linear += grad - (a^-p - accum^-p) / lr * var; accum = a; var = 0 where |linear| <= l1, else
    (sign(linear) l1 - linear) / (a^-p / lr + 2 l2), with p = lr_power. Source: McMahan et al., KDD 2013."""
    w, a, z = (_value("ApplyFtrl", r, grad) for r in (var, accum, linear))
    var.value, accum.value, linear.value = ftrl_step(w, a, z, grad, lr, l1, l2, lr_power, multiply_linear_by_lr)
    return var


FTRL = (uniform(low=0.01, high=0.1), uniform(low=0.1, high=0.2), uniform(low=0.1, high=0.2))
POWER = Random(lambda rng, dtype: np.array(-0.5))
apply_ftrl.sample(normal(3, 2), positive(3, 2), normal(3, 2), normal(3, 2), *FTRL, POWER)
apply_ftrl.sample(normal(37), positive(37), normal(37), normal(37), *FTRL, uniform(low=-0.8, high=-0.3))
apply_ftrl.sample(normal(37), positive(37), normal(37), normal(37), *FTRL, POWER, multiply_linear_by_lr=True)


def adadelta_step(w: Array, a: Array, d: Array, g: Array, lr: Array, rho: Array,
                  epsilon: Array) -> tuple[Array, Array, Array]:
    """The variable and its two averages after one step."""
    a = a * rho + g * g * (1 - rho)
    update = np.sqrt(d + epsilon) / np.sqrt(a + epsilon) * g
    return w - lr * update, a, d * rho + update * update * (1 - rho)


@update_op("ApplyAdadelta(var: &T, accum: &T, accum_update: &T, lr: T, rho: T, epsilon: T, grad: T) -> out: &T",
           T=FLOATS, shape=_one_shape)
def apply_adadelta(var: Ref, accum: Ref, accum_update: Ref, lr: Array, rho: Array, epsilon: Array,
                   grad: Array) -> Ref:
    """accum = rho accum + (1 - rho) grad^2; u = sqrt(accum_update + epsilon) / sqrt(accum + epsilon) grad;
    accum_update = rho accum_update + (1 - rho) u^2; var -= lr u. Source: Zeiler, arXiv 1212.5701."""
    w, a, d = (_value("ApplyAdadelta", r, grad) for r in (var, accum, accum_update))
    var.value, accum.value, accum_update.value = adadelta_step(w, a, d, grad, lr, rho, epsilon)
    return var


DELTA = (positive(), uniform(low=0.8, high=0.95), SMALL)
apply_adadelta.sample(normal(3, 2), positive(3, 2), positive(3, 2), *DELTA, normal(3, 2))
apply_adadelta.sample(normal(37), positive(37), positive(37), *DELTA, normal(37))


__all__ = ["apply_adagrad", "apply_adam", "apply_gradient_descent", "apply_momentum", "apply_rms_prop"]
