"""Partial shapes: a known rank with known or unknown dimensions, or nothing known at all."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import Union

from .errors import InvalidArgumentError

ShapeLike = Union["TensorShape", Iterable[int | None], int, None]


class TensorShape:
    """An immutable partial shape. ``TensorShape([None, 784])``, ``TensorShape(None)`` for unknown rank."""

    __slots__ = ("dims",)

    dims: tuple[int | None, ...] | None

    def __init__(self, dims: ShapeLike = None) -> None:
        if dims is None:
            self.dims = None
        elif isinstance(dims, TensorShape):
            self.dims = dims.dims
        elif isinstance(dims, int):
            self.dims = (_dim(dims),)
        else:
            self.dims = tuple([_dim(d) for d in dims])

    @property
    def rank(self) -> int | None:
        return None if self.dims is None else len(self.dims)

    ndims = rank

    @property
    def known(self) -> tuple[int, ...]:
        """The dimensions of a fully defined shape. Raises: ValueError otherwise."""
        if self.dims is None or None in self.dims:
            raise ValueError(f"[shape] {self} is not fully defined")
        return self.dims  # type: ignore[return-value]

    def is_fully_defined(self) -> bool:
        return self.dims is not None and None not in self.dims

    def num_elements(self) -> int | None:
        if self.dims is None:
            return None
        n = 1
        for d in self.dims:
            if d is None:
                return None
            n *= d
        return n

    def as_list(self) -> list[int | None]:
        if self.dims is None:
            raise ValueError("[shape] as_list() of a shape of unknown rank")
        return list(self.dims)

    def with_rank(self, rank: int) -> TensorShape:
        """This shape where its rank is `rank`, unknown dimensions where the rank was unknown."""
        if self.dims is None:
            return TensorShape([None] * rank)
        if len(self.dims) != rank:
            raise InvalidArgumentError(f"[shape] rank differs: {self} has rank {len(self.dims)}, needed {rank}")
        return self

    def is_compatible_with(self, other: ShapeLike) -> bool:
        """True where some full shape fits both."""
        other = as_shape(other)
        if self.dims is None or other.dims is None:
            return True
        return len(self.dims) == len(other.dims) and all(
            a is None or b is None or a == b for a, b in zip(self.dims, other.dims))

    def merge_with(self, other: ShapeLike) -> TensorShape:
        """What both say together. Raises: InvalidArgumentError where they contradict."""
        other = as_shape(other)
        if self.dims is None:
            return other
        if other.dims is None:
            return self
        if not self.is_compatible_with(other):
            raise InvalidArgumentError(f"[shape] shapes contradict: {self} and {other}")
        return TensorShape([b if a is None else a for a, b in zip(self.dims, other.dims)])

    def concatenate(self, other: ShapeLike) -> TensorShape:
        other = as_shape(other)
        return UNKNOWN if self.dims is None or other.dims is None else _make(self.dims + other.dims)

    def __getitem__(self, key: int | slice) -> int | None | TensorShape:
        if isinstance(key, slice):
            return UNKNOWN if self.dims is None else _make(self.dims[key])
        return None if self.dims is None else self.dims[key]

    def __len__(self) -> int:
        if self.dims is None:
            raise ValueError("[shape] len() of a shape of unknown rank")
        return len(self.dims)

    def __iter__(self) -> Iterator[int | None]:
        if self.dims is None:
            raise ValueError("[shape] cannot iterate over a shape of unknown rank")
        return iter(self.dims)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TensorShape):
            return self.dims == other.dims
        if isinstance(other, (tuple, list)):
            return self.dims == tuple(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.dims)

    def __repr__(self) -> str:
        return f"TensorShape({None if self.dims is None else list(self.dims)})"

    def __str__(self) -> str:
        """``(32, ?)``, ``()`` for a scalar, ``<unknown>``."""
        if self.dims is None:
            return "<unknown>"
        text = ", ".join("?" if d is None else str(d) for d in self.dims)
        return f"({text},)" if len(self.dims) == 1 else f"({text})"


def _dim(d: object) -> int | None:
    if d is None:
        return None
    n = int(d)  # type: ignore[call-overload]
    if n < 0:
        if n == -1:
            return None
        raise InvalidArgumentError(f"[shape] a dimension must be >= 0 or None, got {n}")
    return n  # type: ignore[no-any-return]


def _make(dims: tuple[int | None, ...]) -> TensorShape:
    shape = TensorShape.__new__(TensorShape)
    shape.dims = dims
    return shape


UNKNOWN = TensorShape(None)
SCALAR = TensorShape(())


def as_shape(value: ShapeLike) -> TensorShape:
    return value if isinstance(value, TensorShape) else TensorShape(value)


def broadcast(a: TensorShape, b: TensorShape, where: str = "broadcast") -> TensorShape:
    """The shape that NumPy's rule gives. Raises: InvalidArgumentError where the shapes do not broadcast."""
    if a.dims is None or b.dims is None:
        return UNKNOWN
    if a.dims == b.dims:
        return a
    rank = max(len(a.dims), len(b.dims))
    x = (1,) * (rank - len(a.dims)) + a.dims
    y = (1,) * (rank - len(b.dims)) + b.dims
    out: list[int | None] = []
    for axis, (m, n) in enumerate(zip(x, y)):
        if m == 1:
            out.append(n)
        elif n == 1 or m == n:
            out.append(m)
        elif m is None or n is None:
            out.append(n if m is None else m)
        else:
            raise InvalidArgumentError(
                f"[{where}] shapes do not broadcast: {a} and {b} differ in dimension {axis - rank} ({m} and {n})")
    return _make(tuple(out))


def broadcast_all(shapes: Iterable[TensorShape], where: str) -> TensorShape:
    """The shape that all of at least one broadcast to. Raises: as ``broadcast``."""
    return reduce(lambda a, b: broadcast(a, b, where), shapes)
