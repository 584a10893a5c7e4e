"""Geometry of sliding windows: what convolution and pooling share.

`data_format` is "NHWC" or "NCHW"; strides, ksize, dilations and explicit paddings are in its order. References work on
NHWC and go through ``to_nhwc`` / ``from_nhwc``.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..define import Array
from ..errors import InvalidArgumentError, UnimplementedError
from ..opdef import attr
from ..shapes import TensorShape

DATA_FORMAT = attr("string", "NHWC", ("NHWC", "NCHW"))
PADDING = attr("string", allowed=("SAME", "VALID"))
ANY_PADDING = attr("string", allowed=("SAME", "VALID", "EXPLICIT"))

# The attrs of every convolution op, for ``define(..., **CONV_ATTRS)``.
CONV_ATTRS: dict[str, Any] = {"strides": attr("list(int)"), "padding": ANY_PADDING,
                              "explicit_paddings": attr("list(int)", []),
                              "data_format": DATA_FORMAT, "dilations": [1, 1, 1, 1]}


@dataclass(frozen=True)
class Side:
    """One spatial dimension: window size, stride, dilation, padding in front and behind, and number of windows."""

    size: int
    stride: int
    dilation: int
    before: int
    after: int
    count: int

    @property
    def reach(self) -> int:
        """How many elements a dilated window spans."""
        return (self.size - 1) * self.dilation + 1


def side(where: str, n: int, size: int, stride: int, dilation: int, padding: str, explicit: tuple[int, int]) -> Side:
    """Windows of `size` over `n` elements. SAME: ceil(n / stride) windows, the smaller half of the padding in front.

    Raises: InvalidArgumentError where no window fits.
    """
    reach = (size - 1) * dilation + 1
    if padding == "SAME":
        count = -(-n // stride)
        total = max((count - 1) * stride + reach - n, 0)
        return Side(size, stride, dilation, total // 2, total - total // 2, count)
    before, after = explicit if padding == "EXPLICIT" else (0, 0)
    if n + before + after < reach:
        raise InvalidArgumentError(f"[{where}] the window must fit: it spans {reach}, the input has {n} and padding "
                                   f"{before} + {after}")
    return Side(size, stride, dilation, before, after, (n + before + after - reach) // stride + 1)


def check_attrs(where: str, attrs: dict[str, Any], ksize: Sequence[int] | None = None) -> None:
    """Raises: InvalidArgumentError for wrong attrs, UnimplementedError for windows over N or C."""
    n, c = 0, attrs["data_format"].index("C")
    for name in ("strides", "ksize", "dilations"):
        values = attrs.get(name, [1, 1, 1, 1])
        if len(values) != 4 or min(values) < 1:
            raise InvalidArgumentError(f"[{where}] '{name}' must be 4 numbers >= 1: got {values}")
        if values[n] != 1 or values[c] != 1:
            raise UnimplementedError(f"[{where}] '{name}' must be 1 for the batch and channel dimensions: got {values}")
    explicit = attrs.get("explicit_paddings", [])
    if attrs["padding"] == "EXPLICIT":
        if len(explicit) != 8 or min(explicit) < 0 or any(explicit[2 * n:2 * n + 2]) or any(explicit[2 * c:2 * c + 2]):
            raise InvalidArgumentError(f"[{where}] 'explicit_paddings' must be 8 numbers >= 0, 0 for batch and "
                                       f"channels: got {explicit}")
    elif explicit:
        raise InvalidArgumentError(f"[{where}] 'explicit_paddings' go with padding='EXPLICIT' only: padding is "
                                   f"{attrs['padding']!r}")


def spatial(data_format: str, values: Sequence[Any]) -> tuple[Any, Any]:
    """The entries for height and width of 4 values in the order of `data_format`."""
    h = data_format.index("H")
    return values[h], values[h + 1]


def sides(where: str, attrs: dict[str, Any], height_width: Sequence[int | None],
          ksize: Sequence[int | None]) -> list[Side | None]:
    """The two sides of the windows; None where the input or the window is not known."""
    explicit = attrs.get("explicit_paddings") or [0] * 8
    pairs = spatial(attrs["data_format"], [(explicit[2 * i], explicit[2 * i + 1]) for i in range(4)])
    strides = spatial(attrs["data_format"], attrs["strides"])
    dilations = spatial(attrs["data_format"], attrs.get("dilations", [1, 1, 1, 1]))
    return [None if n is None or k is None else side(where, n, k, s, d, attrs["padding"], p)
            for n, k, s, d, p in zip(height_width, ksize, strides, dilations, pairs)]


def image_shape(data_format: str, n: Any, h: Any, w: Any, c: Any) -> TensorShape:
    return TensorShape([n, h, w, c] if data_format == "NHWC" else [n, c, h, w])


def nhwc_dims(data_format: str, shape: TensorShape) -> list[int | None]:
    """The dimensions of an image batch in NHWC order."""
    dims = shape.with_rank(4).as_list()
    return dims if data_format == "NHWC" else [dims[0], dims[2], dims[3], dims[1]]


def to_nhwc(data_format: str, x: Array) -> Array:
    return x if data_format == "NHWC" else x.transpose(0, 2, 3, 1)


def from_nhwc(data_format: str, x: Array) -> Array:
    return x if data_format == "NHWC" else x.transpose(0, 3, 1, 2)


def known_sides(where: str, attrs: dict[str, Any], x: Array, ksize: Sequence[int]) -> tuple[Side, Side]:
    """The two sides for an NHWC array."""
    h, w = sides(where, attrs, x.shape[1:3], ksize)
    assert h is not None and w is not None
    return h, w


def padded(x: Array, h: Side, w: Side, value: float = 0.0) -> Array:
    """`x` (NHWC) with its padding around it."""
    return np.pad(x, ((0, 0), (h.before, h.after), (w.before, w.after), (0, 0)), constant_values=value)


def windows(x: Array, h: Side, w: Side, value: float = 0.0) -> Array:
    """A read-only view (n, windows down, windows across, c, height, width) of the windows over `x` (NHWC)."""
    view = np.lib.stride_tricks.sliding_window_view(padded(x, h, w, value), (h.reach, w.reach), axis=(1, 2))
    result: Array = view[:, ::h.stride, ::w.stride, :, ::h.dilation, ::w.dilation][:, :h.count, :w.count]
    return result


def places(side: Side, i: int) -> slice:
    """Where element i of every window lies in the padded dimension."""
    start = i * side.dilation
    return slice(start, start + (side.count - 1) * side.stride + 1, side.stride)


def unpadded(x: Array, h: Side, w: Side) -> Array:
    return x[:, h.before:x.shape[1] - h.after, w.before:x.shape[2] - w.after]
