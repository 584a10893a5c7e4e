"""What ties an operation to its branch: passes that read around the shape or the axes of one must not lose it."""
from __future__ import annotations

from collections.abc import Iterable

from ..operation import Operation
from ..places import Places

# the input that is the value; the other one says how
_VALUE = {"BroadcastTo": 0, "Sum": 0, "Mean": 0, "Max": 0, "Reshape": 0, "Transpose": 0, "Split": 1}


def tie_to_branches(ops: Iterable[Operation], places: Places | None) -> None:
    """Where an operation is in its branch by its shape or its axes alone, a control edge from there says so; passes
    leave operations with control edges as they are. Python never builds this; files may hold it."""
    if places is None:
        return
    for op in ops:
        if op.type in _VALUE and not op.control_inputs:
            value, how = op.inputs[_VALUE[op.type]], op.inputs[1 - _VALUE[op.type]]
            if places.output(value) != places[op]:
                op.control_inputs = [how.op]
