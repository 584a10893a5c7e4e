"""Layers of images beside ``conv2d``: transposed and depthwise convolution, normalisation across channels."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..operation import Tensor
from ..ops.rules import build, dim
from ..shapes import TensorShape
from .neural import _four


def conv2d_transpose(value: Any, filter: Any, output_shape: Any, strides: Any, padding: str = "SAME",
                     data_format: str = "NHWC", name: str | None = None) -> Tensor:
    """The gradient of ``conv2d`` by its input: value (n, h, w, c) -> `output_shape` (n, h', w', c_out).

    filter: (kh, kw, c_out, c). Raises: InvalidArgumentError where `output_shape` does not convolve to value's shape.
    """
    x, kernel = convert_to_tensor(value), convert_to_tensor(filter)
    have, needed = dim(x.shape.with_rank(4), 3), dim(kernel.shape.with_rank(4), 3)
    if None not in (have, needed) and have != needed:
        raise InvalidArgumentError(f"[conv2d_transpose] channels differ: value {x.shape} has {have}, filter "
                                   f"{kernel.shape} {needed}")
    shape = output_shape
    if isinstance(output_shape, (list, tuple)) and not any(isinstance(d, Tensor) for d in output_shape):
        shape = np.array(output_shape, np.int32)
    result: Tensor = build("Conv2DBackpropInput", shape, kernel, x, strides=_four("strides", strides, data_format),
                           padding=padding.upper(), data_format=data_format, name=name or "conv2d_transpose")
    if isinstance(shape, np.ndarray):
        result.set_shape(TensorShape(shape.tolist()))
    return result


def depthwise_conv2d(input: Any, filter: Any, strides: Sequence[int], padding: str, rate: Any = None,
                     name: str | None = None, data_format: str = "NHWC") -> Tensor:
    """Each channel by filters of its own. input: (n, h, w, c), filter: (kh, kw, c, m), result: (n, h', w', c * m)."""
    if rate is not None and any(r != 1 for r in np.atleast_1d(rate)):
        raise InvalidArgumentError(f"[depthwise_conv2d] 'rate' must be 1: got {rate!r}")
    result: Tensor = build("DepthwiseConv2dNative", input, filter, strides=_four("strides", strides, data_format),
                           padding=padding.upper(), data_format=data_format, name=name)
    return result


def local_response_normalization(input: Any, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0,
                                 beta: float = 0.5, name: str | None = None) -> Tensor:
    """input / (bias + alpha * sum of squares of the channels within depth_radius)^beta"""
    result: Tensor = build("LRN", input, depth_radius=depth_radius, bias=bias, alpha=alpha, beta=beta, name=name)
    return result
