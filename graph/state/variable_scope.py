"""Variables shared by name: ``get_variable`` inside ``variable_scope``.

Each graph has one store of variables by full name and a current scope, which prefixes names, says whether variables
that exist are reused, and holds defaults. Scopes are not name scopes of operations, though each opens one.
"""
from __future__ import annotations

import contextlib
import enum
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import AlreadyExistsError, GraphError, InvalidArgumentError, NotFoundError
from ..graph import GraphKeys, get_default_graph
from ..operation import Tensor
from ..shapes import TensorShape
from .variables import Variable

Regularizer = Callable[[Tensor], "Tensor | None"]


class _Reuse(enum.Enum):
    AUTO_REUSE = 1


AUTO_REUSE = _Reuse.AUTO_REUSE  # reuse what exists, create what does not
Reuse = bool | _Reuse | None


class VariableScope:
    """Where ``get_variable`` makes names: a prefix, whether existing variables are reused, and defaults."""

    def __init__(self, name: str, reuse: Reuse, initializer: Any, regularizer: Regularizer | None, dtype: dtypes.DType,
                 use_resource: bool | None, store: _Store) -> None:
        self.name = name
        self.reuse = reuse
        self.initializer = initializer
        self.regularizer = regularizer
        self.dtype = dtype
        self.use_resource = use_resource
        self.original_name_scope = ""
        self._store = store

    def reuse_variables(self) -> None:
        """From here on, ``get_variable`` in this scope fetches variables that exist."""
        self.reuse = True

    def set_initializer(self, initializer: Any) -> None:
        self.initializer = initializer

    def set_regularizer(self, regularizer: Regularizer | None) -> None:
        self.regularizer = regularizer

    def global_variables(self) -> list[Variable]:
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def trainable_variables(self) -> list[Variable]:
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def get_collection(self, name: str) -> list[Any]:
        """What the collection holds that was made in this scope."""
        return get_default_graph().get_collection(name, f"{re.escape(self.name)}/" if self.name else None)


class _Store:
    """The variables of a graph by full name, and how often each scope was opened (for default names)."""

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
        self._opened: dict[str, int] = {}

    def open(self, scope: str) -> None:
        self._opened[scope] = self._opened.get(scope, 0) + 1

    def close_below(self, scope: str) -> None:
        """Scopes inside are counted from the start again: entering twice gives the same default names twice."""
        for name in self._opened:
            if name.startswith(f"{scope}/"):
                self._opened[name] = 0

    def unique(self, prefix: str, leaf: str) -> str:
        """`leaf`, with a number where a scope of that name has been opened under `prefix`."""
        name, i = leaf, 0
        while self._opened.get(_join(prefix, name), 0):
            i += 1
            name = f"{leaf}_{i}"
        return name


