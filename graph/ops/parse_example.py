"""Serialized examples into tensors. What users call is in graph/functions/parsing.py; how, in docs/input.md."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from .. import dtypes
from ..define import Array, define
from ..dtypes import DType
from ..errors import InvalidArgumentError
from ..opdef import attr
from ..operation import Operation
from ..proto.example_pb2 import Example
from ..shapes import UNKNOWN, TensorShape
from .rules import ranked
from .strings import _scalar, _words

_KINDS = {"float_list": dtypes.float32, "int64_list": dtypes.int64, "bytes_list": dtypes.string}
_TYPES = attr("list(type)", allowed=(dtypes.float32, dtypes.int64, dtypes.string))
_SPLITS = attr("list(type)", allowed=(dtypes.int32, dtypes.int64))

Values = list[Any]
Column = list["Values | None"]  # of each example; None where it has no such feature


class _Batch:
    """Examples read into one column for each key."""

    def __init__(self, where: str, serialized: Array, names: Array | None, keys: Sequence[str],
                 types: Sequence[DType]) -> None:
        if serialized.ndim > 1 or (names is not None and names.size not in (0, serialized.size)):
            raise InvalidArgumentError(f"[{where}] serialized must be a vector or a scalar, names empty or as many: "
                                       f"got {serialized.shape} and {() if names is None else names.shape}")
        if len(keys) != len(types) or len(set(keys)) != len(keys):
            raise InvalidArgumentError(f"[{where}] features must have one type each and differ in their keys: got "
                                       f"{list(keys)} of {len(types)} types")
        self.single, self.n = serialized.ndim == 0, serialized.size
        self._op, self._names = where, names
        self.columns: list[Column] = [[] for _ in keys]
        for i, data in enumerate(serialized.ravel()):
            try:
                features = Example.FromString(bytes(data)).features.feature
            except DecodeError as e:
                raise InvalidArgumentError(f"{self.where(i)}could not parse example input: {e}") from None
            for key, dtype, column in zip(keys, types, self.columns):
                column.append(self._values(i, features, key, dtype))

    def where(self, i: int) -> str:
        name = self._names.ravel()[i].decode() if self._names is not None and self._names.size else "<unknown>"
        return f"[{self._op}] Name: {name}, Index: {i}. "

    def _values(self, i: int, features: Any, key: str, dtype: DType) -> Values | None:
        kind = features[key].WhichOneof("kind") if key in features else None
        if kind is None:
            return None
        if _KINDS[kind] is not dtype:
            raise InvalidArgumentError(f"{self.where(i)}Key: {key}. Data types don't match. Expected type: {dtype} "
                                       f"but the example has {_KINDS[kind]}")
        return list(getattr(features[key], kind).value)

    def flat(self, column: Column, dtype: DType) -> Array:
        return _array([v for values in column for v in values or ()], dtype)

    def sparse(self, column: Column, dtype: DType) -> tuple[Array, Array, Array]:
        at = [[i, k] for i, values in enumerate(column) for k in range(len(values or ()))]
        indices = np.array(at, np.int64).reshape(-1, 2)
        shape = np.array([self.n, max((len(v or ()) for v in column), default=0)], np.int64)
        if self.single:
            indices, shape = indices[:, 1:], shape[1:]
        return indices, self.flat(column, dtype), shape

    def ragged(self, column: Column, dtype: DType, split_type: DType) -> tuple[Array, Array]:
        splits = np.cumsum([0] + [len(v or ()) for v in column]).astype(split_type.as_numpy_dtype)
        return self.flat(column, dtype), splits[:0] if self.single else splits

    def dense(self, key: str, column: Column, dtype: DType, shape: TensorShape, default: Array) -> Array:
        dims: list[Any] = shape.as_list()
        if dims and dims[0] is None:
            rows = self._padded(key, column, dtype, dims[1:], default)
        else:
            size = int(np.prod(dims, dtype=np.int64))
            rows = []
            for i, values in enumerate(column):
                if values is None:
                    if default.size != size:
                        raise InvalidArgumentError(f"{self.where(i)}Feature: {key} (data type: {dtype}) is required "
                                                   "but could not be found.")
                    values = list(default.ravel())
                if len(values) != size:
                    raise InvalidArgumentError(f"{self.where(i)}Key: {key}. Number of {dtype} values != expected. "
                                               f"Values size: {len(values)} but output shape: {shape}")
                rows.append(_array(values, dtype).reshape(dims))
        if self.single:
            return rows[0]
        return np.stack(rows) if rows else _array([], dtype).reshape(0, *(d or 0 for d in dims))

    def _padded(self, key: str, column: Column, dtype: DType, row: list[int], default: Array) -> list[Array]:
        """Values of open length, padded to the longest."""
        if default.size > 1:
            raise InvalidArgumentError(f"[{self._op}] Key: {key}. The default of a feature of open length pads it "
                                       f"and must be one element: got {default.shape}")
        size = int(np.prod(row, dtype=np.int64))
        for i, values in enumerate(column):
            if not size or len(values or ()) % size:
                raise InvalidArgumentError(f"{self.where(i)}Key: {key}. Number of {dtype} values must be a multiple of "
                                           f"{size}: got {len(values or ())}")
        longest = max((len(v or ()) for v in column), default=0)
        pad = default.ravel()[0] if default.size else b"" if dtype is dtypes.string else 0
        return [_array((v or []) + [pad] * (longest - len(v or ())), dtype).reshape(-1, *row) for v in column]


def _array(values: Values, dtype: DType) -> Array:
    if dtype is dtypes.string:
        return _words(*values)
    return np.array(values, dtype.as_numpy_dtype)


def _texts(keys: Array) -> list[str]:
    return [k.decode() for k in keys.ravel()]


def _parse(where: str, serialized: Array, names: Array | None, sparse: list[str], sparse_types: list[DType],
           dense: list[str], dense_types: list[DType], shapes: list[TensorShape], defaults: list[Array],
           ragged: Sequence[str] = (), ragged_types: Sequence[DType] = (), split_types: Sequence[DType] = ()) -> Any:
    if not len(dense) == len(dense_types) == len(shapes) == len(defaults) or len(split_types) != len(ragged):
        raise InvalidArgumentError(f"[{where}] there must be one type, shape and default for each of the "
                                   f"{len(dense)} dense keys, one split type for each of the {len(ragged)} ragged ones")
    batch = _Batch(where, serialized, names, [*sparse, *dense, *ragged], [*sparse_types, *dense_types, *ragged_types])
    columns = iter(batch.columns)
    sparse_outputs = [batch.sparse(next(columns), t) for t in sparse_types]
    dense_outputs = [batch.dense(k, next(columns), t, s, d) for k, t, s, d in zip(dense, dense_types, shapes, defaults)]
    ragged_outputs = [batch.ragged(next(columns), t, s) for t, s in zip(ragged_types, split_types)]
    return [*(o for part in zip(*sparse_outputs) for o in part), *dense_outputs,
            *(o for part in zip(*ragged_outputs) for o in part)]


@define("ParseExample(serialized: string, names: string, sparse_keys: Nsparse*string, dense_keys: Ndense*string, "
        "dense_defaults: [Tdense]) -> sparse_indices: Nsparse*int64, sparse_values: [sparse_types], "
        "sparse_shapes: Nsparse*int64, dense_values: [Tdense]", Nsparse=attr("int"), Ndense=attr("int"),
        sparse_types=_TYPES, Tdense=_TYPES, dense_shapes=attr("list(shape)"), differentiable=False)
def parse_v1(serialized: Array, names: Array, sparse_keys: list[Array], dense_keys: list[Array],
             dense_defaults: list[Array], *, sparse_types: list[DType], Tdense: list[DType],  # noqa: N803
             dense_shapes: list[TensorShape]) -> Any:
    """As ParseExampleV2 without ragged features, one input for each key."""
    if serialized.ndim != 1:
        raise InvalidArgumentError(f"[ParseExample] serialized must be a vector: got {serialized.shape}")
    return _parse("ParseExample", serialized, names, [k.item().decode() for k in sparse_keys], sparse_types,
                  [k.item().decode() for k in dense_keys], Tdense, dense_shapes, dense_defaults)


@define("ParseExampleV2(serialized: string, names: string, sparse_keys: string, dense_keys: string, ragged_keys: "
        "string, dense_defaults: [Tdense]) -> sparse_indices: num_sparse*int64, sparse_values: [sparse_types], "
        "sparse_shapes: num_sparse*int64, dense_values: [Tdense], ragged_values: [ragged_value_types], "
        "ragged_row_splits: [ragged_split_types]", Tdense=_TYPES, num_sparse=attr("int"), sparse_types=_TYPES,
        ragged_value_types=_TYPES, ragged_split_types=_SPLITS, dense_shapes=attr("list(shape)"), differentiable=False)
def parse_v2(serialized: Array, names: Array, sparse_keys: Array, dense_keys: Array, ragged_keys: Array,
             dense_defaults: list[Array], *, Tdense: list[DType], sparse_types: list[DType],  # noqa: N803
             ragged_value_types: list[DType], ragged_split_types: list[DType], dense_shapes: list[TensorShape]) -> Any:
    """The features of serialized Examples (n,), or of one ().

    sparse: indices (total, 2), values (total,), shape [n, longest]; dense: (n, *shape), the default where an example
    has none, padded with it where the first dimension of the shape is unknown; ragged: values, splits (n + 1,).
    Raises: InvalidArgumentError, with example and key, for wrong types or sizes and for what is required but missing.
    """
    return _parse("ParseExampleV2", serialized, names, _texts(sparse_keys), sparse_types, _texts(dense_keys), Tdense,
                  dense_shapes, dense_defaults, _texts(ragged_keys), ragged_value_types, ragged_split_types)


@define("ParseSingleExample(serialized: string, dense_defaults: [Tdense]) -> sparse_indices: num_sparse*int64, "
        "sparse_values: [sparse_types], sparse_shapes: num_sparse*int64, dense_values: [Tdense]",
        num_sparse=attr("int"), sparse_keys=attr("list(string)"), dense_keys=attr("list(string)"),
        sparse_types=_TYPES, Tdense=_TYPES,
        dense_shapes=attr("list(shape)"), differentiable=False)
def parse_single(serialized: Array, dense_defaults: list[Array], *, sparse_keys: list[str], dense_keys: list[str],
                 sparse_types: list[DType], Tdense: list[DType], dense_shapes: list[TensorShape]) -> Any:  # noqa: N803
    """The features of one serialized Example (): indices (n, 1), shape [n]; dense values of their shapes."""
    if serialized.ndim:
        raise InvalidArgumentError(f"[ParseSingleExample] serialized must be a scalar: got {serialized.shape}")
    return _parse("ParseSingleExample", serialized, None, sparse_keys, sparse_types, dense_keys, Tdense, dense_shapes,
                  dense_defaults)


def _example_shapes(op: Operation) -> list[TensorShape]:
    serialized = op.inputs[0].shape
    if op.type == "ParseExample":
        ranked(op, 0, 1)
    if op.type == "ParseSingleExample":
        ranked(op, 0, 0)
        serialized = TensorShape([])
    if serialized.rank is None:
        return [UNKNOWN] * len(op.outputs)
    rank = serialized.rank + 1
    sparse = len(op.attrs["sparse_types"])
    ragged = len(op.attrs.get("ragged_value_types", ()))
    splits = [None if d is None else d + 1 for d in serialized.as_list()] or [0]
    return ([TensorShape([None, rank])] * sparse + [TensorShape([None])] * sparse + [TensorShape([rank])] * sparse
            + [serialized.concatenate(s) for s in op.attrs["dense_shapes"]]
            + [TensorShape([None])] * ragged + [TensorShape(splits)] * ragged)


def _example(**features: Any) -> bytes:
    example = Example()
    for key, values in features.items():
        kind = "bytes" if isinstance(values[0], bytes) else "float" if isinstance(values[0], float) else "int64"
        getattr(example.features.feature[key], f"{kind}_list").value.extend(values)
    return example.SerializeToString()


_A, _C = _example(x=[1.5, 2.5], i=[3], s=[b"a", b"b"]), _example(i=[-7])
_B = _example(x=[0.5, 0.25], s=[b"c"], o=[1, 2])
_NONE = _words()
_DENSE: dict[str, Any] = {"Tdense": ["float32", "int64"], "dense_shapes": [TensorShape([2]), TensorShape([])]}
_DEFAULTS = [np.array([9, 8], np.float32), np.array(5)]
for _op in (parse_v1, parse_v2, parse_single):
    _op.shape(_example_shapes)
parse_v1.sample(_words(_A, _B, _C), _NONE, [_scalar(b"s")], [_scalar(b"x"), _scalar(b"i")], _DEFAULTS,
                sparse_types=["string"], **_DENSE)
parse_v1.sample(_scalar(_A), _NONE, [], [], [], sparse_types=[], Tdense=[], dense_shapes=[])  # refused
for _serialized in (_words(_A, _B, _C), _scalar(_A), _words()):
    parse_v2.sample(_serialized, _NONE, _words(b"s", b"none"), _words(b"x", b"i"), _words(b"o"), _DEFAULTS,
                    num_sparse=2, sparse_types=["string", "float32"], ragged_value_types=["int64"],
                    ragged_split_types=["int32"], **_DENSE)
parse_v2.sample(_words(_A, _B, _C), _words(b"n", b"m", b"l"), _NONE, _words(b"o", b"s"), _NONE,
                [np.array([-1]), _words()], num_sparse=0, sparse_types=[], ragged_value_types=[], ragged_split_types=[],
                Tdense=["int64", "string"], dense_shapes=[TensorShape([None]), TensorShape([None, 1])])
for _bad in (_words(_A, _C), _words(b"\x0a"), _words(_example(x=[1, 2], i=[3])), _words(_example(x=[1.0], i=[3]))):
    parse_v2.sample(_bad, _NONE, _NONE, _words(b"x", b"i"), _NONE, [np.zeros(0, np.float32), np.zeros(0, np.int64)],
                    num_sparse=0, sparse_types=[], ragged_value_types=[], ragged_split_types=[], **_DENSE)  # refused
parse_single.sample(_scalar(_A), _DEFAULTS, num_sparse=1, sparse_keys=["s"], dense_keys=["x", "i"],
                    sparse_types=["string"], **_DENSE)
parse_single.sample(_scalar(_C), _DEFAULTS, num_sparse=1, sparse_keys=["s"], dense_keys=["x", "i"],
                    sparse_types=["string"], **_DENSE)
parse_single.sample(_words(_C), [], num_sparse=0, sparse_keys=[], dense_keys=[], sparse_types=[], Tdense=[],
                    dense_shapes=[])  # refused
