"""Parsing examples and strings, under TensorFlow 1's names. docs/input.md tells how training reads from storage.

    features = rf.parse_single_example(record, {
        "image": rf.FixedLenFeature([784], rf.float32),
        "label": rf.FixedLenFeature([], rf.int64),
        "words": rf.VarLenFeature(rf.string)})
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..opdef import OPS
from ..operation import Tensor
from ..shapes import TensorShape
from ..sparse_tensor import SparseTensor

_TYPES = (dtypes.float32, dtypes.int64, dtypes.string)


class FixedLenFeature(NamedTuple):
    """A feature with as many values as `shape` has elements; required where it has no default."""

    shape: Any
    dtype: Any
    default_value: Any = None


class VarLenFeature(NamedTuple):
    """A feature with any number of values: a SparseTensor."""

    dtype: Any


class FixedLenSequenceFeature(NamedTuple):
    """A feature whose values are any number of rows of `shape`, padded to the longest of the batch by the default."""

    shape: Any
    dtype: Any
    allow_missing: bool = False
    default_value: Any = None


class _Plan:
    """What a dict of features asks of the parse ops. Sorted by key, so that equal dicts give equal nodes."""

    def __init__(self, where: str, features: Mapping[str, Any]) -> None:
        if not features:
            raise InvalidArgumentError(f"[{where}] 'features' must name at least one: got {features!r}")
        self.sparse: dict[str, Any] = {}
        self.dense: dict[str, Any] = {}
        self.shapes: list[TensorShape] = []
        self.defaults: list[Any] = []
        for key, feature in sorted(features.items()):
            if not isinstance(feature, (FixedLenFeature, VarLenFeature, FixedLenSequenceFeature)):
                raise InvalidArgumentError(f"[{where}] feature {key!r} must be a FixedLenFeature, VarLenFeature or "
                                           f"FixedLenSequenceFeature: got {feature!r}")
            dtype = dtypes.as_dtype(feature.dtype)
            if dtype not in _TYPES:
                raise InvalidArgumentError(f"[{where}] feature {key!r} must be float32, int64 or string: got "
                                           f"{dtype}. Fix: parse it as one of these and cast")
            if isinstance(feature, VarLenFeature):
                self.sparse[key] = dtype
                continue
            self.dense[key] = dtype
            self._add_dense(where, key, feature, dtype)

    def _add_dense(self, where: str, key: str, feature: Any, dtype: Any) -> None:
        shape = TensorShape(feature.shape)
        if not shape.is_fully_defined():
            raise InvalidArgumentError(f"[{where}] feature {key!r} must have a known shape: got {shape}. Fix: "
                                       "FixedLenSequenceFeature leaves the first dimension open")
        default = feature.default_value
        if isinstance(feature, FixedLenSequenceFeature):
            if not feature.allow_missing:
                raise InvalidArgumentError(f"[{where}] feature {key!r} must have allow_missing=True: examples of other "
                                           "lengths are padded")
            shape = TensorShape([None]).concatenate(shape)
        if default is None:
            default = np.zeros(0, dtype.as_numpy_dtype)
        elif isinstance(feature, FixedLenFeature):
            value = np.asarray(default, object if dtype is dtypes.string else dtype.as_numpy_dtype)
            if value.size != shape.num_elements():
                raise InvalidArgumentError(f"[{where}] the default of feature {key!r} must have its shape {shape}: got "
                                           f"{value.shape}")
            default = value.reshape(shape.as_list())
        self.shapes.append(shape)
        self.defaults.append(convert_to_tensor(default, dtype, name="default"))

    @property
    def attrs(self) -> dict[str, Any]:
        return {"sparse_types": list(self.sparse.values()), "Tdense": list(self.dense.values()),
                "dense_shapes": self.shapes, "num_sparse": len(self.sparse)}

    def results(self, outputs: Any) -> dict[str, Any]:
        outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
        n = len(self.sparse)
        found: dict[str, Any] = {key: SparseTensor(outputs[i], outputs[n + i], outputs[2 * n + i])
                                 for i, key in enumerate(self.sparse)}
        found.update(zip(self.dense, outputs[3 * n:]))
        return found


def parse_example(serialized: Any, features: Mapping[str, Any], name: str | None = None, example_names: Any = None
                  ) -> dict[str, Any]:
    """The features of a batch of serialized Examples (n,): a tensor (n, *shape) for each FixedLenFeature, (n, longest,
    *shape) for each FixedLenSequenceFeature, a SparseTensor [n, longest] for each VarLenFeature.

    `example_names`: (n,), for error messages. Raises: InvalidArgumentError for features that cannot be. Run:
    InvalidArgumentError, with example and key, for wrong types or sizes and for what is required but missing.
    """
    plan = _Plan("parse_example", features)
    names = _strings(()) if example_names is None else convert_to_tensor(example_names, dtypes.string)
    return plan.results(_call("ParseExampleV2", serialized, names, _strings(plan.sparse), _strings(plan.dense),
                              _strings(()), plan.defaults, ragged_value_types=[], ragged_split_types=[], name=name,
                              **plan.attrs))


def parse_single_example(serialized: Any, features: Mapping[str, Any], name: str | None = None,
                         example_names: Any = None) -> dict[str, Any]:
    """The features of one serialized Example (): as ``parse_example``, without the first dimension."""
    if example_names is not None:
        return parse_example(serialized, features, name, example_names)
    plan = _Plan("parse_single_example", features)
    return plan.results(_call("ParseSingleExample", serialized, plan.defaults, sparse_keys=list(plan.sparse),
                              dense_keys=list(plan.dense), name=name, **plan.attrs))


def decode_raw(input_bytes: Any, out_type: Any, little_endian: bool = True, name: str | None = None) -> Tensor:
    """The numbers of type `out_type` whose bytes the strings are: input shape + (numbers in a string,)."""
    decoded: Tensor = _call("DecodeRaw", input_bytes, out_type=out_type, little_endian=little_endian, name=name)
    return decoded


def decode_csv(records: Any, record_defaults: Any, field_delim: str = ",", use_quote_delim: bool = True,
               name: str | None = None, na_value: str = "", select_cols: Any = None) -> list[Tensor]:
    """One tensor of records' shape for each column, of the type of its default: [value], or [] where it is required.

    record_defaults: one each, arrays or lists (an empty list is of float32). Raises and Run: InvalidArgumentError.
    """
    required = np.zeros(0, np.float32)
    defaults = [convert_to_tensor(required if isinstance(d, list) and not d else d) for d in record_defaults]
    columns: Any = _call("DecodeCSV", records, defaults, field_delim=field_delim, use_quote_delim=use_quote_delim,
                         na_value=na_value, select_cols=list(select_cols or []), name=name)
    return list(columns)


def _strings(values: Any) -> Any:
    array = np.empty(len(values), object)
    array[:] = [v.encode() for v in values]
    return array


def _call(op: str, *inputs: Any, **attrs: Any) -> Any:
    return OPS[op](*inputs, **attrs)  # type: ignore[operator]


__all__ = ["FixedLenFeature", "FixedLenSequenceFeature", "VarLenFeature", "decode_csv", "decode_raw", "parse_example",
           "parse_single_example"]
