"""Tensor and Operation: the nodes of a graph and the values that flow between them.

An Operation is made by ``Graph.create_op`` and from then on changed only through its ``_`` methods, which refuse once
it has run. A Tensor is output `index` of its operation; it holds no value.
"""
from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .default_session import default_session
from .device import DeviceSpec
from .dtypes import DType
from .errors import Error, GraphError, InvalidArgumentError
from .opdef import OPS, OpDef
from .shapes import ShapeLike, TensorShape, as_shape

if TYPE_CHECKING:
    from .control_flow.contexts import Context
    from .graph import Graph


class Tensor:
    """A symbolic value: one output of an operation."""

    __slots__ = ("op", "index", "dtype", "shape", "consumers", "__weakref__")
    __array_priority__ = 100  # numpy_array + tensor calls Tensor.__radd__

    def __init__(self, op: Operation, index: int, dtype: DType) -> None:
        self.op = op
        self.index = index
        self.dtype = dtype
        self.shape: TensorShape
        self.consumers: list[Operation] = []

    @property
    def name(self) -> str:
        return f"{self.op.name}:{self.index}"

    @property
    def graph(self) -> Graph:
        return self.op.graph

    @property
    def context(self) -> Context | None:
        """The branch or loop that it is in."""
        context = self.op.context
        return context[self.index] if isinstance(context, tuple) else context

    @property
    def device(self) -> str:
        return self.op.device

    @property
    def is_ref(self) -> bool:
        """True for a reference to a variable, which update ops may write through."""
        outputs = self.op.op_def.outputs
        return self.index < len(outputs) and outputs[self.index].is_ref

    def get_shape(self) -> TensorShape:
        return self.shape

    def set_shape(self, shape: ShapeLike) -> None:
        """Adds what is known about the static shape. Raises: InvalidArgumentError where it contradicts."""
        self.shape = self.shape.merge_with(as_shape(shape))

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """Runs this tensor in `session` or the default session."""
        return (session or default_session("eval()")).run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<rf.Tensor '{self.name}' shape={self.shape} dtype={self.dtype}>"

    def __bool__(self) -> bool:
        raise TypeError(f"[graph] a tensor has no truth value while the graph is built: {self!r}. "
                        "Fix: use rf.where or rf.cond, or run it in a session first")

    def __iter__(self) -> Iterator[Tensor]:
        if self.shape.rank is None or self.shape.rank == 0 or self.shape[0] is None:
            raise TypeError(f"[graph] cannot iterate over {self!r}: its first dimension is not known. Fix: use "
                            "rf.unstack")
        return iter([self[i] for i in range(len(range(self.shape[0])))])  # type: ignore[arg-type]

    def __len__(self) -> int:
        raise TypeError(f"[graph] len() of {self!r} is not known while the graph is built. Fix: use tensor.shape or "
                        "rf.shape")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"[graph] {self!r} is symbolic and has no array. Fix: session.run it first")

    # Operators. The op definitions are looked up at call: they are made after this class.
    def __add__(self, other: Any) -> Tensor: return OPS["AddV2"](self, other)  # type: ignore[operator,no-any-return]
    def __radd__(self, other: Any) -> Tensor: return OPS["AddV2"](other, self)  # type: ignore[operator,no-any-return]
    def __sub__(self, other: Any) -> Tensor: return OPS["Sub"](self, other)  # type: ignore[operator,no-any-return]
    def __rsub__(self, other: Any) -> Tensor: return OPS["Sub"](other, self)  # type: ignore[operator,no-any-return]
    def __mul__(self, other: Any) -> Tensor: return OPS["Mul"](self, other)  # type: ignore[operator,no-any-return]
    def __rmul__(self, other: Any) -> Tensor: return OPS["Mul"](other, self)  # type: ignore[operator,no-any-return]
    def __floordiv__(self, other: Any) -> Tensor: return OPS["FloorDiv"](self, other)  # type: ignore[operator,no-any-return]
    def __mod__(self, other: Any) -> Tensor: return OPS["FloorMod"](self, other)  # type: ignore[operator,no-any-return]
    def __pow__(self, other: Any) -> Tensor: return OPS["Pow"](self, other)  # type: ignore[operator,no-any-return]
    def __rpow__(self, other: Any) -> Tensor: return OPS["Pow"](other, self)  # type: ignore[operator,no-any-return]
    def __neg__(self) -> Tensor: return OPS["Neg"](self)  # type: ignore[operator,no-any-return]
    def __abs__(self) -> Tensor: return OPS["Abs"](self)  # type: ignore[operator,no-any-return]
    def __lt__(self, other: Any) -> Tensor: return OPS["Less"](self, other)  # type: ignore[operator,no-any-return]
    def __le__(self, other: Any) -> Tensor: return OPS["LessEqual"](self, other)  # type: ignore[operator,no-any-return]
    def __gt__(self, other: Any) -> Tensor: return OPS["Greater"](self, other)  # type: ignore[operator,no-any-return]
    def __ge__(self, other: Any) -> Tensor: return OPS["GreaterEqual"](self, other)  # type: ignore[operator,no-any-return]
    def __and__(self, other: Any) -> Tensor: return OPS["LogicalAnd"](self, other)  # type: ignore[operator,no-any-return]
    def __or__(self, other: Any) -> Tensor: return OPS["LogicalOr"](self, other)  # type: ignore[operator,no-any-return]
    def __invert__(self) -> Tensor: return OPS["LogicalNot"](self)  # type: ignore[operator,no-any-return]
    def __matmul__(self, other: Any) -> Tensor:
        from .ops.matmul import matmul_any

        return matmul_any(self, other)

    def __truediv__(self, other: Any) -> Tensor:
        from .ops.math import truediv

        return truediv(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        from .ops.math import truediv

        return truediv(other, self)

    def __getitem__(self, key: Any) -> Tensor:
        from .ops.slicing import getitem

        return getitem(self, key)


class Operation:
    """A node: an op with inputs, attrs, a device and a name that is unique in its graph."""

    __slots__ = ("graph", "op_def", "name", "inputs", "control_inputs", "attrs", "device", "outputs", "site", "has_run",
                 "id", "context", "__weakref__")

    def __init__(self, graph: Graph, op_def: OpDef, name: str, inputs: list[Tensor], attrs: dict[str, Any],
                 control_inputs: list[Operation], device: str) -> None:
        self.graph = graph
        self.op_def = op_def
        self.name = name
        self.inputs = inputs
        self.control_inputs = control_inputs
        self.attrs = attrs
        self.device = device
        self.site = creation_site()
        self.has_run = False
        self.id = 0
        # the branch or loop that its outputs are in; of a Switch that serves both branches, a pair
        self.context: Context | tuple[Context, Context] | None = None
        for t in inputs:
            t.consumers.append(self)
        self.outputs = [Tensor(self, i, d) for i, d in enumerate(op_def.output_dtypes(attrs))]

    @property
    def type(self) -> str:
        return self.op_def.name

    def get_attr(self, name: str) -> Any:
        """Raises: InvalidArgumentError where there is no such attr."""
        try:
            return self.attrs[name]
        except KeyError:
            raise InvalidArgumentError(f"[{self.type}] operation {self.name!r} has no attr {name!r}") from None

    def colocation_groups(self) -> list[str]:
        """``loc:@name`` of the operations that this one is kept with: its own where there are none."""
        return self.attrs.get("_class") or [f"loc:@{self.name}"]

    def span(self, arg: str) -> slice:
        """Where the input named `arg` lies in `inputs`."""
        start = 0
        for a in self.op_def.inputs:
            n = (self.attrs[a.number_attr] if a.number_attr else
                 len(self.attrs[a.type_list_attr]) if a.type_list_attr else 1)
            if a.name == arg:
                return slice(start, start + n)
            start += n
        raise InvalidArgumentError(f"[{self.type}] no input is named {arg!r}")

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Runs this operation in `session` or the default session."""
        (session or default_session("run()")).run(self, feed_dict)

    @property
    def where(self) -> str:
        """``Created at file:line.`` or '' where that is not known (an imported node)."""
        return f" Created at {self.site[0]}:{self.site[1]}." if self.site else ""

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Around every change of this node: it must not have run, and no session copies it meanwhile."""
        with self.graph._lock:
            self.graph._check_not_finalized()
            if self.has_run:
                raise GraphError(
                    f"[graph] operation {self.name!r} ({self.type}) has already run and may not be changed."
                    f"{self.where} Fix: make the change before the first session.run, or build a new operation",
                    self.name)
            yield

    def _update_input(self, index: int, tensor: Tensor) -> None:
        with self._changing():
            old = self.inputs[index]
            if old.dtype is not tensor.dtype:
                raise InvalidArgumentError(
                    f"[{self.type}] input {index} of {self.name!r} is {old.dtype}, cannot become {tensor.dtype}")
            self.inputs[index] = tensor
            old.consumers.remove(self)
            tensor.consumers.append(self)

    def _add_control_input(self, op: Operation) -> None:
        with self._changing():
            if op not in self.control_inputs:
                self.control_inputs.append(op)

    def _add_control_inputs(self, ops: Iterable[Operation]) -> None:
        for op in ops:
            self._add_control_input(op)

    def _remove_all_control_inputs(self) -> None:
        with self._changing():
            self.control_inputs.clear()

    def _set_attr(self, name: str, value: Any) -> None:
        with self._changing():
            self.attrs[name] = value

    def _set_device(self, device: str) -> None:
        """Raises: InvalidArgumentError where `device` is no device name."""
        with self._changing():
            self.device = str(DeviceSpec.parse(device))

    def __repr__(self) -> str:
        return f"<rf.Operation '{self.name}' type={self.type}>"


def creation_site() -> tuple[str, int] | None:
    """File and line of the innermost frame outside ringflow: the user's line that makes an operation."""
    frame = sys._getframe(2)
    while frame is not None:
        if not frame.f_globals.get("__name__", "").startswith("ringflow."):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return None


def at_site(error: Error, site: tuple[str, int] | None) -> Error:
    """`error` with `` Created at file:line.`` appended to its text."""
    if site and "Created at" not in error.message:
        stop = "" if error.message.endswith((".", "?", "!")) else "."
        error.message += f"{stop} Created at {site[0]}:{site[1]}."
        error.args = (error.message,)
    return error
