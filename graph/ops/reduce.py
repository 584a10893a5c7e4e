"""Reductions over axes: Sum, Mean, Prod, Max, Min, All, Any, and L2Loss.

The axes are an input (`reduction_indices`: a scalar or vector, negative ones count from the back; empty: nothing is
reduced). Over no elements Sum is 0, Prod 1, Mean nan (an error for integers), Max -inf (the least integer), Min +inf,
All true, Any false.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..constant import constant_value
from ..define import Array, Op, attr, define
from ..dtypes import FLOATS, INDEX, NUMBERS, int32
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..samples import Random, distinct, normal, positive
from ..shapes import UNKNOWN, TensorShape
from .rules import axis_index, build, scalar_shape, shape_tensor

_INDEX = attr("type", int32, INDEX)


def _axes(op_type: str, indices: Any, rank: int) -> tuple[int, ...]:
    """The axes to reduce, in order. Raises: InvalidArgumentError for one outside the rank or named twice."""
    axes = [axis_index(op_type, "reduction_indices", int(a), rank) for a in np.atleast_1d(indices)]
    if len(set(axes)) != len(axes):
        raise InvalidArgumentError(
            f"[{op_type}] 'reduction_indices' names an axis twice: {np.atleast_1d(indices).tolist()}"
        )
    return tuple(sorted(axes))


def _shape(op: Operation) -> list[TensorShape]:
    shape, indices = op.inputs[0].shape, constant_value(op.inputs[1])
    keep = op.attrs["keep_dims"]
    if shape.dims is None:
        return [UNKNOWN]
    if indices is None:
        count = op.inputs[1].shape.num_elements()
        if count is not None and not keep:
            return [TensorShape([None] * max(len(shape.dims) - count, 0))]
        return [TensorShape([None] * len(shape.dims))] if keep else [UNKNOWN]
    axes = _axes(op.type, indices, len(shape.dims))
    return [TensorShape([1 if i in axes else d for i, d in enumerate(shape.dims) if keep or i not in axes])]


@define("Sum(input: T, reduction_indices: Tidx) -> output: T", T=NUMBERS, Tidx=_INDEX, keep_dims=False, shape=_shape)
def _sum(input: Array, reduction_indices: Array, *, keep_dims: bool) -> Array:
    """output = sum of the elements along the axes"""
    return np.asarray(np.sum(input, _axes("Sum", reduction_indices, input.ndim), input.dtype, keepdims=keep_dims))


@define("Mean(input: T, reduction_indices: Tidx) -> output: T", T=NUMBERS, Tidx=_INDEX, keep_dims=False, shape=_shape)
def _mean(input: Array, reduction_indices: Array, *, keep_dims: bool) -> Array:
    """output = sum / count along the axes; for integers the quotient without its fraction.

    Raises: InvalidArgumentError for the mean of no integers.
    """
    axes = _axes("Mean", reduction_indices, input.ndim)
    total = np.asarray(np.sum(input, axes, input.dtype, keepdims=keep_dims))
    count = int(np.prod([input.shape[a] for a in axes], dtype=np.int64))
    if input.dtype.kind == "f":
        return np.asarray(np.true_divide(total, np.asarray(count, input.dtype)))
    if not count:
        raise InvalidArgumentError(f"[Mean] the mean of no integers is undefined: input is {input.shape}")
    return np.asarray(np.sign(total) * (np.abs(total) // count))


@define("Prod(input: T, reduction_indices: Tidx) -> output: T", T=NUMBERS, Tidx=_INDEX, keep_dims=False, shape=_shape)
def _prod(input: Array, reduction_indices: Array, *, keep_dims: bool) -> Array:
    """output = product of the elements along the axes"""
    return np.asarray(np.prod(input, _axes("Prod", reduction_indices, input.ndim), input.dtype, keepdims=keep_dims))


def _least(dtype: np.dtype[Any], sign: int) -> Any:
    if dtype.kind == "f":
        return dtype.type(-np.inf * sign)
    return np.iinfo(dtype).min if sign > 0 else np.iinfo(dtype).max


@define("Max(input: T, reduction_indices: Tidx) -> output: T", T=NUMBERS, Tidx=_INDEX, keep_dims=False, shape=_shape)
def _max(input: Array, reduction_indices: Array, *, keep_dims: bool) -> Array:
    """output = the largest element along the axes; equal ones share the gradient"""
    axes = _axes("Max", reduction_indices, input.ndim)
    return np.asarray(np.max(input, axes, keepdims=keep_dims, initial=_least(input.dtype, 1)))


@define("Min(input: T, reduction_indices: Tidx) -> output: T", T=NUMBERS, Tidx=_INDEX, keep_dims=False, shape=_shape)
def _min(input: Array, reduction_indices: Array, *, keep_dims: bool) -> Array:
    """output = the smallest element along the axes; equal ones share the gradient"""
    axes = _axes("Min", reduction_indices, input.ndim)
    return np.asarray(np.min(input, axes, keepdims=keep_dims, initial=_least(input.dtype, -1)))


@define("All(input: bool, reduction_indices: Tidx) -> output: bool", Tidx=_INDEX, keep_dims=False, differentiable=False,
        shape=_shape)
def _all(input: Array, reduction_indices: Array, *, keep_dims: bool) -> Array:
    """output = every element along the axes is true"""
    return np.asarray(np.all(input, _axes("All", reduction_indices, input.ndim), keepdims=keep_dims))


@define("Any(input: bool, reduction_indices: Tidx) -> output: bool", Tidx=_INDEX, keep_dims=False, differentiable=False,
        shape=_shape)
def _any(input: Array, reduction_indices: Array, *, keep_dims: bool) -> Array:
    """output = some element along the axes is true"""
    return np.asarray(np.any(input, _axes("Any", reduction_indices, input.ndim), keepdims=keep_dims))


# ---- gradients
def _kept(op: Operation, value: Tensor) -> Tensor:
    """`value`, of the output's shape, with the reduced axes as dimensions of size 1."""
    if op.attrs["keep_dims"]:
        return value
    x, indices = op.inputs
    static = constant_value(indices)
    if x.shape.dims is not None and static is not None:
        axes = _axes(op.type, static, len(x.shape.dims))
        dims = [1 if i in axes else -1 if d is None else d for i, d in enumerate(x.shape.dims)]
        if dims == value.shape:
            return value
        if dims.count(-1) == 0 or (dims.count(-1) == 1 and 0 not in dims):
            kept: Tensor = build("Reshape", value, np.array(dims, np.int32))
            return kept
    from .cast import cast

    rank = build("Rank", x)
    axes_tensor = build("Reshape", build("FloorMod", cast(indices, int32) + rank, rank), np.array([-1], np.int32))
    ones = build("Fill", build("Shape", axes_tensor), np.int32(1))
    shape = build("DynamicStitch", [build("Range", 0, rank, 1), axes_tensor], [build("Shape", x), ones])
    kept = build("Reshape", value, shape)
    return kept


