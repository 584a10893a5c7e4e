"""Layout: image ops in NCHW become the same ops in NHWC, which is what the CPU's kernels take, between transposes.

Elementwise ops between two of them move to NHWC as well, so that of a chain of layers only the transposes at its ends
are left; ``simplify`` drops the pairs that cancel.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import dtypes
from ..constant import literal
from ..operation import Operation, Tensor
from ..shapes import TensorShape
from ..topology import topological_order
from .program import Program

TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)

# op: inputs that are images, the input that holds the sizes of one (or None), whether output 0 is an image
_IMAGE_OPS: dict[str, tuple[tuple[int, ...], int | None, bool]] = {
    "Conv2D": ((0,), None, True),
    "Conv2DBackpropInput": ((2,), 0, True),
    "Conv2DBackpropFilter": ((0, 2), None, False),
    "DepthwiseConv2dNative": ((0,), None, True),
    "DepthwiseConv2dNativeBackpropInput": ((2,), 0, True),
    "DepthwiseConv2dNativeBackpropFilter": ((0, 2), None, False),
    "MaxPool": ((0,), None, True),
    "MaxPoolGrad": ((0, 1, 2), None, True),
    "MaxPoolGradGrad": ((0, 1, 2), None, True),
    "AvgPool": ((0,), None, True),
    "AvgPoolGrad": ((1,), 0, True),
    "FusedBatchNormV3": ((0,), None, True),
    "FusedBatchNormGradV3": ((0, 1), None, True),
    "BiasAdd": ((0,), None, True),
    "BiasAddGrad": ((0,), None, False),
}
_BY_DIMENSION = ("strides", "ksize", "dilations")  # attrs with a number for each


def to_channels_last(program: Program) -> None:
    if not any(op.attrs.get("data_format") == "NCHW" for op in program.graph._ops):
        return
    for op in topological_order(program.graph._ops):
        if op.type in _IMAGE_OPS and op.attrs.get("data_format") == "NCHW" and not _is_plain_bias(op):
            _convert(program, op)
        elif _passes_transposes_on(op):
            _move(program, op, range(len(op.inputs)), True)


def _is_plain_bias(op: Operation) -> bool:
    """A bias of something that is no image: its kernel knows both layouts."""
    return op.type in ("BiasAdd", "BiasAddGrad") and op.inputs[0].shape.rank != 4


def _convert(program: Program, op: Operation) -> None:
    images, sizes, makes_image = _IMAGE_OPS[op.type]
    for name in _BY_DIMENSION:
        if name in op.attrs:
            op.attrs[name] = [op.attrs[name][i] for i in TO_NHWC]
    pairs = op.attrs.get("explicit_paddings")
    if pairs:
        op.attrs["explicit_paddings"] = [n for i in TO_NHWC for n in pairs[2 * i:2 * i + 2]]
    op.attrs["data_format"] = "NHWC"
    if sizes is not None:
        _read(op, sizes, _permuted_sizes(program, op.inputs[sizes], op))
    _move(program, op, images, makes_image)


def _passes_transposes_on(op: Operation) -> bool:
    """Whether all inputs of an elementwise op are images that were just turned to NCHW, or scalars."""
    if not op.op_def.elementwise or op.op_def.stateful or len(op.outputs) != 1 or op.outputs[0].shape.rank != 4:
        return False
    images = [t for t in op.inputs if t.shape.rank != 0]
    return bool(images) and all(_is_transpose(t, TO_NCHW) and t.shape == op.outputs[0].shape for t in images)


def _is_transpose(t: Tensor, perm: Sequence[int]) -> bool:
    order = literal(t.op.inputs[1]) if t.op.type == "Transpose" else None
    return order is not None and list(order) == list(perm)


def _move(program: Program, op: Operation, images: Sequence[int], makes_image: bool) -> None:
    """Turns the inputs `images` (of any shape but scalars) to NHWC, and output 0 back to NCHW."""
    for i in images:
        t = op.inputs[i]
        if t.shape.rank != 0:
            direct = _is_transpose(t, TO_NCHW)
            _read(op, i, t.op.inputs[0] if direct else _transposed(program, t, TO_NHWC, f"{op.name}/_nhwc_{i}", op))
    if makes_image:
        y = op.outputs[0]
        consumers, shape = list(y.consumers), y.shape
        if shape.dims is not None:
            y.shape = TensorShape([shape.dims[i] for i in TO_NHWC])
        back = _transposed(program, y, TO_NCHW, f"{op.name}/_nchw", op)
        y.consumers = consumers
        program.replace(y, back)
        y.consumers.append(back.op)


def _read(op: Operation, i: int, new: Tensor) -> None:
    old = op.inputs[i]
    op.inputs[i] = new
    if not any(t is old for t in op.inputs):
        old.consumers = [c for c in old.consumers if c is not op]
    new.consumers.append(op)


def _transposed(program: Program, t: Tensor, perm: Sequence[int], name: str, like: Operation) -> Tensor:
    order = program.constant(np.array(perm, np.int32), f"{name}/perm", like)
    return program.add("Transpose", [t, order], {"T": t.dtype, "Tperm": dtypes.int32}, name, like=like).outputs[0]


def _permuted_sizes(program: Program, sizes: Tensor, op: Operation) -> Tensor:
    known = literal(sizes)
    if known is not None:
        return program.constant(known[list(TO_NHWC)], f"{op.name}/_nhwc_sizes", op)
    order = program.constant(np.array(TO_NHWC, np.int32), f"{op.name}/_nhwc_order", op)
    axis = program.constant(np.array(0, np.int32), f"{op.name}/_nhwc_axis", op)
    return program.add("GatherV2", [sizes, order, axis], {}, f"{op.name}/_nhwc_sizes", like=op).outputs[0]
