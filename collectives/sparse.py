"""Sparse gradients: how the rows that ranks touched in a table reach all ranks.

    gather   values, indices of all ranks one after another       sends (P-1) r (row + index) bytes a rank
    dense    the table's gradient as one tensor, all-reduced      sends 2 (P-1)/P V row bytes a rank

with r rows of a rank, V rows of the table. "auto" compares these bytes and those of the rows that are then updated, P r
against 2 V (cleared and updated), from static shapes: every rank holds the same graph and decides the same.
Before a gather each rank shrinks what it sends:

    bags     one gradient row serves K indices (the mean over a bag): the rows go out once and are repeated afterwards
    unique   rows of equal index are added up first, where chance or an unknown number of rows makes repeats likely

Rows of equal index from two ranks are added up by the optimizer, if its update needs rows that differ. Optimizers
whose sparse update leaves other rows alone (``Optimizer.zero_rows_stay`` False) get the touched rows of a dense sum.
"""
from __future__ import annotations

from dataclasses import dataclass
from math import expm1, log1p, prod
from typing import Any

import numpy as np
from ringflow.graph.define import Array, attr, define
from ringflow.graph.dtypes import FIXED, float32, float64
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.operation import Operation, Tensor
from ringflow.graph.ops.rules import build, ranked
from ringflow.graph.samples import normal
from ringflow.graph.shapes import UNKNOWN, TensorShape
from ringflow.graph.state.variables import Variable

from .ops import collective_gather, collective_reduce, next_keys

CHOICES = ("auto", "gather", "dense")
_SUMMED = (float32, float64)  # dtypes in which rows can be added up
_WORTH_SUMMING = 0.9          # distinct rows / rows, below which rows of equal index are added up before they travel


@dataclass(frozen=True)
class Cost:
    """What exchanging one sparse gradient costs, in bytes: sent by a rank, and of rows that every rank then updates.

    `indices`: how many a rank has, expected; None: not known. `rows`: of values that it sends for them.
    """

    table_rows: int
    row_bytes: int
    index_bytes: int
    indices: float | None
    rows: float | None
    size: int

    @property
    def gather_sent(self) -> float | None:
        if self.indices is None or self.rows is None:
            return None
        return (self.size - 1) * (self.rows * self.row_bytes + self.indices * self.index_bytes)

    @property
    def dense_sent(self) -> float:
        return 2 * (self.size - 1) / self.size * self.table_rows * self.row_bytes

    @property
    def prefers_dense(self) -> bool:
        """An unknown number of rows is gathered: a batch names few of the rows of a table, as a rule."""
        if self.gather_sent is None or self.indices is None:
            return False
        gather = self.gather_sent + self.size * self.indices * self.row_bytes
        return self.dense_sent + 2 * self.table_rows * self.row_bytes < gather


def check_choice(choice: Any) -> None:
    if choice not in CHOICES:
        raise InvalidArgumentError(f"[distribute] sparse must be one of {', '.join(CHOICES)}: got {choice!r}")


def cost(gradient: IndexedSlices, variable: Variable, size: int) -> Cost:
    """From static shapes alone."""
    table_rows, *row = variable.shape.known
    indices: float | None = gradient.indices.shape.num_elements()
    bags = _bags(gradient.values)
    if indices is not None and _sums_first(gradient, variable):
        indices = _distinct(indices, table_rows)
    return Cost(table_rows, gradient.values.dtype.size * prod(row), gradient.indices.dtype.size, indices,
                bags.count if bags else indices, size)


def is_dense(gradient: IndexedSlices, variable: Variable, size: int, choice: str = "auto") -> bool:
    """Whether `gradient` goes as a dense tensor."""
    if not variable.shape.is_fully_defined() or gradient.values.dtype not in _SUMMED or choice == "gather":
        return False
    return choice == "dense" or cost(gradient, variable, size).prefers_dense


def exchange(gradient: IndexedSlices, variable: Variable, size: int, *, choice: str = "auto",
             zero_rows_stay: bool = False) -> IndexedSlices:
    """The mean over `size` ranks of their sparse gradients; with rows of equal index where it was gathered."""
    name = variable.op.name
    if is_dense(gradient, variable, size, choice):
        return _dense(gradient, variable, size, zero_rows_stay, name)
    values, indices, bags = gradient.values, gradient.indices, _bags(gradient.values)
    if bags is not None:
        values = bags.rows()
    elif _sums_first(gradient, variable):
        values, indices = _summed(values, indices)
    values = build("Mul", values, np.array(1 / size, values.dtype.as_numpy_dtype), name=f"{name}/scaled")
    values = _gathered(values, size, f"{name}/values")
    if bags is not None:
        values = bags.repeated(values, name)
    return IndexedSlices(values, _gathered(indices, size, f"{name}/indices"), gradient.dense_shape)


