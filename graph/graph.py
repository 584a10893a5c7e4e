"""Graph: a set of operations, the scopes in which they are made, and named collections.

Building is single-threaded per graph (scopes are the graph's, not the thread's); other threads may run it meanwhile.
The default graph is a stack of contexts per thread; the bottom of the stack is one process-wide graph, as in
TensorFlow.
"""
from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .control_types import CONTROL_FLOW
from .device import DeviceSpec
from .errors import AlreadyExistsError, Error, GraphError, InvalidArgumentError, NotFoundError
from .opdef import OpDef, lookup
from .operation import Operation, Tensor, at_site, creation_site
from .signature import check_inputs, complete_attrs, infer

if TYPE_CHECKING:
    from .control_flow.contexts import Context

DeviceLike = str | DeviceSpec | Callable[[Operation], "str | None"] | None

_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*$")
_PRIVATE_NAME = re.compile(r"[A-Za-z0-9._][A-Za-z0-9_.\\/>-]*$")


class GraphKeys:
    """Names of the standard collections."""

    GLOBAL_VARIABLES = "variables"
    LOCAL_VARIABLES = "local_variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    MODEL_VARIABLES = "model_variables"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    REGULARIZATION_LOSSES = "regularization_losses"
    LOSSES = "losses"
    SUMMARIES = "summaries"
    QUEUE_RUNNERS = "queue_runners"
    UPDATE_OPS = "update_ops"
    TRAIN_OP = "train_op"
    GLOBAL_STEP = "global_step"
    TRAIN_STEPS = "train_steps"        # train.TrainStep records, which strategies rewrite
    BEFORE_FIRST_RUN = "before_first_run"  # (collective op types, operation): run once per session before such a plan


