"""Cast."""
from __future__ import annotations

import numpy as np

from ..bfloat16 import bfloat16_to_float32, float32_to_bfloat16
from ..define import Array, Op, convert_to_tensor, define
from ..dtypes import FIXED, DType, as_dtype, bfloat16, float16, float32
from ..operation import Operation, Tensor
from ..samples import Random, normal
from .rules import first_shape


@define("Cast(x: SrcT) -> y: DstT", SrcT=FIXED, DstT=FIXED, Truncate=False, elementwise=True, shape=first_shape)
def _cast(x: Array, *, DstT: DType, Truncate: bool) -> Array:
    """y = x as DstT. To integers: towards zero; to bool: x != 0; 16-bit floats by way of float32, to the nearest.
    Truncate: float32 becomes bfloat16 by dropping its lower 16 bits."""
    if Truncate and DstT is bfloat16 and x.dtype == np.float32:
        x = np.where(np.isnan(x), x, (np.ascontiguousarray(x).view(np.uint32).reshape(x.shape)
                                      & np.uint32(0xFFFF0000)).view(np.float32))
    if x.dtype == bfloat16.as_numpy_dtype:
        x = bfloat16_to_float32(x)
    if DstT is bfloat16:
        return float32_to_bfloat16(np.asarray(x, np.float32))
    if DstT is float16 or x.dtype == np.float16:
        x = np.asarray(x, np.float32)
    return x.astype(DstT.as_numpy_dtype)


@_cast.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor | None]:
    source = op.attrs["SrcT"]
    return [cast(grad, source) if source.is_floating and op.attrs["DstT"].is_floating else None]


# Values that every type can hold, so that no conversion overflows.
_SMALL = Random(lambda rng, dtype: rng.integers(0, 2, (5, 7)) if dtype.is_bool else
                rng.uniform(-99, 99, (5, 7)) if dtype.kind in "fi" else rng.integers(0, 100, (5, 7)))
_POSITIVE = Random(lambda rng, dtype: rng.uniform(0, 99, (37,)) if dtype.is_floating else rng.integers(0, 2, (37,)))


def _sample(op: Op) -> None:
    for to in FIXED:
        op.sample(_SMALL if to.kind in "fi" else _POSITIVE, DstT=to)
    op.sample(normal(), DstT=float32)
    op.sample(normal(2, 0), DstT=float32)
    op.sample(np.array([-2.7, -0.5, 0.0, 0.5, 2.7], np.float32), DstT=as_dtype("int32"), gradient=False)
    op.sample(np.array([0.0, -0.0, 0.1, np.nan, np.inf], np.float32), DstT=as_dtype("bool"), gradient=False)
    op.sample(
        np.array([1.00390625, 1.01171875, 3.4e38, 70000, np.nan, np.inf], np.float32), DstT=bfloat16, gradient=False
    )
    op.sample(np.array([1.00048828125, 1.00146484375, 70000, 3e-8, np.inf], np.float32), DstT=float16, gradient=False)
    op.sample(np.array([1.005859375, 3.1415927, -1e-4, np.inf, np.nan], np.float32), DstT=bfloat16, Truncate=True,
              gradient=False)


_sample(_cast)


def cast(x: object, dtype: object, name: str | None = None) -> Tensor:
    """`x` as `dtype`; `x` itself where it already is. Floats become integers by dropping the fraction."""
    to = as_dtype(dtype)
    tensor = convert_to_tensor(x)
    if tensor.dtype is to:
        return tensor
    result: Tensor = _cast(tensor, DstT=to, name=name)
    return result
