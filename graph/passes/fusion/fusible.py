"""What fusion can take into a group: the op's name there, and the shape that it runs over."""
from __future__ import annotations

from ...constant import literal
from ...operation import Operation, Tensor
from ...ops.fused import FUSIBLE
from ...ops.fused_rows import COLUMN_SUM, ROW_REDUCTIONS
from ...shapes import TensorShape
from ..broadcasts import MOST_TERMS

# Of rows that are reduced. Shorter ones are summed several at a time, in another order of additions; a dozen tiles of
# longer ones do not stay in the cache.
_LEAST_COLUMNS, _MOST_COLUMNS = 64, 8192


def fused_name(op: Operation) -> str | None:
    """The op's name in a fused node; None where it cannot be in one. AddN and a bias are chains of AddV2."""
    if op.control_inputs or not _is_plain(op):
        return None
    y = op.outputs[0]
    if op.type in ROW_REDUCTIONS:
        return _reduction(op)
    if not all(t.dtype is y.dtype and repeats_once(t.shape, y.shape) for t in op.inputs):
        return None
    if op.type in FUSIBLE or (op.type == "Softmax" and has_rows(y.shape)):
        return op.type
    bias = op.type == "BiasAdd" and op.attrs["data_format"] == "NHWC"
    return "AddV2" if bias or (op.type == "AddN" and 2 <= len(op.inputs) <= MOST_TERMS) else None


def is_column_sum(op: Operation) -> bool:
    """Whether a member of a group is a sum of columns."""
    return op.type == "Sum" and not op.attrs["keep_dims"]


def operands(op: Operation) -> list[Tensor]:
    """What a member computes with; not the axes of a reduction."""
    return op.inputs[:1] if op.type in ROW_REDUCTIONS else op.inputs


def whole_shape(op: Operation) -> TensorShape:
    """The shape over which a member runs."""
    return op.inputs[0].shape if op.type in ROW_REDUCTIONS else op.outputs[0].shape


def has_rows(shape: TensorShape) -> bool:
    """Whether its last dimension makes rows that are worth a tile each."""
    return len(shape.known) > 1 and _LEAST_COLUMNS <= shape.known[-1] <= _MOST_COLUMNS


def is_number_a_row(shape: TensorShape, whole: TensorShape) -> bool:
    return has_rows(whole) and shape.known == (*whole.known[:-1], 1)


def repeats_once(operand: TensorShape, result: TensorShape) -> bool:
    """Whether the dimensions in which `operand` does not repeat over `result` are neighbours."""
    if not operand.is_fully_defined():
        return False
    sizes = [1] * (len(result.known) - len(operand.known)) + list(operand.known)
    same = [a == b for a, b in zip(sizes, result.known) if b != 1]
    return sum(now and not before for before, now in zip([False, *same], same)) <= 1


def _is_plain(op: Operation) -> bool:
    if not op.inputs or not op.outputs:
        return False
    y = op.outputs[0]
    known = y.shape.is_fully_defined() and all(t.shape.is_fully_defined() for t in op.inputs)
    return known and y.dtype.is_floating and y.dtype.size >= 4


def _reduction(op: Operation) -> str | None:
    shape, axes = op.inputs[0].shape, literal(op.inputs[1])
    if not has_rows(shape) or axes is None:
        return None
    last = len(shape.known) - 1
    reduced = sorted(int(a) % (last + 1) for a in axes.flat)
    if op.attrs["keep_dims"]:
        return op.type if reduced == [last] else None
    return COLUMN_SUM if op.type == "Sum" and reduced == list(range(last)) else None
