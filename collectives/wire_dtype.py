"""Gradients that travel in 16 bits: which dtype and rounding a reduction's bucket has, as its communication_hint.

Each rank divides its gradient by the number of ranks, so that no sum of theirs overflows, adds what rounding has cost it
in the step before (error feedback), and rounds. The residual stays on its rank, in the bucket's memory: over many steps
every rank's gradient arrives in full, so training converges as with 32 bits. Sums are formed in 32 bits and rounded once
where ranks share memory. Kernels: csrc/runtime/wire_bucket.h.
"""
from __future__ import annotations

from typing import Any

from ringflow.graph.dtypes import DType, as_dtype, bfloat16, float16
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
        raise InvalidArgumentError("[distribute] rounding='truncate' is that of bfloat16. Fix: use nearest with float16")
    return f"{dtype.name} {rounding}"


def parse(hint: str) -> tuple[DType, str] | None:
    """(dtype, rounding) of a communication_hint; None for one that says nothing of them."""
    name, _, rounding = hint.partition(" ")
    return (as_dtype(name), rounding) if rounding in ROUNDINGS else None
