"""One step of an optimizer on one variable, dense or on the rows that a sparse gradient touches.

The first inputs are references to the variable and its slots, which are changed in place; hyperparameters are scalars.
Sparse forms want distinct indices: the caller sums rows of equal indices first.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..define import Array, define
from ..dtypes import FLOATS, INDEX
from ..errors import InvalidArgumentError
from ..interpreter import Ref
from ..operation import Operation
from ..samples import normal, positive, uniform
from ..shapes import TensorShape
from .rules import arg_name, ranked
from .state import check_rows


def _one_shape(op: Operation) -> list[TensorShape]:
    """References and the gradient have one shape; all else is scalar. Raises: InvalidArgumentError."""
    var = op.inputs[0].shape
    for i, arg in enumerate(op.op_def.inputs):
        t = op.inputs[i]
        if arg.is_ref or arg.name in ("grad", "delta"):
            if not var.is_compatible_with(t.shape):
                raise InvalidArgumentError(f"[{op.type}] shapes differ: 'var' is {var}, '{arg.name}' {t.shape}")
            var = var.merge_with(t.shape)
        else:
            ranked(op, i, 0)
    return [var]


def _rows_shape(op: Operation) -> list[TensorShape]:
    """References have one shape, indices (n,), grad (n,) + a row; all else is scalar. Raises: InvalidArgumentError."""
    var = op.inputs[0].shape
    n: Any = None
    for i, arg in enumerate(op.op_def.inputs):
        shape = op.inputs[i].shape
        if arg.is_ref:
            if not var.is_compatible_with(shape):
                raise InvalidArgumentError(f"[{op.type}] shapes differ: 'var' is {var}, '{arg_name(op, i)}' {shape}")
            var = var.merge_with(shape)
        elif arg.name == "indices":
            n = ranked(op, i, 1)[0]
        elif arg.name != "grad":
            ranked(op, i, 0)
    grad = op.inputs[[a.name for a in op.op_def.inputs].index("grad")].shape
    wanted = TensorShape([n]).concatenate(TensorShape(None if var.dims is None else var.dims[1:]))
    if not wanted.is_compatible_with(grad):
        raise InvalidArgumentError(f"[{op.type}] 'grad' must be of shape {wanted} (a row of var {var} for each "
                                   f"index): it is {grad}")
    return [var]


def _value(where: str, ref: Ref, grad: Array) -> Array:
    value: Array = ref.read()
    if value.shape != grad.shape:
        raise InvalidArgumentError(f"[{where}] shapes differ: variable {ref.name!r} is {value.shape}, the gradient "
                                   f"{grad.shape}")
    return value


# ---- dense
@define("ApplyGradientDescent(var: &T, alpha: T, delta: T) -> out: &T", T=FLOATS, use_locking=False, stateful=True,
        differentiable=False, shape=_one_shape)
def apply_gradient_descent(var: Ref, alpha: Array, delta: Array) -> Ref:
    """var -= alpha * delta"""
    var.value = _value("ApplyGradientDescent", var, delta) - alpha * delta
    return var


apply_gradient_descent.sample(normal(3, 2), positive(), normal(3, 2))
apply_gradient_descent.sample(normal(), positive(), normal())
apply_gradient_descent.sample(normal(37), positive(), normal(37))
apply_gradient_descent.sample(normal(0, 2), positive(), normal(0, 2))


@define("ApplyMomentum(var: &T, accum: &T, lr: T, grad: T, momentum: T) -> out: &T", T=FLOATS, use_locking=False,
        use_nesterov=False, stateful=True, differentiable=False, shape=_one_shape)
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


@define("ApplyAdam(var: &T, m: &T, v: &T, beta1_power: T, beta2_power: T, lr: T, beta1: T, beta2: T, epsilon: T, "
        "grad: T) -> out: &T", T=FLOATS, use_locking=False, use_nesterov=False, stateful=True, differentiable=False,
        shape=_one_shape)
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


@define("ApplyAdagrad(var: &T, accum: &T, lr: T, grad: T) -> out: &T", T=FLOATS, use_locking=False, update_slots=True,
        stateful=True, differentiable=False, shape=_one_shape)
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


@define("ApplyRMSProp(var: &T, ms: &T, mom: &T, lr: T, rho: T, momentum: T, epsilon: T, grad: T) -> out: &T", T=FLOATS,
        use_locking=False, stateful=True, differentiable=False, shape=_one_shape)
def apply_rms_prop(var: Ref, ms: Ref, mom: Ref, lr: Array, rho: Array, momentum: Array, epsilon: Array,
                   grad: Array) -> Ref:
    """ms += (grad^2 - ms)(1 - rho); mom = momentum * mom + lr * grad / sqrt(ms + epsilon); var -= mom"""
    mean = _value("ApplyRMSProp", ms, grad)
    mean = mean + (grad * grad - mean) * (1 - rho)
    step = _value("ApplyRMSProp", mom, grad) * momentum + lr * grad / np.sqrt(mean + epsilon)
    ms.value, mom.value = mean, step
    var.value = _value("ApplyRMSProp", var, grad) - step
    return var


_RMS = (uniform(low=0.01, high=0.1), uniform(low=0.8, high=0.95), uniform(low=0.5, high=0.9),
        uniform(low=1e-3, high=1e-2))
apply_rms_prop.sample(normal(3, 2), positive(3, 2), normal(3, 2), *_RMS, normal(3, 2))
apply_rms_prop.sample(normal(37), positive(37), normal(37), *_RMS, normal(37))
apply_rms_prop.sample(normal(), positive(), normal(), *_RMS, normal())


# ---- on rows
def _copies(where: str, indices: Array, grad: Array, *refs: Ref) -> list[Array]:
    """Copies of the values behind `refs`, once indices and gradient are found to fit them."""
    values: list[Array] = [np.array(r.read()) for r in refs]
    for value in values:
        if grad.shape != indices.shape + value.shape[1:]:
            raise InvalidArgumentError(f"[{where}] 'grad' {grad.shape} must be indices {indices.shape} + rows of "
                                       f"{value.shape}")
        check_rows(where, value, indices)
    return values


@define("SparseApplyMomentum(var: &T, accum: &T, lr: T, grad: T, indices: Tindices, momentum: T) -> out: &T", T=FLOATS,
        Tindices=INDEX, use_locking=False, use_nesterov=False, stateful=True, differentiable=False, shape=_rows_shape)
def sparse_apply_momentum(var: Ref, accum: Ref, lr: Array, grad: Array, indices: Array, momentum: Array, *,
                          use_nesterov: bool) -> Ref:
    """ApplyMomentum on the rows `indices` (n,) with grad (n, ...); other rows stay as they are."""
    w, a = _copies("SparseApplyMomentum", indices, grad, var, accum)
    for i, g in zip(indices, grad):
        a[i] = a[i] * momentum + g
        w[i] -= lr * (g + momentum * a[i] if use_nesterov else a[i])
    var.value, accum.value = w, a
    return var


@define("SparseApplyAdagrad(var: &T, accum: &T, lr: T, grad: T, indices: Tindices) -> out: &T", T=FLOATS,
        Tindices=INDEX,
        use_locking=False, update_slots=True, stateful=True, differentiable=False, shape=_rows_shape)
def sparse_apply_adagrad(var: Ref, accum: Ref, lr: Array, grad: Array, indices: Array, *, update_slots: bool) -> Ref:
    """ApplyAdagrad on the rows `indices` (n,) with grad (n, ...); other rows stay as they are."""
    w, a = _copies("SparseApplyAdagrad", indices, grad, var, accum)
    for i, g in zip(indices, grad):
        if update_slots:
            a[i] += g * g
        w[i] -= lr * g / np.sqrt(a[i])
    var.value, accum.value = w, a
    return var


_INDICES = np.array([3, 0, 4], np.int32)
sparse_apply_momentum.sample(normal(5, 2), normal(5, 2), positive(), normal(3, 2), _INDICES,
                             uniform(low=0.5, high=0.95))
sparse_apply_momentum.sample(normal(5), normal(5), positive(), normal(3), _INDICES.astype(np.int64),
                             uniform(low=0.5, high=0.95),
                             use_nesterov=True)
sparse_apply_momentum.sample(normal(5, 2), normal(5, 2), positive(), normal(0, 2), np.zeros(0, np.int32),
                             uniform(low=0.5, high=0.95))
sparse_apply_adagrad.sample(normal(5, 2), positive(5, 2), positive(), normal(3, 2), _INDICES)
sparse_apply_adagrad.sample(normal(5), positive(5), positive(), normal(3), _INDICES.astype(np.int64),
                            update_slots=False)
sparse_apply_adagrad.sample(normal(5, 2), positive(5, 2), positive(), normal(0, 2), np.zeros(0, np.int32))

__all__ = ["apply_adagrad", "apply_adam", "apply_gradient_descent", "apply_momentum", "apply_rms_prop",
           "sparse_apply_adagrad",
           "sparse_apply_momentum"]