def _spread(op: Operation, value: Tensor) -> Tensor:
    """`value`, of the output's shape, repeated to the input's shape."""
    x, indices = op.inputs
    static = constant_value(indices)
    leading = x.shape.rank is not None and static is not None and \
        _axes(op.type, static, x.shape.rank) == tuple(range(np.size(static)))
    kept = value if leading else _kept(op, value)  # broadcasting adds leading axes by itself
    if kept.shape == x.shape and x.shape.is_fully_defined():
        return kept
    spread: Tensor = build("BroadcastTo", kept, shape_tensor(x))
    spread.set_shape(x.shape)
    return spread


def _count(op: Operation) -> Any:
    """How many elements each output is made of: a Python number, or an int32 tensor."""
    x, static = op.inputs[0], constant_value(op.inputs[1])
    if x.shape.dims is not None and static is not None:
        dims = [x.shape.dims[a] for a in _axes(op.type, static, len(x.shape.dims))]
        if None not in dims:
            return int(np.prod(dims, dtype=np.int64))  # type: ignore[arg-type]
    outputs: Any = op.outputs[0].shape.num_elements()
    if outputs is None:
        outputs = build("Size", op.outputs[0])
    elif outputs == 1:
        return build("Size", x)
    return build("FloorDiv", build("Size", x), build("Maximum", outputs, 1))


