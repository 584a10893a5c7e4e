"""IndexedSlices: a gradient that touches few rows of a large variable."""
from __future__ import annotations

from .opdef import OPS
from .operation import Operation, Tensor


class IndexedSlices:
    """Rows `values[i]` of a tensor of shape `dense_shape` at `indices[i]`; equal indices add up.

    values: (n, d1, ...), indices: (n,) int32 or int64, dense_shape: (rank,) int32 tensor or None.
    """

    def __init__(self, values: Tensor, indices: Tensor, dense_shape: Tensor | None = None) -> None:
        self.values = values
        self.indices = indices
        self.dense_shape = dense_shape

    @property
    def dtype(self) -> object:
        return self.values.dtype

    @property
    def op(self) -> Operation:
        return self.values.op

    @property
    def name(self) -> str:
        return self.values.name

    def __repr__(self) -> str:
        return f"<rf.IndexedSlices values={self.values!r} indices={self.indices!r}>"

    def _as_tensor(self) -> Tensor:
        """The dense gradient. Costs the whole of `dense_shape`."""
        if self.dense_shape is None:
            raise ValueError("[IndexedSlices] cannot become dense: dense_shape is not known")
        rows = OPS["StridedSlice"](self.dense_shape, [0], [1], [1], shrink_axis_mask=1)  # type: ignore[operator]
        dense: Tensor = OPS["UnsortedSegmentSum"](self.values, self.indices, rows)  # type: ignore[operator]
        return dense
