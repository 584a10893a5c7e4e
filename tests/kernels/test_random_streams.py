"""The numbers of random ops: the same stream on every instruction set and any number of threads, whatever its length.

The oracle draws from a Philox4x32-10 of its own, in NumPy.
"""
import math

import numpy as np
import pytest

pytest.importorskip("ringflow._core")
import ringflow as rf  # noqa: E402
from ringflow.graph.opdef import OPS  # noqa: E402

from .one_op import SETS, using  # noqa: E402

SEEDS = 0x12345678_9ABCDEF, 77
GROUP = 16  # blocks that are drawn together
LENGTHS = [0, 1, 31, 32, 33, 63, 64, 65, 130, 1023, 1025, 70_001]


def blocks(first, count):
    """(count, 4) words: Salmon et al., SC 2011."""
    index = np.arange(first, first + count, dtype=np.uint64)
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    halves = lambda x: (np.uint64(x) & low, np.uint64(x) >> shift)  # noqa: E731
    (k0, k1), (c2, c3) = halves(SEEDS[0]), halves(SEEDS[1])
    c = [index & low, index >> shift, c2 + 0 * index, c3 + 0 * index]
    for _ in range(10):
        p, q = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [q >> shift ^ c[1] ^ k0, q & low, p >> shift ^ c[3] ^ k1, p & low]
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    return np.stack(c, 1)


def groups(first, n, per_block):
    """(groups, 4, GROUP) words for n values from block `first` on, and the first block after them."""
    count = -(-n // (GROUP * per_block)) * GROUP
    return blocks(first, count).reshape(-1, GROUP, 4).transpose(0, 2, 1), first + count


def uniforms(first, n, dtype):
    if dtype is np.float32:
        words, after = groups(first, n, 4)
        return ((words >> np.uint64(9)) / 2**23).reshape(-1)[:n], after
    words, after = groups(first, n, 2)
    return ((words[:, :2] << np.uint64(20) | words[:, 2:] >> np.uint64(12)) / 2**52).reshape(-1)[:n], after


def normals(first, n):
    """float32: Box and Muller."""
    words, after = groups(first, n, 4)
    u = (words >> np.uint64(9)) / 2**23
    radius, angle = np.sqrt(-2 * np.log(1 - u[:, :2])), 2 * np.pi * u[:, 2:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)[:n], after


def drawn(kind, n, dtype):
    """Two draws of n values, on every instruction set and on one to three threads."""
    graph = rf.Graph()
    with graph.as_default():
        y = OPS[kind](np.array([n], np.int32), seed=SEEDS[0], seed2=SEEDS[1], dtype=rf.as_dtype(dtype))
    for isa in SETS:
        for threads in (1, 2, 3):
            with using(isa, threads), rf.Session(graph=graph) as session:
                yield session.run(y), session.run(y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", LENGTHS)
def test_uniforms_are_the_bits_of_the_stream(n, dtype):
    first, after = uniforms(0, n, dtype)
    second, _ = uniforms(after, n, dtype)
    for a, b in drawn("RandomUniform", n, dtype):
        np.testing.assert_array_equal(a, first)
        np.testing.assert_array_equal(b, second)


@pytest.mark.parametrize("n", LENGTHS)
def test_normals_are_box_and_muller_s_of_the_stream(n):
    first, after = normals(0, n)
    second, _ = normals(after, n)
    for a, b in drawn("RandomStandardNormal", n, np.float32):
        np.testing.assert_allclose(a, first, 1e-5, 1e-5)
        np.testing.assert_allclose(b, second, 1e-5, 1e-5)


@pytest.mark.parametrize("n", LENGTHS[:-1])
def test_truncated_normals_invert_their_distribution_function(n):
    u, _ = uniforms(0, n, np.float32)
    for a, _ in drawn("TruncatedNormal", n, np.float32):
        p = np.array([math.erf(x / math.sqrt(2)) for x in a.astype(np.float64)])
        np.testing.assert_allclose((p / math.erf(math.sqrt(2)) + 1) / 2, u, 0, 1e-6)
