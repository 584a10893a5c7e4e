"""Element types: one object per type, numbered and named as TensorFlow's ``DataType``.

Source: TensorFlow's types.proto. bfloat16 has no NumPy type; its arrays are of the one-field record
dtype ``bfloat16.as_numpy_dtype``, so that raw bits are never taken for integers.
"""
from __future__ import annotations

from typing import Any

import numpy as np


class DType:
    """An element type. Compare with ``==`` or ``is``; ``dtypes.as_dtype`` makes one from anything sensible."""

    __slots__ = ("name", "enum", "_numpy", "kind")

    def __init__(self, name: str, enum: int, numpy: Any, kind: str) -> None:
        self.name = name
        self.enum = enum
        self._numpy = None if numpy is None else np.dtype(numpy)
        self.kind = kind  # 'f' float, 'i' signed, 'u' unsigned, 'b' bool, 's' string, 'h' handle

    @property
    def as_numpy_dtype(self) -> np.dtype[Any]:
        if self._numpy is None:
            raise TypeError(f"[dtype] {self.name} has no NumPy type")
        return self._numpy  # type: ignore[no-any-return]

    @property
    def base_dtype(self) -> DType:
        return self

    @property
    def size(self) -> int:
        """Bytes of one element; 0 for strings and handles."""
        return 0 if self._numpy is None or self.kind in "sh" else self._numpy.itemsize

    @property
    def is_floating(self) -> bool:
        return self.kind == "f"

    @property
    def is_integer(self) -> bool:
        return self.kind in "iu"

    @property
    def is_bool(self) -> bool:
        return self.kind == "b"

    def __repr__(self) -> str:
        return f"rf.{self.name}"

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self.name,)


float32 = DType("float32", 1, np.float32, "f")
float64 = DType("float64", 2, np.float64, "f")
int32 = DType("int32", 3, np.int32, "i")
uint8 = DType("uint8", 4, np.uint8, "u")
int16 = DType("int16", 5, np.int16, "i")
int8 = DType("int8", 6, np.int8, "i")
string = DType("string", 7, object, "s")
int64 = DType("int64", 9, np.int64, "i")
bool_ = DType("bool", 10, np.bool_, "b")
bfloat16 = DType("bfloat16", 14, np.dtype([("bfloat16", "<u2")]), "f")
uint16 = DType("uint16", 17, np.uint16, "u")
float16 = DType("float16", 19, np.float16, "f")
resource = DType("resource", 20, None, "h")
variant = DType("variant", 21, None, "h")
uint32 = DType("uint32", 22, np.uint32, "u")
uint64 = DType("uint64", 23, np.uint64, "u")

ALL = (float32, float64, int32, uint8, int16, int8, string, int64, bool_, bfloat16, uint16, float16, resource,
       variant, uint32, uint64)

# What op definitions allow for a type attr.
FLOATS = (float32, float64)
INDEX = (int32, int64)
NUMBERS = (float32, float64, int32, int64)
WITH_SHORT = (*NUMBERS, int16, int8, uint8)
FIXED = (float32, float64, int32, uint8, int16, int8, int64, bool_, bfloat16, uint16, float16, uint32, uint64)
MOVABLE = (*FIXED, string)  # elements that are moved and never looked at

_BY_ENUM = {d.enum: d for d in ALL}
_BY_NAME: dict[str, DType] = {d.name: d for d in ALL}
_BY_NAME.update({"float": float32, "double": float64, "half": float16})
_BY_NUMPY = {d.as_numpy_dtype: d for d in ALL if d.kind not in "sh"}


def as_dtype(value: object) -> DType:
    """The DType of a DType, a name ("float32"), a NumPy dtype or type, or a ``DataType`` number.

    Raises: TypeError when it names no type.
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, str) and value in _BY_NAME:
        return _BY_NAME[value]
    if isinstance(value, int) and not isinstance(value, bool):
        found = _BY_ENUM.get(value - 100 if value > 100 else value)  # 1xx: the ref type of the same elements
        if found is not None:
            return found
        raise TypeError(f"[dtype] DataType {value} is not supported. Supported: {', '.join(d.name for d in ALL)}")
    try:
        numpy = np.dtype(value)  # type: ignore[call-overload]
    except TypeError:
        numpy = None
    if numpy is not None:
        if numpy.kind in "SUO":
            return string
        found = _BY_NUMPY.get(numpy)
        if found is not None:
            return found
    raise TypeError(f"[dtype] no element type is named {value!r}. Supported: {', '.join(d.name for d in ALL)}")
