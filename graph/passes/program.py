"""Program: the private copy of a pruned graph that passes work on, and how it is made."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import dtypes
from ..control_types import MERGE, is_back_edge
from ..define import Array
from ..device import Device
from ..errors import Error, InvalidArgumentError
from ..graph import Graph
from ..operation import Operation, Tensor, at_site
from ..places import find_places
from ..shapes import TensorShape
from ..signature import infer
from ..topology import topological_order


@dataclass
class Partition:
    """What one device runs. The indices of `_Arg` are the program's; `fetches`: the program's index of each `_Retval`.
    """

    device: Device
    graph: Graph = field(default_factory=Graph)
    fetches: list[int] = field(default_factory=list)


@dataclass
class Program:
    """A graph whose `_Arg` nodes are the feeds, `_Retval` nodes the fetches and `targets` the operations to run.

    `source` is the user's graph; nodes of equal name are its originals. `notes` is for passes to leave results in.
    """

    graph: Graph
    source: Graph
    source_ops: list[Operation]
    targets: list[Operation]
    session: Any = None
    notes: dict[str, Any] = field(default_factory=dict)
    parts: list[Partition] = field(default_factory=list)  # several where it runs on several devices

    def roots(self) -> list[Operation]:
        return [*(op for op in self.graph._ops if op.type == "_Retval"), *self.targets]

    def replace(self, old: Tensor, new: Tensor) -> None:
        """Makes every consumer of `old` read `new`."""
        for op in list(old.consumers):
            for i, t in enumerate(op.inputs):
                if t is old:
                    op.inputs[i] = new
                    new.consumers.append(op)
        old.consumers.clear()

    def add(self, op_type: str, inputs: Sequence[Tensor], attrs: dict[str, Any], name: str,
            control_inputs: Sequence[Operation] = (), like: Operation | None = None) -> Operation:
        """A new node, placed and attributed like `like`."""
        op = self.graph.create_op(op_type, inputs, attrs, name, control_inputs=control_inputs,
                                  device=like.device if like else None)
        op.site = like.site if like else None
        return op

    def constant(self, value: Array, name: str, like: Operation) -> Tensor:
        attrs = {"value": value, "dtype": dtypes.as_dtype(value.dtype)}
        return self.add("Const", [], attrs, name, like=like).outputs[0]

    def remove(self, dead: set[Operation]) -> None:
        """Drops operations that nothing uses."""
        for op in dead:
            self.graph._by_name.pop(op.name, None)
        self.graph._ops = [op for op in self.graph._ops if op not in dead]
        for op in self.graph._ops:
            for t in op.outputs:
                if t.consumers:
                    t.consumers = [c for c in t.consumers if c not in dead]
            if op.control_inputs:
                op.control_inputs = [c for c in op.control_inputs if c not in dead]


def extract(source: Graph, fetches: Sequence[Tensor], targets: Sequence[Operation], feeds: Sequence[Tensor],
            shapes: Sequence[TensorShape | None], session: Any = None) -> Program:
    """The part of `source` that `fetches` and `targets` need, with `feeds` cut off and of the given `shapes` (None: as
    declared).

    Raises: InvalidArgumentError for a needed placeholder that is not fed, or a feed whose shape contradicts.
    """
    graph = Graph()
    fed: dict[Tensor, Tensor] = {}
    for i, (t, shape) in enumerate(zip(feeds, shapes)):
        loop = None if t.context is None else t.context.loop()
        if loop is not None:
            raise at_site(InvalidArgumentError(
                f"[feed] {t.name!r} cannot be fed: it is inside {loop!r} and has a value for each iteration. Fix: feed "
                "what goes into the loop", t.op.name), t.op.site)
        if shape is not None and not t.shape.is_compatible_with(shape):
            raise unfit_feed(t, shape)
        arg = graph.create_op("_Arg", [], {"T": t.dtype, "index": i}, f"{t.op.name}/_arg_{t.index}")
        arg.outputs[0].shape = t.shape if shape is None else t.shape.merge_with(shape)
        arg.site = t.op.site
        fed[t] = arg.outputs[0]
    wholly_fed = frozenset(t.op for t in feeds if all(o in fed for o in t.op.outputs))
    needed = _needed([*(t.op for t in fetches if t not in fed), *targets], fed, wholly_fed)
    copies: dict[Operation, Operation] = {}
    back_edges: list[tuple[Operation, int]] = []
    for op in topological_order(sorted(needed, key=lambda o: o.id)):
        if op.type == "Placeholder":
            raise at_site(InvalidArgumentError(
                f"You must feed a value for placeholder tensor '{op.name}' with dtype {op.outputs[0].dtype} and shape "
                f"{op.outputs[0].shape}.", op.name), op.site)
        inputs = []
        for k, t in enumerate(op.inputs):
            if is_back_edge(t, op) and t not in fed:
                back_edges.append((op, k))
                t = next(x for x in op.inputs if not is_back_edge(x, op))  # stands in until the loop is closed
            inputs.append(fed[t] if t in fed else copies[t.op].outputs[t.index])
        controls = [copies[c] for c in op.control_inputs if c in copies]
        copies[op] = _copy(graph, op, inputs, controls)
    for op, k in back_edges:
        copies[op]._update_input(k, copies[op.inputs[k].op].outputs[op.inputs[k].index])
    for i, t in enumerate(fetches):
        value = fed[t] if t in fed else copies[t.op].outputs[t.index]
        graph.create_op("_Retval", [value], {"T": t.dtype, "index": i}, f"{t.op.name}/_retval_{i}").site = t.op.site
    wanted = [copies[op] for op in targets]
    _check_places(graph, wanted)
    return Program(graph, source, list(copies), wanted, session)


def _check_places(graph: Graph, targets: Sequence[Operation]) -> None:
    """Raises: InvalidArgumentError where frames are mixed, or something inside a loop is to be fetched or fed."""
    places = find_places(graph._ops)
    if places is None:
        return
    for op in [*targets, *(op for op in graph._ops if op.type == "_Retval")]:
        frame = places.after(op).frame
        if frame:
            inner = op.inputs[0] if op.type == "_Retval" else op
            raise at_site(InvalidArgumentError(
                f"[fetch] {inner.name!r} is inside the loop {frame[-1]!r}: it has a value for each iteration. Fix: "
                "return it from the body of the loop, and fetch what rf.while_loop gives", op.name), op.site)


def unfit_feed(t: Tensor, shape: TensorShape) -> Error:
    """The error for a feed of `t` whose shape contradicts what is declared."""
    return at_site(InvalidArgumentError(f"[feed] cannot feed a value of shape {shape} for {t.name!r}, which has shape "
                                        f"{t.shape}.", t.op.name), t.op.site)


def _needed(roots: Sequence[Operation], fed: dict[Tensor, Tensor], wholly_fed: frozenset[Operation]) -> set[Operation]:
    found: set[Operation] = set()
    stack = list(roots)
    while stack:
        op = stack.pop()
        if op in found:
            continue
        found.add(op)
        stack.extend(t.op for t in op.inputs if t not in fed)
        stack.extend(c for c in op.control_inputs if c not in wholly_fed)
    return found


def _copy(graph: Graph, op: Operation, inputs: list[Tensor], controls: list[Operation]) -> Operation:
    copy = Operation(graph, op.op_def, op.name, inputs, dict(op.attrs), controls, op.device)
    copy.site = op.site
    same = all(a.shape == b.shape for a, b in zip(inputs, op.inputs))
    looped = op.type in MERGE and any(is_back_edge(t, op) for t in op.inputs)  # holds for all iterations as it stands
    if looped or same and not _reads_values(op):
        for t, original in zip(copy.outputs, op.outputs):
            t.shape = original.shape
    else:
        try:
            infer(copy)
        except Error as e:
            e.node = op.name
            raise at_site(e, op.site) from None
        for t, original in zip(copy.outputs, op.outputs):  # what set_shape added stays known
            if original.shape.is_compatible_with(t.shape):
                t.shape = t.shape.merge_with(original.shape)
    graph._names[copy.name.lower()] = 1
    graph._add(copy)
    return copy


def _reads_values(op: Operation) -> bool:
    """Whether the shape rule may know more than at build time because a shape value is now constant."""
    return any(not t.shape.is_fully_defined() for t in op.outputs)


__all__ = ["Partition", "Program", "extract", "unfit_feed"]
