"""Checkpoints as TensorFlow writes them (tensor bundles). csrc/io/bundle.h says what they are."""
from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..define import Array
from ..errors import DataLossError, InvalidArgumentError, NotFoundError, UnimplementedError
from ..proto import bundle_pb2
from . import slices
from .crc32c import crc32c, mask
from .files import read_file, system_errors, write_file
from .table import read_table, take_varint, varint, write_table

Entry = bundle_pb2.BundleEntryProto
_NUMBERS = {d.enum: d for d in dtypes.ALL if d.size}


def index_path(prefix: str) -> str:
    return prefix + ".index"


def data_path(prefix: str, shard: int, num_shards: int) -> str:
    return f"{prefix}.data-{shard:05d}-of-{num_shards:05d}"


# ---- writing
def save(prefix: str, names: Sequence[bytes], shape_and_slices: Sequence[str], tensors: Sequence[Array]) -> None:
    """Writes a checkpoint: the data file, then the index. Raises: InvalidArgumentError for a name given twice."""
    entries: dict[bytes, Entry] = {}
    data = bytearray()
    for name, part, tensor in zip(names, shape_and_slices, tensors):
        key = name
        if not name:
            raise InvalidArgumentError("[SaveV2] a tensor needs a name: got ''")
        if part:
            shape, slice_ = slices.parse(part)
            if np.empty(shape, np.bool_)[slices.index(shape, slice_)].shape != tensor.shape:
                raise InvalidArgumentError(f"[SaveV2] slice of {name!r} must have the shape that its text says, "
                                           f"{part!r}: got {tensor.shape}")
            whole = entries.setdefault(name, _entry(tensor.dtype, shape))
            if (whole.dtype, _shape(whole)) != (dtypes.as_dtype(tensor.dtype).enum, shape) or not (
                    whole.slices or whole.size == 0):
                raise InvalidArgumentError(f"[SaveV2] slices of {name!r} must agree on dtype and whole shape")
            whole.slices.append(slices.to_proto(slice_))
            key = slices.key(name, slice_)
        if key in entries:
            raise InvalidArgumentError(f"[SaveV2] a name may be saved once: {key!r} came twice")
        body, crc = _encode(tensor)
        entries[key] = entry = _entry(tensor.dtype, tensor.shape)
        entry.offset, entry.size, entry.crc32c = len(data), len(body), mask(crc)
        data += body
    write_file(data_path(prefix, 0, 1), bytes(data))
    write_file(index_path(prefix), encode_index(entries, 1))


def _entry(dtype: Any, shape: tuple[int, ...]) -> Entry:
    entry = Entry(dtype=dtypes.as_dtype(dtype).enum)
    entry.shape.SetInParent()
    for d in shape:
        entry.shape.dim.add(size=d)
    return entry


def _encode(tensor: Array) -> tuple[bytes, int]:
    """The bytes of a tensor in the data file and their crc."""
    if tensor.dtype != object:
        body = tensor.tobytes()
        return body, crc32c(body)
    strings = [bytes(s) for s in tensor.ravel()]
    crc = crc32c(b"".join(_size(len(s)) for s in strings))
    sealed = struct.pack("<I", mask(crc))
    tail = sealed + b"".join(strings)
    return b"".join(varint(len(s)) for s in strings) + tail, crc32c(tail, crc)


def _size(size: int) -> bytes:
    """How the size of a string enters the crc."""
    return struct.pack("<I" if size < 2**32 else "<Q", size)


def encode_index(entries: dict[bytes, Entry], num_shards: int) -> bytes:
    header = bundle_pb2.BundleHeaderProto(num_shards=num_shards)
    header.version.producer = 1
    rows = [(b"", header.SerializeToString())]
    return write_table(rows + [(k, entries[k].SerializeToString()) for k in sorted(entries)])


