"""The math functions by their public names, and those made of several ops."""
from __future__ import annotations

from typing import Any

from .. import dtypes
from ..define import convert_to_tensor
from ..dtypes import DType
from ..errors import InvalidArgumentError
from ..operation import Tensor
from .cast import cast
from .compare import (
    equal,
    greater,
    greater_equal,
    is_finite,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    not_equal,
)
from .math_binary import (
    add,
    add_n,
    div_no_nan,
    floordiv,
    floormod,
    maximum,
    minimum,
    multiply,
    pow_,
    realdiv,
    squared_difference,
    subtract,
)
from .math_unary import abs_, exp, floor, log, log1p, negative, reciprocal, round_ as _round, rsqrt, sign, sqrt, square
from .rules import build

abs = abs_
pow = pow_
mod = floormod

_FLOAT_OF = {dtypes.int8: dtypes.float32, dtypes.uint8: dtypes.float32, dtypes.int16: dtypes.float32,
             dtypes.uint16: dtypes.float32, dtypes.int32: dtypes.float64, dtypes.int64: dtypes.float64}


def truediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as Python means it: integers are divided as floats (32 and 64 bit ones as float64, shorter as float32)."""
    x, y = _pair(x, y)
    to = _FLOAT_OF.get(x.dtype)
    if to is not None:
        x, y = cast(x, to), cast(y, to)
    result: Tensor = realdiv(x, y, name=name)
    return result


def divide(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as `truediv`."""
    return truediv(x, y, name)


def div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as Python 2 means it: real for floats, floor for integers."""
    x, y = _pair(x, y)
    result: Tensor = (realdiv if x.dtype.is_floating else floordiv)(x, y, name=name)
    return result


def _pair(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors, a Python number taking the dtype of the other."""
    dtype = next((d for d in (getattr(v, "dtype", None) for v in (x, y)) if isinstance(d, DType)), None)
    x = convert_to_tensor(x, dtype)
    y = convert_to_tensor(y, x.dtype)
    return x, y


def round(x: Any, name: str | None = None) -> Tensor:
    """x rounded to the nearest integer, the even one of two; integers as they are."""
    tensor = convert_to_tensor(x)
    result: Tensor = _round(tensor, name=name) if tensor.dtype.is_floating else tensor
    return result


def accumulate_n(inputs: Any, shape: Any = None, tensor_dtype: Any = None, name: str | None = None) -> Tensor:
    """The sum of tensors of one shape, as `add_n`; `shape` and `tensor_dtype` are checked."""
    if not inputs:
        raise InvalidArgumentError("[accumulate_n] needs at least one tensor")
    result: Tensor = add_n([convert_to_tensor(x, tensor_dtype) for x in inputs], name=name)
    if shape is not None:
        result.set_shape(shape)
    return result


def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Tensor:
    """scalar * x"""
    result: Tensor = multiply(scalar, x, name=name)
    return result


def logical_xor(x: Any, y: Any, name: str = "LogicalXor") -> Tensor:
    """(x or y) and not (x and y)"""
    result: Tensor = logical_and(logical_or(x, y), logical_not(logical_and(x, y)), name=name)
    return result


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Any:
    """x where `condition` holds, else y. Without x and y: the (n, rank) int64 indices of the true elements.

    A vector condition selects rows of x and y of higher rank, as TensorFlow 1 does; else all three broadcast.
    """
    if (x is None) != (y is None):
        raise InvalidArgumentError("[where] x and y must both be given, or neither")
    if x is None:
        return build("Where", condition, name=name)
    condition = convert_to_tensor(condition, dtypes.bool_)
    x, y = _pair(x, y)
    rows = condition.shape.rank == 1 and x.shape.rank not in (0, 1) and y.shape.rank not in (0, 1)
    return build("Select" if rows else "SelectV2", condition, x, y, name=name)


def to_float(x: Any, name: str | None = None) -> Tensor:
    return cast(x, dtypes.float32, name)


def to_double(x: Any, name: str | None = None) -> Tensor:
    return cast(x, dtypes.float64, name)


def to_int32(x: Any, name: str | None = None) -> Tensor:
    return cast(x, dtypes.int32, name)


def to_int64(x: Any, name: str | None = None) -> Tensor:
    return cast(x, dtypes.int64, name)


__all__ = [
    "abs", "accumulate_n", "add", "add_n", "cast", "div", "div_no_nan", "divide", "equal", "exp", "floor",
    "floordiv", "floormod", "greater", "greater_equal", "is_finite", "less", "less_equal", "log", "log1p",
    "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "mod", "multiply", "negative",
    "not_equal", "pow", "realdiv", "reciprocal", "round", "rsqrt", "scalar_mul", "sign", "sqrt", "square",
    "squared_difference", "subtract", "to_double", "to_float", "to_int32", "to_int64", "truediv", "where"]
