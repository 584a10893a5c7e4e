"""Products written where a concatenation would put them: the gradients of queries, keys and values, side by side.

A ConcatV2 all of whose parts are products of views (views.py), reshaped at most and read by nobody else, becomes one
node that computes every product into its part of the result.
"""
from __future__ import annotations

import math
from itertools import chain

from ...constant import literal
from ...operation import Operation, Tensor
from ...places import Places, find_places
from ..program import Program


def join_products(program: Program) -> None:
    places = find_places(program.graph._ops)
    fixed = {*program.targets, *(c for op in program.graph._ops for c in op.control_inputs)}
    for op in [op for op in program.graph._ops if op.type == "ConcatV2"]:
        axis = literal(op.inputs[-1])
        if op.control_inputs or op in fixed or axis is None or not op.outputs[0].shape.is_fully_defined():
            continue
        ways = [_way(t, fixed) for t in op.inputs[:-1]]
        products = [way[-1] for way in ways if way]
        if len(products) == len(ways) > 1 and all(_alike(p, products[0], op, places) for p in products):
            views = _views(op, products, int(axis))
            if views is not None:
                _join(program, op, products, views)
                program.remove({op, *chain.from_iterable(ways)})


def _way(t: Tensor, fixed: set[Operation]) -> list[Operation]:
    """From what makes `t` back to a product of views, where only reshapes lie between and nobody else reads any of
    these; else empty."""
    way: list[Operation] = []
    while len(t.consumers) == 1 and t.op not in fixed and not t.op.control_inputs:
        way.append(t.op)
        if t.op.type == "_MatMulOfViews":
            return way if t.op.attrs["N"] == 1 else []
        if t.op.type != "Reshape":
            break
        t = t.op.inputs[0]
    return []


def _alike(product: Operation, first: Operation, concat: Operation, places: Places | None) -> bool:
    """Whether the product can be computed with `first` in the place of `concat`."""
    if places is not None and places[product] != places[concat]:
        return False
    same_batch = product.attrs["batch"] == first.attrs["batch"]
    return same_batch and product.device == concat.device and product.outputs[0].shape.num_elements() != 0


def _views(concat: Operation, products: list[Operation], axis: int) -> list[int] | None:
    """Where the result of `concat` has the matrices of each product: `output_view`. None where strides cannot say."""
    whole = math.prod(concat.outputs[0].shape.known[axis:])
    views: list[int] = []
    begin = 0
    for product, part in zip(products, concat.inputs):
        own = math.prod(part.shape.known[axis:])  # elements of the part that lie together in the result
        (m, _, n), view = product.attrs["sizes"], product.attrs["output_view"]
        steps = list(zip([*product.attrs["batch"], m], view[1:-1]))  # columns are next to each other: they stay so
        within = n - 1 + sum((size - 1) * step for size, step in steps if step < own)
        if view[0] != 0 or within >= own or any(step % own for _, step in steps if step >= own):
            return None
        views += [begin, *(step if step < own else step // own * whole for _, step in steps), 1]
        begin += own
    return views


def _join(program: Program, concat: Operation, products: list[Operation], views: list[int]) -> None:
    def together(attr: str) -> list[int]:
        return [number for p in products for number in p.attrs[attr]]

    z = concat.outputs[0]
    attrs = {"T": z.dtype, "N": len(products), "batch": products[0].attrs["batch"], "sizes": together("sizes"),
             "x_view": together("x_view"), "y_view": together("y_view"), "output_shape": list(z.shape.known),
             "output_view": views}
    inputs = [p.inputs[i] for i in (0, 1) for p in products]
    node = program.add("_MatMulOfViews", inputs, attrs, f"{concat.name}/_of_views", like=concat)
    program.replace(z, node.outputs[0])
