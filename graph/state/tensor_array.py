"""TensorArray: a list of tensors that a loop reads and writes by index, as users hold it.

A TensorArray is a handle and a flow. What changes the array gives a new TensorArray with a new flow, which must be used
from then on: the flow is what orders the operations. In ``while_loop`` the flow alone is the loop variable;
``with_flow`` makes the array again inside and after the loop.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..constant import constant_value
from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..graph import get_default_graph
from ..opdef import OPS
from ..operation import Operation, Tensor
from ..shapes import ShapeLike, TensorShape, as_shape


class TensorArray:
    """A write-once list of tensors of one dtype.

        squares = rf.TensorArray(rf.float32, size=3)
        for i in range(3):
            squares = squares.write(i, float(i * i))
        squares.stack()  # (3,)
    """

    def __init__(self, dtype: Any, size: Any = None, dynamic_size: bool | None = None,
                 clear_after_read: bool | None = None, tensor_array_name: str | None = None,
                 handle: Tensor | None = None, flow: Tensor | None = None, infer_shape: bool = True,
                 element_shape: ShapeLike = None, colocate_with_first_write_call: bool = True,
                 name: str | None = None) -> None:
        """Args: size: how many elements, a scalar (default 0 with `dynamic_size`); dynamic_size: it grows as it is
        written; clear_after_read: an element can be read once only (default); infer_shape: all elements have one shape;
        element_shape: what is known of it; handle, flow: an array that exists, instead of size.

        Raises: InvalidArgumentError where there is neither a size nor a handle, or both.
        """
        if (handle is None) == (size is None and not dynamic_size):
            raise InvalidArgumentError("[TensorArray] either 'size' or 'handle' is needed: got "
                                       + ("neither" if handle is None else "both"))
        if handle is not None and flow is None:
            raise InvalidArgumentError("[TensorArray] a 'handle' needs the 'flow' that goes with it")
        self.dtype = dtypes.as_dtype(dtype)
        self.dynamic_size = bool(dynamic_size)
        self._infer_shape = infer_shape
        self._shape = [as_shape(element_shape)]  # shared by all that are the same array at different times
        self._size: int | None = None
        if handle is not None and flow is not None:
            self.handle, self.flow = handle, flow
            return
        with get_default_graph().name_scope(name or "TensorArray") as scope:
            count = convert_to_tensor(0 if size is None else size, dtypes.int32, name="size")
            self.handle, self.flow = _call(
                "TensorArrayV3", count, dtype=self.dtype, dynamic_size=self.dynamic_size,
                clear_after_read=clear_after_read is not False, identical_element_shapes=infer_shape,
                element_shape=self._shape[0], tensor_array_name=tensor_array_name or "", name=scope)
        known = None if self.dynamic_size else constant_value(count)
        self._size = None if known is None else int(known)

    @property
    def element_shape(self) -> TensorShape:
        """What is known of the shape of the elements."""
        return self._shape[0]

    def __repr__(self) -> str:
        return f"<rf.TensorArray '{self.handle.op.name}' of {self.dtype} {self.element_shape}>"

    def with_flow(self, flow: Tensor) -> TensorArray:
        """The same array as of `flow`."""
        other = TensorArray.__new__(TensorArray)
        other.__dict__.update(self.__dict__)
        other.flow = flow
        return other

    def identity(self) -> TensorArray:
        return self.with_flow(_call("Identity", self.flow))

    # ---- elements
    def write(self, index: Any, value: Any, name: str | None = None) -> TensorArray:
        """The array with `value` at `index`. Raises: InvalidArgumentError where shapes are inferred and this differs;
        in a run, where the index has been written or is out of range."""
        value = convert_to_tensor(value, self.dtype)
        self._learn(value.shape)
        return self.with_flow(_call("TensorArrayWriteV3", self.handle, index, value, self.flow,
                                    name=name or "TensorArrayWrite"))

    def read(self, index: Any, name: str | None = None) -> Tensor:
        """The element at `index`. Raises, in a run: InvalidArgumentError where it was not written, or was read before
        and the array does not keep its elements."""
        value: Tensor = _call("TensorArrayReadV3", self.handle, index, self.flow, dtype=self.dtype, name=name)
        if self._infer_shape:
            value.set_shape(self.element_shape)
        return value

    def gather(self, indices: Any, name: str | None = None) -> Tensor:
        """Elements `indices` (n,), which must have one shape: (n, element..)."""
        value: Tensor = _call("TensorArrayGatherV3", self.handle, indices, self.flow, dtype=self.dtype,
                              element_shape=self.element_shape if self._infer_shape else TensorShape(None),
                              name=name or "TensorArrayGather")
        return value

    def scatter(self, indices: Any, value: Any, name: str | None = None) -> TensorArray:
        """The array with value[i] at indices[i] (n,); value: (n, element..)."""
        value = convert_to_tensor(value, self.dtype)
        self._learn(value.shape[1:] if value.shape.rank else TensorShape(None))
        return self.with_flow(_call("TensorArrayScatterV3", self.handle, indices, value, self.flow,
                                    name=name or "TensorArrayScatter"))

    def stack(self, name: str | None = None) -> Tensor:
        """All elements: (size, element..)."""
        with get_default_graph().name_scope(name or "TensorArrayStack"):
            return self.gather(_call("Range", 0, self.size(), 1))

    def unstack(self, value: Any, name: str | None = None) -> TensorArray:
        """The array with the rows of `value`, (size, element..), as its elements."""
        value = convert_to_tensor(value, self.dtype)
        with get_default_graph().name_scope(name or "TensorArrayUnstack"):
            rows = value.shape[0] if value.shape.rank else None
            count = rows if rows is not None else _call("Shape", value)[0]
            return self.scatter(_call("Range", 0, count, 1), value)

    def concat(self, name: str | None = None) -> Tensor:
        """All elements joined along their first dimension, in which they may differ."""
        rest = self.element_shape[1:] if self.element_shape.rank else TensorShape(None)
        value, _ = _call("TensorArrayConcatV3", self.handle, self.flow, dtype=self.dtype, element_shape_except0=rest,
                         name=name or "TensorArrayConcat")
        return value  # type: ignore[no-any-return]

    def split(self, value: Any, lengths: Any, name: str | None = None) -> TensorArray:
        """The array with the next lengths[i] rows of `value` as element i."""
        value = convert_to_tensor(value, self.dtype)
        if not isinstance(lengths, Tensor):
            lengths = np.asarray(lengths, np.int64)
        elif lengths.dtype is not dtypes.int64:
            lengths = _call("Cast", lengths, DstT=dtypes.int64)
        return self.with_flow(_call("TensorArraySplitV3", self.handle, value, lengths, self.flow,
                                    name=name or "TensorArraySplit"))

    # ---- the array
    def size(self, name: str | None = None) -> Any:
        """How many elements there are, a scalar int32 tensor."""
        if self._size is not None:
            return convert_to_tensor(np.array(self._size, np.int32))
        return _call("TensorArraySizeV3", self.handle, self.flow, name=name)

    def close(self, name: str | None = None) -> Operation:
        """An operation after which the array is gone."""
        return _call("TensorArrayCloseV3", self.handle, name=name)  # type: ignore[no-any-return]

    def grad(self, source: str, flow: Tensor | None = None, name: str | None = None) -> TensorArray:
        """The array that adds up gradients of the elements under the name `source`."""
        flow = self.flow if flow is None else flow
        graph = get_default_graph()
        with graph.name_scope(name or "TensorArrayGrad"):
            handle, _ = _call("TensorArrayGradV3", self.handle, flow, source=source)
            with graph.control_dependencies([handle]):
                gradient = self.with_flow(_call("Identity", flow, name="gradient_flow"))
        gradient.handle = handle
        gradient.dynamic_size = False
        return gradient

    def _learn(self, shape: Any) -> None:
        """All elements have one shape: this is what is known of one more."""
        if not self._infer_shape:
            return
        if not self.element_shape.is_compatible_with(shape):
            raise InvalidArgumentError(f"[TensorArray] shapes of elements differ: {self.element_shape} so far, now "
                                       f"{as_shape(shape)}. Fix: pass infer_shape=False where they may")
        self._shape[0] = self.element_shape.merge_with(shape)


def _call(op: str, *args: Any, **kwargs: Any) -> Any:
    return OPS[op](*args, **kwargs)  # type: ignore[operator]
