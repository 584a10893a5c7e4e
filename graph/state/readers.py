"""Readers as users hold them, under TensorFlow 1's names. docs/input.md tells how training reads from storage.

    names = rf.train.string_input_producer(["a.csv", "b.csv"])
    key, line = rf.TextLineReader(skip_header_lines=1).read(names)

A reader belongs to the session that runs it. Several threads may read from one; each record is given once.
"""
from __future__ import annotations

from typing import Any

from .. import dtypes
from ..define import convert_to_tensor
from ..operation import Operation, Tensor
from ..ops import reader as ops
from .queues import QueueBase


class ReaderBase:
    """What all readers can do."""

    def __init__(self, reader_ref: Tensor, supports_serialize: bool = False) -> None:
        self.reader_ref, self.supports_serialize = reader_ref, supports_serialize

    def __repr__(self) -> str:
        return f"<rf.{type(self).__name__} {self.reader_ref.op.name!r}>"

    def read(self, queue: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
        """(key, value), string scalars: the next record, of the file whose name `queue` gives where one is needed.

        Run: OutOfRangeError where the queue is closed and empty; the file's error where it cannot be read.
        """
        key, value = ops.read(self.reader_ref, _handle(queue), name=name)
        return key, value

    def read_up_to(self, queue: Any, num_records: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
        """(keys, values), (n,) each: one to `num_records` records of one file."""
        keys, values = ops.read_up_to(self.reader_ref, _handle(queue), convert_to_tensor(num_records, dtypes.int64),
                                      name=name)
        return keys, values

    def num_records_produced(self, name: str | None = None) -> Tensor:
        """How many records were given, int64 ()."""
        count: Tensor = ops.num_records_produced(self.reader_ref, name=name)
        return count

    def num_work_units_completed(self, name: str | None = None) -> Tensor:
        """How many files were read to their end, int64 ()."""
        count: Tensor = ops.num_work_units_completed(self.reader_ref, name=name)
        return count

    def reset(self, name: str | None = None) -> Operation:
        """An operation after which the reader is as new."""
        op: Operation = ops.reset(self.reader_ref, name=name)
        return op

    def serialize_state(self, name: str | None = None) -> Tensor:
        """The state as a string (). Run: UnimplementedError where not ``supports_serialize``."""
        state: Tensor = ops.serialize_state(self.reader_ref, name=name)
        return state

    def restore_state(self, state: Any, name: str | None = None) -> Operation:
        """An operation after which the reader is where the one was that gave `state`."""
        op: Operation = ops.restore_state(self.reader_ref, state, name=name)
        return op


def _handle(queue: Any) -> Any:
    return queue.queue_ref if isinstance(queue, QueueBase) else queue


class TextLineReader(ReaderBase):
    """Records are lines without their end; keys are "file:line", from 1."""

    def __init__(self, skip_header_lines: int | None = None, name: str | None = None) -> None:
        super().__init__(ops.text_line_reader(skip_header_lines=skip_header_lines or 0, name=name))


class FixedLengthRecordReader(ReaderBase):
    """Records are `record_bytes` bytes, `hop_bytes` apart (0: side by side), between header and footer."""

    def __init__(self, record_bytes: int, header_bytes: int | None = None, footer_bytes: int | None = None,
                 hop_bytes: int | None = None, name: str | None = None, encoding: str | None = None) -> None:
        super().__init__(ops.fixed_length_record_reader(
            record_bytes=record_bytes, header_bytes=header_bytes or 0, footer_bytes=footer_bytes or 0,
            hop_bytes=hop_bytes or 0, encoding=encoding or "", name=name))


class TFRecordReader(ReaderBase):
    """Records are those of TFRecord files. options: a ``python_io.TFRecordOptions`` or its compression type."""

    def __init__(self, name: str | None = None, options: Any = None) -> None:
        kind = getattr(options, "compression_type", options) or ""
        super().__init__(ops.tf_record_reader(compression_type=kind, name=name))


class WholeFileReader(ReaderBase):
    """A record is a file's content, its key the name."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(ops.whole_file_reader(name=name), supports_serialize=True)


class IdentityReader(ReaderBase):
    """A record is what the queue gave."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(ops.identity_reader(name=name), supports_serialize=True)


__all__ = ["FixedLengthRecordReader", "IdentityReader", "ReaderBase", "TFRecordReader", "TextLineReader",
           "WholeFileReader"]
