"""The sorted table of a checkpoint's index: LevelDB's format with TensorFlow's magic (csrc/io/table.h says how it is).

Source: LevelDB, doc/table_format.md.
"""
from __future__ import annotations

import struct

from ..errors import DataLossError, UnimplementedError
from .crc32c import masked_crc32c

_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_FOOTER = 48
_RESTART = 16


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def take_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and where it ends. Raises: IndexError where the data end first, ValueError."""
    value = 0
    for shift in range(0, 70, 7):
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value & 2**64 - 1, at
    raise ValueError("a number has no end")


def write_table(entries: list[tuple[bytes, bytes]]) -> bytes:
    """The file of `entries`, whose keys ascend, all in one block."""
    data, at = _block(entries, _RESTART), b""
    file = _sealed(data) if entries else b""
    if entries:
        at = varint(0) + varint(len(data))
    meta = _block([], _RESTART)
    index = _block([(_successor(entries[-1][0]), at)] if entries else [], 1)
    footer = varint(len(file)) + varint(len(meta))
    file += _sealed(meta)
    footer += varint(len(file)) + varint(len(index))
    return file + _sealed(index) + footer.ljust(_FOOTER - 8, b"\0") + _MAGIC


def _block(entries: list[tuple[bytes, bytes]], restart_interval: int) -> bytes:
    out, restarts, last = bytearray(), [0], b""
    for i, (key, value) in enumerate(entries):
        shared = 0
        if i % restart_interval:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        elif i:
            restarts.append(len(out))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def _successor(key: bytes) -> bytes:
    """A short key that is not below `key`."""
    for i, byte in enumerate(key):
        if byte != 255:
            return key[:i] + bytes([byte + 1])
    return key


def _sealed(block: bytes) -> bytes:
    return block + b"\0" + struct.pack("<I", masked_crc32c(block + b"\0"))


def read_table(file: bytes, path: str) -> list[tuple[bytes, bytes]]:
    """All entries. Raises: DataLossError where the bytes are not a whole table."""
    def corrupt(what: str) -> DataLossError:
        return DataLossError(f"[table] {path!r} is not a whole table of {len(file)} bytes: {what}. Fix: take another "
                             "copy of the file, or another checkpoint")

    def block(handle: bytes, at: int) -> tuple[bytes, int]:
        offset, at = take_varint(handle, at)
        size, at = take_varint(handle, at)
        if offset + size + 5 > len(file) - _FOOTER:
            raise corrupt("a block lies outside it")
        body = file[offset:offset + size + 1]
        if struct.unpack_from("<I", file, offset + size + 1)[0] != masked_crc32c(body):
            raise corrupt("the crc32c of a block differs")
        if body[-1]:
            raise UnimplementedError(f"[table] {path!r} holds a compressed block. Fix: write the checkpoint without "
                                     "compression, as TensorFlow has since 1.2")
        return body[:-1], at

    def entries_of(data: bytes) -> list[tuple[bytes, bytes]]:
        end = len(data) - 4 - 4 * int.from_bytes(data[-4:], "little")
        if end < 0:
            raise corrupt("a block's restart points lie outside it")
        found: list[tuple[bytes, bytes]] = []
        key, at = b"", 0
        while at < end:
            shared, at = take_varint(data, at)
            fresh, at = take_varint(data, at)
            size, at = take_varint(data, at)
            if shared > len(key) or at + fresh + size > end:
                raise corrupt("an entry lies outside its block")
            key = key[:shared] + data[at:at + fresh]
            found.append((key, data[at + fresh:at + fresh + size]))
            at += fresh + size
        return found

    if len(file) < _FOOTER or not file.endswith(_MAGIC):
        raise corrupt("it does not end in the footer of a table")
    try:
        footer = file[-_FOOTER:-8]
        _, at = block(footer, 0)
        entries = [e for _, handle in entries_of(block(footer, at)[0]) for e in entries_of(block(handle, 0)[0])]
    except (IndexError, ValueError):
        raise corrupt("a number in it has no end") from None
    if any(a[0] >= b[0] for a, b in zip(entries, entries[1:])):
        raise corrupt("its keys are not in order")
    return entries
