"""Sums of matrix products as one node, or as one for each iteration of a loop: passes make them of many nodes."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..define import Array, attr, define
from ..dtypes import FLOATS
from ..errors import InvalidArgumentError
from ..operation import Operation
from ..samples import Made, normal
from ..shapes import TensorShape
from .matmul import product_shape
from .rules import build, ranked, scalar_shape


def _products(a: Sequence[Array], b: Sequence[Array], transpose_a: bool, transpose_b: bool) -> list[Array]:
    return [np.asarray((x.T if transpose_a else x) @ (y.T if transpose_b else y)) for x, y in zip(a, b)]


def _total(where: str, terms: Sequence[Array]) -> Array:
    if len({t.shape for t in terms}) > 1:
        raise InvalidArgumentError(f"[{where}] all terms must have one shape: {[t.shape for t in terms]}")
    return np.asarray(sum(terms[1:], terms[0]))


# ---- of one iteration (passes/products/sum_products.py)
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
    return [_shape(op, TensorShape([None, None]))]


def _shape(op: Operation, shape: TensorShape) -> TensorShape:
    """`shape`, that of all products."""
    first = op.span("a").start
    for i in range(first, first + op.attrs["N"]):
        product = product_shape(op, i, i + op.attrs["N"])
        if not product.is_compatible_with(shape):
            raise InvalidArgumentError(f"[{op.type}] all terms must have one shape: product {i - first} is {product}, "
                                       f"what comes before it {shape}.")
        shape = shape.merge_with(product)
    return shape


@define("_AddProducts(addend: T, a: N*T, b: N*T) -> sum: T", T=FLOATS, transpose_a=False, transpose_b=False,
        differentiable=False)
def add_products(addend: Array, a: Sequence[Array], b: Sequence[Array], *, transpose_a: bool,
                 transpose_b: bool) -> Array:
    """sum = addend + op(a[0]) @ op(b[0]) + ...; it may be computed in the place of `addend`.

    addend: (m, n), a[i]: (m, k of i), b[i]: (k of i, n), sum: (m, n)
    """
    return _total("_AddProducts", [addend, *_products(a, b, transpose_a, transpose_b)])


@add_products.shape
def _(op: Operation) -> list[TensorShape]:
    return [_shape(op, ranked(op, 0, 2))]


# (m, n, the k of each product): one product, some that are gathered and some that are not, a rest, empty ones
for _m, _n, _ks in ((3, 4, [2]), (5, 7, [1, 3, 2]), (40, 48, [8] * 40), (33, 65, [100, 7, 300, 1]), (2, 3, [0, 4]),
                    (2, 3, [0, 0]), (0, 3, [2, 2])):
    for _ta in (False, True):
        for _tb in (False, True):
            _factors = ([normal(_k, _m) if _ta else normal(_m, _k) for _k in _ks],
                        [normal(_n, _k) if _tb else normal(_k, _n) for _k in _ks])
            sum_of_products.sample(*_factors, transpose_a=_ta, transpose_b=_tb)
            add_products.sample(normal(_m, _n), *_factors, transpose_a=_ta, transpose_b=_tb)
sum_of_products.sample([normal(2, 3), normal(2, 3)], [normal(3, 4), normal(2, 4)])  # refused: k
sum_of_products.sample([normal(2, 3), normal(5, 3)], [normal(3, 4), normal(3, 4)])  # refused: m
add_products.sample(normal(2, 4), [normal(3, 3)], [normal(3, 4)])  # refused
add_products.sample(normal(2, 3, 4), [normal(3, 3)], [normal(3, 4)])  # refused


# ---- a sum that the iterations of a loop add to (passes/products/sum_iterations.py)
class ProductSum:
    """What a handle stands for in the interpreter."""

    def __init__(self, total: Array) -> None:
        self.total = total


@define("_ProductSum(initial: T) -> handle: resource", T=FLOATS, stateful=True, differentiable=False)
def product_sum(initial: Array) -> ProductSum:
    """A sum of matrix products that begins as `initial` (m, n)."""
    return ProductSum(initial)


@product_sum.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 0, 2)
    return scalar_shape(op)


@define("_ProductSumAdd(handle: resource, a: N*T, b: N*T) -> sum: resource", T=FLOATS, transpose_a=False,
        transpose_b=False, stateful=True, differentiable=False, shape=scalar_shape)
def product_sum_add(handle: ProductSum, a: Sequence[Array], b: Sequence[Array], *, transpose_a: bool,
                    transpose_b: bool) -> ProductSum:
    """Adds op(a[0]) @ op(b[0]) + ...; sum = handle."""
    handle.total = _total("_ProductSumAdd", [handle.total, *_products(a, b, transpose_a, transpose_b)])
    return handle


@define("_ProductSumValue(handle: resource) -> sum: T", T=FLOATS, shape=attr("shape"), stateful=True,
        differentiable=False)
def product_sum_value(handle: ProductSum) -> Array:
    """The sum so far, a matrix of `shape`."""
    return handle.total


product_sum_value.shape(lambda op: [op.attrs["shape"]])


def _sum_so_far(m: int, n: int, ks: Sequence[int]) -> Made:
    """A sum of (m, n) zeros and products of the given k, all of whose elements are k."""
    def make(attrs: dict[str, Any]) -> Any:
        dtype = attrs["T"].as_numpy_dtype
        handle = build("_ProductSum", np.zeros((m, n), dtype))
        for k in ks:
            handle = build("_ProductSumAdd", handle, [np.ones((m, k), dtype)], [np.ones((k, n), dtype)])
        return handle
    return Made(make)


product_sum.sample(normal(3, 4))
product_sum.sample(normal(3))  # refused
product_sum_add.sample(_sum_so_far(3, 4, [2]), [normal(5, 3), normal(2, 3)], [normal(5, 4), normal(2, 4)],
                       transpose_a=True)
product_sum_add.sample(_sum_so_far(3, 4, []), [normal(4, 3)], [normal(4, 4)])  # refused
product_sum_value.sample(_sum_so_far(3, 4, [2, 1]), shape=TensorShape([3, 4]))
product_sum_value.sample(_sum_so_far(20, 30, [300, 200, 100, 1, 600]), shape=TensorShape([20, 30]))
product_sum_value.sample(_sum_so_far(2, 3, []), shape=TensorShape([2, 3]))
