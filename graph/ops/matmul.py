"""Matrix products: MatMul, BatchMatMulV2, and the functions matmul and tensordot made of them.

Gradients fold transposes into the products: no Transpose node.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..constant import constant_value
from ..define import Array, convert_to_tensor, define
from ..dtypes import NUMBERS
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import UNKNOWN, TensorShape, broadcast
from .rules import axis_index, build, dim, ranked, unbroadcast_both


@define("MatMul(a: T, b: T) -> product: T", T=NUMBERS, transpose_a=False, transpose_b=False)
def _matmul(a: Array, b: Array, *, transpose_a: bool, transpose_b: bool) -> Array:
    """product = op(a) @ op(b), where op transposes if asked. a: (m, k), b: (k, n), product: (m, n)"""
    return np.asarray((a.T if transpose_a else a) @ (b.T if transpose_b else b))


@_matmul.shape
def _(op: Operation) -> list[TensorShape]:
    return [product_shape(op, 0, 1)]


def product_shape(op: Operation, i: int, j: int) -> TensorShape:
    """(m, n) of op(a) @ op(b), the flat inputs of these numbers. Raises: InvalidArgumentError where their k differ."""
    a, b = ranked(op, i, 2), ranked(op, j, 2)
    m, k = dim(a, 0), dim(a, 1)
    k2, n = dim(b, 0), dim(b, 1)
    if op.attrs["transpose_a"]:
        m, k = k, m
    if op.attrs["transpose_b"]:
        k2, n = n, k2
    _check_inner(op, k, k2, i, j)
    return TensorShape([m, n])


def _check_inner(op: Operation, k: int | None, k2: int | None, i: int = 0, j: int = 1) -> None:
    if k is not None and k2 is not None and k != k2:
        (a, b), text = op.op_def.inputs, []
        for arg, t, size in ((a, op.inputs[i], k), (b, op.inputs[j], k2)):
            flag = next((f for f in (f"transpose_{arg.name}", f"adj_{arg.name}") if op.attrs.get(f)), None)
            text.append(f"{arg.name} {t.shape}{f' with {flag}' if flag else ''} has k={size}")
        raise InvalidArgumentError(f"[{op.type}] dimension 'k' differs: {', '.join(text)}.")


@_matmul.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    return _product_gradients(_matmul, op, grad, "transpose_a", "transpose_b")


def _product_gradients(product: Any, op: Operation, grad: Tensor, flag_a: str, flag_b: str) -> list[Tensor]:
    """The gradients of op(a) @ op(b), again as products."""
    a, b = op.inputs
    ta, tb = op.attrs[flag_a], op.attrs[flag_b]

    def mul(x: Tensor, y: Tensor, tx: bool, ty: bool) -> Tensor:
        result: Tensor = product(x, y, **{flag_a: tx, flag_b: ty})
        return result

    to_a = mul(b, grad, tb, True) if ta else mul(grad, b, False, not tb)
    to_b = mul(grad, a, True, ta) if tb else mul(a, grad, not ta, False)
    return [to_a, to_b]


# (m, k, n): scalar-like, odd, one row, one column, tile edges, empty in each dimension
for _m, _k, _n in (
    (1, 1, 1),
    (2, 3, 4),
    (1, 7, 5),
    (5, 7, 1),
    (3, 1, 3),
    (17, 33, 9),
    (64, 16, 48),
    (0, 3, 2),
    (2, 0, 3),
    (2, 3, 0),
):
    for _ta in (False, True):
        for _tb in (False, True):
            _matmul.sample(normal(*((_k, _m) if _ta else (_m, _k))), normal(*((_n, _k) if _tb else (_k, _n))),
                           transpose_a=_ta, transpose_b=_tb)
_matmul.sample(normal(2, 3), normal(2, 3))  # refused


@define("BatchMatMulV2(x: T, y: T) -> output: T", T=NUMBERS, adj_x=False, adj_y=False)
def _batch_matmul(x: Array, y: Array, *, adj_x: bool, adj_y: bool) -> Array:
    """output[...] = op(x[...]) @ op(y[...]): matrices in the last two axes, the axes before them broadcast.

    x: (..., m, k), y: (..., k, n), output: (..., m, n)
    """
    return np.asarray(np.matmul(x.swapaxes(-1, -2) if adj_x else x, y.swapaxes(-1, -2) if adj_y else y))


@_batch_matmul.shape
def _(op: Operation) -> list[TensorShape]:
    x, y = ranked(op, 0, 2, at_least=True), ranked(op, 1, 2, at_least=True)
    if x.dims is None or y.dims is None:
        return [UNKNOWN]
    (m, k), (k2, n) = x.dims[-2:], y.dims[-2:]
    if op.attrs["adj_x"]:
        m, k = k, m
    if op.attrs["adj_y"]:
        k2, n = n, k2
    _check_inner(op, k, k2)
    return [broadcast(TensorShape(x.dims[:-2]), TensorShape(y.dims[:-2]), op.type).concatenate([m, n])]


@_batch_matmul.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    to_x, to_y = _product_gradients(_batch_matmul, op, grad, "adj_x", "adj_y")
    return unbroadcast_both(op, to_x, to_y, own=2)


_BATCHES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((2,), (2,)), ((3,), (1,)), ((), (2,)), ((2, 1), (1, 3)), ((2, 3), ()), ((0,), (0,)), ((1,), (2, 3)))
for _bx, _by in _BATCHES:
    for _ta in (False, True):
        for _tb in (False, True):
            _batch_matmul.sample(normal(*_bx, *((3, 2) if _ta else (2, 3))), normal(*_by, *((5, 3) if _tb else (3, 5))),
                                 adj_x=_ta, adj_y=_tb)
_batch_matmul.sample(normal(2, 3, 4), normal(3, 4, 5))  # refused: 2 and 3 do not broadcast
_batch_matmul.sample(normal(17, 9), normal(9, 33))
_batch_matmul.sample(normal(2, 3, 0), normal(2, 0, 4))


# ---- functions
def matmul_any(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, adjoint_a: bool = False,
               adjoint_b: bool = False, name: str | None = None) -> Tensor:
    """a @ b of matrices, or of batches of them: a: (..., m, k), b: (..., k, n), result: (..., m, n).

    A batch times one matrix is done as one large product. Raises: InvalidArgumentError where the k differ or a rank is
    below 2.
    """
    a = convert_to_tensor(a, getattr(b, "dtype", None) if isinstance(b, Tensor) else None)
    b = convert_to_tensor(b, a.dtype)
    transpose_a, transpose_b = transpose_a or adjoint_a, transpose_b or adjoint_b
    ranks = a.shape.rank, b.shape.rank
    if ranks == (2, 2):
        result: Tensor = _matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b, name=name)
        return result
    if ranks[0] is not None and ranks[0] > 2 and ranks[1] == 2 and not transpose_a:
        return _rows_times_matrix(a, b, transpose_b, name)
    result = _batch_matmul(a, b, adj_x=transpose_a, adj_y=transpose_b, name=name)
    return result


def _rows_times_matrix(a: Tensor, b: Tensor, transpose_b: bool, name: str | None) -> Tensor:
    """(..., k) @ (k, n) by flattening the leading axes: one product, and one for the gradient of b."""
    shape = a.shape.as_list()
    k = dim(b.shape, 1 if transpose_b else 0) if shape[-1] is None else shape[-1]
    n = dim(b.shape, 0 if transpose_b else 1)
    with a.graph.name_scope(name or "MatMul"):
        rows = -1 if None in shape[:-1] else int(np.prod(shape[:-1], dtype=np.int64))  # type: ignore[arg-type]
        product = _matmul(_reshape(a, [rows, k if k is not None else build("Shape", b)[1 if transpose_b else 0]]), b,
                          transpose_b=transpose_b)
        sizes = [*shape[:-1], n]
        if sizes.count(None) + (0 in sizes) <= 1:
            result = _reshape(product, [-1 if d is None else d for d in sizes])
        else:
            result = build("Reshape", product,
                           build("ConcatV2", [build("Shape", a)[:-1], build("Shape", product)[1:]], 0))
    result.set_shape(sizes)
    return result


def _reshape(x: Tensor, dims: Sequence[Any]) -> Tensor:
    if 0 in [d for d in dims if isinstance(d, int)] and -1 in [d for d in dims if isinstance(d, int)]:
        raise InvalidArgumentError(
            f"[matmul] a batch of empty rows times a matrix: {x.shape}. Fix: use rf.reshape first"
        )
    result: Tensor = build(
        "Reshape", x, np.array(dims, np.int32) if all(isinstance(d, int) for d in dims) else list(dims)
    )
    return result


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Tensor:
    """Sum of products over `axes`: a number n (the last n of a with the first n of b), or two lists of axes.

    Ranks must be known. The result has a's other axes, then b's. Raises: InvalidArgumentError where sizes differ.
    """
    a = convert_to_tensor(a, b.dtype if isinstance(b, Tensor) else None)
    b = convert_to_tensor(b, a.dtype)
    if a.shape.rank is None or b.shape.rank is None:
        raise InvalidArgumentError(f"[tensordot] ranks must be known: a is {a.shape}, b {b.shape}. Fix: call set_shape")
    over_a, over_b = _contracted(axes, a.shape.rank, b.shape.rank)
    with a.graph.name_scope(name or "Tensordot"):
        left, free_a = _as_matrix(a, over_a, last=True)
        right, free_b = _as_matrix(b, over_b, last=False)
        product = _matmul(left, right)
        static = [dim(t.shape, i) for t, free in ((a, free_a), (b, free_b)) for i in free]
        if static.count(None) <= 1 and 0 not in static:
            result = _reshape(product, [-1 if d is None else d for d in static])
        else:
            sizes = [build("GatherV2", build("Shape", t), np.array(free, np.int32), 0)
                     for t, free in ((a, free_a), (b, free_b))]
            result = build("Reshape", product, build("ConcatV2", sizes, 0))
    result.set_shape(static)
    return result


def _contracted(axes: Any, rank_a: int, rank_b: int) -> tuple[list[int], list[int]]:
    if isinstance(axes, Tensor):
        axes = constant_value(axes)
    if np.ndim(axes) == 0:
        n = int(axes)
        if not 0 <= n <= min(rank_a, rank_b):
            raise InvalidArgumentError(f"[tensordot] 'axes' is {n}: must be in [0, {min(rank_a, rank_b)}]")
        return list(range(rank_a - n, rank_a)), list(range(n))
    first, second = (np.atleast_1d(x).tolist() for x in axes)
    if len(first) != len(second):
        raise InvalidArgumentError(f"[tensordot] 'axes' must name as many of a as of b: {first} and {second}")
    return ([axis_index("tensordot", "axes", i, rank_a) for i in first],
            [axis_index("tensordot", "axes", i, rank_b) for i in second])


def _as_matrix(x: Tensor, over: list[int], last: bool) -> tuple[Tensor, list[int]]:
    """`x` as a matrix with the axes `over` as columns (`last`) or rows, and its other axes."""
    free = [i for i in range(len(x.shape)) if i not in over]
    order = free + over if last else over + free
    if order != list(range(len(x.shape))):
        x = build("Transpose", x, np.array(order, np.int32))
    dims = x.shape.as_list()
    inner = dims[len(free):] if last else dims[:len(over)]
    if None in inner:
        shape = build("Shape", x)
        size: Any = build("Prod", shape[len(free):] if last else shape[:len(over)], [0])
    else:
        size = int(np.prod(inner, dtype=np.int64))  # type: ignore[arg-type]
    outer = dims[:len(free)] if last else dims[len(over):]
    rest: Any = -1 if None in outer else int(np.prod(outer, dtype=np.int64))  # type: ignore[arg-type]
    return _reshape(x, [rest, size] if last else [size, rest]), free
