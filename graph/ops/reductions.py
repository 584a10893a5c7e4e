"""The functions reduce_sum, reduce_mean, ... : an axis given as Python numbers, TensorFlow's old argument names."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..define import convert_to_tensor
from ..operation import Tensor
from .math_unary import exp, log
from .rules import build


def _reduce(op: str, x: Any, axis: Any, keepdims: bool | None, name: str | None, old: dict[str, Any]) -> Tensor:
    """`old`: TensorFlow's earlier names of the arguments."""
    unknown = set(old) - {"reduction_indices", "keep_dims"}
    if unknown:
        raise TypeError(f"reduce_{op.lower()}() has no argument {unknown.pop()!r}")
    if axis is not None and "reduction_indices" in old:
        raise TypeError(f"reduce_{op.lower()}(): give 'axis' or 'reduction_indices', not both")
    axis = old.get("reduction_indices", axis)
    keepdims = old.get("keep_dims", keepdims)
    tensor = convert_to_tensor(x)
    result: Tensor = build(
        op, tensor, _all_axes(tensor) if axis is None else _axis_input(axis), keep_dims=bool(keepdims), name=name
    )
    return result


def _all_axes(x: Tensor) -> Any:
    return (
        np.arange(x.shape.rank, dtype=np.int32) if x.shape.rank is not None else build("Range", 0, build("Rank", x), 1)
    )


def _axis_input(axis: Any) -> Any:
    if isinstance(axis, int) or (isinstance(axis, (tuple, list, range)) and all(isinstance(a, int) for a in axis)):
        return np.array(axis, np.int32)
    return axis


def reduce_sum(input_tensor: Any, axis: Any = None, keepdims: bool | None = None, name: str | None = None,
               **old: Any) -> Tensor:
    """Sum along `axis` (an int, a list or a tensor; None: all). 0 of no elements. The result has x's other axes."""
    return _reduce("Sum", input_tensor, axis, keepdims, name, old)


def reduce_mean(input_tensor: Any, axis: Any = None, keepdims: bool | None = None, name: str | None = None,
                **old: Any) -> Tensor:
    """Mean along `axis` (None: all). nan of no elements; integers drop the fraction."""
    return _reduce("Mean", input_tensor, axis, keepdims, name, old)


def reduce_prod(input_tensor: Any, axis: Any = None, keepdims: bool | None = None, name: str | None = None,
                **old: Any) -> Tensor:
    """Product along `axis` (None: all). 1 of no elements."""
    return _reduce("Prod", input_tensor, axis, keepdims, name, old)


def reduce_max(input_tensor: Any, axis: Any = None, keepdims: bool | None = None, name: str | None = None,
               **old: Any) -> Tensor:
    """Largest element along `axis` (None: all). -inf of no elements."""
    return _reduce("Max", input_tensor, axis, keepdims, name, old)


def reduce_min(input_tensor: Any, axis: Any = None, keepdims: bool | None = None, name: str | None = None,
               **old: Any) -> Tensor:
    """Smallest element along `axis` (None: all). +inf of no elements."""
    return _reduce("Min", input_tensor, axis, keepdims, name, old)


def reduce_all(input_tensor: Any, axis: Any = None, keepdims: bool | None = None, name: str | None = None,
               **old: Any) -> Tensor:
    """Whether every element along `axis` (None: all) is true."""
    return _reduce("All", input_tensor, axis, keepdims, name, old)


def reduce_any(input_tensor: Any, axis: Any = None, keepdims: bool | None = None, name: str | None = None,
               **old: Any) -> Tensor:
    """Whether some element along `axis` (None: all) is true."""
    return _reduce("Any", input_tensor, axis, keepdims, name, old)


def reduce_logsumexp(input_tensor: Any, axis: Any = None, keepdims: bool | None = None, name: str | None = None,
                     **old: Any) -> Tensor:
    """log(sum(exp(x))) along `axis`, without overflow."""
    x = convert_to_tensor(input_tensor)
    top = build("StopGradient", reduce_max(x, axis, True, **{k: v for k, v in old.items() if k != "keep_dims"}))
    total = log(reduce_sum(exp(x - top), axis, keepdims, **old))
    result: Tensor = build("AddV2", total, build("Reshape", top, build("Shape", total)), name=name)
    return result
