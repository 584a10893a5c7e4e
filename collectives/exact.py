"""Exact means of floats in NumPy: what csrc/collectives/exact.h computes, to the bit, with its reasons told there.

A block of 1024 elements of one tensor gets a common unit 2^-k from the largest exponent in any shard; each value is
rounded to it once, integer sums are exact in any order, and the mean is converted back once. float32 keeps
31 - ceil(log2 L) bits below the block's largest value, float64 63 - ceil(log2 L).
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

BLOCK = 1024
MOST_SHARDS = 4096

Array = Any  # a flat ndarray


def _format(dtype: Any) -> tuple[int, int, int, Any]:
    """Bits of the mantissa, exponent bias, bits of a sum, integers of the same size."""
    return (23, 127, 31, np.int32) if dtype == np.float32 else (52, 1023, 63, np.int64)


def _blocks(x: Array) -> Array:
    """(blocks, BLOCK), the last one filled up with zeros."""
    return np.pad(x, (0, -x.size % BLOCK)).reshape(-1, BLOCK)


def maxima(shards: Sequence[Array]) -> tuple[Array, Array]:
    """For each block the biased exponent of the largest finite value, and whether an Inf or NaN is in it, as int32."""
    mantissa, bias, _, integer = _format(shards[0].dtype)
    infinity = integer(2 * bias + 1) << integer(mantissa)
    magnitudes = np.stack([_blocks(np.ascontiguousarray(x).view(integer) & np.iinfo(integer).max) for x in shards])
    finite = np.where(magnitudes < infinity, magnitudes, 0).max((0, 2))
    return (finite >> mantissa).astype(np.int32), (magnitudes >= infinity).any((0, 2)).astype(np.int32)


def _scales(exponents: Array, dtype: Any, total_shards: int, count: int) -> Array:
    """k of each of `count` elements."""
    return np.repeat(_bits(dtype, total_shards) - (exponents - _format(dtype)[1] + 1), BLOCK)[:count]


def _bits(dtype: Any, total_shards: int) -> int:
    """Bits of magnitude that a value may fill."""
    return _format(dtype)[2] - (total_shards - 1).bit_length()


def add(shards: Sequence[Array], exponents: Array, total_shards: int) -> Array:
    """The sum of round(x * 2^k) over `shards`, int64. Inf and NaN count as 0."""
    k = _scales(exponents, shards[0].dtype, total_shards, shards[0].size)
    sums, most = np.zeros(shards[0].size, np.int64), float((1 << _bits(shards[0].dtype, total_shards)) - 1)
    for x in shards:
        normal = np.isfinite(x) & (np.abs(x) >= np.finfo(x.dtype).tiny)
        scaled = np.ldexp(np.where(normal, x, 0).astype(np.float64), k)
        sums += np.rint(np.clip(scaled, -most, most)).astype(np.int64)
    return sums


def mean(sums: Array, exponents: Array, total_shards: int, dtype: Any) -> Array:
    """sums * 2^-k / total_shards."""
    k = _scales(exponents, dtype, total_shards, sums.size)
    means = np.ldexp(sums.astype(np.float64) * (1.0 / total_shards), -k)
    return np.where(np.abs(means) < np.finfo(dtype).tiny, 0, means).astype(dtype)


def classify(shards: Sequence[Array]) -> Array:
    """int32 codes whose sum over the shards tells which elements are Inf or NaN."""
    codes = np.zeros(shards[0].size, np.int32)
    for x in shards:
        codes += np.where(np.isnan(x) | (x == np.inf), 1, 0).astype(np.int32)
        codes += np.where(np.isnan(x) | (x == -np.inf), 1 << 16, 0).astype(np.int32)
    return codes


def mark(codes: Array, means: Array) -> Array:
    """`means` with the Inf and NaN that plain summation would have given."""
    plus, minus = codes & 0xFFFF != 0, codes >> 16 != 0
    return np.where(plus & minus, np.nan, np.where(plus, np.inf, np.where(minus, -np.inf, means))).astype(means.dtype)
