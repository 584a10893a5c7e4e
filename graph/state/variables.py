"""Variables: tensors that keep their value from run to run.

A variable is a ``VariableV2`` node with an ``Assign`` that initialises it and an ``Identity`` that reads it. Its value
lives in a container of the session's resources.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .. import dtypes
from ..default_session import default_session
from ..define import convert_to_tensor
from ..errors import InvalidArgumentError
from ..graph import Graph, GraphKeys, get_default_graph
from ..opdef import OPS
from ..operation import Operation, Tensor
from ..shapes import TensorShape


class Variable:
    """A variable with an initial value (a tensor, array, or a function that makes one)."""

    def __init__(self, initial_value: Any = None, trainable: bool = True, collections: Sequence[str] | None = None,
                 validate_shape: bool = True, name: str | None = None, dtype: Any = None,
                 use_resource: bool | None = None, **ignored: Any) -> None:
        """Args: trainable: whether optimizers update it; collections: where to list it (default global variables);
        use_resource: reach it through a handle (resource_variables.py) instead of a reference.

        Raises: InvalidArgumentError where there is no initial value or its shape is not known.
        """
        unknown = set(ignored) - {"caching_device", "shape", "expected_shape", "constraint"}
        if unknown:
            raise TypeError(f"Variable() has no argument {unknown.pop()!r}")
        if initial_value is None:
            raise InvalidArgumentError("[Variable] initial_value is missing")
        graph = get_default_graph()
        with graph.control_dependencies(None), graph.name_scope(name or "Variable") as scope:
            value = initial_value() if callable(initial_value) else initial_value
            self._initial_value = convert_to_tensor(value, dtype, name="initial_value")
            shape = self._initial_value.shape
            if not shape.is_fully_defined() and validate_shape:
                raise InvalidArgumentError(f"[Variable] initial_value must have a known shape: "
                                           f"{self._initial_value!r}. "
                                           "Fix: give the shape, or pass validate_shape=False")
            self._build(scope, validate_shape)
        self.trainable = trainable
        keys = list(collections) if collections is not None else [GraphKeys.GLOBAL_VARIABLES]
        if trainable and GraphKeys.TRAINABLE_VARIABLES not in keys:
            keys.append(GraphKeys.TRAINABLE_VARIABLES)
        for key in keys:
            graph.add_to_collection(key, self)

    def __new__(cls, *args: Any, use_resource: bool | None = None, **kwargs: Any) -> Variable:
        if use_resource and cls is Variable:
            from .resource_variables import ResourceVariable

            return super().__new__(ResourceVariable)
        return super().__new__(cls)

    def _build(self, scope: str, validate_shape: bool) -> None:
        """Adds the nodes of the variable, its initialisation and its read."""
        value = self._initial_value
        self._ref: Tensor = _call("VariableV2", shape=value.shape, dtype=value.dtype, name=scope)
        with self.graph.device(self._ref.op.device or ""):
            self._initializer: Operation = _call("Assign", self._ref, value, name=scope + "Assign/",
                                                 validate_shape=validate_shape).op
            self._snapshot: Tensor = _call("Identity", self._ref, name=scope + "read/")

    # ---- what it is
    @property
    def name(self) -> str:
        return self._ref.name

    @property
    def op(self) -> Operation:
        return self._ref.op

    @property
    def graph(self) -> Graph:
        return self._ref.graph

    @property
    def dtype(self) -> dtypes.DType:
        return self._ref.dtype

    @property
    def shape(self) -> TensorShape:
        return self._ref.shape

    def get_shape(self) -> TensorShape:
        return self._ref.shape

    @property
    def device(self) -> str:
        return self._ref.device

    @property
    def initializer(self) -> Operation:
        return self._initializer

    @property
    def initial_value(self) -> Tensor:
        return self._initial_value

    def __repr__(self) -> str:
        return f"<rf.Variable '{self.name}' shape={self.shape} dtype={self.dtype}>"

    # ---- reading and writing
    def value(self) -> Tensor:
        """The value as of when the variable is first read in a run, before updates that it does not depend on."""
        return self._snapshot

    def read_value(self) -> Tensor:
        """A new read, made under the current control dependencies."""
        return _call("Identity", self._ref)  # type: ignore[no-any-return]

    def initialized_value(self) -> Tensor:
        """The initial value, for initialising another variable from it."""
        with self.graph.control_dependencies([self._initializer]):
            return self.read_value()

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        return _call("Assign", self._ref, value, use_locking=use_locking, name=name)  # type: ignore[no-any-return]

    def assign_add(self, delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        return _call("AssignAdd", self._ref, delta, use_locking=use_locking, name=name)  # type: ignore[no-any-return]

    def assign_sub(self, delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        return _call("AssignSub", self._ref, delta, use_locking=use_locking, name=name)  # type: ignore[no-any-return]

    def load(self, value: Any, session: Any = None) -> None:
        """Sets the value in a session without growing the graph: runs the initializer with `value` fed."""
        (session or default_session("load()")).run(self._initializer, {self._initial_value: value})

    def eval(self, session: Any = None) -> Any:
        return self._snapshot.eval(session=session)

    # ---- as a message
    def to_proto(self) -> Any:
        """This variable as a VariableDef: the names of its nodes, for ``from_proto`` in a graph that holds them."""
        from ..proto.meta_graph_pb2 import VariableDef

        return VariableDef(variable_name=self._ref.name, initializer_name=self._initializer.name,
                           snapshot_name=self._snapshot.name, initial_value_name=self._initial_value.name,
                           trainable=self.trainable, is_resource=self._ref.dtype is dtypes.resource)

    @staticmethod
    def from_proto(variable_def: Any, import_scope: str | None = None) -> Variable:
        """The variable whose nodes the default graph holds, below `import_scope`. Raises: NotFoundError."""
        from .resource_variables import ResourceVariable

        graph, prefix = get_default_graph(), f"{import_scope}/" if import_scope else ""
        v = object.__new__(ResourceVariable if variable_def.is_resource else Variable)
        v._ref = graph.get_tensor_by_name(prefix + variable_def.variable_name)
        v._initializer = graph.get_operation_by_name(prefix + variable_def.initializer_name)
        v._snapshot = graph.get_tensor_by_name(prefix + variable_def.snapshot_name)
        value = variable_def.initial_value_name  # older files have none
        v._initial_value = graph.get_tensor_by_name(prefix + value) if value else v._initializer.inputs[1]
        v.trainable = variable_def.trainable
        return v

    # ---- how it enters graphs: reads as its snapshot, updates through its ref
    def _as_tensor(self) -> Tensor:
        return self._snapshot

    def _as_ref_tensor(self) -> Tensor:
        return self._ref

    def _as_graph_element(self) -> Tensor:
        return self._snapshot

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._snapshot)

    __array_priority__ = 100


def _delegate(name: str) -> None:
    def method(self: Variable, *args: Any) -> Any:
        return getattr(self._snapshot, name)(*args)

    setattr(Variable, name, method)


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "mod", "pow", "rpow",
              "matmul", "neg", "abs", "lt", "le", "gt", "ge", "and", "or", "invert", "getitem"):
    _delegate(f"__{_name}__")


def _call(op: str, *args: Any, **kwargs: Any) -> Any:
    return OPS[op](*args, **kwargs)  # type: ignore[operator]


# ---- all of them

def global_variables(scope: str | None = None) -> list[Variable]:
    return get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES, scope)


def local_variables(scope: str | None = None) -> list[Variable]:
    return get_default_graph().get_collection(GraphKeys.LOCAL_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[Variable]:
    return get_default_graph().get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def variables_initializer(variables: Sequence[Variable], name: str = "init") -> Operation:
    """An operation that sets all of `variables` to their initial values."""
    graph = variables[0].graph if variables else get_default_graph()
    return graph.create_op("NoOp", [], {}, name, control_inputs=[v.initializer for v in variables])


def global_variables_initializer() -> Operation:
    return variables_initializer(global_variables())


def local_variables_initializer() -> Operation:
    return variables_initializer(local_variables(), "init_local")
