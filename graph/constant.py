"""What is known of a tensor's value while the graph is built: for shape rules and folding."""
from __future__ import annotations

from typing import Any

import numpy as np

from .control_types import CONTROL_FLOW
from .define import Array
from .dtypes import INDEX
from .operation import Tensor
from .shapes import UNKNOWN, TensorShape

_LARGEST = 4096  # elements; larger values are not evaluated at build time
_SHAPE_OPS = {"Shape", "Size", "Rank", "ShapeN"}


def literal(tensor: Tensor) -> Array | None:
    """The array of a Const; None of what another op computes, even from constants."""
    return tensor.op.attrs["value"] if tensor.op.type == "Const" else None


def constant_value(tensor: Tensor) -> Any:
    """The NumPy value of `tensor` where constants and static shapes decide it, else None."""
    return _value(tensor, 0)


def _value(tensor: Tensor, depth: int) -> Any:
    op = tensor.op
    if op.type == "Const":
        return op.attrs["value"]
    if depth > 24:
        return None
    if op.type in _SHAPE_OPS:
        shape = op.inputs[tensor.index if op.type == "ShapeN" else 0].shape
        dtype = tensor.dtype.as_numpy_dtype
        if op.type == "Rank":
            return None if shape.rank is None else np.array(shape.rank, dtype)
        if not shape.is_fully_defined():
            return None
        return np.array(shape.num_elements() if op.type == "Size" else shape.known, dtype)
    if op.type in CONTROL_FLOW:
        invariant = op.type == "Switch" or (op.type == "Enter" and op.attrs["is_constant"])
        return _value(op.inputs[0], depth + 1) if invariant and tensor.index < 2 else None
    if op.op_def.stateful or not op.inputs or op.control_inputs:
        return None
    size = tensor.shape.num_elements()
    if size is None or size > _LARGEST:
        return None
    values = []
    for t in op.inputs:
        n = t.shape.num_elements()
        if n is not None and n > _LARGEST:
            return None
        v = _value(t, depth + 1)
        if v is None:
            return None
        values.append(v)
    from .interpreter import evaluate

    return evaluate(op, values)[tensor.index]


def constant_shape(tensor: Tensor) -> TensorShape:
    """The partial shape that a 1-D integer tensor holds (-1: unknown dimension), as far as it is known."""
    value = constant_value(tensor)
    if value is not None:
        return TensorShape([None if d < 0 else int(d) for d in np.atleast_1d(value)])
    op = tensor.op
    if op.type == "Shape":
        return op.inputs[0].shape
    if op.type == "Pack" and tensor.dtype in INDEX and op.attrs.get("axis") == 0:
        dims = [constant_value(t) for t in op.inputs]
        return TensorShape([None if d is None or d < 0 else int(d) for d in dims])
    if op.type == "ConcatV2":
        shape = TensorShape(())
        for t in op.inputs[:-1]:
            shape = shape.concatenate(constant_shape(t))
        return shape
    if op.type in ("Cast", "Identity"):
        return constant_shape(op.inputs[0])
    if op.type == "StridedSlice":
        begin, end, strides = (constant_value(t) for t in op.inputs[1:])
        masks = any(op.attrs[m] for m in ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask"))
        whole = constant_shape(op.inputs[0])
        if begin is not None and end is not None and strides is not None and not masks and whole.dims is not None:
            first = None if op.attrs["begin_mask"] & 1 else int(begin[0])
            last = None if op.attrs["end_mask"] & 1 else int(end[0])
            return TensorShape(whole.dims[first:last:int(strides[0])])
    length = tensor.shape[0] if tensor.shape.rank == 1 else None
    return TensorShape([None] * length) if isinstance(length, int) else UNKNOWN
