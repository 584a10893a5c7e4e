"""Functions on arrays that are made of several ops: ranges, masks, identity matrices, norms."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..graph import get_default_graph
from ..operation import Tensor
from ..ops.array import range_
from ..ops.cast import cast
from ..ops.compare import less, not_equal
from ..ops.core import zeros_like
from ..ops.gather import gather
from ..ops.math import abs, where
from ..ops.math_unary import sqrt, square
from ..ops.reductions import reduce_max, reduce_sum
from ..ops.rules import build
from ..ops.shape_ops import expand_dims, reshape
from ..shapes import TensorShape


def linspace(start: Any, stop: Any, num: int, name: str | None = None) -> Tensor:
    """`num` numbers from `start` to `stop`, both included, at equal distances.

    >>> linspace(0.0, 1.0, 5).shape
    TensorShape([5])
    """
    if num < 1:
        raise InvalidArgumentError(f"[linspace] 'num' must be at least 1: got {num}")
    with get_default_graph().name_scope(name or "LinSpace"):
        first = convert_to_tensor(start, None if hasattr(start, "dtype") else dtypes.float32)
        steps = np.arange(num) / max(num - 1, 1)
        return first + (convert_to_tensor(stop, first.dtype) - first) * steps.astype(first.dtype.as_numpy_dtype)


def eye(num_rows: int, num_columns: int | None = None, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """The (num_rows, num_columns) matrix of ones on the diagonal and zeros elsewhere."""
    return convert_to_tensor(np.eye(num_rows, num_columns), dtype, name=name or "eye")


def diag(diagonal: Any, name: str | None = None) -> Tensor:
    """The (n, n) matrix with `diagonal` (n,) on the diagonal and zeros elsewhere."""
    x = convert_to_tensor(diagonal)
    if x.shape.rank != 1:
        raise InvalidArgumentError(f"[diag] 'diagonal' must be (n,): it has shape {x.shape}")
    with get_default_graph().name_scope(name or "Diag"):
        n = x.shape[0] if x.shape[0] is not None else build("Shape", x)[0]
        return expand_dims(x, 1) * cast(build("OneHot", range_(n), n, True, False), x.dtype)


def diag_part(input: Any, name: str | None = None) -> Tensor:
    """The diagonal (n,) of a matrix (n, n)."""
    x = convert_to_tensor(input)
    with get_default_graph().name_scope(name or "DiagPart"):
        n = build("Shape", x)[0]
        return gather(reshape(x, [-1]), range_(n) * (n + 1))


def trace(x: Any, name: str | None = None) -> Tensor:
    """The sum of the diagonal of a matrix (n, n)."""
    return reduce_sum(diag_part(x), name=name)


def meshgrid(*args: Any, indexing: str = "xy") -> list[Tensor]:
    """Tensors that together go through all combinations of the elements of `args` (1-D), as in NumPy."""
    if indexing not in ("xy", "ij"):
        raise InvalidArgumentError(f"[meshgrid] 'indexing' must be 'xy' or 'ij': got {indexing!r}")
    with get_default_graph().name_scope("meshgrid"):
        axes = [reshape(convert_to_tensor(a), [-1 if k == i else 1 for k, _ in enumerate(args)])
                for i, a in enumerate(args)]
        if indexing == "xy" and len(axes) > 1:
            order = [1, 0, *range(2, len(axes))]
            axes = [build("Transpose", a, np.array(order, np.int32)) for a in axes]
        shape = build("Shape", sum(cast(zeros_like(a), dtypes.int32) for a in axes))
        return [build("BroadcastTo", a, shape) for a in axes]


def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = dtypes.bool_, name: str | None = None) -> Tensor:
    """True at the first lengths[..] of `maxlen` places (default the longest), else False: (lengths.., maxlen).

    >>> sequence_mask([1, 3, 2], 4).shape
    TensorShape([3, 4])
    """
    n = convert_to_tensor(lengths)
    with get_default_graph().name_scope(name or "SequenceMask"):
        most = reduce_max(n) if maxlen is None else convert_to_tensor(maxlen, n.dtype)
        zero, one = (np.array(k, n.dtype.as_numpy_dtype) for k in (0, 1))
        mask = less(build("Range", zero, most, one), expand_dims(n, -1))
        return mask if dtypes.as_dtype(dtype) is dtypes.bool_ else cast(mask, dtype)


def boolean_mask(tensor: Any, mask: Any, name: str = "boolean_mask", axis: int | None = None) -> Tensor:
    """What of `tensor` lies where `mask`, of the shape of its dimensions from `axis` (default 0) on, is True, in one
    dimension. Raises: InvalidArgumentError where the mask's rank is 0 or not known, or shapes differ."""
    x, chosen, at = convert_to_tensor(tensor), convert_to_tensor(mask, dtypes.bool_), axis or 0
    rank = chosen.shape.rank
    if not rank or x.shape.rank is None:
        raise InvalidArgumentError(f"[boolean_mask] the ranks must be known and the mask's not 0: tensor {x.shape}, "
                                   f"mask {chosen.shape}")
    whole = TensorShape(x.shape.dims[at:at + rank] if x.shape.dims is not None else None)
    if not whole.is_compatible_with(chosen.shape):
        raise InvalidArgumentError(f"[boolean_mask] shapes differ: tensor {x.shape} from axis {at} on, mask "
                                   f"{chosen.shape}")
    with get_default_graph().name_scope(name):
        shape = build("Shape", x)
        flat = reshape(x, build("ConcatV2", [shape[:at], [-1], shape[at + rank:]], 0))
        rows = build("Squeeze", where(reshape(chosen, [-1])), squeeze_dims=[1])
        return gather(flat, rows, axis=at)


def count_nonzero(input_tensor: Any, axis: Any = None, keepdims: bool | None = None, dtype: Any = dtypes.int64,
                  name: str | None = None) -> Tensor:
    """How many elements differ from 0 along `axis` (default all)."""
    x = convert_to_tensor(input_tensor)
    zero = np.zeros((), x.dtype.as_numpy_dtype)
    return reduce_sum(cast(not_equal(x, zero), dtype), axis, keepdims, name=name)


def norm(tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: bool | None = None, name: str | None = None,
         keep_dims: bool | None = None) -> Tensor:
    """The length of vectors along `axis` (default all): ord "euclidean" or 2, 1, or np.inf."""
    x = convert_to_tensor(tensor)
    keep = keepdims if keep_dims is None else keep_dims
    with get_default_graph().name_scope(name or "norm"):
        if ord in ("euclidean", 2):
            return sqrt(reduce_sum(square(x), axis, keep))  # type: ignore[no-any-return]
        if ord == 1:
            return reduce_sum(abs(x), axis, keep)
        if ord == np.inf:
            return reduce_max(abs(x), axis, keep)
        raise InvalidArgumentError(f"[norm] 'ord' must be 'euclidean', 1, 2 or inf: got {ord!r}")


