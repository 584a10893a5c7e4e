"""``rf.python_io``: TFRecord files written and read outside of graphs, under TensorFlow 1's names.

    with rf.python_io.TFRecordWriter("train.tfrecord") as writer:
        writer.write(example.SerializeToString())
    for record in rf.python_io.tf_record_iterator("train.tfrecord"):
        ...

Several threads may use one writer; each record is written whole.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from ringflow import _core
from ringflow.graph.errors import InvalidArgumentError

from .backend import typed


class TFRecordCompressionType:
    """The kinds of compression, as TensorFlow numbers them."""

    NONE, ZLIB, GZIP = 0, 1, 2


class TFRecordOptions:
    """How a file of records is compressed. compression_type: "", "ZLIB", "GZIP" or a TFRecordCompressionType."""

    def __init__(self, compression_type: Any = None, compression_level: int | None = None) -> None:
        names = {None: "", TFRecordCompressionType.NONE: "", TFRecordCompressionType.ZLIB: "ZLIB",
                 TFRecordCompressionType.GZIP: "GZIP"}
        self.compression_type = names.get(compression_type, compression_type)
        if self.compression_type not in ("", "ZLIB", "GZIP"):
            raise InvalidArgumentError(f"[TFRecordOptions] compression_type must be '', 'ZLIB' or 'GZIP': got "
                                       f"{compression_type!r}")
        self.compression_level = -1 if compression_level is None else compression_level


def _options(options: Any) -> TFRecordOptions:
    return options if isinstance(options, TFRecordOptions) else TFRecordOptions(options)


def _call(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except _core.Error as e:
        raise typed(e) from None


class TFRecordWriter:
    """Writes records to a file that grows as it is written. Raises: the errors of graph/errors.py, naming the file."""

    def __init__(self, path: str | os.PathLike[str], options: Any = None) -> None:
        kind = _options(options)
        self._writer = _call(_core.RecordWriter, os.fspath(path), kind.compression_type, kind.compression_level)

    def write(self, record: bytes) -> None:
        """Appends one record."""
        if not isinstance(record, bytes):
            raise TypeError(f"[TFRecordWriter] a record must be bytes: got {type(record).__name__}. Fix: serialize it, "
                            "example.SerializeToString()")
        _call(self._writer.write, record)

    def flush(self) -> None:
        """What was written can be read by others."""
        _call(self._writer.flush)

    def close(self) -> None:
        """The file is on the disk. A second close does nothing."""
        _call(self._writer.close)

    def __enter__(self) -> TFRecordWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def tf_record_iterator(path: str | os.PathLike[str], options: Any = None) -> Iterator[bytes]:
    """The records of a file. Raises: NotFoundError, ...; DataLossError, naming the place, where it is damaged."""
    reader = _call(_core.RecordReader, os.fspath(path), _options(options).compression_type)
    return iter(lambda: _call(reader.read), None)


__all__ = ["TFRecordCompressionType", "TFRecordOptions", "TFRecordWriter", "tf_record_iterator"]
