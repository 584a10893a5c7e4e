"""Branches and loops: rf.cond, rf.case, rf.switch_case, rf.while_loop, and the gradients through them."""
from .cond import case as case, cond as cond, switch_case as switch_case
from .while_loop import while_loop as while_loop
