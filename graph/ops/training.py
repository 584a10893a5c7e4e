"""One step of an optimizer on one variable, dense or on the rows that a sparse gradient touches.

The first inputs are the variable and its slots, which are changed in place; hyperparameters are scalars. Every op
exists twice, on references (ApplyAdam) and on handles (ResourceApplyAdam). Sparse forms want distinct indices: the
caller sums rows of equal indices first.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..define import Array, Op, define
from ..dtypes import FLOATS, INDEX
from ..errors import InvalidArgumentError
from ..interpreter import Ref
from ..opdef import Arg
from ..operation import Operation
from ..samples import Random, normal, positive, uniform
from ..shapes import TensorShape
from .rules import arg_name, ranked, variable_shape
from .state import check_rows

_OPS: list[tuple[Op, Op]] = []  # each op and its twin on handles


def _update_op(signature: str, **attrs: Any) -> Callable[[Callable[..., Any]], Op]:
    """``define`` for an update through references ``&T``, and for its twin that takes handles and returns nothing."""
    twin = "Resource" + signature.partition(" -> ")[0].replace("&T", "resource")

    def decorate(reference: Callable[..., Any]) -> Op:
        rules: dict[str, Any] = {"use_locking": False, "stateful": True, "differentiable": False, **attrs}
        op = define(signature, **rules)(reference)
        _OPS.append((op, define(twin, **rules)(reference)))
        return op

    return decorate


def _is_variable(arg: Arg) -> bool:
    return arg.is_ref or arg.dtype is dtypes.resource


def _one_shape(op: Operation) -> list[TensorShape]:
    """Variables and the gradient have one shape; all else is scalar. Raises: InvalidArgumentError."""
    var = variable_shape(op.inputs[0])
    for i, arg in enumerate(op.op_def.inputs):
        if _is_variable(arg) or arg.name in ("grad", "delta"):
            shape = variable_shape(op.inputs[i])
            if not var.is_compatible_with(shape):
                raise InvalidArgumentError(f"[{op.type}] shapes differ: 'var' is {var}, '{arg.name}' {shape}")
            var = var.merge_with(shape)
        else:
            ranked(op, i, 0)
    return [var] * len(op.outputs)


def _rows_shape(op: Operation) -> list[TensorShape]:
    """Variables have one shape, indices (n,), grad (n,) + a row; all else is scalar. Raises: InvalidArgumentError."""
    var = variable_shape(op.inputs[0])
    n: Any = None
    for i, arg in enumerate(op.op_def.inputs):
        if _is_variable(arg):
            shape = variable_shape(op.inputs[i])
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
    return [var] * len(op.outputs)


def _value(where: str, ref: Ref, grad: Array) -> Array:
    value: Array = ref.read()
    if value.shape != grad.shape:
        raise InvalidArgumentError(f"[{where}] shapes differ: variable {ref.name!r} is {value.shape}, the gradient "
                                   f"{grad.shape}")
    return value


# ---- dense
@_update_op("ApplyGradientDescent(var: &T, alpha: T, delta: T) -> out: &T", T=FLOATS, shape=_one_shape)
def apply_gradient_descent(var: Ref, alpha: Array, delta: Array) -> Ref:
    """var -= alpha * delta"""
    var.value = _value("ApplyGradientDescent", var, delta) - alpha * delta
    return var


apply_gradient_descent.sample(normal(3, 2), positive(), normal(3, 2))
apply_gradient_descent.sample(normal(), positive(), normal())
apply_gradient_descent.sample(normal(37), positive(), normal(37))
apply_gradient_descent.sample(normal(0, 2), positive(), normal(0, 2))


@_update_op("ApplyMomentum(var: &T, accum: &T, lr: T, grad: T, momentum: T) -> out: &T", T=FLOATS,
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


@_update_op("ApplyAdam(var: &T, m: &T, v: &T, beta1_power: T, beta2_power: T, lr: T, beta1: T, beta2: T, epsilon: T, "
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


@_update_op("ApplyAdagrad(var: &T, accum: &T, lr: T, grad: T) -> out: &T", T=FLOATS, update_slots=True,
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


@_update_op("ApplyRMSProp(var: &T, ms: &T, mom: &T, lr: T, rho: T, momentum: T, epsilon: T, grad: T) -> out: &T",
            T=FLOATS,
        shape=_one_shape)
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


@_update_op("ApplyAdagradV2(var: &T, accum: &T, lr: T, epsilon: T, grad: T) -> out: &T", T=FLOATS,
            update_slots=True, shape=_one_shape)
def apply_adagrad_v2(var: Ref, accum: Ref, lr: Array, epsilon: Array, grad: Array, *, update_slots: bool) -> Ref:
    """accum += grad^2 (with update_slots); var -= lr * grad / (sqrt(accum) + epsilon)"""
    a = _value("ApplyAdagradV2", accum, grad)
    if update_slots:
        a = a + grad * grad
        accum.value = a
    var.value = _value("ApplyAdagradV2", var, grad) - lr * grad / (np.sqrt(a) + epsilon)
    return var


_SMALL = uniform(low=1e-3, high=1e-2)
apply_adagrad_v2.sample(normal(3, 2), positive(3, 2), positive(), _SMALL, normal(3, 2))
apply_adagrad_v2.sample(normal(37), positive(37), positive(), _SMALL, normal(37), update_slots=False)


def _ftrl(w: Array, a: Array, z: Array, g: Array, lr: Array, l1: Array, l2: Array, lr_power: Array,
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


@_update_op("ApplyFtrl(var: &T, accum: &T, linear: &T, grad: T, lr: T, l1: T, l2: T, lr_power: T) -> out: &T",
            T=FLOATS, multiply_linear_by_lr=False, shape=_one_shape)
def apply_ftrl(var: Ref, accum: Ref, linear: Ref, grad: Array, lr: Array, l1: Array, l2: Array, lr_power: Array, *,
               multiply_linear_by_lr: bool) -> Ref:
    """a = accum + grad^2; linear += grad - (a^-p - accum^-p) / lr * var; accum = a; var = 0 where |linear| <= l1, else
    (sign(linear) l1 - linear) / (a^-p / lr + 2 l2), with p = lr_power. Source: McMahan et al., KDD 2013."""
    w, a, z = (_value("ApplyFtrl", r, grad) for r in (var, accum, linear))
    var.value, accum.value, linear.value = _ftrl(w, a, z, grad, lr, l1, l2, lr_power, multiply_linear_by_lr)
    return var


_FTRL = (uniform(low=0.01, high=0.1), uniform(low=0.1, high=0.2), uniform(low=0.1, high=0.2))
_POWER = Random(lambda rng, dtype: np.array(-0.5))
apply_ftrl.sample(normal(3, 2), positive(3, 2), normal(3, 2), normal(3, 2), *_FTRL, _POWER)
apply_ftrl.sample(normal(37), positive(37), normal(37), normal(37), *_FTRL, uniform(low=-0.8, high=-0.3))
apply_ftrl.sample(normal(37), positive(37), normal(37), normal(37), *_FTRL, _POWER, multiply_linear_by_lr=True)


def _adadelta(w: Array, a: Array, d: Array, g: Array, lr: Array, rho: Array,
              epsilon: Array) -> tuple[Array, Array, Array]:
    """The variable and its two averages after one step."""
    a = a * rho + g * g * (1 - rho)
    update = np.sqrt(d + epsilon) / np.sqrt(a + epsilon) * g
    return w - lr * update, a, d * rho + update * update * (1 - rho)


@_update_op("ApplyAdadelta(var: &T, accum: &T, accum_update: &T, lr: T, rho: T, epsilon: T, grad: T) -> out: &T",
            T=FLOATS, shape=_one_shape)
def apply_adadelta(var: Ref, accum: Ref, accum_update: Ref, lr: Array, rho: Array, epsilon: Array,
                   grad: Array) -> Ref:
    """accum = rho accum + (1 - rho) grad^2; u = sqrt(accum_update + epsilon) / sqrt(accum + epsilon) grad;
    accum_update = rho accum_update + (1 - rho) u^2; var -= lr u. Source: Zeiler, arXiv 1212.5701."""
    w, a, d = (_value("ApplyAdadelta", r, grad) for r in (var, accum, accum_update))
    var.value, accum.value, accum_update.value = _adadelta(w, a, d, grad, lr, rho, epsilon)
    return var


_DELTA = (positive(), uniform(low=0.8, high=0.95), _SMALL)
apply_adadelta.sample(normal(3, 2), positive(3, 2), positive(3, 2), *_DELTA, normal(3, 2))
apply_adadelta.sample(normal(37), positive(37), positive(37), *_DELTA, normal(37))


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


@_update_op("SparseApplyMomentum(var: &T, accum: &T, lr: T, grad: T, indices: Tindices, momentum: T) -> out: &T",
            T=FLOATS,
        Tindices=INDEX, use_nesterov=False, shape=_rows_shape)
def sparse_apply_momentum(var: Ref, accum: Ref, lr: Array, grad: Array, indices: Array, momentum: Array, *,
                          use_nesterov: bool) -> Ref:
    """ApplyMomentum on the rows `indices` (n,) with grad (n, ...); other rows stay as they are."""
    w, a = _copies("SparseApplyMomentum", indices, grad, var, accum)
    for i, g in zip(indices, grad):
        a[i] = a[i] * momentum + g
        w[i] -= lr * (g + momentum * a[i] if use_nesterov else a[i])
    var.value, accum.value = w, a
    return var


@_update_op("SparseApplyAdagrad(var: &T, accum: &T, lr: T, grad: T, indices: Tindices) -> out: &T", T=FLOATS,
        Tindices=INDEX,
        update_slots=True, shape=_rows_shape)
def sparse_apply_adagrad(var: Ref, accum: Ref, lr: Array, grad: Array, indices: Array, *, update_slots: bool) -> Ref:
    """ApplyAdagrad on the rows `indices` (n,) with grad (n, ...); other rows stay as they are."""
    w, a = _copies("SparseApplyAdagrad", indices, grad, var, accum)
    for i, g in zip(indices, grad):
        if update_slots:
            a[i] += g * g
        w[i] -= lr * g / np.sqrt(a[i])
    var.value, accum.value = w, a
    return var


@_update_op("SparseApplyAdagradV2(var: &T, accum: &T, lr: T, epsilon: T, grad: T, indices: Tindices) -> out: &T",
            T=FLOATS, Tindices=INDEX, update_slots=True, shape=_rows_shape)
def sparse_apply_adagrad_v2(var: Ref, accum: Ref, lr: Array, epsilon: Array, grad: Array, indices: Array, *,
                            update_slots: bool) -> Ref:
    """ApplyAdagradV2 on the rows `indices` (n,) with grad (n, ...); other rows stay as they are."""
    w, a = _copies("SparseApplyAdagradV2", indices, grad, var, accum)
    for i, g in zip(indices, grad):
        if update_slots:
            a[i] += g * g
        w[i] -= lr * g / (np.sqrt(a[i]) + epsilon)
    var.value, accum.value = w, a
    return var


@_update_op("SparseApplyFtrl(var: &T, accum: &T, linear: &T, grad: T, indices: Tindices, lr: T, l1: T, l2: T, "
            "lr_power: T) -> out: &T", T=FLOATS, Tindices=INDEX, multiply_linear_by_lr=False, shape=_rows_shape)
def sparse_apply_ftrl(var: Ref, accum: Ref, linear: Ref, grad: Array, indices: Array, lr: Array, l1: Array, l2: Array,
                      lr_power: Array, *, multiply_linear_by_lr: bool) -> Ref:
    """ApplyFtrl on the rows `indices` (n,) with grad (n, ...); other rows stay as they are."""
    w, a, z = _copies("SparseApplyFtrl", indices, grad, var, accum, linear)
    for i, g in zip(indices, grad):
        w[i], a[i], z[i] = _ftrl(w[i], a[i], z[i], g, lr, l1, l2, lr_power, multiply_linear_by_lr)
    var.value, accum.value, linear.value = w, a, z
    return var


@_update_op("SparseApplyRMSProp(var: &T, ms: &T, mom: &T, lr: T, rho: T, momentum: T, epsilon: T, grad: T, "
            "indices: Tindices) -> out: &T", T=FLOATS, Tindices=INDEX, shape=_rows_shape)
def sparse_apply_rms_prop(var: Ref, ms: Ref, mom: Ref, lr: Array, rho: Array, momentum: Array, epsilon: Array,
                          grad: Array, indices: Array) -> Ref:
    """ApplyRMSProp on the rows `indices` (n,) with grad (n, ...); other rows stay as they are."""
    w, mean, step = _copies("SparseApplyRMSProp", indices, grad, var, ms, mom)
    for i, g in zip(indices, grad):
        mean[i] += (g * g - mean[i]) * (1 - rho)
        step[i] = step[i] * momentum + lr * g / np.sqrt(mean[i] + epsilon)
        w[i] -= step[i]
    var.value, ms.value, mom.value = w, mean, step
    return var


@_update_op("SparseApplyAdadelta(var: &T, accum: &T, accum_update: &T, lr: T, rho: T, epsilon: T, grad: T, "
            "indices: Tindices) -> out: &T", T=FLOATS, Tindices=INDEX, shape=_rows_shape)
def sparse_apply_adadelta(var: Ref, accum: Ref, accum_update: Ref, lr: Array, rho: Array, epsilon: Array,
                          grad: Array, indices: Array) -> Ref:
    """ApplyAdadelta on the rows `indices` (n,) with grad (n, ...); other rows stay as they are."""
    w, a, d = _copies("SparseApplyAdadelta", indices, grad, var, accum, accum_update)
    for i, g in zip(indices, grad):
        w[i], a[i], d[i] = _adadelta(w[i], a[i], d[i], g, lr, rho, epsilon)
    var.value, accum.value, accum_update.value = w, a, d
    return var


_INDICES = np.array([3, 0, 4], np.int32)
for _rows, _grad, _at in (((5, 2), (3, 2), _INDICES), ((5,), (3,), _INDICES.astype(np.int64)),
                          ((5, 2), (0, 2), np.zeros(0, np.int32))):
    sparse_apply_adagrad_v2.sample(normal(*_rows), positive(*_rows), positive(), _SMALL, normal(*_grad), _at)
    sparse_apply_ftrl.sample(normal(*_rows), positive(*_rows), normal(*_rows), normal(*_grad), _at, *_FTRL, _POWER)
    sparse_apply_rms_prop.sample(normal(*_rows), positive(*_rows), normal(*_rows), *_RMS, normal(*_grad), _at)
    sparse_apply_adadelta.sample(normal(*_rows), positive(*_rows), positive(*_rows), *_DELTA, normal(*_grad), _at)
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

for _op, _twin in _OPS:
    _twin.samples.extend(_op.samples)

__all__ = ["apply_adagrad", "apply_adam", "apply_gradient_descent", "apply_momentum", "apply_rms_prop",
           "sparse_apply_adagrad",
           "sparse_apply_momentum"]
