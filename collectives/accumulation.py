"""Local accumulation: k runs of the train op add up gradients on their rank, the k-th reduces and applies their mean.

    run 1      sum  = g        (Assign: nothing is cleared, a sum of a skipped step leaves no trace)
    run 2..k   sum += g
    run k      CollectiveReduce(sum), updates; held back by a gate in all other runs

The position in the cycle is counted by the session (`_Cycle`), like the sums it is not part of a checkpoint; every rank
counts alike because every rank runs the train op equally often. The mean over the k runs is taken where the gradient
begins, at the loss: multiplying there costs nothing.
"""
from __future__ import annotations

from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.graph import Graph
from ringflow.graph.operation import Operation, Tensor
from ringflow.graph.ops import gate as gate
from ringflow.graph.ops.rules import build


class Accumulation:
    """The sums of one train op. Made inside the strategy's name scope."""

    def __init__(self, steps: int) -> None:
        position = build("_Cycle", length=steps, name="accumulate/position")
        first = build("Equal", position, 1, name="accumulate/is_first")
        self.is_last: Tensor = build("Equal", position, steps, name="accumulate/is_last")
        self._first: Operation = build("_Gate", first, name="accumulate/first")
        self._later: Operation = build("_Gate", build("LogicalNot", first), name="accumulate/later")
        self.last: Operation = build("_Gate", self.is_last, name="accumulate/last")

    def sum(self, x: Tensor, name: str) -> Tensor:
        """The sum of x over the runs of this cycle so far. x: of known shape."""
        if not x.shape.is_fully_defined():
            raise InvalidArgumentError(f"[distribute] accumulate needs gradients of known shape: {x.name!r} is "
                                       f"{x.shape}.{x.op.where} Fix: give the variable a static shape")
        graph: Graph = x.graph
        total = build("VariableV2", shape=x.shape, dtype=x.dtype, name=f"accumulate/{name}")
        with graph.control_dependencies([self._first]):
            begun = build("Assign", total, x, name=f"accumulate/{name}/begin")
        with graph.control_dependencies([self._later]):
            added = build("AssignAdd", total, x, name=f"accumulate/{name}/add")
        with graph.control_dependencies([begun.op, added.op]):
            result: Tensor = build("Identity", total, name=f"accumulate/{name}/read")
        return result
