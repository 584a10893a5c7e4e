"""Readers, which turn a queue of file names into records, and ops on whole files. docs/input.md tells how to use them.

A reader lives in the session under shared_name, or else the node's name. What it reads depends on what was read before,
so a run that ends with an error may have taken records with it.
"""
from __future__ import annotations

import glob
import os
from typing import Any

import numpy as np

from .. import dtypes
from ..define import Array, define
from ..errors import InvalidArgumentError
from ..interpreter import State
from ..io.files import read_file as _read_file, write_file as _write_file
from ..opdef import OPS, attr
from ..operation import Operation
from ..samples import Made
from ..shapes import SCALAR, TensorShape
from .queue_reference import Queue
from .reader_reference import Reader
from .rules import ranked, scalar_shape
from .strings import _scalar, _words

_NAMES: dict[str, Any] = {"container": "", "shared_name": "", "stateful": True, "differentiable": False,
                          "shape": scalar_shape}
_USE: dict[str, Any] = {"stateful": True, "differentiable": False}


def _reader(op: Operation, state: State) -> Reader:
    name = op.attrs["shared_name"] or op.name
    found = state.find_or_create(op.attrs["container"], name, lambda: Reader(state, op))
    if not isinstance(found, Reader) or found.kind != op.type:
        there = getattr(found, "kind", type(found).__name__)
        raise InvalidArgumentError(f"[{op.type}] shared reader {name!r} is a {there}")
    return found


@define("TextLineReaderV2() -> reader_handle: resource", skip_header_lines=0, **_NAMES)
def text_line_reader(*, skip_header_lines: int, op: Operation, state: State) -> Reader:
    """Records are lines, without \\n or \\r\\n; keys are "file:line", from 1. The first lines of a file are skipped."""
    if skip_header_lines < 0:
        raise InvalidArgumentError(f"[TextLineReaderV2] skip_header_lines must be >= 0: got {skip_header_lines}")
    return _reader(op, state)


@define("FixedLengthRecordReaderV2() -> reader_handle: resource", header_bytes=0, record_bytes=attr("int"),
        footer_bytes=0, hop_bytes=0, encoding="", **_NAMES)
def fixed_length_record_reader(*, header_bytes: int, record_bytes: int, footer_bytes: int, hop_bytes: int,
                               encoding: str, op: Operation, state: State) -> Reader:
    """Records are `record_bytes` long and begin `hop_bytes` apart (0: side by side), between a header and a footer.

    Keys are "file:index", from 0; a shorter rest is left out. encoding: "", "ZLIB" or "GZIP".
    """
    if record_bytes < 1 or min(header_bytes, footer_bytes, hop_bytes) < 0:
        raise InvalidArgumentError("[FixedLengthRecordReaderV2] record_bytes must be > 0, header_bytes, footer_bytes "
                                   f"and hop_bytes >= 0: got {record_bytes}, {header_bytes}, {footer_bytes}, "
                                   f"{hop_bytes}")
    _check_compression(encoding)
    return _reader(op, state)


@define("TFRecordReaderV2() -> reader_handle: resource", compression_type="", **_NAMES)
def tf_record_reader(*, compression_type: str, op: Operation, state: State) -> Reader:
    """Records are those of TFRecord files, "", "ZLIB" or "GZIP"; keys are "file:offset". DataLossError for damage."""
    _check_compression(compression_type)
    return _reader(op, state)


@define("WholeFileReaderV2() -> reader_handle: resource", **_NAMES)
def whole_file_reader(*, op: Operation, state: State) -> Reader:
    """A record is a file's content, its key the name."""
    return _reader(op, state)


@define("IdentityReaderV2() -> reader_handle: resource", **_NAMES)
def identity_reader(*, op: Operation, state: State) -> Reader:
    """A record is what was enqueued, which need not be a file; so is its key."""
    return _reader(op, state)


def _check_compression(name: str) -> None:
    if name not in ("", "ZLIB", "GZIP"):
        raise InvalidArgumentError(f"[records] compression must be '', 'ZLIB' or 'GZIP': got {name!r}")


for _kind in (text_line_reader, tf_record_reader, whole_file_reader, identity_reader):
    _kind.sample()
fixed_length_record_reader.sample(record_bytes=3)


def _handles_are_scalars(op: Operation) -> list[TensorShape]:
    shapes = [SCALAR] * len(op.outputs)
    if op.type == "ReaderReadUpToV2":
        ranked(op, 2, 0)
        shapes = [TensorShape([None])] * 2
    return shapes


@define("ReaderReadV2(reader_handle: resource, queue_handle: resource) -> key: string, value: string", **_USE,
        shape=_handles_are_scalars)
def read(reader_handle: Reader, queue_handle: Queue) -> Any:
    """The next record; a name is taken from the queue where the last file is at its end. Waits for one.

    Run: OutOfRangeError where the queue is closed and empty; NotFoundError, DataLossError from a file, which is left.
    """
    return reader_handle.read(queue_handle, 1, single=True)


