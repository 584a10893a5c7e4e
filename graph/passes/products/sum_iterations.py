"""Sums over the iterations of a loop: where each adds matrix products to a loop variable that nobody else reads.

The gradient of weights that a loop uses is such a variable, added to in every iteration:

    Enter -> Merge -> Switch -> AddV2 (with MatMul) -> NextIteration -> Merge ...,  Switch -> Exit

Instead a handle to a `_ProductSum` goes round the loop, to which each iteration gives the factors of its products
(csrc/kernels/product_sum.cc): many of them become one product, and the sum is not read and written every time. What
the Exit lets out is the sum. Rounding differs from the loop's.
"""
from __future__ import annotations

from typing import NamedTuple

from ... import dtypes
from ...operation import Operation, Tensor
from ...topology import topological_order
from ..program import Program
from .sum_products import Sums


class _Cycle(NamedTuple):
    """The nodes of a loop variable that is only added to, and what is added to it."""

    enter: Operation
    merge: Operation
    switch: Operation
    exit: Operation
    next: Operation
    sums: list[Operation]
    products: list[Operation]


def sum_over_iterations(program: Program) -> None:
    order = topological_order(program.graph._ops)
    ends = [op for op in order if op.type == "NextIteration"]
    if not ends:
        return
    sums = Sums(program, order)
    for op in ends:
        cycle = _cycle_of(op, sums)
        if cycle is not None:
            _replace(program, cycle)


def _cycle_of(end: Operation, sums: Sums) -> _Cycle | None:
    """The cycle that `end` closes, if it is of the form above."""
    add, merge = end.inputs[0].op, _only_reader(end.outputs[0])
    if not sums.replaceable(add) or _only_reader(end.inputs[0]) is None or merge is None or merge.type != "Merge":
        return None
    terms, inside = sums.terms(add)
    before = [t for t in terms if t.op.type == "Switch" and t.op.inputs[0].op is merge]
    products = [t.op for t in terms if t not in before]
    if len(before) != 1 or not products or len(merge.inputs) != 2 or merge.outputs[1].consumers:
        return None
    switch, enter = before[0].op, next(t.op for t in merge.inputs if t.op is not end)
    let_out = _only_reader(switch.outputs[0])
    flags = {(op.attrs.get("transpose_a"), op.attrs.get("transpose_b")) for op in products}
    if (not all(sums.product(op.outputs[0], add) for op in products) or len(flags) != 1 or before[0].index != 1
            or _only_reader(before[0]) is None or _only_reader(merge.outputs[0]) is not switch
            or let_out is None or let_out.type != "Exit" or enter.type != "Enter" or enter.attrs["is_constant"]
            or _only_reader(enter.outputs[0]) is not merge or enter.inputs[0].shape != add.outputs[0].shape):
        return None
    cycle = _Cycle(enter, merge, switch, let_out, end, [add, *inside], products)
    nodes = (enter, merge, switch, let_out, end)
    alone = all(not op.control_inputs and op.device == add.device for op in nodes)
    return cycle if alone and all(map(sums.may_go, (*nodes, *cycle.sums, *products))) else None


def _only_reader(t: Tensor) -> Operation | None:
    return t.consumers[0] if len(t.consumers) == 1 else None


def _replace(program: Program, cycle: _Cycle) -> None:
    """The same cycle with a handle going round."""
    enter, merge, switch, let_out, end, (add, *_), products = cycle
    y, first = add.outputs[0], products[0]

    def moved(old: Operation, inputs: list[Tensor]) -> Operation:
        return program.add(old.type, inputs, {**old.attrs, "T": dtypes.resource}, f"{old.name}/_handle", like=old)

    begin = program.add("_ProductSum", [enter.inputs[0]], {"T": y.dtype}, f"{add.name}/_begin", like=enter)
    into = moved(enter, begin.outputs)
    head = moved(merge, [into.outputs[0]] * 2)  # the second one stands in until the cycle is closed
    chosen = moved(switch, [head.outputs[0], switch.inputs[1]])
    attrs = {"T": y.dtype, "N": len(products), "transpose_a": first.attrs["transpose_a"],
             "transpose_b": first.attrs["transpose_b"]}
    factors = [op.inputs[k] for k in (0, 1) for op in products]
    added = program.add("_ProductSumAdd", [chosen.outputs[1], *factors], attrs, f"{add.name}/_products", like=add)
    head._update_input(1, moved(end, added.outputs).outputs[0])
    out = moved(let_out, [chosen.outputs[0]])
    attrs = {"T": y.dtype, "shape": y.shape}
    total = program.add("_ProductSumValue", out.outputs, attrs, f"{add.name}/_value", like=out)
    program.replace(let_out.outputs[0], total.outputs[0])
    program.remove({enter, merge, switch, let_out, end, *cycle.sums, *products})