class Graph:
    """A dataflow graph."""

    def __init__(self) -> None:
        self._ops: list[Operation] = []
        self._by_name: dict[str, Operation] = {}
        self._names: dict[str, int] = {}  # lower-case name -> next suffix to try
        self._scope = ""
        self._devices: list[DeviceLike] = []
        self._controls: list[list[Operation]] = []
        self._colocate: list[Operation] = []
        self._context: Context | None = None  # the branch or loop that is being built
        self._units: dict[Operation, Any] = {}  # Merge of a cond -> Cond, Exit -> Loop: of control_flow/
        self._container = ""
        self._lock = threading.RLock()  # held while a node is added or changed, and while a session copies nodes
        self._collections: dict[str, list[Any]] = {}
        self._finalized = False
        self._variable_scope: Any = None  # owned by state/variable_scope.py
        self.seed: int | None = None
        self.gradient_source = ""  # the scope of the last call of gradients(): names the gradients of tensor arrays
        self.version = 0  # grows with every change

    # ---- building
    def create_op(self, op: str | OpDef, inputs: Sequence[Tensor], attrs: dict[str, Any] | None = None,
                  name: str | None = None, *, control_inputs: Sequence[Operation] = (), device: str | None = None,
                  infer_shapes: bool = True) -> Operation:
        """Adds one operation.

        Args: inputs: flat, in GraphDef order; attrs: may leave out what the inputs or defaults say; name: made unique
        within the current scope, or used as it is when it ends in "/"; device: None for the current device scope.
        Raises: InvalidArgumentError for wrong dtypes, attrs or shapes, with the line that made the node;
        GraphError when finalized or when an input is of another graph.
        """
        op_def = op if isinstance(op, OpDef) else lookup(op)
        with self._lock:
            self._check_not_finalized()
            try:
                node = self._new_operation(op_def, list(inputs), attrs or {}, name or op_def.name, control_inputs,
                                           device)
                if infer_shapes:
                    infer(node)
            except Error as e:
                raise at_site(e, creation_site()) from None
            self._add(node)
            return node

    def _new_operation(self, op_def: OpDef, inputs: list[Tensor], attrs: dict[str, Any], name: str,
                       control_inputs: Sequence[Operation], device: str | None) -> Operation:
        for t in inputs:
            if t.op.graph is not self:
                raise GraphError(f"[{op_def.name}] input {t.name!r} belongs to another graph. "
                                 "Fix: build both under the same `with graph.as_default():`")
        full = complete_attrs(op_def, inputs, attrs)
        context = self._context
        if self._container and op_def.stateful and full.get("container") == "":
            full["container"] = self._container
        check_inputs(op_def, inputs, full)
        unique = self._name_for(name)
        controls = list(dict.fromkeys([*control_inputs, *self._current_controls(inputs)]))
        if op_def.name not in CONTROL_FLOW:
            if context is not None:
                context = context.home(op_def, inputs)
            inputs, controls = self._received(context, op_def, unique, inputs, controls)
        node = Operation(self, op_def, unique, inputs, full, controls, device or "")
        if device is None and self._devices:
            node.device = self._current_device(node)
        node.context = context
        for other in self._colocate:
            node.device = other.device or node.device
        if self._colocate and "_class" not in full:
            full["_class"] = sorted({c for other in self._colocate for c in other.colocation_groups()})
        return node

    def _received(self, context: Context | None, op_def: OpDef, name: str, inputs: list[Tensor],
                  controls: list[Operation]) -> tuple[list[Tensor], list[Operation]]:
        """Inputs and control inputs of a new operation in `context`. What brings them there is named below it."""
        if context is None:
            everything: list[Tensor | Operation] = [*inputs, *controls]
            for x in everything:
                if x.context is not None:
                    where = x.context[0] if isinstance(x.context, tuple) else x.context
                    raise InvalidArgumentError(f"[{op_def.name}] {x.name!r} is made in {where!r} and cannot be "
                                               f"used outside of it, by {name!r}. Fix: return it from there")
            return inputs, controls
        scope, self._scope = self._scope, name
        try:
            inputs = [context.capture(t) for t in inputs]
            return inputs, context.controls(inputs, controls)
        except InvalidArgumentError as e:
            raise InvalidArgumentError(f"[{op_def.name}] an input of {name!r}: {e.message}") from None
        finally:
            self._scope = scope

    def _add(self, node: Operation) -> None:
        node.id = len(self._ops)
        self._ops.append(node)
        self._by_name[node.name] = node
        self.version += 1

    def _check_not_finalized(self) -> None:
        if self._finalized:
            raise GraphError("Graph is finalized and cannot be modified. Fix: add nodes before finalize()")

    def finalize(self) -> None:
        """Makes every later change of this graph an error."""
        self._finalized = True

    @property
    def finalized(self) -> bool:
        return self._finalized

    # ---- names
    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """`name` inside the current scope, with ``_1``, ``_2``, ... appended where it is taken."""
        full = f"{self._scope}/{name}" if self._scope else name
        key = full.lower()
        n = self._names.get(key, 0)
        if mark_as_used:
            self._names[key] = n + 1
        if n == 0:
            return full
        candidate = f"{full}_{n}"
        while candidate.lower() in self._names:
            n += 1
            candidate = f"{full}_{n}"
        if mark_as_used:
            self._names[key] = n + 1
            self._names[candidate.lower()] = 1
        return candidate

    def _name_for(self, name: str) -> str:
        if name.endswith("/"):  # an absolute name, from `with name_scope(...) as scope`
            full = name[:-1]
            if full in self._by_name:
                raise AlreadyExistsError(f"[graph] an operation is already named {full!r}")
            self._names.setdefault(full.lower(), 1)
            return full
        if not (_NAME if not self._scope else _PRIVATE_NAME).match(name) and not name.startswith("_"):
            raise InvalidArgumentError(
                f"[graph] {name!r} is not a valid operation name. Fix: use letters, digits, '_', '.', '-' and '/'")
        return self.unique_name(name)

    @contextlib.contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Operations made inside get `name/` in front.

        "" or None: the top; a name ending in "/": re-enters that scope.
        """
        if name and not _PRIVATE_NAME.match(name.rstrip("/")):
            raise InvalidArgumentError(f"[graph] {name!r} is not a valid scope name")
        old = self._scope
        self._scope = "" if not name else name[:-1] if name.endswith("/") else self.unique_name(name)
        try:
            yield self._scope + "/" if self._scope else ""
        finally:
            self._scope = old

    # ---- scopes
    @contextlib.contextmanager
    def device(self, device: DeviceLike) -> Iterator[None]:
        """Operations made inside are placed on `device`: a name, a DeviceSpec or a function of the operation that gives
        one. A partial name is completed by the enclosing scopes; None hides them."""
        if isinstance(device, str):
            device = DeviceSpec.parse(device)
        self._devices.append(device)
        try:
            yield
        finally:
            self._devices.pop()

    def _current_device(self, node: Operation) -> str:
        spec = DeviceSpec()
        for scope in reversed(self._devices):
            if scope is None:  # device(None) hides the outer scopes
                break
            if callable(scope):
                node.device = str(spec)
                scope = scope(node) or ""
            if isinstance(scope, str):
                scope = DeviceSpec.parse(scope)
            spec = spec.merged_into(scope)
        return str(spec)

    @contextlib.contextmanager
    def control_dependencies(self, inputs: Iterable[Any] | None) -> Iterator[None]:
        """Operations made inside run after `inputs` (operations, tensors or variables). None: after nothing, and
        outside of all branches and loops."""
        old = self._controls, self._context
        if inputs is None:
            self._controls, self._context = [], None
        else:
            ops = [self.as_graph_element(x, allow_tensor=True) for x in inputs]
            self._controls = [*self._controls, [o.op if isinstance(o, Tensor) else o for o in ops]]
        try:
            yield
        finally:
            self._controls, self._context = old

    def _current_controls(self, inputs: list[Tensor]) -> list[Operation]:
        if not self._controls:
            return []
        direct = {t.op for t in inputs}
        return [op for group in self._controls for op in group if op not in direct]

    @contextlib.contextmanager
    def colocate_with(self, op: Any, ignore_existing: bool = False) -> Iterator[None]:
        """Operations made inside are kept on the device of `op`, whatever device scopes say outside. Scopes nest and
        add up; with `ignore_existing` the outer ones do not count, and `op` may be None."""
        old = self._colocate, self._devices
        if op is None and not ignore_existing:
            raise InvalidArgumentError("[colocate_with] op is None. Fix: name one, or pass ignore_existing=True")
        added = []
        if op is not None:
            element = self.as_graph_element(op)
            added.append(element.op if isinstance(element, Tensor) else element)
        self._colocate, self._devices = [*([] if ignore_existing else self._colocate), *added], []
        try:
            yield
        finally:
            self._colocate, self._devices = old

    @contextlib.contextmanager
    def container(self, name: str) -> Iterator[str]:
        """Variables, queues and the like that are made inside live in the container `name` of a session, which
        ``Session.clear`` empties. The innermost scope counts; "" is the unnamed container."""
        old, self._container = self._container, name
        try:
            yield name
        finally:
            self._container = old

    @contextlib.contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Makes this the graph that operations are added to, on this thread."""
        _stack.graphs.append(self)
        try:
            yield self
        finally:
            _stack.graphs.remove(self)

    # ---- looking up
    def get_operations(self) -> list[Operation]:
        return list(self._ops)

    def get_operation_by_name(self, name: str) -> Operation:
        """Raises: NotFoundError, naming near ones."""
        op = self._by_name.get(name)
        if op is None:
            import difflib

            near = difflib.get_close_matches(name, self._by_name, 3)
            raise NotFoundError(f"[graph] no operation is named {name!r} in this graph"
                                + (f". Near: {', '.join(near)}" if near else ""))
        return op

    def get_tensor_by_name(self, name: str) -> Tensor:
        """"op:0". Raises: NotFoundError, InvalidArgumentError where the name is no tensor's."""
        op_name, colon, index = name.rpartition(":")
        if not colon or not index.isdigit():
            raise InvalidArgumentError(f"[graph] {name!r} is not a tensor name. Fix: write '{name}:0' for its first "
                                       "output")
        op = self.get_operation_by_name(op_name)
        if int(index) >= len(op.outputs):
            raise NotFoundError(f"[graph] {op!r} has {len(op.outputs)} outputs, there is no output {index}")
        return op.outputs[int(index)]

    def as_graph_element(self, value: Any, allow_tensor: bool = True) -> Operation | Tensor:
        """The operation or tensor that `value` (one of them, a variable or a name) stands for in this graph."""
        if isinstance(value, str):
            return self.get_tensor_by_name(value) if ":" in value else self.get_operation_by_name(value)
        convert = getattr(value, "_as_graph_element", None)
        element = convert() if convert is not None else value
        if not isinstance(element, (Operation, Tensor)):
            raise InvalidArgumentError(
                f"[graph] {value!r} ({type(value).__name__}) is neither a tensor, an operation nor a name of one")
        if element.graph is not self:
            raise GraphError(f"[graph] {element!r} belongs to another graph")
        return element

    # ---- collections
    def add_to_collection(self, name: str, value: Any) -> None:
        self._collections.setdefault(name, []).append(value)

    def get_collection(self, name: str, scope: str | None = None) -> list[Any]:
        """Items of a collection, those whose name begins with `scope` where it is given."""
        items = self._collections.get(name, [])
        if scope is None:
            return list(items)
        return [x for x in items if re.match(scope, getattr(x, "name", ""))]

    def get_collection_ref(self, name: str) -> list[Any]:
        return self._collections.setdefault(name, [])

    def collection_names(self) -> list[str]:
        return sorted(self._collections)

    def as_graph_def(self, add_shapes: bool = False) -> Any:
        """This graph as a GraphDef message. `add_shapes`: with the attr ``_output_shapes`` on every node."""
        from .files.wire import to_graph_def

        return to_graph_def(self, shapes=add_shapes)


class _Stack(threading.local):
    def __init__(self) -> None:
        self.graphs: list[Graph] = []


_stack = _Stack()
_bottom = [Graph()]  # the process-wide default; reset_default_graph replaces it


def get_default_graph() -> Graph:
    return _stack.graphs[-1] if _stack.graphs else _bottom[0]


def reset_default_graph() -> None:
    """Replaces the process-wide default graph by an empty one.

    Raises: GraphError inside ``with graph.as_default()``.
    """
    if _stack.graphs:
        raise GraphError("[graph] reset_default_graph() inside `with graph.as_default():`. Fix: leave the block first")
    _bottom[0] = Graph()
