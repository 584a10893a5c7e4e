"""Elementwise ops, reductions along rows and sums of columns as one node, made by the fusion pass (passes/fusion)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..define import Array, attr, define
from ..dtypes import FLOATS
from ..opdef import OPS
from ..operation import Operation
from ..samples import normal, positive
from ..shapes import TensorShape, broadcast

ROW_REDUCTIONS = frozenset(("Sum", "Mean", "Max"))  # along the last dimension, which stays as 1
COLUMN_SUM = "ColumnSum"                            # over all dimensions but the last, which alone stays


@define("_FusedRows(inputs: N*T) -> outputs: M*T", T=FLOATS, ops=attr("list(string)"), args=attr("list(int)"),
        results=attr("list(int)"), differentiable=False)
def fused_rows(inputs: Sequence[Array], *, ops: list[str], args: list[int], results: list[int]) -> list[Array]:
    """`ops` one after another, numbered like those of `_Fused`: its elementwise ones, and Sum, Mean, Max and Softmax of
    the last dimension, and ColumnSum, whose result no op reads. All inputs together broadcast to one shape, which each
    result has, but for the last dimension of what is made of reductions only."""
    values: list[Array] = list(inputs)
    for k, name in enumerate(ops):
        x, y = (values[i] for i in args[2 * k:2 * k + 2])
        if name in ROW_REDUCTIONS:
            values.append(OPS[name].reference(x, np.int32(-1), keep_dims=True))
        elif name == COLUMN_SUM:
            values.append(OPS["Sum"].reference(x, np.arange(x.ndim - 1, dtype=np.int32), keep_dims=False))
        else:
            values.append(np.asarray(OPS[name].reference(*(x, y)[:len(OPS[name].inputs)])))
    return [values[len(inputs) + k] for k in results]


@fused_rows.shape
def _(op: Operation) -> list[TensorShape]:
    shapes: list[Any] = [t.shape for t in op.inputs]
    for k, name in enumerate(op.attrs["ops"]):
        x, y = (shapes[i] for i in op.attrs["args"][2 * k:2 * k + 2])
        shapes.append(result_shape(name, x, y))
    return [shapes[len(op.inputs) + k] for k in op.attrs["results"]]


def result_shape(name: str, x: TensorShape, y: TensorShape) -> TensorShape:
    """The shape of what `name` makes of operands of these shapes."""
    if x.dims is None or y.dims is None:
        return TensorShape(None)
    if name in ROW_REDUCTIONS:
        return TensorShape([*x.dims[:-1], 1])
    return TensorShape([x.dims[-1]]) if name == COLUMN_SUM else broadcast(x, y, name)


# Layer normalisation, and others over several tiles and blocks and a rest of each.
_NORM: dict[str, Any] = {
    "ops": ["AddV2", "Mean", "SquaredDifference", "Mean", "AddV2", "Rsqrt", "Sub", "Mul", "Mul", "AddV2"],
    "args": [0, 1, 6, 6, 6, 7, 8, 8, 9, 2, 10, 10, 6, 7, 12, 11, 13, 3, 14, 4]}
fused_rows.sample([normal(5, 67), normal(67), positive(), normal(67), normal(67), normal(5, 67)],
                  **_NORM, results=[9, 5, 0], M=3)
fused_rows.sample([normal(2, 70, 67), normal(2, 1, 67), positive(1, 1), normal(70, 67), normal(), normal(67)],
                  **_NORM, results=[9], M=1)
fused_rows.sample([normal(270, 40), normal(40), normal(270, 1)],
                  ops=["Mul", "Sum", "Sub", "ColumnSum", "Mul", "ColumnSum"],
                  args=[0, 1, 3, 3, 0, 4, 5, 5, 5, 2, 7, 7], results=[4, 3, 5], M=3)
fused_rows.sample([normal(2, 3, 67), normal(3, 67), normal()], ops=["Mul", "AddV2", "Softmax", "Max"],
                  args=[0, 2, 3, 1, 4, 4, 5, 5], results=[2, 3], M=2)
fused_rows.sample([normal(7, 1500), normal(7, 1)], ops=["Mul", "ColumnSum", "Tanh", "Sum", "Exp"],
                  args=[0, 1, 2, 2, 2, 2, 4, 4, 5, 5], results=[1, 4, 0], M=3)
for _shapes in ((0, 40), (40,)), ((9, 1), ()):
    fused_rows.sample([normal(*s) for s in _shapes], ops=["Mul", "Sum", "ColumnSum"], args=[0, 1, 2, 2, 2, 2],
                      results=[0, 1, 2], M=3)
