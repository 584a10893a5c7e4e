"""How many floating-point operations a node does, from static shapes.

Counted: one for each addition, multiplication, comparison or elementary function of an element; a multiply-add is two.
Moving data is none. Unknown dimensions count as 1, or as `unknown`.
"""
from __future__ import annotations

import math

from ..operation import Operation, Tensor

_REDUCTIONS = frozenset({"Sum", "Mean", "Max", "Min", "Prod", "L2Loss", "BiasAddGrad", "ArgMax", "ArgMin", "Cumsum",
                         "Cumprod", "UnsortedSegmentSum", "SparseSegmentSum", "SparseSegmentMean"})
_PER_ELEMENT = {  # of the largest input
    "Softmax": 4, "LogSoftmax": 4, "SoftmaxCrossEntropyWithLogits": 6, "SparseSoftmaxCrossEntropyWithLogits": 5,
    "FusedBatchNormV3": 7, "FusedBatchNormGradV3": 12, "LRN": 8, "LRNGrad": 12, "BiasAdd": 1,
    "ApplyGradientDescent": 2, "ApplyMomentum": 4, "ApplyAdagrad": 5, "ApplyRMSProp": 9, "ApplyAdam": 11,
    "ApplyFtrl": 14, "ApplyAdadelta": 12,
}
_POOLS = ("MaxPool", "AvgPool")


def count(t: Tensor, unknown: int = 1) -> int:
    """Elements of a tensor."""
    return math.prod(unknown if d is None else d for d in t.shape.dims or ())


def num_bytes(t: Tensor, unknown: int = 1) -> int:
    """Bytes of a tensor; 0 for strings and handles."""
    return count(t, unknown) * t.dtype.size


def products(op: Operation, unknown: int = 1) -> int:
    """The operations of a matrix product or convolution; 0 for every other node."""
    if op.type in ("MatMul", "BatchMatMulV2"):
        inner = op.inputs[0].shape.dims
        adjoint = op.attrs.get("transpose_a", op.attrs.get("adj_x", False))
        return 2 * count(op.outputs[0], unknown) * ((inner[-2 if adjoint else -1] or unknown) if inner else 1)
    if op.type == "_MatMulOfViews":
        sizes: list[int] = op.attrs["sizes"]
        batch: list[int] = op.attrs["batch"]
        return 2 * sum(math.prod([*batch, *sizes[i:i + 3]]) for i in range(0, len(sizes), 3))
    if op.type in ("_SumOfProducts", "_AddProducts"):
        axis = 0 if op.attrs["transpose_a"] else 1
        shapes = [t.shape.dims for t in op.inputs[op.span("a")]]
        return 2 * count(op.outputs[0], unknown) * sum((dims[axis] or unknown) if dims else 1 for dims in shapes)
    if op.type.startswith(("Conv2D", "DepthwiseConv2dNative")):
        filters, image = _filters_and_image(op)
        dims = filters.shape.dims
        if dims is None:
            return 0
        # each element of the filters meets each pixel of one channel of the output
        channels = dims[-1] if op.type.startswith("Conv2D") else count(filters, unknown) // _area(dims, unknown)
        work: int = 2 * count(filters, unknown) * count(image, unknown) // max(channels or unknown, 1)
        return work
    return 0


def _area(dims: tuple[int | None, ...], unknown: int) -> int:
    return max((dims[0] or unknown) * (dims[1] or unknown), 1)


def _filters_and_image(op: Operation) -> tuple[Tensor, Tensor]:
    """The filters, or their gradient; and the output, or its gradient."""
    if op.type.endswith("BackpropFilter"):
        return op.outputs[0], op.inputs[2]
    return op.inputs[1], op.inputs[2] if op.type.endswith("BackpropInput") else op.outputs[0]


def flops(op: Operation, unknown: int = 1) -> int:
    """Floating-point (or integer) operations of one run of a node."""
    if not op.inputs:
        return 0
    largest = max(count(t, unknown) for t in op.inputs)
    kind = op.type.removeprefix("Resource")
    if kind in _PER_ELEMENT:
        return _PER_ELEMENT[kind] * largest
    if op.type in _REDUCTIONS:
        return largest
    if op.type == "AddN":
        return (len(op.inputs) - 1) * count(op.outputs[0], unknown)
    if op.type.startswith(_POOLS):
        window = math.prod(op.attrs["ksize"])
        return int(window) * count(op.outputs[0] if op.type in _POOLS else op.inputs[-1], unknown)
    if op.op_def.elementwise:
        return count(op.outputs[0], unknown)
    return products(op, unknown)
