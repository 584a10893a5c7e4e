"""bfloat16 in NumPy: arrays of records that hold the bits, as NumPy has no such type."""
from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .dtypes import bfloat16

Array = npt.NDArray[Any]


def bfloat16_to_float32(x: Array) -> Array:
    """float32 of the same value."""
    return np.asarray(x["bfloat16"].astype(np.uint32) << 16).view(np.float32)


def float32_to_bfloat16(x: Array) -> Array:
    """The nearest bfloat16, the even one of two."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).reshape(x.shape)
    nearest = (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16
    result = np.zeros(x.shape, bfloat16.as_numpy_dtype)
    result["bfloat16"] = np.where(np.isnan(x), (bits >> 16) | np.uint32(0x40), nearest).astype(np.uint16)
    return result
