"""SparseTensor: the values of a tensor that is mostly empty, and where they are."""
from __future__ import annotations

from typing import Any

from . import dtypes
from .constant import constant_value
from .define import convert_to_tensor
from .errors import InvalidArgumentError
from .graph import Graph
from .opdef import OPS
from .operation import Operation, Tensor
from .shapes import TensorShape


class SparseTensor:
    """`values[i]` at `indices[i]` of a tensor of shape `dense_shape`.

    indices: (n, rank) int64, values: (n,) of any dtype, dense_shape: (rank,) int64.
    """

    def __init__(self, indices: Any, values: Any, dense_shape: Any) -> None:
        """Raises: InvalidArgumentError where the three do not fit each other."""
        self.indices = convert_to_tensor(indices, dtypes.int64, name="indices")
        self.values = convert_to_tensor(values, name="values")
        self.dense_shape = convert_to_tensor(dense_shape, dtypes.int64, name="dense_shape")
        at, values_shape, rank = self.indices.shape, self.values.shape, self.dense_shape.shape
        vector = TensorShape([None])
        fits = (at.is_compatible_with(TensorShape([None, None])) and values_shape.is_compatible_with(vector)
                and rank.is_compatible_with(vector))
        if fits and at.rank == 2:
            fits = (values_shape.is_compatible_with(TensorShape(at.as_list()[:1]))
                    and rank.is_compatible_with(TensorShape(at.as_list()[1:])))
        if not fits:
            raise InvalidArgumentError(f"[SparseTensor] indices must be (n, rank), values (n,), dense_shape (rank,): "
                                       f"got {at}, {values_shape} and {rank}")

    @property
    def dtype(self) -> Any:
        return self.values.dtype

    @property
    def op(self) -> Operation:
        return self.values.op

    @property
    def graph(self) -> Graph:
        return self.values.graph

    @property
    def shape(self) -> TensorShape:
        value = constant_value(self.dense_shape)
        if value is not None:
            return TensorShape(value.tolist())
        rank = self.dense_shape.shape.as_list()[0] if self.dense_shape.shape.rank == 1 else None
        return TensorShape(None if rank is None else [None] * rank)

    def get_shape(self) -> TensorShape:
        return self.shape

    def __repr__(self) -> str:
        return (f"<rf.SparseTensor indices={self.indices.name!r} values={self.values.name!r} "
                f"dense_shape={self.dense_shape.name!r}>")


def sparse_tensor_to_dense(sp_input: SparseTensor, default_value: Any = None, validate_indices: bool = True,
                           name: str | None = None) -> Tensor:
    """The tensor of shape dense_shape that holds the values, and `default_value` (zero or "") elsewhere."""
    if default_value is None:
        default_value = b"" if sp_input.dtype is dtypes.string else 0
    dense: Tensor = OPS["SparseToDense"](  # type: ignore[operator]
        sp_input.indices, sp_input.dense_shape, sp_input.values, convert_to_tensor(default_value, sp_input.dtype),
        validate_indices=validate_indices, name=name)
    return dense


__all__ = ["SparseTensor", "sparse_tensor_to_dense"]
