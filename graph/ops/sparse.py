"""Sparse tensors as triples: indices (n, rank) int64 in row-major order, values (n,), dense_shape (rank,)."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..constant import constant_shape, constant_value
from ..define import Array, define
from ..dtypes import FIXED, INDEX, MOVABLE, NUMBERS, string
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import TensorShape
from .rules import build, dim, ranked, scalar_shape


@define("SparseReshape(input_indices: int64, input_shape: int64, new_shape: int64) -> output_indices: int64, "
        "output_shape: int64", differentiable=False)
def sparse_reshape(input_indices: Array, input_shape: Array, new_shape: Array) -> tuple[Array, Array]:
    """The same elements, in row-major order, in a dense shape `new_shape` of equal size; one -1 there is computed.

    input_indices: (n, rank), input_shape: (rank,), output_indices: (n, new rank), output_shape: (new rank,).
    """
    size, shape = int(np.prod(input_shape)), new_shape.copy()
    free = np.flatnonzero(shape == -1)
    rest = int(np.prod(shape[shape != -1]))
    if len(free) == 1 and rest and size % rest == 0:
        shape[free[0]] = size // rest
    if len(free) > 1 or (shape < 0).any() or int(np.prod(shape)) != size:
        raise InvalidArgumentError(f"[SparseReshape] the number of elements must stay: input_shape is "
                                   f"{input_shape.tolist()}, new_shape {new_shape.tolist()}")
    flat = input_indices @ _steps(input_shape)
    return flat[:, None] // np.maximum(_steps(shape), 1) % np.maximum(shape, 1), shape


def _steps(shape: Array) -> Array:
    """How many elements of a dense tensor lie between neighbours along each axis."""
    return np.append(np.cumprod(shape[:0:-1])[::-1], 1)[:len(shape)].astype(np.int64)


@sparse_reshape.shape
def _(op: Operation) -> list[TensorShape]:
    n = dim(ranked(op, 0, 2), 0)
    rank = dim(ranked(op, 2, 1), 0)
    ranked(op, 1, 1)
    return [TensorShape([n, rank]), TensorShape([rank])]


def _int64(*values: Any) -> Array:
    return np.array(values, np.int64)


sparse_reshape.sample(_int64([0, 1], [1, 0], [1, 2]), _int64(2, 3), _int64(3, 2))
sparse_reshape.sample(_int64([0, 1], [1, 0], [1, 2]), _int64(2, 3), _int64(-1))
sparse_reshape.sample(_int64([4], [7]), _int64(12), _int64(2, -1, 3))
sparse_reshape.sample(_int64([4], [7]), _int64(12), _int64(5, 2))  # refused
sparse_reshape.sample(np.zeros((0, 2), np.int64), _int64(2, 3), _int64(6))


@define("SparseToDense(sparse_indices: Tindices, output_shape: Tindices, sparse_values: T, default_value: T) -> "
        "dense: T",
        T=FIXED, Tindices=INDEX, validate_indices=True)
def sparse_to_dense(sparse_indices: Array, output_shape: Array, sparse_values: Array, default_value: Array, *,
                    validate_indices: bool) -> Array:
    """dense[sparse_indices[i]] = sparse_values[i], default_value elsewhere.

    sparse_indices: (), (n,) or (n, rank), ascending and different with validate_indices; sparse_values: () or (n,).
    """
    if sparse_indices.ndim > 2 or sparse_values.ndim > 1 or default_value.ndim:
        raise InvalidArgumentError(f"[SparseToDense] ranks are too large: sparse_indices {sparse_indices.shape}, "
                                   f"sparse_values {sparse_values.shape}, default_value {default_value.shape}")
    at = sparse_indices.reshape(-1, 1) if sparse_indices.ndim < 2 else sparse_indices
    shape = output_shape.astype(np.int64)
    if at.shape[1] != len(shape) or sparse_values.shape not in ((), at.shape[:1]):
        raise InvalidArgumentError(f"[SparseToDense] shapes do not fit: sparse_indices {sparse_indices.shape}, "
                                   f"output_shape {shape.tolist()}, sparse_values {sparse_values.shape}")
    if len(at) and ((at < 0) | (at >= shape)).any():
        raise InvalidArgumentError(f"[SparseToDense] an index is outside the shape {shape.tolist()}")
    flat = at @ _steps(shape)
    if validate_indices and (np.diff(flat) <= 0).any():
        raise InvalidArgumentError("[SparseToDense] indices must be ascending and different. "
                                   "Fix: sort them, or validate_indices=False")
    dense = np.full(int(np.prod(shape)), default_value)
    dense[flat] = sparse_values
    return dense.reshape(shape)


@sparse_to_dense.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 1, 1)
    ranked(op, 3, 0)
    return [constant_shape(op.inputs[1])]


@sparse_to_dense.gradient
def _(op: Operation, grad: Tensor) -> list[Any]:
    indices, values = op.inputs[0], op.inputs[2]
    if indices.shape.rank is None or values.shape.rank is None:
        raise InvalidArgumentError(f"[SparseToDense] the gradient needs indices and values of known rank: {op.name!r}")
    at = indices if indices.shape.rank == 2 else build("Reshape", indices, [-1, 1])
    each = build("GatherNd", grad, at)
    total = build("Sum", each, [0])
    to_values = each if values.shape.rank == 1 else total
    return [None, None, to_values, build("Sum", build("Reshape", grad, [-1]), [0]) - total]


sparse_to_dense.sample(np.array([[0, 1], [1, 0], [1, 2]], np.int32), np.array([2, 3], np.int32), normal(3), normal())
sparse_to_dense.sample(np.array([1, 3], np.int64), np.array([5], np.int64), normal(), normal())
sparse_to_dense.sample(np.array(3, np.int64), np.array([5], np.int64), normal(1), normal(), gradient=False)
sparse_to_dense.sample(np.array([3, 1], np.int32), np.array([5], np.int32), normal(2), normal())  # refused
sparse_to_dense.sample(np.array([3, 1], np.int32), np.array([5], np.int32), normal(2), normal(),
                       validate_indices=False)
sparse_to_dense.sample(np.array([5], np.int32), np.array([5], np.int32), normal(1), normal())  # refused


@define("SparseFillEmptyRows(indices: int64, values: T, dense_shape: int64, default_value: T) -> "
        "output_indices: int64, output_values: T, empty_row_indicator: bool, reverse_index_map: int64", T=MOVABLE)
def sparse_fill_empty_rows(indices: Array, values: Array, dense_shape: Array,
                           default_value: Array) -> tuple[Array, Array, Array, Array]:
    """Rows without an element get `default_value` in column 0. Elements come out row by row.

    indices: (n, rank), values: (n,); empty_row_indicator: (rows,), which rows were filled; reverse_index_map: (n,),
    where each input element went. Raises: InvalidArgumentError for an index outside the rows.
    """
    if indices.ndim != 2 or values.shape != indices.shape[:1] or dense_shape.shape != indices.shape[1:]:
        raise InvalidArgumentError(f"[SparseFillEmptyRows] shapes do not fit: indices {indices.shape}, values "
                                   f"{values.shape}, dense_shape {dense_shape.shape}")
    rows = int(dense_shape[0])
    bad = (indices[:, 0] < 0) | (indices[:, 0] >= rows)
    if bad.any():
        raise InvalidArgumentError(f"[SparseFillEmptyRows] indices[{int(np.argmax(bad))}, 0] = "
                                   f"{indices[bad][0, 0]} is not in [0, {rows})")
    empty = ~np.isin(np.arange(rows), indices[:, 0])
    filled = np.zeros((int(empty.sum()), indices.shape[1]), np.int64)
    filled[:, 0] = np.flatnonzero(empty)
    all_indices = np.concatenate([indices, filled])
    order = np.argsort(all_indices[:, 0], kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    all_values = np.concatenate([values, np.full(len(filled), default_value, values.dtype)])
    return all_indices[order], all_values[order], empty, place[:len(indices)].astype(np.int64)


@sparse_fill_empty_rows.shape
def _(op: Operation) -> list[TensorShape]:
    n, rank = ranked(op, 0, 2)
    ranked(op, 1, 1)
    ranked(op, 2, 1)
    ranked(op, 3, 0)
    dense = constant_value(op.inputs[2])
    return [TensorShape([None, rank]), TensorShape([None]), TensorShape([None if dense is None else int(dense[0])]),
            TensorShape([n])]


@sparse_fill_empty_rows.gradient
def _(op: Operation, _i: Any, to_values: Tensor | None, *_rest: Any) -> list[Any]:
    if to_values is None:
        return [None] * 4
    d_values, d_default = sparse_fill_empty_rows_grad(op.outputs[3], to_values)
    return [None, d_values, None, d_default]


@define("SparseFillEmptyRowsGrad(reverse_index_map: int64, grad_values: T) -> d_values: T, d_default_value: T",
        T=NUMBERS, differentiable=False)
def sparse_fill_empty_rows_grad(reverse_index_map: Array, grad_values: Array) -> tuple[Array, Array]:
    """d_values[i] = grad_values[reverse_index_map[i]]; d_default_value = the sum of the others."""
    if ((reverse_index_map < 0) | (reverse_index_map >= len(grad_values))).any():
        raise InvalidArgumentError(f"[SparseFillEmptyRowsGrad] an index is not in [0, {len(grad_values)})")
    others = np.ones(len(grad_values), bool)
    others[reverse_index_map] = False
    return grad_values[reverse_index_map], np.sum(grad_values[others], dtype=grad_values.dtype)


@sparse_fill_empty_rows_grad.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 1, 1)
    return [ranked(op, 0, 1), *scalar_shape(op)[:1]]


sparse_fill_empty_rows.sample(_int64([0, 1], [2, 0], [2, 2]), normal(3), _int64(5, 3), normal())
sparse_fill_empty_rows.sample(_int64([2, 1], [0, 0], [2, 2]), normal(3), _int64(3, 3), normal())
sparse_fill_empty_rows.sample(np.zeros((0, 2), np.int64), normal(0), _int64(2, 3), normal())
sparse_fill_empty_rows.sample(_int64([2, 1], [0, 0], [2, 2]), np.array([b"a", b"", b"bc"], object), _int64(4, 3),
                              np.array(b"none, and on the heap", object), T=string)
sparse_fill_empty_rows.sample(_int64([3, 1]), normal(1), _int64(3, 3), normal())  # refused
sparse_fill_empty_rows_grad.sample(_int64(0, 3, 4), normal(6))
sparse_fill_empty_rows_grad.sample(np.zeros(0, np.int64), normal(2))

__all__ = ["sparse_fill_empty_rows", "sparse_reshape", "sparse_to_dense"]
