"""Gradients that travel in 16 bits: which dtype and rounding a reduction's bucket has, as its communication_hint.

Each rank divides its gradient by the number of ranks, so that no sum of theirs overflows, adds what rounding has cost
it in the step before (error feedback), and rounds. The residual stays on its rank, in the bucket's memory: over many
steps every rank's gradient arrives in full, so training converges as with 32 bits. Sums are formed in 32 bits and
rounded once where ranks share memory, and at each step of a ring elsewhere. Kernels: csrc/runtime/wire_dtype.h.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from ringflow.graph.bfloat16 import bfloat16_to_float32, float32_to_bfloat16
from ringflow.graph.dtypes import as_dtype, bfloat16, float16
from ringflow.graph.errors import InvalidArgumentError

DTYPES = (bfloat16, float16)
ROUNDINGS = ("nearest", "truncate")  # truncate: TensorFlow's bfloat16, which drops 16 bits


def hint_of(wire_dtype: Any, rounding: str = "nearest") -> str:
    """The communication_hint of a reduction: "auto" for its own dtype, "bfloat16 nearest", ...

    Raises: InvalidArgumentError for another dtype or rounding, or truncation to float16.
    """
    if rounding not in ROUNDINGS:
        raise InvalidArgumentError(f"[distribute] rounding must be nearest or truncate: received {rounding!r}")
    if wire_dtype is None:
        return "auto"
    dtype = as_dtype(wire_dtype)
    if dtype not in DTYPES:
        raise InvalidArgumentError(f"[distribute] wire_dtype must be bfloat16 or float16: received {dtype}. "
                                   "Fix: leave it out to send gradients as they are")
    if dtype is float16 and rounding == "truncate":
        raise InvalidArgumentError("[distribute] rounding='truncate' is bfloat16's. Fix: use nearest with float16")
    return f"{dtype.name} {rounding}"


def compress(x: Any, scale: float, wire: str, kept: dict[int, Any], index: int) -> Any:
    """The words that rank sends for its gradient x; the residual of tensor `index` is read from `kept`, and put there.

    The NumPy form of `compress` in csrc/runtime/wire_dtype.h.
    """
    name, rounding = wire.split(" ")
    x = np.asarray(x, np.float32) * np.float32(scale) + kept.get(index, np.float32(0))
    x = np.asarray(x, np.float32)
    with np.errstate(all="ignore"):
        kept_bits = (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        rounded = kept_bits if rounding == "truncate" else x
        words = float32_to_bfloat16(rounded) if name == "bfloat16" else rounded.astype(np.float16)
        lost = x - expand(words)
    kept[index] = np.where(np.isfinite(lost), lost, np.float32(0))
    return words


def expand(words: Any) -> Any:
    """float32 of 16-bit words."""
    return words.astype(np.float32) if words.dtype == np.float16 else bfloat16_to_float32(words)
