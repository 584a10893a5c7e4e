"""Products of rows that repeat: a table of few rows, looked up many times, is multiplied before it is looked up.

    gather(table, ids) @ w      =  gather(table @ w, ids)
    gather(table, ids)^T @ g    =  table^T @ sum of the rows of g with equal ids
    table[ids] -= c (g @ w)     =  table -= c (sum of the rows of g with equal ids @ w)

A product of as many rows as the table has takes the place of one of as many as there are ids: a model of characters
spends most of its input layer on it. It is done where every row is looked up twice or more on average. Sums are taken
in another order, so that results differ by rounding.

The table is copied where it was looked up: what a lookup gives does not change when the table is updated later.
"""
from __future__ import annotations

import numpy as np

from ...constant import literal
from ...operation import Operation, Tensor
from ...places import Places, find_places
from ...topology import topological_order
from ..program import Program

_LEAST_REPEATS = 2  # ids for each row of the table


def multiply_before_lookup(program: Program) -> None:
    order = topological_order(program.graph._ops)
    places = find_places(order)
    rewriter = _Rewriter(program, places)
    for op in order:
        if _is_lookup(op) and (places is None or not places[op].frame):
            rewriter.lookup(op)


def _is_lookup(op: Operation) -> bool:
    """Whether it gathers rows of a matrix, each of them often."""
    if op.type not in ("GatherV2", "Gather") or op.control_inputs or op.attrs.get("batch_dims"):
        return False
    if op.type == "GatherV2" and not _is_zero(op.inputs[2]):
        return False
    table, ids = op.inputs[0].shape, op.inputs[1].shape
    if not table.is_fully_defined() or not ids.is_fully_defined() or len(table) != 2 or len(ids) != 1:
        return False
    rows = table.known[0]
    return op.outputs[0].dtype.is_floating and 0 < rows * _LEAST_REPEATS <= ids.known[0]


def _is_zero(t: Tensor) -> bool:
    value = literal(t)
    return value is not None and not value.any()


class _Rewriter:
    def __init__(self, program: Program, places: Places | None) -> None:
        self._program, self._places = program, places
        self._fixed = {*program.targets}
        self._sums: dict[tuple[Tensor, Tensor, int], Tensor] = {}

    def lookup(self, op: Operation) -> None:
        x = op.outputs[0]
        products = [c for c in dict.fromkeys(x.consumers) if self._is_product(c, op) and c.inputs[0] is x
                    and not (c.attrs["transpose_a"] and (c.attrs["transpose_b"] or c.inputs[1] is x))]
        if not products:
            return
        ids, rows = op.inputs[1], op.inputs[0].shape.known[0]
        table = self._add("Snapshot", [op.inputs[0]], {}, f"{op.name}/_table", op)
        self._wait_for(table.op, op)
        for product in products:
            self._product(product, op, table, ids, rows)

    def _is_product(self, op: Operation, lookup: Operation) -> bool:
        return op.type == "MatMul" and op not in self._fixed and not op.control_inputs and self._together(op, lookup)

    def _together(self, op: Operation, other: Operation) -> bool:
        return op.device == other.device and (self._places is None or self._places[op] == self._places[other])

    def _product(self, op: Operation, lookup: Operation, table: Tensor, ids: Tensor, rows: int) -> None:
        if op.attrs["transpose_a"]:
            inputs = [table, self._sum(op.inputs[1], ids, rows, op)]
            new = self._add("MatMul", inputs, op.attrs, f"{op.name}/_of_table", op)
        else:
            product = self._add("MatMul", [table, op.inputs[1]], op.attrs, f"{op.name}/_of_table", op)
            self._wait_for(product.op, op)  # it reads the weights
            new = self._program.add(lookup.type, [product, *lookup.inputs[1:]], lookup.attrs, f"{op.name}/_rows",
                                    like=op).outputs[0]
        self._program.replace(op.outputs[0], new)
        self._wait_for(new.op, op)
        if op.attrs["transpose_a"]:
            self._update(op, lookup, ids, rows)

    def _sum(self, g: Tensor, ids: Tensor, rows: int, like: Operation) -> Tensor:
        """The sum of the rows of `g` for each row of the table."""
        key = (g, ids, rows)
        if key not in self._sums:
            count = self._program.constant(np.array(rows, np.int32), f"{like.name}/_count", like)
            self._sums[key] = self._add("UnsortedSegmentSum", [g, ids, count], {"Tindices": ids.dtype},
                                        f"{like.name}/_sum", like)
        return self._sums[key]

    def _update(self, product: Operation, lookup: Operation, ids: Tensor, rows: int) -> None:
        """The update of the table itself by the gradient that came with that of `product`."""
        g = product.inputs[1]
        for back in [c for c in dict.fromkeys(g.consumers) if c.type == "MatMul" and c.inputs[0] is g]:
            found = self._update_by(back, lookup, ids)
            if found is None:
                continue
            update, scale = found
            inputs = [self._sum(g, ids, rows, back), back.inputs[1]]
            change = self._add("MatMul", inputs, back.attrs, f"{back.name}/_of_table", back)
            self._wait_for(change.op, back)
            if scale is not None:
                change = self._add("Mul", [change, scale], {}, f"{update.name}/_of_table", update)
            every = np.arange(rows, dtype=ids.dtype.as_numpy_dtype)
            update._update_input(1, self._program.constant(every, f"{update.name}/_every_row", update))
            update._update_input(2, change)

    def _update_by(self, back: Operation, lookup: Operation, ids: Tensor) -> tuple[Operation, Tensor | None] | None:
        """The update of the table's looked-up rows by what `back` gives and nobody else reads, with the scalar that it
        is multiplied by on the way."""
        change, scale = back.outputs[0], None
        if back.attrs["transpose_a"] or not self._is_product(back, lookup) or len(change.consumers) != 1:
            return None
        reader = change.consumers[0]
        if reader.type == "Mul" and reader not in self._fixed and not reader.control_inputs:
            scale = next((t for t in reader.inputs if t is not change), None)
            change = reader.outputs[0]
            if scale is None or scale.shape.rank != 0 or len(change.consumers) != 1:
                return None
            reader = change.consumers[0]
        of_table = reader.type in ("ScatterSub", "ScatterAdd") and reader.inputs[0] is lookup.inputs[0]
        return (reader, scale) if of_table and reader.inputs[1] is ids and self._together(reader, lookup) else None

    def _add(self, kind: str, inputs: list[Tensor], attrs: dict[str, object], name: str, like: Operation) -> Tensor:
        t = inputs[0].dtype
        return self._program.add(kind, inputs, {**attrs, "T": t}, name, like=like).outputs[0]

    def _wait_for(self, new: Operation, old: Operation) -> None:
        """Who waits for `old`, which reads a variable or is behind one that does, waits for `new`."""
        for op in self._program.graph._ops:
            if old in op.control_inputs and new not in op.control_inputs:
                op.control_inputs = [*op.control_inputs, new]
