"""Initializers: what a new variable starts from. Each is called with (shape, dtype) and returns a tensor.

Sources: Glorot and Bengio 2010 (uniform and normal by fan in and out), He et al. 2015 (fan in, scale 2).
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..define import convert_to_tensor
from ..dtypes import DType
from ..errors import InvalidArgumentError
from ..operation import Tensor
from ..ops.array import fill
from ..ops.random import random_normal, random_uniform, truncated_normal
from ..shapes import TensorShape


class Initializer:
    """``initializer(shape, dtype=None, partition_info=None)``; `dtype` of the constructor is the default."""

    def __init__(self, dtype: Any = dtypes.float32) -> None:
        self.dtype = dtypes.as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return self.make(list(TensorShape(shape).known), self.dtype if dtype is None else dtypes.as_dtype(dtype))

    def make(self, shape: list[int], dtype: DType) -> Tensor:
        raise NotImplementedError


class constant_initializer(Initializer):
    """`value` everywhere, or the elements of an array or list in row-major order."""

    def __init__(self, value: Any = 0, dtype: Any = dtypes.float32, verify_shape: bool = False) -> None:
        super().__init__(dtype)
        self.value = value

    def make(self, shape: list[int], dtype: DType) -> Tensor:
        values = np.asarray(self.value)
        if values.ndim == 0:
            filled: Tensor = fill(np.array(shape, np.int32), convert_to_tensor(self.value, dtype))
            return filled
        if values.size != math.prod(shape):
            raise InvalidArgumentError(f"[constant_initializer] sizes differ: the value has {values.size} elements, "
                                       f"the shape {shape} "
                                       f"has {math.prod(shape)}")
        return convert_to_tensor(values.reshape(shape), dtype)


class zeros_initializer(constant_initializer):
    def __init__(self, dtype: Any = dtypes.float32) -> None:
        super().__init__(0, dtype)


class ones_initializer(constant_initializer):
    def __init__(self, dtype: Any = dtypes.float32) -> None:
        super().__init__(1, dtype)


class random_uniform_initializer(Initializer):
    """Uniform in [minval, maxval)."""

    def __init__(self, minval: Any = -0.05, maxval: Any = 0.05, seed: int | None = None,
                 dtype: Any = dtypes.float32) -> None:
        super().__init__(dtype)
        self.minval, self.maxval, self.seed = minval, maxval, seed

    def make(self, shape: list[int], dtype: DType) -> Tensor:
        return random_uniform(shape, self.minval, self.maxval, dtype, seed=self.seed)


class random_normal_initializer(Initializer):
    """Normal with this mean and deviation."""

    def __init__(self, mean: Any = 0.0, stddev: Any = 1.0, seed: int | None = None,
                 dtype: Any = dtypes.float32) -> None:
        super().__init__(dtype)
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def make(self, shape: list[int], dtype: DType) -> Tensor:
        return random_normal(shape, self.mean, self.stddev, dtype, seed=self.seed)


class truncated_normal_initializer(random_normal_initializer):
    """Normal, drawn again where more than two deviations from the mean."""

    def make(self, shape: list[int], dtype: DType) -> Tensor:
        return truncated_normal(shape, self.mean, self.stddev, dtype, seed=self.seed)


class variance_scaling_initializer(Initializer):
    """Mean 0 and variance scale / fan, where fan is the number of inputs or outputs of a unit, or their mean.

    Args: mode: "fan_in", "fan_out" or "fan_avg"; distribution: "truncated_normal" (also "normal"), "untruncated_normal"
    or "uniform".
    """

    def __init__(self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal",
                 seed: int | None = None,
                 dtype: Any = dtypes.float32) -> None:
        super().__init__(dtype)
        if scale <= 0 or mode not in ("fan_in", "fan_out", "fan_avg") or distribution not in (
                "normal", "truncated_normal", "untruncated_normal", "uniform"):
            raise InvalidArgumentError(f"[variance_scaling_initializer] scale > 0, a known mode and distribution are "
                                       f"needed: got {scale}, "
                                       f"{mode!r}, {distribution!r}")
        self.scale, self.mode, self.distribution, self.seed = scale, mode, distribution, seed

    def make(self, shape: list[int], dtype: DType) -> Tensor:
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return random_uniform(shape, -limit, limit, dtype, seed=self.seed)
        if self.distribution == "untruncated_normal":
            return random_normal(shape, 0.0, math.sqrt(variance), dtype, seed=self.seed)
        # 0.8796...: the deviation of a standard normal truncated to [-2, 2]
        return truncated_normal(shape, 0.0, math.sqrt(variance) / 0.87962566103423978, dtype, seed=self.seed)


def fans(shape: Sequence[int]) -> tuple[float, float]:
    """Inputs and outputs of a unit of a weight (..., in, out), whose leading dimensions are a convolution's window."""
    if len(shape) < 2:
        n = shape[0] if shape else 1
        return n, n
    window = math.prod(shape[:-2])
    return shape[-2] * window, shape[-1] * window


def _scaled(name: str, scale: float, mode: str, distribution: str) -> type[variance_scaling_initializer]:
    def __init__(self: Any, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        variance_scaling_initializer.__init__(self, scale, mode, distribution, seed, dtype)

    doc = f"variance_scaling_initializer({scale}, {mode!r}, {distribution!r})"
    return type(name, (variance_scaling_initializer,), {"__init__": __init__, "__doc__": doc, "__module__": __name__})


glorot_uniform_initializer = _scaled("glorot_uniform_initializer", 1.0, "fan_avg", "uniform")
glorot_normal_initializer = _scaled("glorot_normal_initializer", 1.0, "fan_avg", "truncated_normal")
he_uniform_initializer = _scaled("he_uniform_initializer", 2.0, "fan_in", "uniform")
he_normal_initializer = _scaled("he_normal_initializer", 2.0, "fan_in", "truncated_normal")
lecun_uniform_initializer = _scaled("lecun_uniform_initializer", 1.0, "fan_in", "uniform")
lecun_normal_initializer = _scaled("lecun_normal_initializer", 1.0, "fan_in", "truncated_normal")
