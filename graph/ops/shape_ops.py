"""Ops about shapes: what a tensor's shape is, and the same elements under another shape or order of axes."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..constant import constant_shape, constant_value
from ..define import Array, convert_to_tensor, define
from ..dtypes import INDEX, MOVABLE
from ..errors import InvalidArgumentError
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import ints, normal
from ..shapes import UNKNOWN, TensorShape, broadcast
from .rules import axis_index, build, scalar_shape, shape_tensor, unbroadcast

INDEX_ATTR = attr("type", dtypes.int32, INDEX)  # the type of an input or output that holds indices


# ---- what the shape is
@define("Shape(input: T) -> output: out_type", T=MOVABLE, out_type=INDEX_ATTR, differentiable=False)
def shape(input: Array) -> Array:
    """The dimensions of `input`: output (rank,)."""
    return np.array(input.shape, np.int64)


@shape.shape
def _(op: Operation) -> list[TensorShape]:
    return [TensorShape([op.inputs[0].shape.rank])]


shape.sample(normal(2, 3))
shape.sample(normal(), out_type=dtypes.int64)
shape.sample(normal(4, 0, 1))


@define("ShapeN(input: N*T) -> output: N*out_type", T=MOVABLE, out_type=INDEX_ATTR, differentiable=False)
def shape_n(input: list[Array]) -> list[Array]:
    """The dimensions of each of the N inputs: output[i] (rank of input[i],)."""
    return [np.array(x.shape, np.int64) for x in input]


@shape_n.shape
def _(op: Operation) -> list[TensorShape]:
    return [TensorShape([t.shape.rank]) for t in op.inputs]


shape_n.sample([normal(2, 3), normal()])
shape_n.sample([normal(0, 5)], out_type=dtypes.int64)


@define("Size(input: T) -> output: out_type", T=MOVABLE, out_type=INDEX_ATTR, differentiable=False, shape=scalar_shape)
def size(input: Array) -> Array:
    """The number of elements of `input`: output ()."""
    return np.array(input.size, np.int64)


size.sample(normal(2, 3))
size.sample(normal(), out_type=dtypes.int64)
size.sample(normal(3, 0))


@define("Rank(input: T) -> output: int32", T=MOVABLE, differentiable=False, shape=scalar_shape)
def rank(input: Array) -> Array:
    """The number of dimensions of `input`: output ()."""
    return np.array(input.ndim, np.int32)


rank.sample(normal(2, 1, 3))
rank.sample(normal())


# ---- the same elements, other dimensions
@define("Reshape(tensor: T, shape: Tshape) -> output: T", T=MOVABLE, Tshape=INDEX_ATTR, aliases=True)
def reshape(tensor: Array, shape: Array) -> Array:
    """`tensor` with the dimensions `shape` (n,) and the same elements in row-major order; one dimension may be -1."""
    wanted = [int(d) for d in shape]
    if wanted.count(-1) == 1:
        wanted[wanted.index(-1)] = _missing(tensor.shape, wanted)
    if min(wanted, default=0) < 0 or np.prod(wanted, dtype=np.int64) != tensor.size:
        raise InvalidArgumentError(f"[Reshape] sizes differ: 'tensor' {tensor.shape} has {tensor.size} elements, "
                                   f"'shape' is {shape.tolist()}")
    return tensor.reshape(wanted)


def _missing(dims: Sequence[int], wanted: Sequence[int]) -> int:
    """What -1 in `wanted` stands for. Zeros, where `wanted` holds one, are left out on both sides: (2, 0) as [-1, 0]
    is (2, 0)."""
    n = np.prod([d for d in dims if d or 0 not in wanted], dtype=np.int64)
    return int(n // np.prod([d for d in wanted if d > 0], dtype=np.int64))


@reshape.shape
def _(op: Operation) -> list[TensorShape]:
    x, wanted = op.inputs[0].shape, constant_shape(op.inputs[1])
    if wanted.dims is None:
        return [UNKNOWN]
    value = constant_value(op.inputs[1])
    if value is not None and (np.sum(value == -1) > 1 or np.any(value < -1)):
        raise InvalidArgumentError(f"[Reshape] 'shape' may hold one -1 and no other negative number: got "
                                   f"{value.tolist()}")
    n = x.num_elements()
    open_dims = [i for i, d in enumerate(wanted.dims) if d is None]
    known = int(np.prod([d for d in wanted.dims if d is not None], dtype=np.int64))
    if n is None or len(open_dims) > 1:
        return [wanted]
    if (not open_dims and known != n) or (open_dims and known and n % known):
        raise InvalidArgumentError(f"[Reshape] sizes differ: 'tensor' {x} has {n} elements, "
                                   f"'shape' {wanted} has {known}{' times ?' if open_dims else ''}")
    dims = list(wanted.dims)
    for i in open_dims:
        dims[i] = n // known if known else None if value is None else _missing(x.known, value.tolist())
    return [TensorShape(dims)]


@reshape.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    return [reshape(grad, shape_tensor(op.inputs[0])), None]


reshape.sample(normal(2, 6), ints(3, 4))
reshape.sample(normal(2, 3, 4), ints(-1, 6))
reshape.sample(normal(1), np.zeros(0, np.int32))
reshape.sample(normal(), ints(1, 1))
reshape.sample(normal(0, 3), ints(3, 0, 2))
reshape.sample(normal(2, 0), ints(-1, 0))
reshape.sample(normal(0, 3), ints(-1, 3))
reshape.sample(normal(8), np.array([2, -1], np.int64))


@define("ExpandDims(input: T, dim: Tdim) -> output: T", T=MOVABLE, Tdim=INDEX_ATTR, aliases=True)
def expand_dims_op(input: Array, dim: Array) -> Array:
    """`input` with a dimension of size 1 put in at `dim`, in [-rank-1, rank]."""
    return np.expand_dims(input, axis_index("ExpandDims", "dim", int(dim.reshape(-1)[0]), input.ndim + 1))


@expand_dims_op.shape
def _(op: Operation) -> list[TensorShape]:
    x, dim = op.inputs[0].shape, constant_value(op.inputs[1])
    if x.dims is None:
        return [UNKNOWN]
    if dim is None:
        return [TensorShape([None] * (len(x.dims) + 1))]
    if dim.size != 1:
        raise InvalidArgumentError(f"[ExpandDims] 'dim' must be one number: got {dim.tolist()}")
    axis = axis_index("ExpandDims", "dim", int(dim.reshape(-1)[0]), len(x.dims) + 1)
    return [TensorShape([*x.dims[:axis], 1, *x.dims[axis:]])]


@expand_dims_op.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    return [reshape(grad, shape_tensor(op.inputs[0])), None]


expand_dims_op.sample(normal(2, 3), np.array(0, np.int32))
expand_dims_op.sample(normal(2, 3), np.array(-1, np.int32))
expand_dims_op.sample(normal(2, 3), np.array(1, np.int64))
expand_dims_op.sample(normal(), np.array(0, np.int32))


@define("Squeeze(input: T) -> output: T", T=MOVABLE, squeeze_dims=attr("list(int)", []), aliases=True)
def squeeze_op(input: Array, *, squeeze_dims: list[int]) -> Array:
    """`input` without its dimensions `squeeze_dims`, which must be 1; without all of size 1 where none is given."""
    axes = _squeezed("Squeeze", input.shape, squeeze_dims)
    return input.reshape([d for i, d in enumerate(input.shape) if i not in axes])


def _squeezed(where: str, dims: Sequence[int | None], wanted: list[int]) -> set[int]:
    if not wanted:
        return {i for i, d in enumerate(dims) if d == 1}
    axes = {axis_index(where, "squeeze_dims", a, len(dims)) for a in wanted}
    for a in sorted(axes):
        if dims[a] not in (1, None):
            raise InvalidArgumentError(f"[{where}] a squeezed dimension must be 1: dimension {a} of "
                                       f"{TensorShape(dims)} "
                                       f"is {dims[a]}")
    return axes


@squeeze_op.shape
def _(op: Operation) -> list[TensorShape]:
    x, wanted = op.inputs[0].shape, op.attrs["squeeze_dims"]
    if x.dims is None or (not wanted and None in x.dims):
        return [UNKNOWN]
    axes = _squeezed("Squeeze", x.dims, wanted)
    return [TensorShape([d for i, d in enumerate(x.dims) if i not in axes])]


@squeeze_op.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    return [reshape(grad, shape_tensor(op.inputs[0]))]


squeeze_op.sample(normal(1, 3, 1, 2))
squeeze_op.sample(normal(1, 3, 1, 2), squeeze_dims=[-2])
squeeze_op.sample(normal(1, 1))
squeeze_op.sample(normal(2, 3))


# ---- order of axes
@define("Transpose(x: T, perm: Tperm) -> y: T", T=MOVABLE, Tperm=INDEX_ATTR)
def transpose_op(x: Array, perm: Array) -> Array:
    """y[i_perm[0], i_perm[1], ...] = x[i_0, i_1, ...]: axis k of y is axis perm[k] of x. perm: (rank,)."""
    _check_permutation("Transpose", perm, x.ndim)
    return x.transpose([int(p) for p in perm])


def _check_permutation(where: str, perm: Array, n: int) -> None:
    if perm.ndim != 1 or sorted(perm.tolist()) != list(range(n)):
        raise InvalidArgumentError(f"[{where}] not a permutation of 0..{n - 1}: got {perm.tolist()}")


@transpose_op.shape
def _(op: Operation) -> list[TensorShape]:
    x, perm = op.inputs[0].shape, constant_value(op.inputs[1])
    n = x.rank if x.rank is not None else len(perm) if perm is not None else op.inputs[1].shape.num_elements()
    if n is None:
        return [UNKNOWN]
    if perm is None or x.dims is None:
        return [TensorShape([None] * n)]
    _check_permutation("Transpose", perm, n)
    return [TensorShape([x.dims[p] for p in perm])]


@transpose_op.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    perm = constant_value(op.inputs[1])
    inverse = invert_permutation(op.inputs[1]) if perm is None else np.argsort(perm).astype(np.int32)
    return [transpose_op(grad, inverse), None]


transpose_op.sample(normal(2, 3), ints(1, 0))
transpose_op.sample(normal(2, 3, 4, 5), ints(0, 2, 1, 3))
transpose_op.sample(normal(2, 3, 4), ints(2, 0, 1))
transpose_op.sample(normal(2, 3, 4), np.array([0, 1, 2], np.int64))
transpose_op.sample(normal(17, 33), ints(1, 0))
transpose_op.sample(normal(), np.zeros(0, np.int32))
transpose_op.sample(normal(3, 0, 2), ints(1, 2, 0))


@define("InvertPermutation(x: T) -> y: T", T=INDEX_ATTR, differentiable=False)
def invert_permutation(x: Array) -> Array:
    """y[x[i]] = i, for a permutation x: (n,)."""
    _check_permutation("InvertPermutation", x, x.size)
    y = np.empty_like(x)
    y[x] = np.arange(x.size, dtype=x.dtype)
    return y


@invert_permutation.shape
def _(op: Operation) -> list[TensorShape]:
    return [op.inputs[0].shape.with_rank(1)]


invert_permutation.sample(ints(2, 0, 1))
invert_permutation.sample(np.array([3, 1, 0, 2], np.int64))
invert_permutation.sample(np.zeros(0, np.int32))


# ---- broadcasting
@define("BroadcastTo(input: T, shape: Tidx) -> output: T", T=MOVABLE, Tidx=INDEX_ATTR)
def broadcast_to(input: Array, shape: Array) -> Array:
    """`input` repeated along new leading axes and axes of size 1 to the dimensions `shape` (n,)."""
    try:
        return np.broadcast_to(input, [int(d) for d in shape])
    except ValueError:
        raise InvalidArgumentError(f"[BroadcastTo] 'input' {input.shape} does not broadcast to 'shape' {shape.tolist()}"
                                   ) from None


@broadcast_to.shape
def _(op: Operation) -> list[TensorShape]:
    x, wanted = op.inputs[0].shape, constant_shape(op.inputs[1])
    if wanted.is_fully_defined() and broadcast(x, wanted, op.type) != wanted and x.is_fully_defined():
        raise InvalidArgumentError(f"[BroadcastTo] 'input' {x} does not broadcast to 'shape' {wanted}")
    return [wanted]


@broadcast_to.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    return [unbroadcast(grad, op.inputs[0], grad), None]


broadcast_to.sample(normal(3), ints(2, 3))
broadcast_to.sample(normal(2, 1, 3), ints(2, 4, 3))
broadcast_to.sample(normal(), np.array([2, 2], np.int64))
broadcast_to.sample(normal(1, 3), ints(0, 3))
broadcast_to.sample(normal(2, 3), ints(2, 3))


@define("BroadcastGradientArgs(s0: T, s1: T) -> r0: T, r1: T", T=INDEX_ATTR, differentiable=False)
def broadcast_gradient_args(s0: Array, s1: Array) -> tuple[Array, Array]:
    """The axes of broadcast(s0, s1) to sum over to get back to the dimensions s0 (r0) and s1 (r1), ascending."""
    n = max(s0.size, s1.size)
    a = [1] * (n - s0.size) + s0.tolist()
    b = [1] * (n - s1.size) + s1.tolist()
    if any(x != y and 1 not in (x, y) for x, y in zip(a, b)):
        raise InvalidArgumentError(f"[BroadcastGradientArgs] shapes do not broadcast: {s0.tolist()} and {s1.tolist()}")
    r0 = [i for i in range(n) if a[i] == 1 and (b[i] != 1 or s0.tolist() != s1.tolist())]
    r1 = [i for i in range(n) if b[i] == 1 and (a[i] != 1 or s0.tolist() != s1.tolist())]
    return np.array(r0, s0.dtype), np.array(r1, s0.dtype)


@broadcast_gradient_args.shape
def _(op: Operation) -> list[TensorShape]:
    s0, s1 = (constant_value(t) for t in op.inputs)
    if s0 is None or s1 is None:
        return [TensorShape([None]), TensorShape([None])]
    return [TensorShape([r.size]) for r in broadcast_gradient_args.reference(s0, s1)]


broadcast_gradient_args.sample(ints(2, 3), ints(3))
broadcast_gradient_args.sample(ints(2, 1, 4), ints(3, 1))
broadcast_gradient_args.sample(ints(2, 3), ints(2, 3))
broadcast_gradient_args.sample(np.zeros(0, np.int64), np.array([5], np.int64))


# ---- TensorFlow's names where the call differs from the op's
def expand_dims(input: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """`input` with a dimension of size 1 put in at `axis` (old name: `dim`)."""
    result: Tensor = expand_dims_op(input, dim if axis is None else axis, name=name)
    return result


def squeeze(input: Any, axis: Any = None, name: str | None = None, squeeze_dims: Any = None) -> Tensor:
    """`input` without the dimensions of size 1 in `axis` (an int or a list; old name: `squeeze_dims`), or all."""
    axes = squeeze_dims if axis is None else axis
    result: Tensor = squeeze_op(input, squeeze_dims=[axes] if isinstance(axes, int) else list(axes or []), name=name)
    return result


def transpose(a: Any, perm: Any = None, name: str | None = None) -> Tensor:
    """Axis k of the result is axis perm[k] of `a`; the axes in reverse order without `perm`."""
    a = convert_to_tensor(a)
    if perm is None:
        n = a.shape.rank
        perm = np.arange(n, dtype=np.int32)[::-1] if n is not None else _reversed_axes(a)
    result: Tensor = transpose_op(a, perm, name=name or "transpose")
    return result


def _reversed_axes(a: Tensor) -> Any:
    last = build("Sub", rank(a), 1)
    return build("Range", last, -1, -1)


__all__ = ["broadcast_gradient_args", "broadcast_to", "expand_dims", "invert_permutation", "rank", "reshape", "shape",
           "shape_n", "size", "squeeze", "transpose"]
