"""rf.case and rf.switch_case: more than two branches, as conds in the false branches of conds."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes, nest
from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..graph import get_default_graph
from ..indexed_slices import IndexedSlices
from ..operation import Operation, Tensor
from .cond import Branch, checked_pred, cond
from .contexts import call


def case(pred_fn_pairs: Any, default: Branch | None = None, exclusive: bool = False, strict: bool = False,
         name: str = "case") -> Any:
    """What the function of the first true predicate returns, else what `default` () returns.

    `pred_fn_pairs`: pairs of a bool scalar and a function, or a dict of them (then `exclusive` is needed: a dict says
    nothing of order). `exclusive`: it is an error of the run where more than one predicate is true. Without a default,
    it is an error of the run where none is.
    Raises: TypeError for what are no such pairs; InvalidArgumentError as `cond`.

    >>> x = convert_to_tensor(3)
    >>> case([(x < 0, lambda: -1), (x > 0, lambda: 1)], default=lambda: 0).dtype
    rf.int32
    """
    pairs = list(pred_fn_pairs.items()) if isinstance(pred_fn_pairs, dict) else list(pred_fn_pairs)
    if not pairs or any(not isinstance(p, (tuple, list)) or len(p) != 2 or not callable(p[1]) for p in pairs):
        raise TypeError(f"[case] pairs of a predicate and a function are needed: got {pred_fn_pairs!r:.80}")
    if isinstance(pred_fn_pairs, dict) and not exclusive:
        raise TypeError("[case] a dict has no order of predicates. Fix: pass a list of pairs, or exclusive=True")
    graph = get_default_graph()
    with graph.name_scope(name):
        preds = [checked_pred(convert_to_tensor(p)) for p, _ in pairs]
        functions = [f for _, f in pairs]
        checks = []
        if exclusive or default is None:
            count = call("AddN", [call("Cast", p, DstT=dtypes.int32) for p in preds])
            if exclusive:
                checks.append(_assertion(call("LessEqual", count, 1), "[case] more than one predicate is true", preds))
            if default is None:
                checks.append(_assertion(call("Greater", count, 0), "[case] no predicate is true", preds))
        if default is None:
            default = functions.pop()
        with graph.control_dependencies(checks):
            if checks:
                preds = [call("Identity", p) for p in preds]
            if not functions:
                return nest.map_structure(_waiting, default())
            return _chain(preds, functions, default, strict)


def _assertion(condition: Tensor, message: str, data: Sequence[Tensor]) -> Operation:
    op: Operation = call("Assert", condition, [np.array(message.encode(), object), *data])
    return op


def _chain(preds: Sequence[Tensor], functions: Sequence[Branch], default: Branch, strict: bool) -> Any:
    if not functions:
        return default()
    rest = _chain_later(preds[1:], functions[1:], default, strict)
    return cond(preds[0], functions[0], rest, strict=strict)


def _waiting(value: Any) -> Any:
    return value if isinstance(value, (Operation, IndexedSlices)) or hasattr(value, "with_flow") else call(
        "Identity", value)


def _chain_later(preds: Sequence[Tensor], functions: Sequence[Branch], default: Branch, strict: bool) -> Branch:
    return lambda: _chain(preds, functions, default, strict)


def switch_case(branch_index: Any, branch_fns: Any, default: Branch | None = None, name: str | None = None) -> Any:
    """What ``branch_fns[branch_index]()`` returns; outside of the range, what `default` (or the last function) does.

    `branch_index`: an int32 scalar. `branch_fns`: functions, pairs (index, function), or a dict from index to function.
    Raises: InvalidArgumentError where `branch_index` is no integer scalar; TypeError for what are no functions.
    """
    pairs: list[Any]
    if isinstance(branch_fns, dict):
        pairs = sorted(branch_fns.items())
    else:
        pairs = [f if isinstance(f, (tuple, list)) else (i, f) for i, f in enumerate(branch_fns)]
    if not pairs or any(not callable(f) for _, f in pairs):
        raise TypeError(f"[switch_case] functions are needed: got {branch_fns!r:.80}")
    with get_default_graph().name_scope(name or "switch_case"):
        index = convert_to_tensor(branch_index, name="branch_index")
        if not index.dtype.is_integer or index.shape.rank not in (None, 0):
            raise InvalidArgumentError(f"[switch_case] branch_index must be an integer scalar: {index.name!r} is "
                                       f"{index.dtype} of shape {index.shape}")
        preds = [call("Equal", index, np.array(i, index.dtype.as_numpy_dtype)) for i, _ in pairs]
        if default is None:
            return _chain(preds[:-1], [f for _, f in pairs[:-1]], pairs[-1][1], strict=False)
        return _chain(preds, [f for _, f in pairs], default, strict=False)


__all__ = ["case", "switch_case"]
