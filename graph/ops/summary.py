"""Summaries for TensorBoard: scalars, histograms and images as serialized ``Summary`` messages.

Summary { repeated Value { tag = 1, simple_value = 2 float, image = 4, histo = 5 } value = 1 }; messages that are merged
are simply written one after the other. Images are PNG without compression.
"""
from __future__ import annotations

import bisect
import struct
import sys
import zlib
from functools import cache
from typing import Any

import numpy as np

from ..define import Array, attr, define
from ..dtypes import NUMBERS, float32, float64, uint8
from ..errors import InvalidArgumentError
from ..operation import Operation
from ..samples import normal
from ..shapes import TensorShape
from .rules import ranked, scalar_shape


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value) if value else b""


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value) if value else b""


def _value(tag: bytes, content: bytes) -> bytes:
    return _field(1, _field(1, tag) + content)


def _message(data: bytes) -> Array:
    array = np.empty((), object)
    array[()] = data
    return array


def _tag(*tags: bytes) -> Array:
    array = np.empty(len(tags), object)
    array[:] = tags
    return array


@define("ScalarSummary(tags: string, values: T) -> summary: string", T=NUMBERS, differentiable=False)
def scalar_summary(tags: Array, values: Array) -> Array:
    """A Summary with a number for each of `tags`, of the shape of `values`."""
    if tags.shape != values.shape:
        raise InvalidArgumentError(f"[ScalarSummary] tags and values must have one shape: got {tags.shape} and "
                                   f"{values.shape}")
    return _message(b"".join(_value(t, b"\x15" + struct.pack("<f", v)) for t, v in zip(tags.ravel(), values.ravel())))


@scalar_summary.shape
def _(op: Operation) -> list[TensorShape]:
    tags, values = op.inputs[0].shape, op.inputs[1].shape
    if not tags.is_compatible_with(values):
        raise InvalidArgumentError(f"[ScalarSummary] tags and values must have one shape: got {tags} and {values}")
    return scalar_shape(op)


scalar_summary.sample(_tag(b"loss", b"accuracy"), normal(2))
scalar_summary.sample(_message(b"loss"), normal())
scalar_summary.sample(_tag(b"a"), normal(2))  # refused


@cache
def _limits() -> list[float]:
    """The upper ends of TensorFlow's buckets: 0, +-1e-12 and on by factors of 1.1 up to 1e20, +-the largest double."""
    positive, limit = [], 1e-12
    while limit < 1e20:
        positive.append(limit)
        limit *= 1.1
    positive.append(sys.float_info.max)
    return [-x for x in reversed(positive)] + [0.0] + positive


@define("HistogramSummary(tag: string, values: T) -> summary: string", T=attr("type", float32, NUMBERS),
        differentiable=False)
def histogram_summary(tag: Array, values: Array) -> Array:
    """A Summary with the histogram of `values`. tag: (). Raises: InvalidArgumentError where they hold nan or inf."""
    flat = values.ravel().astype(np.float64)
    if not np.isfinite(flat).all():
        raise InvalidArgumentError(f"Nan or Inf in summary histogram for: {tag.item().decode()}")
    limits = _limits()
    counts: dict[int, int] = {}
    total = squares = 0.0
    for v in flat.tolist():
        at = bisect.bisect_right(limits, v)
        counts[at] = counts.get(at, 0) + 1
        total += v
        squares += v * v
    ends, numbers = _collapsed(limits, counts)
    least, most = (flat.min(), flat.max()) if flat.size else (sys.float_info.max, -sys.float_info.max)
    histogram = (_double(1, float(least)) + _double(2, float(most)) + _double(3, float(flat.size)) + _double(4, total)
                 + _double(5, squares) + _field(6, struct.pack(f"<{len(ends)}d", *ends))
                 + _field(7, struct.pack(f"<{len(ends)}d", *numbers)))
    return _message(_value(tag.item(), _field(5, histogram)))


def _collapsed(limits: list[float], counts: dict[int, int]) -> tuple[list[float], list[float]]:
    """Limits and counts, with runs of empty buckets as one."""
    ends: list[float] = []
    numbers: list[float] = []
    before = -1
    for at in sorted(counts):
        if at > before + 1:
            ends.append(limits[at - 1])
            numbers.append(0.0)
        ends.append(limits[at])
        numbers.append(float(counts[at]))
        before = at
    if before < len(limits) - 1:
        ends.append(limits[-1])
        numbers.append(0.0)
    return ends, numbers


@histogram_summary.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 0, 0)
    return scalar_shape(op)


