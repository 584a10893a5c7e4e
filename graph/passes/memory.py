"""Whose memory a tensor may be: that of a variable changes under those who read it later."""
from __future__ import annotations

from .. import dtypes
from ..control_types import CONTROL_FLOW
from ..operation import Tensor


def names_variable(t: Tensor) -> bool:
    """Whether `t` is a variable's reference or handle."""
    return t.is_ref or t.dtype is dtypes.resource


def may_be_variable(t: Tensor) -> bool:
    """Whether `t` names a variable, or may lie in the memory of one. What control flow passes on is a copy (order/).
    """
    while not names_variable(t) and t.op.op_def.aliases and t.op.type not in CONTROL_FLOW:
        t = t.op.inputs[0]
    return names_variable(t)
