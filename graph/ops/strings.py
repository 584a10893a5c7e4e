"""Ops on strings (arrays of bytes objects): joining, hashing, matching, and decoding into numbers."""
from __future__ import annotations

import csv
import re
from typing import Any

import numpy as np

from ..define import Array, attr, define
from ..dtypes import NUMBERS, DType, float32, float64, int8, int16, int32, int64, string, uint8, uint16
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..shapes import UNKNOWN, TensorShape
from .farmhash import fingerprint64
from .rules import first_shape, ranked, scalar_shape

_RAW = (float32, float64, int32, uint8, int16, int8, int64, uint16)


def _words(*values: bytes) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _scalar(value: bytes) -> Array:
    array = np.empty((), object)
    array[()] = value
    return array


def _strings(values: list[bytes], shape: tuple[int, ...]) -> Array:
    return _words(*values).reshape(shape)


@define("StringJoin(inputs: N*string) -> output: string", separator="", differentiable=False)
def string_join_op(inputs: list[Array], *, separator: str) -> Array:
    """output[i] = the strings inputs[..][i] with `separator` between them; scalars go with every element."""
    shapes = {x.shape for x in inputs if x.ndim}
    if len(shapes) > 1:
        raise InvalidArgumentError(f"[StringJoin] inputs must be scalars or of one shape: got {sorted(shapes)}")
    shape = shapes.pop() if shapes else ()
    rows = zip(*(np.broadcast_to(x, shape).ravel() for x in inputs))
    return _strings([separator.encode().join(row) for row in rows], shape)


@string_join_op.shape
def _(op: Operation) -> list[TensorShape]:
    shape = TensorShape(())
    for t in op.inputs:
        if t.shape.rank is None:
            return [UNKNOWN]
        if t.shape.rank:
            if shape.rank and not shape.is_compatible_with(t.shape):
                raise InvalidArgumentError(f"[StringJoin] inputs must be scalars or of one shape: got {shape} and "
                                           f"{t.shape}")
            shape = t.shape.merge_with(shape) if shape.rank else t.shape
    return [shape]


string_join_op.sample([_words(b"a", b"", b"bc"), _words(b"x", b"y", b"z")], separator="-")
string_join_op.sample([_scalar(b"s"), _words(b"x", b"y")])
string_join_op.sample([_words(b"a"), _words(b"x", b"y")])  # refused


@define("StringToHashBucketFast(input: string) -> output: int64", num_buckets=attr("int"), differentiable=False,
        shape=first_shape)
def hash_bucket(input: Array, *, num_buckets: int) -> Array:
    """output[i] = FarmHash's Fingerprint64 of input[i], modulo num_buckets."""
    if num_buckets < 1:
        raise InvalidArgumentError(f"[StringToHashBucketFast] 'num_buckets' must be positive: got {num_buckets}")
    buckets = [fingerprint64(bytes(s)) % num_buckets for s in input.ravel()]
    return np.array(buckets, np.int64).reshape(input.shape)


hash_bucket.sample(_words(b"", b"a", b"hello", b"eight678", b"0123456789abcdef"), num_buckets=1000)
hash_bucket.sample(_words(*(bytes(range(n)) for n in (17, 32, 33, 64, 65, 128, 129, 200))), num_buckets=2**40)
hash_bucket.sample(_words(), num_buckets=3)


@define("StaticRegexFullMatch(input: string) -> output: bool", pattern=attr("string"), differentiable=False,
        shape=first_shape)
def full_match(input: Array, *, pattern: str) -> Array:
    """output[i] = whether `pattern` matches all of input[i]."""
    try:
        compiled = re.compile(pattern.encode())
    except re.error as e:
        raise InvalidArgumentError(f"[StaticRegexFullMatch] pattern {pattern!r} is not valid: {e}") from None
    return np.array([compiled.fullmatch(s) is not None for s in input.ravel()], bool).reshape(input.shape)


full_match.sample(_words(b"s3://x", b"abc", b""), pattern="^s3://.*")
full_match.sample(_words(b"aab", b"b", b"ba"), pattern="a*b")


@define("ShardedFilename(basename: string, shard: int32, num_shards: int32) -> filename: string", differentiable=False,
        shape=scalar_shape)
def sharded_filename(basename: Array, shard: Array, num_shards: Array) -> Array:
    """filename = basename-00002-of-00010, for shard 2 of 10: ()"""
    return _scalar(basename.item() + b"-%05d-of-%05d" % (int(shard), int(num_shards)))


sharded_filename.sample(_scalar(b"x"), np.array(12, np.int32), np.array(345, np.int32))


@define("DecodeRaw(bytes: string) -> output: out_type", out_type=attr("type", allowed=_RAW), little_endian=True,
        differentiable=False)
