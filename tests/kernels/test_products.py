"""Matrix products against NumPy on every instruction set: sizes around tiles and blocks, transposes, batches.

Of whole numbers, whose sums are exact in any order: the bits must be NumPy's.
"""
import itertools

import numpy as np
import pytest

pytest.importorskip("ringflow._core")
from .one_op import OneOp, computed, whole  # noqa: E402

TILES = (0, 1, 2, 3, 7, 13, 14, 15, 16, 17, 31, 32, 33)  # 14 to 16 rows, 1 or 2 vectors of 4 to 16 columns
BLOCKS = (255, 256, 257, 511, 512, 513)                  # 256 of k and of rows, strips of 256 for the BLAS
TRANSPOSES = list(itertools.product([False, True], repeat=2))


def operands(rng, sizes, transposes, dtype=np.float32, batches=((), ())):
    (m, k, n), (ta, tb) = sizes, transposes
    shapes = [(k, m) if ta else (m, k), (n, k) if tb else (k, n)]
    return [whole(rng, *batch, *shape, dtype=dtype) for batch, shape in zip(batches, shapes)]


def product(a, b, transposes):
    ta, tb = transposes
    return np.matmul(a.swapaxes(-1, -2) if ta else a, b.swapaxes(-1, -2) if tb else b)


def mat_mul(transposes, dtype=np.float32):
    one = np.zeros((1, 1), dtype)
    return OneOp("MatMul", [one, one], transpose_a=transposes[0], transpose_b=transposes[1])


def check_sizes(transposes, dtype, all_sizes):
    op, rng = mat_mul(transposes, dtype), np.random.default_rng(1)
    for sizes in all_sizes:
        a, b = operands(rng, sizes, transposes, dtype)
        expected = product(a, b, transposes)
        for isa, [c] in computed(op.run, a, b):
            np.testing.assert_array_equal(c, expected, f"(m, k, n) = {sizes}, {transposes}, {dtype} on {isa}")


@pytest.mark.parametrize("transposes", TRANSPOSES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_all_sizes_around_a_tile_are_exact(dtype, transposes):
    every = list(itertools.product(TILES, repeat=3))
    number = TRANSPOSES.index(transposes) + 4 * (dtype == np.float64)
    check_sizes(transposes, dtype, every[number::4] if dtype == np.float32 else every[number::16])


def around_blocks(seed, count):
    """Sizes of which one, two or three are around a block, each of them in each place."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        sizes = [int(rng.choice(TILES[1:])) for _ in range(3)]
        sizes[i % 3] = BLOCKS[i // 3 % len(BLOCKS)]
        if i % 4 == 0:
            sizes[(i + 1) % 3] = int(rng.choice(BLOCKS))
        yield sizes


@pytest.mark.parametrize("transposes", TRANSPOSES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_sizes_around_a_block_are_exact(dtype, transposes):
    check_sizes(transposes, dtype, around_blocks(TRANSPOSES.index(transposes), 3 * len(BLOCKS)))


@pytest.mark.parametrize("sizes", [(257, 300, 270), (33, 300, 2100), (2100, 300, 17)], ids=str)
def test_products_of_several_blocks_each_way_are_exact(sizes):
    for transposes in TRANSPOSES:
        check_sizes(transposes, np.float32, [sizes])


@pytest.mark.slow
@pytest.mark.parametrize("transposes", TRANSPOSES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_all_sizes_are_exact(dtype, transposes):
    check_sizes(transposes, dtype, itertools.product(TILES + BLOCKS, repeat=3))


BATCHES = [((3,), (3,)), ((3,), (1,)), ((1,), (3,)), ((), (2,)), ((2,), ()), ((2, 1), (1, 3)), ((2, 3), (3,)),
           ((0,), (0,)), ((0,), (1,)), ((2, 1, 3), (5, 1))]


@pytest.mark.parametrize("batches", BATCHES, ids=str)
def test_products_of_batches_are_exact(batches):
    rng, zeros = np.random.default_rng(2), [np.zeros((*b, 1, 1), np.float32) for b in batches]
    for transposes in TRANSPOSES:
        op = OneOp("BatchMatMulV2", zeros, adj_x=transposes[0], adj_y=transposes[1])
        for sizes in ((1, 1, 1), (5, 3, 7), (17, 33, 15), (1, 64, 31), (65, 1, 3), (4, 0, 3), (0, 3, 4), (33, 65, 49)):
            a, b = operands(rng, sizes, transposes, batches=batches)
            expected = product(a, b, transposes)
            for isa, [c] in computed(op.run, a, b):
                np.testing.assert_array_equal(c, expected, f"(m, k, n) = {sizes}, {transposes} on {isa}")


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_products_of_integers_wrap_around(dtype):
    rng, info = np.random.default_rng(3), np.iinfo(dtype)
    for transposes in TRANSPOSES:
        op = mat_mul(transposes, dtype)
        for sizes in ((1, 1, 1), (5, 3, 7), (17, 33, 15), (3, 0, 2)):
            a, b = (rng.integers(info.min, info.max, x.shape, dtype) for x in operands(rng, sizes, transposes, dtype))
            for isa, [c] in computed(op.run, a, b):
                np.testing.assert_array_equal(c, product(a, b, transposes), f"{sizes}, {transposes} on {isa}")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sizes", [(3, 5, 2), (17, 33, 19), (65, 300, 47)], ids=str)
def test_what_is_not_finite_stays_in_its_row_and_column(sizes, value):
    """One such element of `a` makes its row what NumPy says and leaves the others as they are; so for `b`'s column."""
    rng = np.random.default_rng(4)
    for transposes in TRANSPOSES:
        op = mat_mul(transposes)
        for which in (0, 1):
            pair = operands(rng, sizes, transposes)
            at = tuple(int(rng.integers(n)) for n in pair[which].shape)
            pair[which][at] = value
            with np.errstate(invalid="ignore"):
                expected = product(*(x.astype(np.float64) for x in pair), transposes).astype(np.float32)
            touched = np.count_nonzero(~np.isfinite(expected))
            assert touched == (expected.shape[1] if which == 0 else expected.shape[0])
            for isa, [c] in computed(op.run, *pair):
                np.testing.assert_array_equal(c, expected, f"{transposes} on {isa}")


def test_a_product_over_nothing_is_zero_whatever_its_memory_held():
    op = mat_mul((False, False))
    for isa, [c] in computed(lambda a, b: (op.run(a, b), op.run(a[:, :0], b[:0]))[1],
                             np.full((33, 40), np.nan, np.float32), np.full((40, 17), np.nan, np.float32)):
        np.testing.assert_array_equal(c, np.zeros((33, 17), np.float32), isa)
