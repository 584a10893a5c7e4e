"""TFRecord files: length (8 bytes), its masked crc32c, data, their masked crc32c (csrc/io/record.h)."""
from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO

from ..errors import DataLossError, InvalidArgumentError
from .crc32c import masked_crc32c
from .files import system_errors

_LENGTH = struct.Struct("<QI")


def open_input(path: str, compression: str) -> IO[bytes]:
    """The bytes of a file, decompressed. Raises: NotFoundError, ...; DataLossError where they cannot be."""
    if compression not in ("", "ZLIB", "GZIP"):
        raise InvalidArgumentError(f"[records] compression must be '', 'ZLIB' or 'GZIP': got {compression!r}")
    with system_errors("read", path):
        if not compression:
            return open(path, "rb")
        with open(path, "rb") as f:
            data = f.read()
    try:
        return io.BytesIO(zlib.decompress(data) if compression == "ZLIB" else gzip.decompress(data))
    except (zlib.error, EOFError, OSError) as e:
        raise DataLossError(f"[zlib] {path!r} cannot be decompressed: {e}. Fix: check its compression type, or take "
                            "another copy of it") from None


def frame(data: bytes) -> bytes:
    """`data` as one record."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data))))


def records(path: str, compression: str = "") -> Iterator[tuple[int, bytes]]:
    """(where it begins in the decompressed bytes, the record). Raises: DataLossError, naming file and place."""
    with open_input(path, compression) as f:
        at = 0
        while head := f.read(12):
            def damaged(what: str, at: int = at) -> DataLossError:
                return DataLossError(f"[TFRecord] {path!r} is damaged at byte {at}: {what}. Fix: take another copy of "
                                     "the file, or check that it holds TFRecords of this compression")

            if len(head) < 12:
                raise damaged("truncated record, its length is cut off")
            length, crc = _LENGTH.unpack(head)
            if crc != masked_crc32c(head[:8]):
                raise damaged("the crc32c of a length differs")
            body = f.read(length + 4)
            if len(body) < length + 4:
                raise damaged("truncated record")
            data = body[:length]
            if body[length:] != struct.pack("<I", masked_crc32c(data)):
                raise damaged("the crc32c of a record differs")
            yield at, data
            at += 16 + length