@_sum.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor | None]:
    return [_spread(op, grad), None]


@_mean.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor | None]:
    from .cast import cast

    count = _count(op)
    factor: Any = float(count) if isinstance(count, int) else cast(count, grad.dtype)
    return [_spread(op, grad if factor == 1.0 else grad / factor), None]


@_prod.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor | None]:
    # d/dx_i is the product of the others: that of all nonzero elements over x_i; where exactly one is 0, the product
    # goes to that one alone; where more are, all is 0.
    from .cast import cast

    x, indices = op.inputs
    is_zero = build("Equal", x, 0.0)
    rest = build("SelectV2", is_zero, 1.0, x)
    product = build("Prod", rest, indices, keep_dims=True)
    zeros = build("Sum", cast(is_zero, grad.dtype), indices, keep_dims=True)
    to_zero = build("SelectV2", build("Equal", zeros, 1.0), product, 0.0)
    to_rest = build("SelectV2", build("Equal", zeros, 0.0), product, 0.0) / rest
    return [build("SelectV2", is_zero, to_zero, to_rest) * _kept(op, grad), None]


def _extreme_gradient(op: Operation, grad: Tensor) -> list[Tensor | None]:
    from .cast import cast

    x, indices = op.inputs
    chosen = cast(build("Equal", x, _kept(op, op.outputs[0])), grad.dtype)
    ties = build("Sum", chosen, indices, keep_dims=True)
    return [chosen * (_kept(op, grad) / ties), None]


_max.gradient(_extreme_gradient)
_min.gradient(_extreme_gradient)


def _sample_axes(op: Op, draw: Any) -> None:
    for shape, axes in (
        ((), []),
        ((7,), [0]),
        ((37,), -1),
        ((3, 5), [0]),
        ((3, 5), [1]),
        ((3, 5), []),
        ((3, 5), [-2, 1]),
        ((2, 3, 5), [1]),
        ((2, 3, 5), [0, 2]),
        ((2, 3, 5), [0, 1]),
        ((2, 3, 2, 5), [1, 3]),
        ((2, 1, 3), [1]),
    ):
        for keep in (False, True):
            op.sample(draw(*shape), np.array(axes, np.int32), keep_dims=keep)
    op.sample(draw(3, 65), np.array([1], np.int64))
    op.sample(draw(65, 3), np.array([0], np.int64))
    op.sample(draw(3, 5), np.array([2], np.int32))  # refused, and so is the next
    op.sample(draw(3, 5), np.array([0, -2], np.int32))
    op.sample(draw(3, 0), np.array([1], np.int32), gradient=False)
    op.sample(draw(0, 3), np.array([1], np.int32), gradient=False)


def _some_zeros(*shape: int) -> Random:
    return Random(lambda rng, dtype: rng.integers(0, 3, shape))


for _op in (_sum, _mean, _all, _any):
    _sample_axes(_op, normal)
for _op in (_max, _min):
    _sample_axes(_op, distinct)
    _op.sample(np.array([[1, 3, 3], [2, 2, 2]], np.float32), np.array([1], np.int32), gradient=False)
_PROD_CASES: list[tuple[tuple[int, ...], list[int]]] = [((), []), ((7,), [0]), ((3, 5), [1]), ((3, 4), [0, 1]),
                                                         ((2, 3, 5), [-2]), ((3, 0), [1])]
for _dims, _indices in _PROD_CASES:
    _prod.sample(positive(*_dims, high=2), np.array(_indices, np.int32))
    _prod.sample(_some_zeros(*_dims), np.array(_indices, np.int32), keep_dims=True)


@define("L2Loss(t: T) -> output: T", T=FLOATS, shape=scalar_shape)
def l2_loss(t: Array) -> Array:
    """output = sum(t^2) / 2, a scalar"""
    return np.asarray(np.sum(np.square(t)) / 2, t.dtype)


l2_loss.gradient(lambda op, grad: [op.inputs[0] * grad])
for _dims in ((), (7,), (3, 65), (2, 3, 5), (0, 2)):
    l2_loss.sample(normal(*_dims))