@define("ReaderReadUpToV2(reader_handle: resource, queue_handle: resource, num_records: int64) -> keys: string, "
        "values: string", **_USE, shape=_handles_are_scalars)
def read_up_to(reader_handle: Reader, queue_handle: Queue, num_records: Array) -> Any:
    """The next records, at least one and at most num_records, all of one file: (n,) each."""
    return reader_handle.read(queue_handle, int(num_records), single=False)


@define("ReaderNumRecordsProducedV2(reader_handle: resource) -> records_produced: int64", **_USE, shape=scalar_shape)
def num_records_produced(reader_handle: Reader) -> Array:
    """How many records the reader has given."""
    return np.array(reader_handle.produced)


@define("ReaderNumWorkUnitsCompletedV2(reader_handle: resource) -> units_completed: int64", **_USE, shape=scalar_shape)
def num_work_units_completed(reader_handle: Reader) -> Array:
    """How many files the reader has come to the end of."""
    return np.array(reader_handle.finished)


@define("ReaderResetV2(reader_handle: resource)", **_USE)
def reset(reader_handle: Reader) -> None:
    """The reader is as new; the file that it was in is left."""
    reader_handle.reset()


@define("ReaderSerializeStateV2(reader_handle: resource) -> state: string", **_USE, shape=scalar_shape)
def serialize_state(reader_handle: Reader) -> Array:
    """What the reader has done, as TensorFlow's ReaderBaseState. UnimplementedError for readers of parts of files."""
    return _scalar(reader_handle.serialize())


@define("ReaderRestoreStateV2(reader_handle: resource, state: string)", **_USE)
def restore_state(reader_handle: Reader, state: Array) -> None:
    """The reader goes on where the one that gave `state` was."""
    reader_handle.restore(bytes(state.item()))


def _build(type: str, *inputs: Any, **attrs: Any) -> Any:
    return OPS[type](*inputs, **attrs)  # type: ignore[operator]


def _identity(attrs: dict[str, Any]) -> Any:
    return _build("IdentityReaderV2")


def _queue_of_names(attrs: dict[str, Any]) -> Any:
    queue = _build("FIFOQueueV2", component_types=[dtypes.string], shapes=[TensorShape([])])
    _build("QueueEnqueueManyV2", queue, [_words(b"first", b"second", b"")])
    return queue


read.sample(Made(_identity), Made(_queue_of_names))
read_up_to.sample(Made(_identity), Made(_queue_of_names), np.array(5, np.int64))
read_up_to.sample(Made(_identity), Made(_queue_of_names), np.array(0, np.int64))  # refused
for _op in (num_records_produced, num_work_units_completed, reset, serialize_state):
    _op.sample(Made(_identity))
restore_state.sample(Made(_identity), _scalar(b"\x08\x02\x10\x01\x18\x05\x22\x01a"))
restore_state.sample(Made(_identity), _scalar(b"\x08\x02"))  # refused: two files begun, none finished
restore_state.sample(Made(_identity), _scalar(b"\xff"))  # refused


# ---- whole files
def _path(name: Array) -> str:
    if name.size != 1:
        raise InvalidArgumentError(f"[file] a name must be a scalar: got {name.shape}")
    return os.fsdecode(bytes(name.item()))


@define("ReadFile(filename: string) -> contents: string", differentiable=False, shape=scalar_shape)
def read_file(filename: Array) -> Array:
    """contents = the bytes of the file: (). Raises: NotFoundError, ... as the system says."""
    return _scalar(_read_file(_path(filename)))


@define("WriteFile(filename: string, contents: string)", **_USE)
def write_file(filename: Array, contents: Array) -> None:
    """The file, whose folders are made, holds `contents`; a crash leaves the old one or the new one."""
    if contents.size != 1:
        raise InvalidArgumentError(f"[WriteFile] contents must be a scalar: got {contents.shape}")
    _write_file(_path(filename), bytes(contents.item()))


@define("MatchingFiles(pattern: string) -> filenames: string", differentiable=False)
def matching_files(pattern: Array) -> Array:
    """filenames = the paths that match a pattern (or one of several), sorted: (n,)."""
    if pattern.ndim > 1:
        raise InvalidArgumentError(f"[MatchingFiles] pattern must be a scalar or a vector: got {pattern.shape}")
    return _words(*sorted(path for p in pattern.ravel() for path in glob.glob(bytes(p))))


@matching_files.shape
def _(op: Operation) -> list[TensorShape]:
    return [TensorShape([None])]


read_file.sample(_scalar(b"/dev/null"))
write_file.sample(_scalar(b"/nowhere"), _words(b"a", b"b"))  # refused
matching_files.sample(_scalar(b"/nowhere/*"))
matching_files.sample(_words(b"/dev/nul?", b"/nowhere/*"))

__all__ = ["matching_files", "read_file", "write_file"]