def _join(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name


def get_variable_scope() -> VariableScope:
    """The current scope of the default graph."""
    graph = get_default_graph()
    if graph._variable_scope is None:
        graph._variable_scope = VariableScope("", False, None, None, dtypes.float32, None, _Store())
    return graph._variable_scope  # type: ignore[no-any-return]


@contextlib.contextmanager
def variable_scope(name_or_scope: str | VariableScope | None, default_name: str | None = None, values: Any = None,
                   initializer: Any = None, regularizer: Regularizer | None = None, reuse: Reuse = None,
                   dtype: Any = None, use_resource: bool | None = None, auxiliary_name_scope: bool = True,
                   **ignored: Any) -> Iterator[VariableScope]:
    """Variables of ``get_variable`` inside are named ``scope/name``.

    Args: name_or_scope: a name below the current scope, or a scope to enter again; default_name: used, with a number
    where it is taken, where the name is None; reuse: True to fetch variables that exist, ``rf.AUTO_REUSE`` to make them
    otherwise, None or False to do as the scope around does; initializer, regularizer, dtype: defaults for variables.
    Raises: InvalidArgumentError where there is neither a name nor a default.
    """
    unknown = set(ignored) - {"caching_device", "partitioner", "constraint"}
    if unknown or ignored.get("partitioner"):
        raise TypeError(f"variable_scope() has no argument {(unknown or {'partitioner'}).pop()!r}")
    graph = get_default_graph()
    outer = get_variable_scope()
    template = name_or_scope if isinstance(name_or_scope, VariableScope) else outer
    if isinstance(name_or_scope, VariableScope):
        name, leaf = name_or_scope.name, name_or_scope.name.rsplit("/", 1)[-1]
    else:
        if name_or_scope is None and not default_name:
            raise InvalidArgumentError("[variable_scope] a name is needed, or a default_name")
        leaf = name_or_scope if name_or_scope is not None else outer._store.unique(outer.name, default_name or "")
        name = _join(outer.name, leaf) if leaf else outer.name
    scope = VariableScope(
        name, reuse or template.reuse, initializer if initializer is not None else template.initializer,
        regularizer or template.regularizer, template.dtype if dtype is None else dtypes.as_dtype(dtype),
        template.use_resource if use_resource is None else use_resource, outer._store)
    outer._store.open(name)
    graph._variable_scope = scope
    try:
        if not leaf or not auxiliary_name_scope:
            yield scope
        else:
            with graph.name_scope(leaf) as scope.original_name_scope:
                yield scope
    finally:
        outer._store.close_below(name)
        graph._variable_scope = outer


def get_variable(name: str, shape: Any = None, dtype: Any = None, initializer: Any = None,
                 regularizer: Regularizer | None = None, trainable: bool = True,
                 collections: Sequence[str] | None = None, use_resource: bool | None = None,
                 validate_shape: bool = True, **ignored: Any) -> Variable:
    """The variable `name` of the current variable scope, made on first use.

    Args: initializer: an array, a tensor, or ``f(shape, dtype)`` (default the scope's, else Glorot uniform, zeros for
    integers); dtype: default the scope's, or that of the initial value.
    Raises: AlreadyExistsError where it exists and the scope does not reuse; NotFoundError where it does not and the
    scope only reuses; InvalidArgumentError where shape or dtype differs.
    """
    unknown = set(ignored) - {"caching_device", "partitioner", "constraint", "custom_getter"}
    if unknown or ignored.get("partitioner") or ignored.get("custom_getter"):
        raise TypeError(f"get_variable() has no argument {(unknown or {'partitioner or custom_getter'}).pop()!r}")
    scope = get_variable_scope()
    full = _join(scope.name, name)
    existing = scope._store.variables.get(full)
    if existing is not None:
        return _reused(existing, full, scope, shape, dtype)
    if scope.reuse is True:
        raise NotFoundError(f"[get_variable] variable {full!r} does not exist. Fix: create it first, or use "
                            "rf.AUTO_REUSE")
    variable = _made(full, scope, shape, dtype, initializer if initializer is not None else scope.initializer,
                     trainable=trainable, collections=collections, validate_shape=validate_shape,
                     use_resource=scope.use_resource if use_resource is None else use_resource)
    scope._store.variables[full] = variable
    regularizer = regularizer or scope.regularizer
    if regularizer is not None:
        with get_default_graph().name_scope(f"{full}/Regularizer/"):
            loss = regularizer(variable.value())
        if loss is not None:
            get_default_graph().add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
    return variable


def _reused(variable: Variable, full: str, scope: VariableScope, shape: Any, dtype: Any) -> Variable:
    if not scope.reuse:
        raise AlreadyExistsError(f"[get_variable] variable {full!r} already exists.{variable.op.where} "
                                 "Fix: use variable_scope(..., reuse=True) or another name")
    if shape is not None and not variable.shape.is_compatible_with(shape):
        raise InvalidArgumentError(f"[get_variable] {full!r} has shape {variable.shape}, asked for "
                                   f"{TensorShape(shape)}")
    if dtype is not None and variable.dtype is not dtypes.as_dtype(dtype):
        raise InvalidArgumentError(f"[get_variable] {full!r} is {variable.dtype}, asked for {dtypes.as_dtype(dtype)}")
    return variable


def _made(full: str, scope: VariableScope, shape: Any, dtype: Any, initializer: Any, **options: Any) -> Variable:
    """A new variable. What its initializer makes is made outside of all name scopes, and of loops and branches."""
    of_value = getattr(initializer, "dtype", None) if not callable(initializer) else None
    wanted = dtypes.as_dtype(dtype if dtype is not None else of_value if of_value is not None else scope.dtype)
    if initializer is None:
        from .initializers import glorot_uniform_initializer, zeros_initializer

        initializer = glorot_uniform_initializer() if wanted.is_floating else zeros_initializer()
    if isinstance(initializer, type):
        initializer = initializer()
    make = initializer
    if callable(initializer):
        if shape is None:
            raise InvalidArgumentError(f"[get_variable] {full!r} needs a shape")
        dims = TensorShape(shape).known
        make = lambda: initializer(dims, wanted)  # noqa: E731
    elif shape is not None:
        given = TensorShape(getattr(initializer, "shape", np.shape(initializer)))
        if not given.is_compatible_with(shape):
            raise InvalidArgumentError(f"[get_variable] {full!r}: 'shape' is {TensorShape(shape)}, the initial value "
                                       f"has shape {given}")
    with get_default_graph().name_scope(""):
        variable = Variable(make, name=full, dtype=wanted, **options)
    if variable.op.name != full:
        raise GraphError(f"[get_variable] the name {full!r} is taken by an operation; the variable became "
                         f"{variable.op.name!r}")
    return variable
