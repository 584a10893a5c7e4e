"""Nested structures: tuples, lists, named tuples and dicts of anything else, which counts as a leaf.

Loop variables, states of cells and the elements of ``scan`` come as such. Dicts are ordered by key.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .errors import InvalidArgumentError


def is_nested(value: Any) -> bool:
    return isinstance(value, (list, tuple, dict))


def flatten(structure: Any) -> list[Any]:
    """The leaves, from left to right.

    >>> flatten({"b": 3, "a": (1, [2])})
    [1, 2, 3]
    """
    return list(_leaves(structure))


def _leaves(structure: Any) -> Iterator[Any]:
    if isinstance(structure, dict):
        structure = [structure[k] for k in sorted(structure)]
    if isinstance(structure, (list, tuple)):
        for part in structure:
            yield from _leaves(part)
    else:
        yield structure


def pack_sequence_as(structure: Any, flat: Sequence[Any]) -> Any:
    """`flat` in the form of `structure`. Raises: InvalidArgumentError where the numbers of leaves differ.

    >>> pack_sequence_as((0, [0, 0]), [1, 2, 3])
    (1, [2, 3])
    """
    count = len(flatten(structure))
    if count != len(flat):
        raise InvalidArgumentError(f"[nest] the structure has {count} leaves: got {len(flat)} values")
    return _packed(structure, iter(flat))


def _packed(structure: Any, values: Iterator[Any]) -> Any:
    if isinstance(structure, dict):
        packed = {k: _packed(structure[k], values) for k in sorted(structure)}
        return type(structure)((k, packed[k]) for k in structure)
    if isinstance(structure, (list, tuple)):
        return _like(structure, [_packed(part, values) for part in structure])
    return next(values)


def _like(structure: Any, parts: list[Any]) -> Any:
    return type(structure)(*parts) if hasattr(structure, "_fields") else type(structure)(parts)


def map_structure(function: Callable[..., Any], *structures: Any) -> Any:
    """`function` of the leaves at each place. Raises: InvalidArgumentError where the structures differ.

    >>> map_structure(lambda a, b: a + b, (1, [2]), (10, [20]))
    (11, [22])
    """
    for other in structures[1:]:
        assert_same_structure(structures[0], other)
    return pack_sequence_as(structures[0], [function(*leaves) for leaves in zip(*map(flatten, structures))])


def assert_same_structure(a: Any, b: Any, where: str = "nest") -> None:
    """Raises: InvalidArgumentError unless both have the same form, down to the kinds of sequences."""
    if _form(a) != _form(b):
        raise InvalidArgumentError(f"[{where}] the structures differ: {_form(a)} and {_form(b)}")


def _form(structure: Any) -> Any:
    """The structure with "." for leaves, and the names of its sequences' types."""
    if isinstance(structure, dict):
        return {k: _form(structure[k]) for k in sorted(structure)}
    if isinstance(structure, (list, tuple)):
        parts = [_form(part) for part in structure]
        return (type(structure).__name__, *parts) if hasattr(structure, "_fields") else type(structure)(parts)
    return "."
