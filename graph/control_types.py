"""What the rest of the graph layer must know of control flow: the op types by role, and the dead token.

Here and not beside the definitions (ops/control.py) because topology and passes come before the ops.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .operation import Operation, Tensor

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
