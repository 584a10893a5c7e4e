"""Groups of operations that can be one node: what they run over, and what they read."""
from __future__ import annotations

from ...operation import Operation, Tensor
from ...ops.fused_rows import ROW_REDUCTIONS
from ...shapes import TensorShape
from ..broadcasts import broadcast_source
from .fusible import is_column_sum, is_number_a_row, operands, repeats_once, whole_shape

_MOST_OPS = 32     # of a group: more temporaries would not stay in the first-level cache
_MOST_INPUTS = 16

Group = list[Operation]  # in the order of the program


def whole_of(group: Group) -> TensorShape:
    """The shape that a group runs over."""
    return max((whole_shape(op) for op in group), key=lambda s: s.num_elements() or 0)


def fits(group: Group) -> bool:
    """Whether one node could be all of these: over one shape, or a number for each of its rows."""
    whole = whole_of(group)
    for op in group:
        shape = whole_shape(op)
        if shape != whole and (op.type in ROW_REDUCTIONS or not is_number_a_row(shape, whole)):
            return False
    if any(is_column_sum(t.op) for op in group for t in op.inputs if t.op in group):
        return False  # known after the last row only
    return len(group) <= _MOST_OPS and len(inputs_of(group)) <= _MOST_INPUTS


def inputs_of(group: Group, through: bool = True) -> dict[Tensor, Tensor]:
    """What members read from outside, and what the node reads for each: what a BroadcastTo repeats, if `through` and
    if only elementwise members read it."""
    inside = set(group)
    read = dict.fromkeys(t for op in group for t in operands(op) if t.op not in inside)
    as_it_is = {op.inputs[0] for op in group if op.type in ROW_REDUCTIONS or op.type == "Softmax"}
    return {t: _source(t, inside) if through and t not in as_it_is else t for t in read}


def _source(t: Tensor, inside: set[Operation]) -> Tensor:
    x = broadcast_source(t)
    return x if x.op not in inside and repeats_once(x.shape, t.shape) else t
