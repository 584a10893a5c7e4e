"""Sums of matrix products: AddN, or AddV2, of products that nobody else reads becomes one `_SumOfProducts`.

The gradient of a weight that every step of a recurrent network uses is such a sum. As one node it needs no memory for
its terms, and multiplies larger matrices (csrc/kernels/sum_of_products.cc).

A product joins where its factors are small beside it, together at most twice its size: they are kept until the sum is
made, in its place. To one other term they are added where it lies (`_AddProducts`); so is a single product of any size,
unless the addition is part of an elementwise run, which reads it for less. Terms of a sum inside a sum are terms of the
outer one. Rounding differs from the sum's.

The node stands where the sum stood in the order of the program. What waits for a product (an update of the variable
that it reads) comes later than that, and waits for the node instead; so no cycle can arise, and a bucket that waits for
a gradient finds it at the same point. Products are in the order in which their first factors are made: where these are
parts of one tensor, they then lie one after another.
"""
from __future__ import annotations

from ...operation import Operation, Tensor
from ...ops.fused import FUSIBLE
from ...places import find_places
from ...topology import topological_order
from ..program import Program

_SUMS = ("AddN", "AddV2")


def sum_products(program: Program) -> None:
    order = topological_order(program.graph._ops)
    if not any(op.type in _SUMS for op in order):
        return
    sums = Sums(program, order)
    made: dict[Operation, list[Operation]] = {}  # by the sum in the place of which they are
    became: dict[Operation, Operation] = {}  # what each that is no more is computed by
    seen: set[Operation] = set()
    for op in reversed(order):  # outer sums before those inside them
        if op in seen or not sums.replaceable(op):
            continue
        terms, inside = sums.terms(op)
        seen.update(inside)
        products = _most_alike([t for t in terms if sums.product(t, op) and _is_small(t)])
        if len(products) < 2:
            products = [t for t in terms[-2:] if sums.product(t, op)][-1:]
            if not products or not _is_addition(op, terms, products[0]):
                continue
        made[op] = _replace(program, op, terms, sorted(products, key=sums.made_at))
        became.update(dict.fromkeys([op, *inside], made[op][-1]))
        became.update(dict.fromkeys((t.op for t in products), made[op][0]))
    if made:
        before = program.graph._ops[:-sum(map(len, made.values()))]
        program.graph._ops = [new for op in before for new in made.get(op, [op])]
        for op in program.graph._ops:
            if any(c in became for c in op.control_inputs):
                op.control_inputs = list(dict.fromkeys(became.get(c, c) for c in op.control_inputs))
        program.remove(set(became))


def _is_sum(op: Operation) -> bool:
    y = op.outputs[0] if op.type in _SUMS else None
    return (y is not None and y.dtype.is_floating and y.dtype.size >= 4 and y.shape.rank == 2
            and y.shape.is_fully_defined() and all(t.shape == y.shape for t in op.inputs))


class Sums:
    """What may be taken into a sum: alive together with it, on its device, read by it alone, waited for by nobody that
    comes before the sum in `order`."""

    def __init__(self, program: Program, order: list[Operation]) -> None:
        self._places = find_places(order)
        self._position = {op: i for i, op in enumerate(order)}
        self._targets = set(program.targets)
        self._first_waiter: dict[Operation, int] = {}
        for i, op in enumerate(order):
            for c in op.control_inputs:
                self._first_waiter.setdefault(c, i)

    def made_at(self, product: Tensor) -> int:
        """The position of what makes the first factor."""
        return self._position[product.op.inputs[0].op]

    def may_go(self, op: Operation) -> bool:
        """Whether nobody waits for `op` as such."""
        return op not in self._first_waiter and op not in self._targets

    def replaceable(self, op: Operation) -> bool:
        """Whether `op` is a sum of matrices of a known shape that may become another node."""
        return _is_sum(op) and not op.control_inputs and op not in self._targets

    def _joins(self, t: Tensor, root: Operation) -> bool:
        op = t.op
        together = op.device == root.device and (self._places is None or self._places[op] == self._places[root])
        later = self._first_waiter.get(op, len(self._position)) > self._position[root]
        return together and later and len(t.consumers) == 1 and not op.control_inputs and op not in self._targets

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
        return t.op.type == "MatMul" and self._joins(t, root)


def _is_small(product: Tensor) -> bool:
    """Whether its factors may be kept until the sum is made."""
    sizes = [t.shape.num_elements() for t in product.op.inputs]
    return None not in sizes and sum(sizes) <= 2 * (product.shape.num_elements() or 0)  # type: ignore[arg-type]


def _most_alike(products: list[Tensor]) -> list[Tensor]:
    """Those with the transposes that most of them have."""
    kinds: dict[tuple[bool, bool], list[Tensor]] = {}
    for t in products:
        kinds.setdefault((t.op.attrs["transpose_a"], t.op.attrs["transpose_b"]), []).append(t)
    return max(kinds.values(), key=len, default=[])


def _is_addition(op: Operation, terms: list[Tensor], product: Tensor) -> bool:
    """Whether `product` had better be added to the only other term than on its own."""
    others = [t for t in terms if t is not product]
    return (len(others) == 1 and _overwritable(others[0]) and others[0].op.type not in FUSIBLE
            and not any(c.type in FUSIBLE for c in op.outputs[0].consumers))


def _overwritable(t: Tensor) -> bool:
    """Whether a sum may lie in the memory of `t`, as far as the graph tells."""
    return len(t.consumers) == 1 and not t.is_ref and t.op.type not in ("_Arg", "Const")


def _replace(program: Program, op: Operation, terms: list[Tensor], products: list[Tensor]) -> list[Operation]:
    """What computes `op` from its terms instead."""
    first, taken = products[0].op, set(products)
    attrs = {"T": op.outputs[0].dtype, "N": len(products), "transpose_a": first.attrs["transpose_a"],
             "transpose_b": first.attrs["transpose_b"]}
    factors = [t.op.inputs[k] for k in (0, 1) for t in products]
    others = [t for t in terms if t not in taken]
    kind, addend = ("_AddProducts", others) if len(others) == 1 and _overwritable(others[0]) else ("_SumOfProducts", [])
    nodes = [program.add(kind, [*addend, *factors], attrs, f"{op.name}/_products", like=op)]
    if others and not addend:
        others.append(nodes[0].outputs[0])
        attrs = {"T": op.outputs[0].dtype, "N": len(others)}
        nodes.append(program.add("AddN", others, attrs, f"{op.name}/_sum", like=op))
    program.replace(op.outputs[0], nodes[-1].outputs[0])
    return nodes
