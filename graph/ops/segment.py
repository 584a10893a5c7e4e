"""UnsortedSegmentSum and Unique."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..constant import constant_value
from ..define import Array, attr, define
from ..dtypes import INDEX, NUMBERS, DType, int32, string
from ..errors import InvalidArgumentError
from ..operation import Operation, Tensor
from ..samples import integers, normal
from ..shapes import UNKNOWN, TensorShape
from .rules import build, ranked


@define("UnsortedSegmentSum(data: T, segment_ids: Tindices, num_segments: Tnumsegments) -> output: T", T=NUMBERS,
        Tindices=INDEX, Tnumsegments=attr("type", int32, INDEX))
def unsorted_segment_sum(data: Array, segment_ids: Array, num_segments: Array) -> Array:
    """output[s] = sum of data[i] over i with segment_ids[i] = s; rows of negative ids are dropped.

    data: (*ids, *row), segment_ids: (*ids), output: (num_segments, *row).
    Raises: InvalidArgumentError for an id >= num_segments.
    """
    n, row = int(num_segments), data.shape[segment_ids.ndim:]
    if data.shape[:segment_ids.ndim] != segment_ids.shape:
        raise InvalidArgumentError(f"[UnsortedSegmentSum] the shape of 'data' must begin with that of 'segment_ids': "
                                   f"{data.shape} and {segment_ids.shape}")
    ids = segment_ids.ravel()
    if ids.size and ids.max() >= n:
        raise InvalidArgumentError(
            f"[UnsortedSegmentSum] 'segment_ids' must be below 'num_segments': {ids.max()} and {n}"
        )
    output = np.zeros((n, *row), data.dtype)
    rows = data.reshape((ids.size, *row))
    np.add.at(output, ids[ids >= 0], rows[ids >= 0])
    return output


@unsorted_segment_sum.shape
def _(op: Operation) -> list[TensorShape]:
    data, ids = op.inputs[0].shape, op.inputs[1].shape
    ranked(op, 2, 0)
    if data.dims is None or ids.dims is None:
        return [UNKNOWN]
    prefix = TensorShape(data.dims[:len(ids.dims)])
    if len(ids.dims) > len(data.dims) or not prefix.is_compatible_with(ids):
        raise InvalidArgumentError(f"[UnsortedSegmentSum] the shape of 'data' must begin with that of 'segment_ids': "
                                   f"{data} and {ids}")
    n = constant_value(op.inputs[2])
    return [TensorShape([None if n is None else int(n), *data.dims[len(ids.dims):]])]


@unsorted_segment_sum.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor | None]:
    data, ids, _ = op.inputs
    # rows of dropped ids get 0: read row 0 there and mask it
    rows = build("GatherV2", grad, build("Maximum", ids, 0), 0)
    mask = build("GreaterEqual", ids, 0)
    if data.shape.rank is None or ids.shape.rank is None:
        extra = build("Reshape", build("Sub", build("Rank", data), build("Rank", ids)), [1])
        ones = build("Fill", extra, np.int32(1))
        mask = build("Reshape", mask, build("ConcatV2", [build("Shape", ids), ones], 0))
    else:
        for _axis in range(data.shape.rank - ids.shape.rank):
            mask = build("ExpandDims", mask, -1)
    return [build("SelectV2", mask, rows, 0.0), None, None]


for _data, _ids, _n in (
    ((7,), (7,), 3),
    ((7, 5), (7,), 4),
    ((2, 3, 5), (2, 3), 4),
    ((37, 2), (37,), 1),
    ((0, 3), (0,), 2),
    ((2, 3), (2, 3), 5),
):
    unsorted_segment_sum.sample(normal(*_data), integers(*_ids, low=-1, high=_n), np.int32(_n))
unsorted_segment_sum.sample(normal(), integers(high=2), np.int64(3))
unsorted_segment_sum.sample(normal(3, 2), np.array([0, 4, 1], np.int32), np.int32(4))  # refused
unsorted_segment_sum.sample(normal(3, 0), integers(3, high=2), np.int32(2))


@define("Unique(x: T) -> y: T, idx: out_idx", T=(*NUMBERS, string),
        out_idx=attr("type", int32, INDEX), differentiable=False)
def _unique(x: Array, *, out_idx: DType) -> tuple[Array, Array]:
    """y: the different values of x, in the order of their first appearance; x = y[idx]. x: (n,), idx: (n,)"""
    values, first, inverse = np.unique(x, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return values[order], place[inverse.reshape(-1)].astype(out_idx.as_numpy_dtype)


@_unique.shape
def _(op: Operation) -> list[TensorShape]:
    return [TensorShape([None]), ranked(op, 0, 1)]


for _count in (0, 1, 7, 100):
    _unique.sample(integers(_count, low=-3, high=4))
_unique.sample(integers(9, high=50), out_idx="int64")
_unique.sample(np.array([b"b", b"a", b"", b"b", b"a much longer string, on the heap"], object), T=string)


def unique(x: Any, out_idx: Any = int32, name: str | None = None) -> tuple[Tensor, Tensor]:
    """(y, idx): the different values of the vector x, first seen first, and where each element of x is among them."""
    y, idx = _unique(x, out_idx=out_idx, name=name)
    return y, idx