histogram_summary.sample(_message(b"w"), normal(40))
histogram_summary.sample(_message(b"w"), np.zeros((2, 3), np.float32))
histogram_summary.sample(_message(b"w"), normal(0))
histogram_summary.sample(_message(b"w"), np.array([np.nan], np.float32))  # refused


def _png(pixels: Array) -> bytes:
    """`pixels`: (h, w, 1 | 2 | 3 | 4) uint8."""
    h, w, c = pixels.shape
    rows = np.concatenate([np.zeros((h, 1), np.uint8), pixels.reshape(h, w * c)], 1).tobytes()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", w, h, 8, {1: 0, 2: 4, 3: 2, 4: 6}[c], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", _stored(rows)) + chunk(b"IEND", b"")


def _stored(data: bytes) -> bytes:
    """A zlib stream of stored blocks."""
    out = b"\x78\x01"
    for at in range(0, max(len(data), 1), 65535):
        block = data[at:at + 65535]
        out += struct.pack("<BHH", at + 65535 >= len(data), len(block), len(block) ^ 0xFFFF) + block
    return out + struct.pack(">I", zlib.adler32(data))


def _pixels(image: Array, bad_color: Array) -> Array:
    """Numbers as bytes: largest magnitude 255, or 127 around 128 where some are negative."""
    if image.dtype == np.uint8:
        return image
    good = np.isfinite(image).all(-1)
    finite = image[good]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    most = max(abs(low), abs(high)) if low < 0 else high
    offset, top = (128, 127) if low < 0 else (0, 255)
    kind = image.dtype.type
    scale = kind(0) if most < 1e-6 else kind(top) / kind(most)
    with np.errstate(invalid="ignore"):
        pixels: Array = (image * scale + kind(offset)).astype(np.uint8)
    pixels[~good] = bad_color[:image.shape[-1]]
    return pixels


@define("ImageSummary(tag: string, tensor: T) -> summary: string", max_images=3,
        T=attr("type", float32, (float32, float64, uint8)),
        bad_color=attr("tensor", np.array([255, 0, 0, 255], np.uint8)), differentiable=False)
def image_summary(tag: Array, tensor: Array, *, max_images: int, bad_color: Any) -> Array:
    """A Summary with the first `max_images` of tensor (n, h, w, 1 | 3 | 4); pixels that are no numbers in bad_color."""
    if tensor.ndim != 4 or tensor.shape[3] not in (1, 3, 4):
        raise InvalidArgumentError(f"[ImageSummary] 'tensor' must be (n, h, w, 1, 3 or 4): got {tensor.shape}")
    parts = []
    for i, image in enumerate(tensor[:max_images]):
        h, w, c = image.shape
        name = tag.item() + (b"/image" if max_images == 1 else b"/image/%d" % i)
        content = _integer(1, h) + _integer(2, w) + _integer(3, c) + _field(4, _png(_pixels(image, bad_color)))
        parts.append(_value(name, _field(4, content)))
    return _message(b"".join(parts))


@image_summary.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 0, 0)
    ranked(op, 1, 4)
    return scalar_shape(op)


image_summary.sample(_message(b"x"), np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3))
image_summary.sample(_message(b"x"), np.arange(8, dtype=np.float32).reshape(1, 2, 4, 1), max_images=1)
image_summary.sample(_message(b"x"), np.array([-1, 2, np.nan, 4], np.float32).reshape(1, 2, 2, 1))
image_summary.sample(_message(b"x"), np.zeros((1, 2, 2, 5), np.float32))  # refused


@define("MergeSummary(inputs: N*string) -> summary: string", differentiable=False, shape=scalar_shape)
def merge_summary(inputs: list[Array]) -> Array:
    """All the values of the Summary messages in `inputs`. Raises: InvalidArgumentError where a tag comes twice."""
    data = b"".join(s for x in inputs for s in x.ravel())
    seen: set[bytes] = set()
    for tag in _tags(data):
        if tag in seen:
            raise InvalidArgumentError(f"Duplicate tag {tag.decode()} found in summary inputs")
        seen.add(tag)
    return _message(data)


def _tags(data: bytes) -> list[bytes]:
    """The tags of a Summary whose values begin with them, as those made here do."""
    tags, at = [], 0
    while at < len(data):
        size, at = _read_varint(data, at + 1)
        length, start = _read_varint(data, at + 1)
        tags.append(data[start:start + length])
        at += size
    return tags


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


_ONE, _TWO = (_message(scalar_summary.reference(_tag(t), np.ones(1, np.float32)).item()) for t in (b"a", b"b"))
merge_summary.sample([_ONE, _TWO])
merge_summary.sample([_TWO])
merge_summary.sample([_ONE, _TWO, _ONE])  # refused