def scale_rows_first(values: Tensor) -> dict[Tensor, Tensor]:
    """Instead of products of repeated rows and a scalar: the rows multiplied first, repeated afterwards."""
    instead: dict[Tensor, Tensor] = {}
    repeat = values.op if values.op.type == "_RepeatRows" else None
    for op in values.consumers if repeat else []:
        factors = [t for t in op.inputs if t is not values]
        if op.type == "Mul" and len(factors) == 1 and factors[0].shape.rank == 0:
            rows = build("Mul", repeat.inputs[0], factors[0], name=f"{op.name}/rows")
            repeats = repeat.attrs["repeats"]
            instead[op.outputs[0]] = build("_RepeatRows", rows, repeats=repeats, name=f"{op.name}/repeated")
    return instead


# ---- the two ways
def _gathered(x: Tensor, size: int, name: str) -> Tensor:
    return collective_gather(x, name=name, **next_keys(x.graph, size))  # type: ignore[no-any-return]


def _dense(gradient: IndexedSlices, variable: Variable, size: int, zero_rows_stay: bool, name: str) -> IndexedSlices:
    table_rows = variable.shape.known[0]
    index_dtype = gradient.indices.dtype.as_numpy_dtype
    mine = build("UnsortedSegmentSum", gradient.values, gradient.indices, np.array(table_rows, index_dtype),
                 name=f"{name}/dense")
    total = collective_reduce(mine, merge_op="Add", final_op="Div", name=name, **next_keys(mine.graph, size))
    total.set_shape(variable.shape)
    if zero_rows_stay:
        every = np.arange(table_rows, dtype=index_dtype)
        return IndexedSlices(total, build("Identity", every, name=f"{name}/every_row"), gradient.dense_shape)
    touched = _gathered(_unique(gradient.indices)[0], size, f"{name}/indices")
    touched = _unique(touched)[0]
    rows = build("GatherV2", total, touched, np.array(0, np.int32), name=f"{name}/rows")
    return IndexedSlices(rows, touched, gradient.dense_shape)


# ---- fewer rows
def _unique(indices: Tensor) -> tuple[Tensor, Tensor]:
    distinct, position = build("Unique", indices)
    return distinct, position


def _summed(values: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of equal index added up."""
    distinct, position = _unique(indices)
    count = build("StridedSlice", build("Shape", distinct), [0], [1], [1], shrink_axis_mask=1)
    return build("UnsortedSegmentSum", values, position, count), distinct


def _distinct(rows: float, table_rows: int) -> float:
    """How many of `rows` indices differ, expected for indices that are drawn evenly: V (1 - (1 - 1/V)^r)."""
    return -table_rows * expm1(rows * log1p(-1 / table_rows)) if table_rows > 1 else min(rows, table_rows)


def _sums_first(gradient: IndexedSlices, variable: Variable) -> bool:
    if gradient.values.dtype not in _SUMMED or _bags(gradient.values) is not None:
        return False
    indices, table_rows = gradient.indices.shape.num_elements(), variable.shape.dims and variable.shape.dims[0]
    return indices is None or not table_rows or _distinct(indices, table_rows) < _WORTH_SUMMING * indices


@dataclass(frozen=True)
class _Bags:
    """`count` rows, each of them the gradient of `repeats` indices one after another."""

    source: Tensor  # (count, 1, row..), or with more axes of 1
    row: tuple[int, ...]
    count: int
    repeats: int

    def rows(self) -> Tensor:
        return build("Reshape", self.source, np.array([self.count, *self.row], np.int32))  # type: ignore[no-any-return]

    def repeated(self, rows: Tensor, name: str) -> Tensor:
        return build("_RepeatRows", rows, repeats=self.repeats, name=f"{name}/repeated")  # type: ignore[no-any-return]


def _bags(values: Tensor) -> _Bags | None:
    """Recognises the gradient of a sum or mean over gathered rows: Reshape(BroadcastTo((n, 1, row), (n, K, row)))."""
    spread = values.op.inputs[0].op if values.op.type == "Reshape" else values.op
    known = values.shape.is_fully_defined() and spread.outputs[0].shape.is_fully_defined()
    if spread.type != "BroadcastTo" or not known:
        return None
    source, row, after = spread.inputs[0], values.shape.known[1:], spread.outputs[0].shape.known
    axes = len(after) - len(row) - 1  # that the row is repeated along
    if axes < 1 or after[1 + axes:] != row or not source.shape.is_fully_defined():
        return None
    if source.shape.known != (after[0], *(1,) * axes, *row):
        return None
    return _Bags(source, row, after[0], prod(after[1:1 + axes]))


@define("_RepeatRows(rows: T) -> output: T", T=FIXED, repeats=attr("int"), differentiable=False)
def repeat_rows(rows: Array, *, repeats: int) -> Array:
    """output (n * repeats, row..): each of `rows` (n, row..) `repeats` times, one after another."""
    return np.repeat(rows, repeats, 0)


@repeat_rows.shape
def _(op: Operation) -> list[TensorShape]:
    dims = ranked(op, 0, 1, at_least=True).dims
    if dims is None:
        return [UNKNOWN]
    return [TensorShape([None if dims[0] is None else dims[0] * op.attrs["repeats"], *dims[1:]])]


repeat_rows.sample(normal(3, 4), repeats=2)
repeat_rows.sample(normal(2, 2, 3), repeats=0)
