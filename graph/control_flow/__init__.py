"""Branches and loops: rf.cond, rf.case, rf.switch_case, rf.while_loop, and the gradients through them."""
from .case import case as case, switch_case as switch_case
from .cond import cond as cond
from .while_loop import while_loop as while_loop
