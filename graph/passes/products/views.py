"""Products read matrices where they lie: the heads of an attention are slices of one projection, not copies of it.

What a BatchMatMul reads is followed back through Transpose, Reshape and Split to a tensor in which its matrices lie by
strides; a Transpose of its result is folded into where the product writes. One internal op does both
(ops/matmul_views.py); copies that nobody else reads are dropped by the passes that follow.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from ...constant import literal
from ...operation import Operation, Tensor
from ...places import Places, find_places
from ...topology import topological_order
from ..memory import may_be_variable
from ..program import Program

_PRODUCTS = ("BatchMatMul", "BatchMatMulV2")


@dataclass(frozen=True)
class View:
    """Elements of `base`: shape; in elements, how far neighbours in each dimension are apart and where the first is."""

    base: Tensor
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    def transposed(self, perm: list[int]) -> View:
        return View(self.base, tuple(self.shape[i] for i in perm), tuple(self.strides[i] for i in perm), self.offset)

    def reshaped(self, shape: tuple[int, ...]) -> View | None:
        """None where no strides say the same."""
        own = [(d, s) for d, s in zip(self.shape, self.strides) if d != 1]
        strides: list[int] = []
        for size in reversed(shape):
            if size == 1:
                strides.append(0)
                continue
            while own and own[-1][0] < size and len(own) > 1 and own[-2][1] == own[-1][0] * own[-1][1]:
                (outer, _), (inner, step) = own[-2], own[-1]
                own[-2:] = [(outer * inner, step)]
            if not own or own[-1][0] % size != 0:
                return None
            inner, step = own.pop()
            strides.append(step)
            if inner != size:
                own.append((inner // size, step * size))
        return View(self.base, shape, tuple(reversed(strides)), self.offset)


def products_of_views(program: Program) -> None:
    places = find_places(program.graph._ops)
    fixed = {*program.targets, *(c for op in program.graph._ops for c in op.control_inputs)}
    for op in topological_order(program.graph._ops):
        if op.type in _PRODUCTS and not op.control_inputs and op not in fixed and _is_static(op):
            _fold(program, op, places, fixed)


def _is_static(op: Operation) -> bool:
    """Float matrices, known shapes, a batch that does not broadcast, nothing empty."""
    x, y, z = *op.inputs, op.outputs[0]
    if any(not t.shape.is_fully_defined() or t.is_ref for t in (x, y, z)):
        return False
    return x.dtype.is_floating and x.dtype.size >= 4 and x.shape.known[:-2] == y.shape.known[:-2] and 0 not in (
        *x.shape.known, *y.shape.known)


def _fold(program: Program, op: Operation, places: Places | None, fixed: set[Operation]) -> None:
    x, y = (_matrices(_view(t, op, places), op.attrs[flag]) for t, flag in zip(op.inputs, ("adj_x", "adj_y")))
    z = op.outputs[0]
    target = _folded_transpose(op, places, fixed)
    if target is None and x.base is op.inputs[0] and y.base is op.inputs[1]:
        return
    batch, (m, k), n = list(x.shape[:-2]), x.shape[-2:], y.shape[-1]
    shape = z.shape.known
    strides = list(_contiguous(shape))
    if target is not None:
        perm = _permutation(target)
        shape = tuple(shape[i] for i in perm)
        placed = dict(zip(perm, _contiguous(shape)))
        strides = [placed[i] for i in range(len(shape))]
    attrs = {"T": z.dtype, "N": 1, "batch": batch, "sizes": [m, k, n], "x_view": [x.offset, *x.strides],
             "y_view": [y.offset, *y.strides], "output_shape": list(shape), "output_view": [0, *strides]}
    node = program.add("_MatMulOfViews", [x.base, y.base], attrs, f"{op.name}/_of_views", like=op)
    program.replace(z if target is None else target.outputs[0], node.outputs[0])
    program.remove({op} if target is None else {op, target})


def _folded_transpose(op: Operation, places: Places | None, fixed: set[Operation]) -> Operation | None:
    """The Transpose that alone reads the product and keeps its columns last."""
    readers = op.outputs[0].consumers
    if len(readers) != 1 or readers[0].type != "Transpose" or readers[0] in fixed:
        return None
    perm = _permutation(readers[0])
    keeps_columns = bool(perm) and perm[-1] == len(perm) - 1
    return readers[0] if keeps_columns and _passes(readers[0], op, places) else None


def _matrices(view: View, adjoint: bool) -> View:
    if adjoint:
        rank = len(view.shape)
        view = view.transposed([*range(rank - 2), rank - 1, rank - 2])
    return view


def _view(t: Tensor, reader: Operation, places: Places | None) -> View:
    """Where the matrices that `reader` reads as `t` lie; `t` itself where they would have neither contiguous rows nor
    contiguous columns."""
    own = View(t, t.shape.known, _contiguous(t.shape.known))
    found = _traced(t, reader, places)
    if found is None:
        return own
    (rows, columns), (down, right) = found.shape[-2:], found.strides[-2:]
    if rows == 1:  # a step that is never taken: one that a dense matrix would have
        down = columns if right == 1 else 1
    elif columns == 1:
        right = rows if down == 1 else 1
    if 1 not in (down, right) or 0 in (down, right):
        return own
    return View(found.base, found.shape, (*found.strides[:-2], down, right), found.offset)


def _traced(t: Tensor, reader: Operation, places: Places | None) -> View | None:
    """`t` as a view of the first tensor on the way back that is more than a rearrangement; None where that is memory
    that somebody may change."""
    op = t.op
    source: View | None = None
    if op.type in ("Transpose", "Reshape", "Split") and _passes(op, reader, places):
        value = op.inputs[1] if op.type == "Split" else op.inputs[0]
        if value.shape.is_fully_defined() and t.shape.is_fully_defined():
            source = _traced(value, reader, places)
    if source is not None:
        further = _step(op, t, source)
        if further is not None:
            return further
    if may_be_variable(t) or not t.shape.is_fully_defined():
        return None
    return View(t, t.shape.known, _contiguous(t.shape.known))


def _step(op: Operation, t: Tensor, source: View) -> View | None:
    if op.type == "Reshape":
        return source.reshaped(t.shape.known)
    if op.type == "Transpose":
        perm = _permutation(op)
        return source.transposed(perm) if perm else None
    axis = literal(op.inputs[0])
    if axis is None:
        return None
    at = int(axis) % len(source.shape)
    return View(source.base, t.shape.known, source.strides,
                source.offset + t.index * t.shape.known[at] * source.strides[at])


def _passes(op: Operation, reader: Operation, places: Places | None) -> bool:
    same_place = places is None or places[op] == places[reader]
    return not op.control_inputs and op.device == reader.device and same_place


def _permutation(op: Operation) -> list[int]:
    """Empty where it is not known."""
    perm = literal(op.inputs[1])
    return [] if perm is None else [int(i) for i in perm]


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[i + 1:]) for i in range(len(shape)))
