"""Functions over the first dimension of tensors: ``map_fn``, ``scan``, ``foldl``, ``foldr``.

`elems` may be a structure of tensors of one first dimension n; the function then gets a structure of rows. They run in
a loop, so n may be known to a run only.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..control_flow import while_loop
from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..graph import get_default_graph
from ..nest import assert_same_structure, flatten, map_structure, pack_sequence_as
from ..operation import Tensor
from ..ops.rules import build
from ..shapes import TensorShape
from ..state.tensor_array import TensorArray


class _Rows:
    """The rows of a structure of tensors, readable in a loop."""

    def __init__(self, elems: Any) -> None:
        self.tensors = [convert_to_tensor(e) for e in flatten(elems)]
        for t in self.tensors:
            if t.shape.rank == 0:
                raise InvalidArgumentError(f"[functional] elements must have a first dimension: {t!r} is a scalar")
        self._structure = elems
        first = self.tensors[0]
        self.known = first.shape[0] if first.shape.rank else None
        self.n: Any = self.known if self.known is not None else build("Shape", first)[0]
        self._arrays = [TensorArray(t.dtype, size=self.n, clear_after_read=False).unstack(t) for t in self.tensors]

    def __getitem__(self, i: Any) -> Any:
        rows = [a.read(i) for a in self._arrays]
        for row, t in zip(rows, self.tensors):
            row.set_shape(t.shape[1:])
        return pack_sequence_as(self._structure, rows)


def _count(i: int | Tensor) -> Tensor:
    return i if isinstance(i, Tensor) else convert_to_tensor(np.array(i, np.int32))


def _run(condition: Callable[..., Any], body: Callable[..., Any], start: tuple[Any, ...],
         options: dict[str, Any]) -> Any:
    return while_loop(condition, body, start, **{k: v for k, v in options.items() if v is not None})


def map_fn(fn: Callable[[Any], Any], elems: Any, dtype: Any = None, parallel_iterations: int | None = None,
           back_prop: bool = True, swap_memory: bool = False, infer_shape: bool = True, name: str | None = None) -> Any:
    """The results of `fn` for each row of `elems`, stacked: (n, result..).

    Args: dtype: a structure of the dtypes of the results, needed where they differ from those of elems.

    >>> import ringflow as rf
    >>> with rf.Session(): rf.map_fn(lambda x: x * x, rf.constant([1, 2, 3])).eval().tolist()
    [1, 4, 9]
    """
    with get_default_graph().name_scope(name or "map"):
        rows = _Rows(elems)
        kinds = map_structure(dtypes.as_dtype, dtype) if dtype is not None else \
            pack_sequence_as(elems, [t.dtype for t in rows.tensors])
        arrays = map_structure(lambda d: TensorArray(d, size=rows.n, infer_shape=infer_shape), kinds)

        def body(i: Tensor, written: Any) -> tuple[Tensor, Any]:
            result = fn(rows[i])
            assert_same_structure(kinds, result, "map_fn")
            return i + 1, map_structure(lambda a, v: a.write(i, v), written, result)

        _, arrays = _run(lambda i, *_: build("Less", i, rows.n), body, (_count(0), arrays),
                         {"parallel_iterations": parallel_iterations or 10, "back_prop": back_prop,
                          "swap_memory": swap_memory, "maximum_iterations": rows.n})
        return _stacked(arrays, rows.known)


def _stacked(arrays: Any, n: Any) -> Any:
    def joined(array: TensorArray) -> Tensor:
        value = array.stack()
        if value.shape.rank is not None:
            value.set_shape(TensorShape([n]).concatenate(value.shape[1:]))
        return value
    return map_structure(joined, arrays)


def scan(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, parallel_iterations: int = 10,
         back_prop: bool = True, swap_memory: bool = False, infer_shape: bool = True, reverse: bool = False,
         name: str | None = None) -> Any:
    """a[i] = fn(a[i-1], elems[i]) for every row, stacked: (n, a..). a[-1] is `initializer`, or a[0] is elems[0].

    `reverse`: from the last row to the first, a[i] = fn(a[i+1], elems[i]).

    >>> import ringflow as rf
    >>> with rf.Session(): rf.scan(lambda a, x: a + x, rf.constant([1, 2, 3])).eval().tolist()
    [1, 3, 6]
    """
    with get_default_graph().name_scope(name or "scan"):
        rows = _Rows(elems)
        last: Any = rows.n - 1
        first: Any = last if reverse else 0
        start = map_structure(convert_to_tensor, initializer) if initializer is not None else rows[first]
        arrays = map_structure(lambda a: TensorArray(a.dtype, size=rows.n, infer_shape=infer_shape), start)
        i: Any = first
        if initializer is None:
            arrays = map_structure(lambda array, a: array.write(first, a), arrays, start)
            i = first + (-1 if reverse else 1)

        def body(i: Tensor, a: Any, written: Any) -> tuple[Any, ...]:
            result = fn(a, rows[i])
            assert_same_structure(a, result, "scan")
            written = map_structure(lambda array, v: array.write(i, v), written, result)
            return i + (-1 if reverse else 1), result, written

        _, _, arrays = _run(lambda i, *_: build("GreaterEqual", i, 0) if reverse else build("Less", i, rows.n), body,
                            (_count(i), start, arrays),
                            {"parallel_iterations": parallel_iterations, "back_prop": back_prop,
                             "swap_memory": swap_memory, "maximum_iterations": rows.n})
        return _stacked(arrays, rows.known)


def foldl(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, parallel_iterations: int = 10,
          back_prop: bool = True, swap_memory: bool = False, name: str | None = None) -> Any:
    """fn(... fn(fn(initializer, elems[0]), elems[1]) ..., elems[n-1]); without an initializer from elems[0] on."""
    return _fold(fn, elems, initializer, False, parallel_iterations, back_prop, swap_memory, name or "foldl")


def foldr(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, parallel_iterations: int = 10,
          back_prop: bool = True, swap_memory: bool = False, name: str | None = None) -> Any:
    """``foldl`` from the last row to the first."""
    return _fold(fn, elems, initializer, True, parallel_iterations, back_prop, swap_memory, name or "foldr")


def _fold(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any, backwards: bool, parallel_iterations: int,
          back_prop: bool, swap_memory: bool, name: str) -> Any:
    with get_default_graph().name_scope(name):
        rows = _Rows(elems)

        def at(i: Any) -> Any:
            return rows[rows.n - 1 - i] if backwards else rows[i]

        start = map_structure(convert_to_tensor, initializer) if initializer is not None else at(0)
        _, result = _run(lambda i, *_: build("Less", i, rows.n), lambda i, a: (i + 1, fn(a, at(i))),
                         (_count(0 if initializer is not None else 1), start),
                         {"parallel_iterations": parallel_iterations, "back_prop": back_prop,
                          "swap_memory": swap_memory, "maximum_iterations": rows.n})
        return result
