"""Sums of matrix products: AddN, or AddV2, of products that nobody else reads becomes one `_SumOfProducts`.

The gradient of a weight that every step of a recurrent network uses is such a sum. As one node it needs no memory for
its terms, and multiplies larger matrices (csrc/kernels/sum_of_products.cc).

A product joins where its factors are small beside it, together at most twice its size: they are kept until the sum is
made, in its place. Terms of a sum inside a sum are terms of the outer one. The node stands where the sum stood, so that
a bucket that waits for a gradient finds it at the same point of the order. Rounding differs from the sum's.
"""
from __future__ import annotations

from ..operation import Operation, Tensor
from ..places import Places, find_places
from ..topology import topological_order
from .program import Program

_SUMS = ("AddN", "AddV2")


def sum_products(program: Program) -> None:
    order = topological_order(program.graph._ops)
    if not any(op.type in _SUMS for op in order):
        return
    inner = _Inner(program, find_places(order))
    made: dict[Operation, list[Operation]] = {}  # by the sum in the place of which they are
    dead: set[Operation] = set()
    seen: set[Operation] = set()
    for op in reversed(order):  # outer sums before those inside them
        if op in seen or not inner.replaceable(op):
            continue
        terms, inside = inner.terms(op)
        seen.update(inside)
        products = _most_alike([t for t in terms if inner.product(t, op)])
        if len(products) > 1:
            made[op] = _replace(program, op, terms, products)
            dead.update((op, *inside, *(t.op for t in products)))
    if made:
        before = program.graph._ops[:-sum(map(len, made.values()))]
        program.graph._ops = [new for op in before for new in made.get(op, [op])]
        program.remove(dead)


def _is_sum(op: Operation) -> bool:
    y = op.outputs[0] if op.type in _SUMS else None
    return (y is not None and y.dtype.is_floating and y.dtype.size >= 4 and y.shape.rank == 2
            and y.shape.is_fully_defined() and all(t.shape == y.shape for t in op.inputs))


class _Inner:
    """What may be taken into a sum: alive together with it, on its device, read by it alone, waited for by nobody."""

    def __init__(self, program: Program, places: Places | None) -> None:
        self._places = places
        self._kept = {c for op in program.graph._ops for c in op.control_inputs}.union(program.targets)

    def replaceable(self, op: Operation) -> bool:
        return _is_sum(op) and not op.control_inputs and op not in self._kept

    def _joins(self, t: Tensor, root: Operation) -> bool:
        op = t.op
        together = op.device == root.device and (self._places is None or self._places[op] == self._places[root])
        return together and len(t.consumers) == 1 and not op.control_inputs and op not in self._kept

    def terms(self, root: Operation) -> tuple[list[Tensor], list[Operation]]:
        """The terms of a sum, from the left, and the sums inside it that they are terms of."""
        terms: list[Tensor] = []
        inside: list[Operation] = []
        stack = list(reversed(root.inputs))
        while stack:
            t = stack.pop()
            if _is_sum(t.op) and self._joins(t, root):
                inside.append(t.op)
                stack.extend(reversed(t.op.inputs))
            else:
                terms.append(t)
        return terms, inside

    def product(self, t: Tensor, root: Operation) -> bool:
        """Whether `t` is a product of factors that may be read later, and are small enough to be kept."""
        op = t.op
        if op.type != "MatMul" or not self._joins(t, root) or any(x.is_ref for x in op.inputs):
            return False
        sizes = [x.shape.num_elements() for x in op.inputs]
        return None not in sizes and sum(sizes) <= 2 * (t.shape.num_elements() or 0)  # type: ignore[arg-type]


def _most_alike(products: list[Tensor]) -> list[Tensor]:
    """Those with the transposes that most of them have."""
    kinds: dict[tuple[bool, bool], list[Tensor]] = {}
    for t in products:
        kinds.setdefault((t.op.attrs["transpose_a"], t.op.attrs["transpose_b"]), []).append(t)
    return max(kinds.values(), key=len, default=[])


def _replace(program: Program, op: Operation, terms: list[Tensor], products: list[Tensor]) -> list[Operation]:
    """What computes `op` from its terms instead."""
    first, dtype, taken = products[0].op, op.outputs[0].dtype, set(products)
    factors = [t.op.inputs for t in products]
    attrs = {"T": dtype, "N": len(products), "transpose_a": first.attrs["transpose_a"],
             "transpose_b": first.attrs["transpose_b"]}
    nodes = [program.add("_SumOfProducts", [*(a for a, _ in factors), *(b for _, b in factors)], attrs,
                         f"{op.name}/_products", like=op)]
    others = [t for t in terms if t not in taken]
    if others:
        others.append(nodes[0].outputs[0])
        nodes.append(program.add("AddN", others, {"T": dtype, "N": len(others)}, f"{op.name}/_sum", like=op))
    program.replace(op.outputs[0], nodes[-1].outputs[0])
    return nodes
