"""The cases of benchmarks/kernels.py: an op, or a chain of them, with its work. A new case is one line in its family.

A case counts the work that its result needs, not what a kernel happens to do: multiply-adds as two operations, padding
included, and each input and output once. So a Winograd convolution may exceed its limit. Where a formula is not made of
multiply-adds (exp, tanh), each of its instructions counts as one of those.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import ringflow as rf
from ringflow.graph.opdef import OPS

# Instructions of the formulas in csrc/kernels/vector_math.h, times two.
EXP, LOG, TANH, SIGMOID = 40, 44, 44, 36
# Those of csrc/kernels/philox.cc and random.cc, for a number: ten rounds of two multiplications, two shifts and two
# exclusive ors of three, on lanes of 64 bits; then what makes the number of the bits.
UNIFORM, NORMAL = 66, 120


@dataclass(frozen=True)
class Case:
    """inputs: shapes, of which normal float32 are drawn, or arrays. build: from their tensors to a tensor, an operation
    or a list of these. bytes_moved: None for all inputs and outputs once. least: the part of the limit below which a
    kernel has broken, on any machine and beside other work, about a third of what is usual; only for what is done in a
    fraction of a millisecond, in the cache: tests/benchmarks/test_kernels.py."""

    family: str
    name: str
    build: Callable[..., Any]
    inputs: tuple[Any, ...]
    flops: float = 0
    bytes_moved: float | None = None
    least: float | None = None

    def __str__(self) -> str:
        return f"{self.family}: {self.name}"

    def arrays(self) -> list[Any]:
        rng = np.random.default_rng(1)
        return [x if isinstance(x, np.ndarray) else rng.standard_normal(x).astype(np.float32) for x in self.inputs]


def node(kind: str, **attrs: Any) -> Callable[..., Any]:
    """The op `kind` as a function of its inputs."""
    return lambda *inputs: OPS[kind](*inputs, **attrs)  # type: ignore[operator]


def ints(*values: int) -> Any:
    return np.array(values, np.int32)


# ---- products
def product(name: str, m: int, k: int, n: int, ta: bool = False, tb: bool = False, least: float | None = None) -> Case:
    return Case("product", name, node("MatMul", transpose_a=ta, transpose_b=tb),
                ((k, m) if ta else (m, k), (n, k) if tb else (k, n)), 2 * m * k * n, least=least)


def batched(name: str, count: int, m: int, k: int, n: int, tb: bool = False) -> Case:
    return Case("product", name, node("BatchMatMulV2", adj_y=tb),
                ((count, m, k), (count, n, k) if tb else (count, k, n)), 2 * count * m * k * n)


def products() -> Iterator[Case]:
    yield product("64^3", 64, 64, 64)
    yield product("256^3", 256, 256, 256, least=0.35)
    yield product("256^3, a transposed", 256, 256, 256, ta=True, least=0.32)
    yield product("256^3, b transposed", 256, 256, 256, tb=True, least=0.32)
    yield product("1024^3", 1024, 1024, 1024)
    yield product("32 x 256 x 1024, lstm", 32, 256, 1024)
    yield product("64 x 3136 x 1024, lenet", 64, 3136, 1024)
    yield product("128 x 784 x 1024, mlp", 128, 784, 1024)
    yield product("128 x 1024 x 1024, b transposed, mlp", 128, 1024, 1024, tb=True)
    yield product("1024 x 128 x 1024, a transposed, mlp", 1024, 128, 1024, ta=True)
    yield product("1024 x 256 x 768, gpt", 1024, 256, 768)
    yield product("1024 x 256 x 1024, gpt", 1024, 256, 1024)
    yield product("odd 257 x 255 x 67", 257, 255, 67)
    yield batched("32 of 128 x 64 x 128, b transposed, gpt", 32, 128, 64, 128, tb=True)
    yield batched("32 of 128 x 128 x 64, gpt", 32, 128, 128, 64)


# ---- convolutions: forward, to the input, to the filter
def convolution(name: str, batch: int, size: int, channels: int, out: int, taps: int, stride: int = 1,
                least: float | None = None) -> Iterator[Case]:
    x, f, y = (batch, size, size, channels), (taps, taps, channels, out), (batch, size // stride, size // stride, out)
    forward, to_input, to_filter = (node(kind, strides=[1, stride, stride, 1], padding="SAME")
                                    for kind in ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"))
    flops = 2 * int(np.prod(y)) * int(np.prod(f[:3]))
    yield Case("convolution", f"{name}, forward", forward, (x, f), flops, least=least)
    yield Case("convolution", f"{name}, input", lambda f, dy: to_input(ints(*x), f, dy), (f, y), flops, least=least)
    yield Case("convolution", f"{name}, filter", lambda x, dy: to_filter(x, ints(*f), dy), (x, y), flops, least=least)


def depthwise(name: str, batch: int, size: int, channels: int, taps: int, least: float | None = None) -> Iterator[Case]:
    x, f = (batch, size, size, channels), (taps, taps, channels, 1)
    forward, to_input, to_filter = (node("DepthwiseConv2dNative" + kind, strides=[1, 1, 1, 1], padding="SAME")
                                    for kind in ("", "BackpropInput", "BackpropFilter"))
    flops = 2 * int(np.prod(x)) * taps**2
    yield Case("depthwise", f"{name}, forward", forward, (x, f), flops, least=least)
    yield Case("depthwise", f"{name}, input", lambda f, dy: to_input(ints(*x), f, dy), (f, x), flops, least=least)
    yield Case("depthwise", f"{name}, filter", lambda x, dy: to_filter(x, ints(*f), dy), (x, x), flops, least=least)


def convolutions() -> Iterator[Case]:
    yield from convolution("5x5 28^2x1 to 32, lenet", 64, 28, 1, 32, 5)
    yield from convolution("5x5 14^2x32 to 64, lenet", 64, 14, 32, 64, 5)
    yield from convolution("3x3 32^2x3 to 16, resnet20", 32, 32, 3, 16, 3)
    yield from convolution("3x3 32^2x16 to 16, resnet20", 32, 32, 16, 16, 3)
    yield from convolution("3x3 16^2x32 to 32, resnet20", 32, 16, 32, 32, 3)
    yield from convolution("3x3 8^2x64 to 64, resnet20", 32, 8, 64, 64, 3)
    yield from convolution("3x3 32^2x16 to 32, stride 2, resnet20", 32, 32, 16, 32, 3, 2)
    yield from convolution("1x1 32^2x16 to 32, stride 2, resnet20", 32, 32, 16, 32, 1, 2)
    yield from convolution("1x1 28^2x64 to 64", 8, 28, 64, 64, 1)
    yield from convolution("3x3 8^2x64 to 64, 2 images", 2, 8, 64, 64, 3, least=0.4)
    yield from convolution("3x3 32^2x3 to 16, 2 images", 2, 32, 3, 16, 3, least=0.1)
    yield from depthwise("3x3 28^2x64", 8, 28, 64, 3)
    yield from depthwise("3x3 28^2x64, 1 image", 1, 28, 64, 3, least=0.08)


# ---- images
def pools(name: str, x: tuple[int, ...], size: int, stride: int, padding: str) -> Iterator[Case]:
    attrs = {"ksize": [1, size, size, 1], "strides": [1, stride, stride, 1], "padding": padding}
    y = (x[0], x[1] // stride, x[2] // stride, x[3])
    yield Case("pooling", f"max {name}", node("MaxPool", **attrs), (x,))
    yield Case("pooling", f"max {name}, gradient", node("MaxPoolGrad", **attrs), (x, y, y))
    yield Case("pooling", f"mean {name}", node("AvgPool", **attrs), (x,))
    yield Case("pooling", f"mean {name}, gradient", lambda dy: node("AvgPoolGrad", **attrs)(ints(*x), dy), (y,))


def batch_norms(name: str, x: tuple[int, ...], least: float | None = None) -> Iterator[Case]:
    c, none = x[-1:], np.zeros(0, np.float32)
    ones, size = np.ones(c, np.float32), 4 * np.prod(x)
    forward = lambda x, s, o: node("FusedBatchNormV3")(x, s, o, none, none)  # noqa: E731
    backward = lambda dy, x, s: node("FusedBatchNormGradV3")(dy, x, s, ones, ones, none)  # noqa: E731
    yield Case("batch norm", f"{name}, forward", forward, (x, c, c), bytes_moved=3 * size, least=least)
    yield Case("batch norm", f"{name}, backward", backward, (x, x, c), bytes_moved=5 * size, least=least)


def images() -> Iterator[Case]:
    yield from pools("2x2 of 28^2x32, lenet", (64, 28, 28, 32), 2, 2, "VALID")
    yield from pools("3x3, stride 2, of 28^2x32", (64, 28, 28, 32), 3, 2, "SAME")
    yield from batch_norms("32^2x16, resnet20", (32, 32, 32, 16))
    yield from batch_norms("8^2x64, resnet20", (32, 8, 8, 64), least=0.2)
    x = (8, 14, 14, 64)
    near = 2 * 11 * int(np.prod(x))  # the sums of the neighbours, then a root and a division, or two of these
    yield Case("lrn", "14^2x64", node("LRN"), (x,), near + 10 * int(np.prod(x)), least=0.04)
    yield Case("lrn", "14^2x64, gradient", node("LRNGrad"), (x, x, x), 2 * near + 20 * int(np.prod(x)), least=0.04)
    yield Case("bias", "28^2x32", node("BiasAdd"), ((64, 28, 28, 32), (32,)))
    yield Case("bias", "28^2x32, gradient", node("BiasAddGrad"), ((64, 28, 28, 32),))
    yield Case("bias", "1024 x 1024, gradient", node("BiasAddGrad"), ((1024, 1024),))
    yield Case("resize", "14^2x32 to 28^2", lambda x: node("ResizeNearestNeighbor")(x, ints(28, 28)),
               ((16, 14, 14, 32),))


# ---- elementwise ops, alone and fused
CACHED, LARGE = (64, 512), (4096, 4096)  # 128 KiB; 64 MiB


def gelu(x: Any) -> Any:
    return 0.5 * x * (1.0 + rf.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


def elementwise() -> Iterator[Case]:
    n = int(np.prod(CACHED))
    for shape, size, least in ((CACHED, "cached", 0.2), (LARGE, "large", None)):
        yield Case("elementwise", f"add, {size}", rf.add, (shape, shape), least=least)
        yield Case("elementwise", f"relu, {size}", rf.nn.relu, (shape,), least=least)
    yield Case("elementwise", "times a row, cached", rf.multiply, (CACHED, CACHED[1:]), least=0.17)
    yield Case("elementwise", "times a column, cached", rf.multiply, (CACHED, (CACHED[0], 1)), least=0.17)
    yield Case("elementwise", "sum of 8, cached", lambda *x: rf.add_n(list(x)), (CACHED,) * 8, least=0.2)
    yield Case("elementwise", "exp, cached", rf.exp, (CACHED,), EXP * n, least=0.2)
    yield Case("elementwise", "log, cached", rf.log, (np.full(CACHED, 2.5, np.float32),), LOG * n, least=0.18)
    yield Case("elementwise", "tanh, cached", rf.tanh, (CACHED,), TANH * n, least=0.16)
    yield Case("elementwise", "sigmoid, cached", rf.sigmoid, (CACHED,), SIGMOID * n, least=0.19)
    yield Case("elementwise", "fused x(rx + c), cached", lambda x, r, c: (x * r + c) * x, (CACHED, CACHED[1:], CACHED),
               6 * n, least=0.2)
    yield Case("elementwise", "fused x(rx + c), large", lambda x, r, c: (x * r + c) * x, (LARGE, LARGE[1:], LARGE))
    yield Case("elementwise", "fused gelu, gpt", gelu, ((1024, 1024),), (TANH + 16) * 2**20)
    yield Case("cast", "float32 to int32, cached", lambda x: rf.cast(x, rf.int32), (CACHED,), least=0.22)
    yield Case("cast", "float32 to float64, cached", lambda x: rf.cast(x, rf.float64), (CACHED,))


# ---- along rows and columns
def layer_norm(x: Any, scale: Any, offset: Any) -> Any:
    mean, variance = rf.nn.moments(x, [-1], keep_dims=True)
    return (x - mean) * rf.rsqrt(variance + 1e-5) * scale + offset


def labels(rows: int, classes: int) -> Any:
    return (np.arange(rows, dtype=np.int32) * 7919) % classes


def rows() -> Iterator[Case]:
    n = int(np.prod(CACHED))
    for axes, name in (([0, 1], "all"), ([1], "rows"), ([0], "columns")):
        yield Case("reduction", f"sum of {name}, cached", lambda x, axes=axes: rf.reduce_sum(x, axes), (CACHED,),
                   least=0.15)
    yield Case("reduction", "maximum of rows, cached", lambda x: rf.reduce_max(x, [1]), (CACHED,), least=0.15)
    yield Case("reduction", "argmax of rows, cached", lambda x: rf.argmax(x, 1), (CACHED,), least=0.07)
    yield Case("reduction", "sum of all, large", lambda x: rf.reduce_sum(x), (LARGE,))
    yield Case("reduction", "sum of columns, large", lambda x: rf.reduce_sum(x, [0]), (LARGE,))
    yield Case("softmax", "512 classes, cached", rf.nn.softmax, (CACHED,), EXP * n, least=0.14)
    yield Case("softmax", "10 classes", rf.nn.softmax, ((4096, 10),), EXP * 40960)
    yield Case("softmax", "128 classes, gpt's attention", rf.nn.softmax, ((4096, 128),), EXP * 2**19)
    yield Case("softmax", "cross entropy of 512 classes, gpt", node("SparseSoftmaxCrossEntropyWithLogits"),
               ((1024, 512), labels(1024, 512)), EXP * 2**19)
    yield Case("softmax", "cross entropy of 10 classes", node("SparseSoftmaxCrossEntropyWithLogits"),
               ((128, 10), labels(128, 10)), EXP * 1280)
    yield Case("layer norm", "1024 x 256, gpt", layer_norm, ((1024, 256), (256,), (256,)), bytes_moved=2 * 2**20)


# ---- moving elements
def moves() -> Iterator[Case]:
    rng = np.random.default_rng(2)
    picked = rng.integers(0, 100_000, 20_480).astype(np.int32)
    yield Case("transpose", "512 x 512", lambda x: rf.transpose(x, [1, 0]), ((512, 512),), least=0.1)
    yield Case("transpose", "channels last to first", lambda x: rf.transpose(x, [0, 3, 1, 2]), ((32, 16, 16, 32),))
    yield Case("transpose", "heads of gpt", lambda x: rf.transpose(x, [0, 2, 1, 3]), ((8, 128, 4, 64),))
    yield Case("concat", "of rows", lambda *x: rf.concat(list(x), 0), ((64, 256),) * 4, least=0.22)
    yield Case("concat", "of columns", lambda *x: rf.concat(list(x), 1), ((64, 256),) * 4, least=0.22)
    yield Case("split", "of columns", lambda x: rf.split(x, 4, 1), ((64, 1024),), least=0.22)
    yield Case("slice", "of columns", lambda x: x[:, 8:264], ((128, 512),), bytes_moved=2 * 4 * 128 * 256)
    yield Case("pad", "of images", lambda x: rf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), ((32, 16, 16, 32),))
    yield Case("tile", "of rows", lambda x: rf.tile(x, [8, 1]), ((32, 256),))
    yield Case("gather", "20,480 rows of 32, embed", rf.gather, ((100_000, 32), picked),
               bytes_moved=2 * 4 * 32 * picked.size)
    yield Case("scatter", "sum of 20,480 rows of 32", lambda x, i: rf.unsorted_segment_sum(x, i, 100_000),
               ((picked.size, 32), picked), bytes_moved=4 * 32 * (100_000 + picked.size))


# ---- changing variables, drawing numbers
def trained(optimizer: Callable[[], Any]) -> Callable[[Any], Any]:
    """One update of a variable by the gradient that is fed."""
    return lambda g: optimizer().apply_gradients([(g, rf.Variable(rf.zeros(g.shape)))])


def sparse_update(optimizer: Callable[[], Any], total: int) -> Callable[[Any, Any], Any]:
    """One update of the rows `i` of a variable of `total` rows, most of them named once, some more often."""
    def build(g: Any, i: Any) -> Any:
        variable = rf.Variable(rf.zeros([total, int(g.shape[1])]))
        return optimizer().apply_gradients([(rf.IndexedSlices(g, i, dense_shape=variable.shape), variable)])
    return build


def updates() -> Iterator[Case]:
    size, shape = 4 * 2**20, (1024, 1024)
    picked = np.random.default_rng(3).integers(0, 100_000, 20_480).astype(np.int32)
    for name, optimizer, passes in (("sgd", lambda: rf.train.GradientDescentOptimizer(0.1), 3),
                                    ("momentum", lambda: rf.train.MomentumOptimizer(0.1, 0.9), 5),
                                    ("adam", lambda: rf.train.AdamOptimizer(1e-3), 7)):
        yield Case("optimizer", f"{name}, 1024 x 1024", trained(optimizer), (shape,), bytes_moved=passes * size)
    yield Case("sparse update", "sgd, 20,480 rows of 32, embed",
               sparse_update(lambda: rf.train.GradientDescentOptimizer(0.1), 100_000), ((picked.size, 32), picked),
               bytes_moved=3 * 4 * 32 * picked.size)
    n = int(np.prod(CACHED))
    yield Case("random", "uniform", lambda: rf.random_uniform(CACHED), (), UNIFORM * n, 4 * n, least=0.2)
    yield Case("random", "normal", lambda: rf.random_normal(CACHED), (), NORMAL * n, 4 * n, least=0.18)
    yield Case("random", "truncated normal", lambda: rf.truncated_normal(CACHED), (), NORMAL * n, 4 * n, least=0.15)
    yield Case("random", "dropout", lambda x: rf.nn.dropout(x, 0.9), (CACHED,), (UNIFORM + 6) * n, least=0.12)


CASES = [*products(), *convolutions(), *images(), *elementwise(), *rows(), *moves(), *updates()]
