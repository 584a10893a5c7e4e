"""A sum of matrix products as one node, which a pass makes of many (passes/sum_products.py)."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..define import Array, define
from ..dtypes import FLOATS
from ..errors import InvalidArgumentError
from ..operation import Operation
from ..samples import normal
from ..shapes import TensorShape
from .matmul import product_shape


@define("_SumOfProducts(a: N*T, b: N*T) -> sum: T", T=FLOATS, transpose_a=False, transpose_b=False,
        differentiable=False)
def sum_of_products(a: Sequence[Array], b: Sequence[Array], *, transpose_a: bool, transpose_b: bool) -> Array:
    """sum = op(a[0]) @ op(b[0]) + op(a[1]) @ op(b[1]) + ..., where op transposes if asked.

    a[i]: (m, k of i), b[i]: (k of i, n), sum: (m, n)
    """
    products = [(x.T if transpose_a else x) @ (y.T if transpose_b else y) for x, y in zip(a, b)]
    if len({p.shape for p in products}) > 1:
        raise InvalidArgumentError(f"[_SumOfProducts] all products must have one shape: "
                                   f"{[p.shape for p in products]}")
    return np.asarray(sum(products[1:], products[0]))


@sum_of_products.shape
def _(op: Operation) -> list[TensorShape]:
    shape, n = TensorShape([None, None]), op.attrs["N"]
    for i in range(n):
        product = product_shape(op, i, n + i)
        if not product.is_compatible_with(shape):
            raise InvalidArgumentError(f"[{op.type}] all products must have one shape: product {i} is {product}, "
                                       f"those before it are {shape}.")
        shape = shape.merge_with(product)
    return [shape]


# (m, n, the k of each product): one product, some that are gathered and some that are not, a rest, empty ones
for _m, _n, _ks in ((3, 4, [2]), (5, 7, [1, 3, 2]), (40, 48, [8] * 40), (33, 65, [100, 7, 300, 1]), (2, 3, [0, 4]),
                    (2, 3, [0, 0]), (0, 3, [2, 2])):
    for _ta in (False, True):
        for _tb in (False, True):
            sum_of_products.sample([normal(_k, _m) if _ta else normal(_m, _k) for _k in _ks],
                                   [normal(_n, _k) if _tb else normal(_k, _n) for _k in _ks],
                                   transpose_a=_ta, transpose_b=_tb)
sum_of_products.sample([normal(2, 3), normal(2, 3)], [normal(3, 4), normal(2, 4)])  # refused: k
sum_of_products.sample([normal(2, 3), normal(5, 3)], [normal(3, 4), normal(3, 4)])  # refused: m
