"""One step of an optimizer on the rows of a variable that a sparse gradient touches.

Indices are distinct: the caller sums rows of equal indices first. Slots and twins: as in training.py.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..define import Array
from ..dtypes import FLOATS, INDEX
from ..errors import InvalidArgumentError
from ..interpreter import Ref
from ..operation import Operation
from ..samples import normal, positive, uniform
from ..shapes import TensorShape
from .rules import arg_name, ranked, variable_shape
from .state import check_rows
from .training import DELTA, FTRL, POWER, RMS, SMALL, adadelta_step, ftrl_step, is_variable, update_op


def _rows_shape(op: Operation) -> list[TensorShape]:
    """Variables have one shape, indices (n,), grad (n,) + a row; all else is scalar. Raises: InvalidArgumentError."""
    var = variable_shape(op.inputs[0])
    n: Any = None
    for i, arg in enumerate(op.op_def.inputs):
        if is_variable(arg):
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


def _copies(where: str, indices: Array, grad: Array, *refs: Ref) -> list[Array]:
    """Copies of the values behind `refs`, once indices and gradient are found to fit them."""
    values: list[Array] = [np.array(r.read()) for r in refs]
    for value in values:
        if grad.shape != indices.shape + value.shape[1:]:
            raise InvalidArgumentError(f"[{where}] 'grad' {grad.shape} must be indices {indices.shape} + rows of "
                                       f"{value.shape}")
        check_rows(where, value, indices)
    return values


@update_op("SparseApplyMomentum(var: &T, accum: &T, lr: T, grad: T, indices: Tindices, momentum: T) -> out: &T",
           T=FLOATS, Tindices=INDEX, use_nesterov=False, shape=_rows_shape)
def sparse_apply_momentum(var: Ref, accum: Ref, lr: Array, grad: Array, indices: Array, momentum: Array, *,
                          use_nesterov: bool) -> Ref:
    """ApplyMomentum on the rows `indices` (n,) with grad (n, ...); other rows stay as they are."""
    w, a = _copies("SparseApplyMomentum", indices, grad, var, accum)
    for i, g in zip(indices, grad):
        a[i] = a[i] * momentum + g
        w[i] -= lr * (g + momentum * a[i] if use_nesterov else a[i])
    var.value, accum.value = w, a
    return var


@update_op("SparseApplyAdagrad(var: &T, accum: &T, lr: T, grad: T, indices: Tindices) -> out: &T", T=FLOATS,
           Tindices=INDEX, update_slots=True, shape=_rows_shape)
def sparse_apply_adagrad(var: Ref, accum: Ref, lr: Array, grad: Array, indices: Array, *, update_slots: bool) -> Ref:
    """ApplyAdagrad on the rows `indices` (n,) with grad (n, ...); other rows stay as they are."""
    w, a = _copies("SparseApplyAdagrad", indices, grad, var, accum)
    for i, g in zip(indices, grad):
        if update_slots:
            a[i] += g * g
        w[i] -= lr * g / np.sqrt(a[i])
    var.value, accum.value = w, a
    return var


@update_op("SparseApplyAdagradV2(var: &T, accum: &T, lr: T, epsilon: T, grad: T, indices: Tindices) -> out: &T",
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


@update_op("SparseApplyFtrl(var: &T, accum: &T, linear: &T, grad: T, indices: Tindices, lr: T, l1: T, l2: T, "
           "lr_power: T) -> out: &T", T=FLOATS, Tindices=INDEX, multiply_linear_by_lr=False, shape=_rows_shape)
def sparse_apply_ftrl(var: Ref, accum: Ref, linear: Ref, grad: Array, indices: Array, lr: Array, l1: Array, l2: Array,
                      lr_power: Array, *, multiply_linear_by_lr: bool) -> Ref:
    """ApplyFtrl on the rows `indices` (n,) with grad (n, ...); other rows stay as they are."""
    w, a, z = _copies("SparseApplyFtrl", indices, grad, var, accum, linear)
    for i, g in zip(indices, grad):
        w[i], a[i], z[i] = ftrl_step(w[i], a[i], z[i], g, lr, l1, l2, lr_power, multiply_linear_by_lr)
    var.value, accum.value, linear.value = w, a, z
    return var


@update_op("SparseApplyRMSProp(var: &T, ms: &T, mom: &T, lr: T, rho: T, momentum: T, epsilon: T, grad: T, "
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


@update_op("SparseApplyAdadelta(var: &T, accum: &T, accum_update: &T, lr: T, rho: T, epsilon: T, grad: T, "
           "indices: Tindices) -> out: &T", T=FLOATS, Tindices=INDEX, shape=_rows_shape)
def sparse_apply_adadelta(var: Ref, accum: Ref, accum_update: Ref, lr: Array, rho: Array, epsilon: Array,
                          grad: Array, indices: Array) -> Ref:
    """ApplyAdadelta on the rows `indices` (n,) with grad (n, ...); other rows stay as they are."""
    w, a, d = _copies("SparseApplyAdadelta", indices, grad, var, accum, accum_update)
    for i, g in zip(indices, grad):
        w[i], a[i], d[i] = adadelta_step(w[i], a[i], d[i], g, lr, rho, epsilon)
    var.value, accum.value, accum_update.value = w, a, d
    return var


_INDICES = np.array([3, 0, 4], np.int32)
for _rows, _grad, _at in (((5, 2), (3, 2), _INDICES), ((5,), (3,), _INDICES.astype(np.int64)),
                          ((5, 2), (0, 2), np.zeros(0, np.int32))):
    sparse_apply_adagrad_v2.sample(normal(*_rows), positive(*_rows), positive(), SMALL, normal(*_grad), _at)
    sparse_apply_ftrl.sample(normal(*_rows), positive(*_rows), normal(*_rows), normal(*_grad), _at, *FTRL, POWER)
    sparse_apply_rms_prop.sample(normal(*_rows), positive(*_rows), normal(*_rows), *RMS, normal(*_grad), _at)
    sparse_apply_adadelta.sample(normal(*_rows), positive(*_rows), positive(*_rows), *DELTA, normal(*_grad), _at)
sparse_apply_momentum.sample(normal(5, 2), normal(5, 2), positive(), normal(3, 2), _INDICES,
                             uniform(low=0.5, high=0.95))
sparse_apply_momentum.sample(normal(5), normal(5), positive(), normal(3), _INDICES.astype(np.int64),
                             uniform(low=0.5, high=0.95), use_nesterov=True)
sparse_apply_momentum.sample(normal(5, 2), normal(5, 2), positive(), normal(0, 2), np.zeros(0, np.int32),
                             uniform(low=0.5, high=0.95))
sparse_apply_adagrad.sample(normal(5, 2), positive(5, 2), positive(), normal(3, 2), _INDICES)
sparse_apply_adagrad.sample(normal(5), positive(5), positive(), normal(3), _INDICES.astype(np.int64),
                            update_slots=False)
sparse_apply_adagrad.sample(normal(5, 2), positive(5, 2), positive(), normal(0, 2), np.zeros(0, np.int32))


__all__ = ["sparse_apply_adagrad", "sparse_apply_momentum"]