def decode_raw(bytes: Array, *, out_type: DType, little_endian: bool) -> Array:
    """output[i] = the numbers whose bytes are bytes[i], of one length for all i: (..., length / size of a number)."""
    kind = out_type.as_numpy_dtype
    lengths = {len(s) for s in bytes.ravel()}
    if len(lengths) > 1 or any(n % kind.itemsize for n in lengths):
        raise InvalidArgumentError(f"[DecodeRaw] strings must be of one length, in whole {out_type} numbers: got "
                                   f"{sorted(lengths)} bytes")
    rows = np.frombuffer(b"".join(bytes.ravel()), kind.newbyteorder("<" if little_endian else ">")).astype(kind)
    return rows.reshape(*bytes.shape, lengths.pop() // kind.itemsize if lengths else 0)


@decode_raw.shape
def _(op: Operation) -> list[TensorShape]:
    return [op.inputs[0].shape.concatenate(TensorShape([None]))]


decode_raw.sample(_words(b"\x01\x02", b"\x03\x04"), out_type=uint8)
decode_raw.sample(_words(b"\x00\x00\x00\x01"), out_type=int32, little_endian=False)
decode_raw.sample(_words(b"\x00\x00\x00\x01\x05\x00\x00\x00"), out_type=int32)
decode_raw.sample(_words(b"\x00\x00\x00"), out_type=int16)  # refused


@define("DecodeCSV(records: string, record_defaults: [OUT_TYPE]) -> output: [OUT_TYPE]",
        OUT_TYPE=attr("list(type)", allowed=(*NUMBERS, string)),
        field_delim=",", use_quote_delim=True, na_value="", select_cols=attr("list(int)", []), differentiable=False)
def decode_csv(records: Array, record_defaults: list[Array], *, field_delim: str, use_quote_delim: bool, na_value: str,
               select_cols: list[int]) -> list[Array]:
    """output[k] = column k of each record, its default where the field is empty or na_value: the shape of records.

    Raises: InvalidArgumentError for a wrong number of fields, a field without value or default, or not a number.
    """
    columns: list[list[Any]] = [[] for _ in record_defaults]
    for i, record in enumerate(records.ravel()):
        text = record.decode("latin-1")
        rows = list(csv.reader([text], delimiter=field_delim)) if use_quote_delim else [text.split(field_delim)]
        fields = rows[0] if rows and rows[0] else [""]
        if not select_cols and len(fields) != len(columns):
            raise InvalidArgumentError(f"[DecodeCSV] expect {len(columns)} fields but have {len(fields)} in record {i}")
        for k, (column, default) in enumerate(zip(columns, record_defaults)):
            text = fields[select_cols[k] if select_cols else k]
            if text in ("", na_value):
                if default.size != 1:
                    raise InvalidArgumentError(f"[DecodeCSV] field {k} is required but missing in record {i}")
                column.append(default.ravel()[0])
            elif default.dtype == object:
                column.append(text.encode("latin-1"))
            else:
                column.append(_number(text, default.dtype, k))
    return [_strings(c, records.shape) if d.dtype == object else np.array(c, d.dtype).reshape(records.shape)
            for c, d in zip(columns, record_defaults)]


def _number(text: str, dtype: Any, column: int) -> Any:
    try:
        return dtype.type(text)
    except ValueError:
        raise InvalidArgumentError(f"[DecodeCSV] field {column} must be {dtype}: got {text!r}") from None


@decode_csv.shape
def _(op: Operation) -> list[TensorShape]:
    for i in range(1, len(op.inputs)):
        if op.inputs[i].shape.rank not in (0, None):
            ranked(op, i, 1)
    return [op.inputs[0].shape] * len(op.outputs)


_DEFAULTS: Any = [np.array([0], np.int32), np.array([9], np.float32), _words(b"d")]
decode_csv.sample(_words(b"1,2.5,x", b'3,,"y,z"'), _DEFAULTS)
decode_csv.sample(_words(b'7;"a""b"'), [np.array([0], np.int64), _words(b"")], field_delim=";")
decode_csv.sample(_words(b"a,b,3", b"c,d,NA"), [np.array([-1], np.int32)], select_cols=[2], na_value="NA")
decode_csv.sample(_words(b"1,2"), _DEFAULTS)  # refused
decode_csv.sample(_words(b"x"), [np.array([0], np.int32)])  # refused


# ---- functions
def string_join(inputs: Any, separator: str = "", name: str | None = None) -> Tensor:
    """The strings inputs[..][i] joined, with `separator` between them; scalars go with every element."""
    result: Tensor = string_join_op(list(inputs), separator=separator, name=name)
    return result


def string_to_hash_bucket_fast(input: Any, num_buckets: int, name: str | None = None) -> Tensor:
    """A number in [0, num_buckets) for each string, int64: equal for equal strings, everywhere and always."""
    result: Tensor = hash_bucket(input, num_buckets=num_buckets, name=name)
    return result
