"""Parts of a tensor as `shape_and_slices` writes them: "4 3 0,2:-" is rows 0 and 1 of a tensor of shape (4, 3)."""
from __future__ import annotations

from ..errors import InvalidArgumentError
from ..proto import bundle_pb2

ALL = -1
Slice = tuple[tuple[int, int], ...]  # (start, length) of each dimension; (0, ALL) where all of it is meant


def parse(text: str) -> tuple[tuple[int, ...], Slice]:
    """The whole tensor's shape, and the slice. Raises: InvalidArgumentError."""
    *dims, ranges = text.split(" ")
    try:
        if not all(p.isdigit() for p in dims):
            raise ValueError
        shape = tuple(map(int, dims))
        slice_ = tuple((0, ALL) if r == "-" else _pair(r) for r in ranges.split(":")) if shape else ()
    except ValueError:
        raise InvalidArgumentError(f"[shape_and_slices] must be like '4 3 0,2:-': got {text!r}") from None
    index(shape, slice_)
    return shape, slice_


def _pair(text: str) -> tuple[int, int]:
    start, length = text.split(",")
    if not (start.isdigit() and length.isdigit()):
        raise ValueError
    return int(start), int(length)


def index(shape: tuple[int, ...], slice_: Slice) -> tuple[slice, ...]:
    """The slice as NumPy takes it. Raises: InvalidArgumentError where it does not lie in a tensor of `shape`."""
    if len(slice_) != len(shape) or any(s + n > d for d, (s, n) in zip(shape, slice_)):
        raise InvalidArgumentError(f"[shape_and_slices] a slice lies in its tensor: got {slice_} of {shape}")
    return tuple(slice(0, d) if n == ALL else slice(s, s + n) for d, (s, n) in zip(shape, slice_))


def to_proto(slice_: Slice) -> bundle_pb2.TensorSliceProto:
    message = bundle_pb2.TensorSliceProto()
    for start, length in slice_:
        extent = message.extent.add(start=start)
        if length != ALL:
            extent.length = length
    return message


def from_proto(message: bundle_pb2.TensorSliceProto) -> Slice:
    return tuple((e.start, e.length if e.HasField("length") else ALL) for e in message.extent)


def key(tensor: bytes, slice_: Slice) -> bytes:
    """The name of a slice in a bundle. Source: TensorFlow, core/lib/strings/ordered_code.cc."""
    escaped = b"".join({0: b"\0\xff", 255: b"\xff\0"}.get(c, bytes([c])) for c in tensor)
    return b"\0" + escaped + b"\0\1" + _number(len(slice_)) + b"".join(_signed(v) for pair in slice_ for v in pair)


def _number(value: int) -> bytes:
    size = (value.bit_length() + 7) // 8
    return bytes([size]) + value.to_bytes(size, "big")


def _signed(value: int) -> bytes:
    """n bytes hold 7n-1 bits; n ones and a zero in front say how many bytes. For a negative number, all bits flip."""
    magnitude = ~value if value < 0 else value
    size = magnitude.bit_length() // 7 + 1
    coded = magnitude | (2**size - 1) << (7 * size)
    if value < 0:
        coded ^= 2 ** (8 * size) - 1
    return int(coded).to_bytes(size, "big")
