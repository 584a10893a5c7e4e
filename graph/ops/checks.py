"""Ops that stop a run when their input is not what it should be."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..define import Array, define
from ..dtypes import FLOATS
from ..errors import InvalidArgumentError
from ..opdef import attr
from ..operation import Operation, Tensor
from ..samples import normal
from ..shapes import TensorShape
from .rules import first_shape, ranked


@define("CheckNumerics(tensor: T) -> output: T", T=FLOATS, message=attr("string"), stateful=True, aliases=True,
        shape=first_shape)
def check_numerics_op(tensor: Array, *, message: str) -> Array:
    """output = tensor. Raises: InvalidArgumentError, beginning with `message`, where it holds inf or nan."""
    found = [word for word, bad in (("Inf", np.isinf(tensor)), ("NaN", np.isnan(tensor))) if bad.any()]
    if found:
        raise InvalidArgumentError(f"{message} : Tensor had {' and '.join(found)} values")
    return tensor


@check_numerics_op.gradient
def _(op: Operation, grad: Tensor) -> list[Tensor]:
    return [check_numerics_op(grad, message="Not a number (NaN) or infinity (Inf) values detected in gradient.")]


for _dims in ((), (7,), (2, 3), (0, 4)):
    check_numerics_op.sample(normal(*_dims), message="x")
check_numerics_op.sample(np.array([1, np.nan], np.float32), message="x")  # refused
check_numerics_op.sample(np.array([[np.inf]], np.float32), message="x")  # refused


def check_numerics(tensor: Any, message: str, name: str | None = None) -> Tensor:
    """`tensor`, once it is found to hold neither inf nor nan."""
    result: Tensor = check_numerics_op(tensor, message=message, name=name or "CheckNumerics")
    return result


@define("Assert(condition: bool, data: [T])", T=attr("list(type)"), summarize=3, stateful=True, differentiable=False)
def assert_op(condition: Array, data: list[Array], *, summarize: int) -> None:
    """Stops the run where `condition` () is false; the error shows the first `summarize` elements of each of `data`."""
    if not condition:
        shown = (" ".join(map(_text, np.ravel(d)[:None if summarize < 0 else summarize].tolist())) for d in data)
        raise InvalidArgumentError(f"assertion failed: {' '.join(f'[{s}]' for s in shown)}")


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


@assert_op.shape
def _(op: Operation) -> list[TensorShape]:
    ranked(op, 0, 0)
    return []


assert_op.sample(np.array(True), [normal(3), normal()])
assert_op.sample(np.array(False), [normal(3), np.array([1, 2], np.int32)])  # refused
assert_op.sample(np.array(True), [np.array([True])], summarize=-1)
assert_op.sample(np.array(False), [np.array(b"why", object), normal(2)])  # refused

__all__ = ["check_numerics"]
