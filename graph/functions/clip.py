"""Clipping: values to a range, tensors and lists of gradients to a length."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..graph import get_default_graph
from ..indexed_slices import IndexedSlices
from ..operation import Tensor
from ..ops.core import identity
from ..ops.math_binary import add_n, maximum, minimum
from ..ops.math_unary import rsqrt, sqrt, square
from ..ops.reduce import l2_loss
from ..ops.reductions import reduce_sum


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Tensor:
    """min(max(t, clip_value_min), clip_value_max); the limits are scalars or broadcast to t's shape.

    >>> clip_by_value([-2., 0., 5.], -1., 1.).shape
    TensorShape([3])
    """
    with get_default_graph().name_scope(name or "clip_by_value") as scope:
        result: Tensor = maximum(minimum(t, clip_value_max), clip_value_min, name=scope)
        return result


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Tensor:
    """t, scaled down to the length `clip_norm` along `axes` (default all) where it is longer."""
    x = convert_to_tensor(t)
    with get_default_graph().name_scope(name or "clip_by_norm") as scope:
        length = rsqrt(maximum(reduce_sum(square(x), axes, keepdims=True), np.finfo(x.dtype.as_numpy_dtype).tiny))
        result = identity(x * clip_norm * minimum(length, 1.0 / convert_to_tensor(clip_norm, x.dtype)), name=scope)
        result.set_shape(x.shape)
        return result  # type: ignore[no-any-return]


def global_norm(t_list: Sequence[Any], name: str | None = None) -> Tensor:
    """sqrt(sum of the squares of all elements of all tensors), a scalar; None in the list counts as 0.

    Raises: InvalidArgumentError where there is no tensor.
    """
    values = [_values(t) for t in t_list if t is not None]
    if not values:
        raise InvalidArgumentError("[global_norm] there is no tensor in the list")
    with get_default_graph().name_scope(name or "global_norm") as scope:
        result: Tensor = sqrt(add_n([l2_loss(v) for v in values]) * 2.0, name=scope)
        return result


def clip_by_global_norm(t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None, name: str | None = None
                        ) -> tuple[list[Any], Tensor]:
    """(t_list scaled by clip_norm / max(norm, clip_norm), norm), where norm is ``global_norm(t_list)``.

    IndexedSlices stay such, and None stays None. A norm that is not finite makes everything nan.
    """
    with get_default_graph().name_scope(name or "clip_by_global_norm"):
        norm = global_norm(t_list) if use_norm is None else convert_to_tensor(use_norm)
        scale = clip_norm / maximum(norm, clip_norm) + (norm - norm)  # inf - inf is nan
        return [_scaled(t, scale) for t in t_list], norm


def _values(t: Any) -> Tensor:
    return t.values if isinstance(t, IndexedSlices) else convert_to_tensor(t)


def _scaled(t: Any, scale: Tensor) -> Any:
    if t is None:
        return None
    scaled = _values(t) * scale
    return IndexedSlices(scaled, t.indices, t.dense_shape) if isinstance(t, IndexedSlices) else scaled