# ---- reading
class Bundle:
    """A checkpoint opened for reading. Raises: NotFoundError where there is none, DataLossError for a damaged index."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        path = index_path(prefix)
        if not os.path.exists(path):
            raise NotFoundError(f"[checkpoint] no checkpoint is at {prefix!r}: there is no file {path!r}. Fix: give "
                                "the prefix that was saved to, without .index or .data")
        rows = read_table(read_file(path), path)
        if not rows or rows[0][0]:
            raise DataLossError(f"[checkpoint] {path!r} has no header. Fix: take another copy of it")
        try:
            header = bundle_pb2.BundleHeaderProto.FromString(rows[0][1])
            self.entries = {key: Entry.FromString(value) for key, value in rows[1:]}
        except Exception as e:
            raise DataLossError(f"[checkpoint] {path!r} holds an entry that is not one: {e}") from None
        if header.endianness or header.version.min_consumer > 1:
            raise UnimplementedError(f"[checkpoint] {path!r} must be little-endian and of version 1 at most")
        self.num_shards = header.num_shards

    def entry(self, name: bytes) -> Entry:
        if name not in self.entries:
            raise NotFoundError(f"Key {name.decode(errors='replace')} not found in checkpoint {self.prefix!r} of "
                                f"{len(self.entries)} entries. Fix: restore only what was saved, or give the name "
                                "under which it was")
        return self.entries[name]

    def read(self, name: bytes, part: str = "") -> Array:
        """The tensor, or the part of it that `part` says. Raises: DataLossError where bytes are missing or changed."""
        entry = self.entry(name)
        shape = _shape(entry)
        wanted: slices.Slice | None = None
        if part:
            full, wanted = slices.parse(part)
            if full != shape:
                raise InvalidArgumentError(f"[RestoreV2] {name!r} must have the shape that its slice says, {full}: the "
                                           f"checkpoint has {shape}")
        if not entry.slices:
            tensor = self._load(name, entry)
        else:
            tensor = np.empty(shape, _numpy(entry, name))
            covered = np.zeros(shape, np.bool_)
            for message in entry.slices:
                slice_ = slices.from_proto(message)
                at = slices.index(shape, slice_)
                stored = self.entries.get(slices.key(name, slice_))
                if stored is None or covered[at].any():
                    raise self._damaged(name, entry, "its slices overlap, or one is missing")
                tensor[at] = self._load(name, stored)
                covered[at] = True
            if not covered[slices.index(shape, wanted) if wanted is not None else ()].all():
                raise self._damaged(name, entry, "its slices do not hold all elements")
        return np.array(tensor[slices.index(shape, wanted)]) if wanted is not None else tensor

    def _load(self, name: bytes, entry: Entry) -> Array:
        kind = _numpy(entry, name)
        path = data_path(self.prefix, entry.shard_id, self.num_shards)
        with system_errors("read", path), open(path, "rb") as f:
            f.seek(entry.offset)
            body = f.read(entry.size)
        if len(body) != entry.size:
            raise self._damaged(name, entry, f"the tensor ends at {entry.offset + entry.size}, the file before")
        shape = _shape(entry)
        if kind.hasobject:
            return self._strings(name, entry, body, shape)
        if mask(crc32c(body)) != entry.crc32c:
            raise self._damaged(name, entry, "its crc32c differs")
        if len(body) != int(np.prod(shape, dtype=np.int64)) * kind.itemsize:
            raise self._damaged(name, entry, f"{len(body)} bytes for shape {shape}")
        return np.frombuffer(body, kind).reshape(shape).copy()

    def _strings(self, name: bytes, entry: Entry, body: bytes, shape: tuple[int, ...]) -> Array:
        sizes, at = [], 0
        try:
            for _ in range(int(np.prod(shape, dtype=np.int64))):
                size, at = take_varint(body, at)
                sizes.append(size)
        except (IndexError, ValueError):
            raise self._damaged(name, entry, "a length has no end") from None
        crc = crc32c(b"".join(map(_size, sizes)))
        if body[at:at + 4] != struct.pack("<I", mask(crc)) or mask(crc32c(body[at:], crc)) != entry.crc32c:
            raise self._damaged(name, entry, "its crc32c differs")
        at += 4
        if sum(sizes) != len(body) - at:
            raise self._damaged(name, entry, "its lengths do not fill its bytes")
        strings = np.empty(len(sizes), object)
        for i, size in enumerate(sizes):
            strings[i] = body[at:at + size]
            at += size
        return strings.reshape(shape)

    def _damaged(self, name: bytes, entry: Entry, what: str) -> DataLossError:
        path = data_path(self.prefix, entry.shard_id, self.num_shards)
        return DataLossError(f"[checkpoint] tensor {name.decode(errors='replace')!r} in {path!r} is damaged: {what}. "
                             "Fix: take another copy of the file, or another checkpoint")


def _shape(entry: Entry) -> tuple[int, ...]:
    return tuple(d.size for d in entry.shape.dim)


def _numpy(entry: Entry, name: bytes) -> np.dtype[Any]:
    if entry.dtype == dtypes.string.enum:
        return np.dtype(object)
    if entry.dtype not in _NUMBERS:
        raise UnimplementedError(f"[checkpoint] tensor {name!r} has dtype {entry.dtype}, which ringflow does not have")
    kind: np.dtype[Any] = np.dtype(_NUMBERS[entry.dtype].as_numpy_dtype)
    return kind


# ---- merging
def merge(prefixes: Sequence[str], destination: str, allow_missing: bool) -> None:
    """One checkpoint out of several; the data files are renamed, nothing is copied."""
    merged: dict[bytes, Entry] = {}
    files: list[str] = []
    indices: list[str] = []
    for prefix in prefixes:
        if allow_missing and not os.path.exists(index_path(prefix)):
            continue
        bundle = Bundle(prefix)
        indices.append(index_path(prefix))
        for name, entry in bundle.entries.items():
            entry.shard_id += len(files)
            there = merged.setdefault(name, entry)
            if there is entry:
                continue
            if not (there.slices and entry.slices and there.dtype == entry.dtype and _shape(there) == _shape(entry)):
                raise InvalidArgumentError(f"[MergeV2Checkpoints] a tensor may come from one checkpoint: {name!r} is "
                                           f"also in {prefix!r}")
            there.slices.extend(entry.slices)
        files += [data_path(prefix, i, bundle.num_shards) for i in range(bundle.num_shards)]
    if not files:
        raise InvalidArgumentError(f"[MergeV2Checkpoints] no checkpoint is at the {len(prefixes)} given prefixes")
    with system_errors("rename", destination):
        os.makedirs(os.path.dirname(destination) or ".", exist_ok=True)
        for i, old in enumerate(files):
            os.rename(old, data_path(destination, i, len(files)))
        write_file(index_path(destination), encode_index(merged, len(files)))
        for path in indices:
            if path != index_path(destination):
                os.remove(path)
