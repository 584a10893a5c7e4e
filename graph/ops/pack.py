"""Ops that join tensors along a new axis, and take them apart: stacking and unstacking."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..define import Array, convert_to_tensor, define
from ..dtypes import MOVABLE
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import UNKNOWN, TensorShape
from .rules import all_gradients, arg_name, axis_index


@define("Pack(values: N*T) -> output: T", T=MOVABLE, axis=0)
def pack(values: list[Array], *, axis: int) -> Array:
    """The N values, of one shape, along a new axis of size N at `axis`."""
    if any(v.shape != values[0].shape for v in values):
        raise InvalidArgumentError(f"[Pack] all values must have one shape: {', '.join(str(v.shape) for v in values)}")
    return np.stack(values, axis_index("Pack", "axis", axis, values[0].ndim + 1))


@pack.shape
def _(op: Operation) -> list[TensorShape]:
    shape = UNKNOWN
    for i, t in enumerate(op.inputs):
        if not shape.is_compatible_with(t.shape):
            raise InvalidArgumentError(f"[Pack] all values must have one shape: '{arg_name(op, i)}' is {t.shape}, "
                                       "those "
                                       f"before it {shape}")
        shape = shape.merge_with(t.shape)
    if shape.dims is None:
        return [UNKNOWN]
    at = axis_index("Pack", "axis", op.attrs["axis"], len(shape.dims) + 1)
    return [TensorShape([*shape.dims[:at], op.attrs["N"], *shape.dims[at:]])]


@pack.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    parts: list[Any] = unpack(grad, num=op.attrs["N"], axis=op.attrs["axis"])
    return parts


pack.sample([normal(2, 3), normal(2, 3)])
pack.sample([normal(2, 3), normal(2, 3), normal(2, 3)], axis=-1)
pack.sample([normal(2, 3)], axis=1)
pack.sample([normal(), normal()])
pack.sample([normal(0), normal(0)])


@define("Unpack(value: T) -> output: num*T", T=MOVABLE, axis=0)
def unpack(value: Array, *, num: int, axis: int) -> list[Array]:
    """The `num` slices of `value` along `axis`, which has that size and goes away."""
    at = axis_index("Unpack", "axis", axis, value.ndim)
    _check_num(value.shape[at], num, at)
    return [value.take(i, at) for i in range(num)]


def _check_num(size: int | None, num: int, axis: int) -> None:
    if size not in (num, None):
        raise InvalidArgumentError(f"[Unpack] 'num' must be the dimension: axis {axis} has {size}, num is {num}")


@unpack.shape
def _(op: Operation) -> list[TensorShape]:
    x, num = op.inputs[0].shape, op.attrs["num"]
    if x.dims is None:
        return [UNKNOWN] * num
    at = axis_index("Unpack", "axis", op.attrs["axis"], len(x.dims))
    _check_num(x.dims[at], num, at)
    return [TensorShape([*x.dims[:at], *x.dims[at + 1:]])] * num


@unpack.gradient
def _(op: Operation, *grads: Tensor | None) -> list[Any]:
    return [pack(all_gradients(op, grads), axis=op.attrs["axis"])]


unpack.sample(normal(2, 3), num=2)
unpack.sample(normal(2, 3), num=3, axis=-1)
unpack.sample(normal(4), num=4)
unpack.sample(normal(2, 1, 0), num=1, axis=1)


# ---- TensorFlow's names where the call differs from the op's
def stack(values: Any, axis: int = 0, name: str | None = None) -> Tensor:
    """The list `values`, of one shape, along a new axis."""
    result: Tensor = pack(list(values), axis=axis, name=name or "stack")
    return result


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str | None = None) -> list[Tensor]:
    """The slices of `value` along `axis`; `num` where the static shape does not say how many there are."""
    value = convert_to_tensor(value)
    if num is None:
        shape = value.shape
        n = None if shape.dims is None else shape.dims[axis_index("unstack", "axis", axis, len(shape.dims))]
        if n is None:
            raise InvalidArgumentError(f"[unstack] the dimension of axis {axis} is not known: {value!r}. Fix: give "
                                       "num=")
        num = n
    parts: list[Tensor] = unpack(value, num=num, axis=axis, name=name or "unstack")
    return parts


__all__ = ["pack", "stack", "unpack", "unstack"]
