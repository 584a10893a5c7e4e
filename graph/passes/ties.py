"""What ties an operation to its branch: the passes that follow read around shapes and axes, and must not lose it."""
from __future__ import annotations

from ..places import find_places
from .program import Program

# the input that is the value; the other one says how
_VALUE = {"BroadcastTo": 0, "Sum": 0, "Mean": 0, "Max": 0, "Reshape": 0, "Transpose": 0, "Split": 1}


def tie_to_branches(program: Program) -> None:
    """Where an operation is in its branch by its shape or its axes alone, a control edge from there says so; passes
    leave operations with control edges as they are. Python never builds this; files may hold it."""
    places = find_places(program.graph._ops)
    if places is None:
        return
    for op in program.graph._ops:
        if op.type in _VALUE and not op.control_inputs:
            value, how = op.inputs[_VALUE[op.type]], op.inputs[1 - _VALUE[op.type]]
            if places.output(value) != places[op]:
                op.control_inputs = [how.op]
