"""_MatMulOfViews: batches of products of matrices that lie in larger tensors. Made by passes/products/views.py."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..define import Array, attr, define
from ..dtypes import FLOATS
from ..operation import Operation
from ..samples import normal
from ..shapes import TensorShape

_INTS = attr("list(int)")


@define("_MatMulOfViews(x: N*T, y: N*T) -> output: T", T=FLOATS, batch=_INTS, sizes=_INTS, x_view=_INTS, y_view=_INTS,
        output_shape=_INTS, output_view=_INTS, differentiable=False)
def matmul_of_views(x: Sequence[Array], y: Sequence[Array], *, batch: list[int], sizes: list[int], x_view: list[int],
                    y_view: list[int], output_shape: list[int], output_view: list[int]) -> Array:
    """output_i[b] = x_i[b] @ y_i[b] for every b of `batch`, where output_i is a part of output; sizes: m, k, n of each.

    A view is an offset and then strides: of each dimension of the batch, of a row, of a column, all in elements of the
    flat tensor; there is one for each i. Of each matrix of x and y, rows or columns are contiguous; those of output
    (shape `output_shape`) have contiguous rows, and together fill it. Only a single product may be empty.
    """
    output = np.zeros(output_shape, x[0].dtype)
    length = len(batch) + 3
    for i in range(len(x)):
        m, k, n = sizes[3 * i:3 * i + 3]
        a, b, c = (view[i * length:(i + 1) * length] for view in (x_view, y_view, output_view))
        _matrices(output, batch, (m, n), c)[...] = (
            _matrices(x[i], batch, (m, k), a) @ _matrices(y[i], batch, (k, n), b))
    return output


def _matrices(t: Array, batch: Sequence[int], matrix: tuple[int, int], view: Sequence[int]) -> Array:
    flat = np.ascontiguousarray(t).reshape(-1)[view[0]:]
    return as_strided(flat, (*batch, *matrix), [s * t.itemsize for s in view[1:]])


@matmul_of_views.shape
def _(op: Operation) -> list[TensorShape]:
    return [TensorShape(op.attrs["output_shape"])]


# Attention: queries and keys of 4 heads in one projection (2 x 5 rows of 3 x 4 x 6), the result by head or by row.
matmul_of_views.sample([normal(10, 72)], [normal(10, 72)], batch=[2, 4], sizes=[5, 6, 5], x_view=[0, 360, 6, 72, 1],
                       y_view=[24, 360, 6, 1, 72], output_shape=[2, 4, 5, 5], output_view=[0, 100, 25, 5, 1])
matmul_of_views.sample([normal(2, 4, 5, 5)], [normal(10, 72)], batch=[2, 4], sizes=[5, 5, 6], x_view=[0, 100, 25, 5, 1],
                       y_view=[48, 360, 6, 72, 1], output_shape=[2, 5, 4, 6], output_view=[0, 120, 6, 24, 1])
matmul_of_views.sample([normal(3, 17, 33)], [normal(33, 40)], batch=[3], sizes=[33, 17, 20], x_view=[0, 561, 1, 33],
                       y_view=[20, 0, 40, 1], output_shape=[3, 33, 20], output_view=[0, 660, 20, 1])
matmul_of_views.sample([normal(4, 0)], [normal(0, 5)], batch=[], sizes=[4, 0, 5], x_view=[0, 0, 1], y_view=[0, 5, 1],
                       output_shape=[4, 5], output_view=[0, 5, 1])
# Two products into the left and the right columns of one matrix, as a concatenation would put them.
matmul_of_views.sample([normal(2, 5, 3), normal(2, 7, 5)], [normal(2, 3, 4), normal(2, 7, 6)], batch=[2],
                       sizes=[5, 3, 4, 5, 7, 6], x_view=[0, 15, 3, 1, 0, 35, 1, 5], y_view=[0, 12, 4, 1, 0, 42, 6, 1],
                       output_shape=[10, 10], output_view=[0, 50, 10, 1, 4, 50, 10, 1])
