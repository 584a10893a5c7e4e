"""Event files as TensorBoard reads them: a sequence of ``Event`` messages, each framed as a TFRecord.

A record is: length (8 bytes), masked crc32c of it (4), data, masked crc32c of the data (4). Records are written
whole, in order: whatever a crash leaves is a valid file up to its last, possibly cut, record, where the reader stops.
Source: TensorFlow, core/lib/io/record_writer.h and core/util/events_writer.h.
"""
from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError
from ringflow.graph.errors import DataLossError, FailedPreconditionError, NotFoundError
from ringflow.graph.io.crc32c import masked_crc32c
from ringflow.graph.proto import event_pb2

FILE_VERSION = "brain.Event:2"
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")


def frame(data: bytes) -> bytes:
    """`data` as one TFRecord."""
    length = _LENGTH.pack(len(data))
    return b"".join((length, _CRC.pack(masked_crc32c(length)), data, _CRC.pack(masked_crc32c(data))))


class EventsWriter:
    """Writes one event file, ``<prefix>.out.tfevents.<seconds>.<host><suffix>``. One thread at a time.

    Raises: OSError where the file cannot be made or written.
    """

    def __init__(self, prefix: str, suffix: str = "") -> None:
        name = f"{prefix}.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
        try:
            self._file = open(name + suffix, "xb")
        except FileExistsError:  # another process of this host began in the same second
            suffix = f".{os.getpid()}.{time.time_ns() % 10**9}{suffix}"
            self._file = open(name + suffix, "xb")
        self.path = name + suffix
        self.write(event_pb2.Event(wall_time=time.time(), file_version=FILE_VERSION))
        self.flush()

    def write(self, event: Any) -> None:
        """Adds one Event message. Raises: FailedPreconditionError after close()."""
        if self._file.closed:
            raise FailedPreconditionError(f"[events] {self.path!r} is closed. Fix: make a new writer")
        self._file.write(frame(event.SerializeToString()))

    def flush(self) -> None:
        """Hands all events to the operating system: readers see them, also after this process dies."""
        if not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        self._file.close()


def summary_iterator(path: str) -> Iterator[Any]:
    """The Event messages of a file, in order. A record that is cut off at the end of the file ends it silently: it is
    being written, or its writer died.

    Raises: NotFoundError where there is no file; DataLossError for a wrong checksum or bytes that are no Event.
    """
    try:
        file = open(path, "rb")
    except OSError as e:
        raise NotFoundError(f"[events] {path!r} cannot be read: {e.strerror}. Fix: name an event file, "
                            "events.out.tfevents.*") from None
    with file:
        while True:
            offset = file.tell()
            head = file.read(12)
            if len(head) < 12:
                return
            length = _LENGTH.unpack_from(head)[0]
            if masked_crc32c(head[:8]) != _CRC.unpack_from(head, 8)[0]:
                raise DataLossError(f"[events] {path!r}: the record at byte {offset} has a corrupt length. Fix: this "
                                    "is no event file, or it is damaged")
            data, tail = file.read(length), file.read(4)
            if len(data) < length or len(tail) < 4:
                return
            if masked_crc32c(data) != _CRC.unpack(tail)[0]:
                raise DataLossError(f"[events] {path!r}: the record at byte {offset} does not match its checksum. Fix: "
                                    "the file is damaged; what comes before is readable")
            try:
                yield event_pb2.Event.FromString(data)
            except DecodeError:
                raise DataLossError(f"[events] {path!r}: the record at byte {offset} is no Event. Fix: name an event "
                                    "file, events.out.tfevents.*") from None
