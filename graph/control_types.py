"""What the rest of the graph layer must know of control flow: the op types by role, and the dead token.

Here and not beside the definitions (ops/control.py) because topology and passes come before the ops.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    from .control_flow.cond import Cond
    from .control_flow.while_loop import Loop
    from .operation import Operation, Tensor

Unit = Union["Operation", "Cond", "Loop"]  # what is differentiated as a whole

SWITCH = frozenset({"Switch", "RefSwitch"})
MERGE = frozenset({"Merge", "RefMerge"})
ENTER = frozenset({"Enter", "RefEnter"})
EXIT = frozenset({"Exit", "RefExit"})
NEXT_ITERATION = frozenset({"NextIteration", "RefNextIteration"})
CONTROL_FLOW = SWITCH | MERGE | ENTER | EXIT | NEXT_ITERATION | {"LoopCond", "ControlTrigger"}


class _Dead:
    """The value of an output that was not chosen."""

    def __repr__(self) -> str:
        return "DEAD"


DEAD: Any = _Dead()


def is_back_edge(t: Tensor, op: Operation) -> bool:
    """Whether the edge from `t` to `op` closes the cycle of a loop: the one kind of cycle there is."""
    return op.op_def.name in MERGE and t.op.op_def.name in NEXT_ITERATION


def unit_of(op: Operation) -> Unit:
    """The cond or loop whose result `op` is; any other operation itself."""
    if op.type in MERGE or op.type in EXIT:
        found: Unit = op.graph._units.get(op, op)
        return found
    return op
