"""What `ringflow graph` knows about a graph file: nodes with their shapes, work and times, in a tree of name scopes.

Shapes come from the op definitions; where a file holds an op that is not defined here, from the shapes that it is
annotated with (``_output_shapes``), and work is not known.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError
from ringflow.graph.errors import DataLossError, Error, NotFoundError
from ringflow.graph.files.graph_file import read_graph_file
from ringflow.graph.files.wire import import_graph_def, shape_from_proto
from ringflow.graph.graph import Graph
from ringflow.graph.operation import Operation
from ringflow.graph.placement.flops import flops, num_bytes
from ringflow.graph.proto import step_stats_pb2

VARIABLES = ("VariableV2", "Variable", "VarHandleOp")


@dataclass
class Node:
    """A node of the file. `inputs` and `controls` are names of nodes; `parameters` counts the elements of a variable;
    `nbytes` are those of its outputs; `us` is the time measured, None without measurements."""

    name: str
    op: str
    device: str
    inputs: list[str]
    controls: list[str]
    shapes: list[str] = field(default_factory=list)
    parameters: int = 0
    flops: int = 0
    nbytes: int = 0
    us: float | None = None


@dataclass
class Scope:
    """A name scope: scopes and nodes below it, in the order of the file, and their sums."""

    name: str  # full, "" for the root
    scopes: dict[str, Scope] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def all_nodes(self) -> Iterator[Node]:
        yield from self.nodes
        for scope in self.scopes.values():
            yield from scope.all_nodes()

    @property
    def is_variable(self) -> bool:
        """Whether this is a variable with its initialisation and read."""
        return any(node.op in VARIABLES and node.name == self.name for node in self.nodes)


@dataclass
class Model:
    path: str
    nodes: list[Node]
    root: Scope
    note: str = ""  # why work or shapes are not known
    total_us: float | None = None


def load(path: str, stats_path: str | None = None, unknown: int = 1) -> Model:
    """The graph in `path` with the times in `stats_path`. `unknown`: what an unknown dimension counts as.

    Raises: NotFoundError, DataLossError for files that cannot be read.
    """
    graph_def = read_graph_file(path).graph_def
    note = ""
    try:
        graph = Graph()
        with graph.as_default():
            import_graph_def(graph_def, name="")
        nodes = [_from_operation(op, unknown) for op in graph.get_operations()]
    except Error as e:
        note = f"work and parameters are not counted: {e}"
        nodes = [_from_proto(node) for node in graph_def.node]
    model = Model(path, nodes, tree(nodes), note)
    if stats_path is not None:
        _add_times(model, stats_path)
    return model


def _from_operation(op: Operation, unknown: int) -> Node:
    parameters = nbytes = 0
    if op.type in VARIABLES:
        shape, dtype = op.attrs["shape"], op.attrs["dtype"]
        parameters = 1
        for d in shape.dims or ():
            parameters *= unknown if d is None else d
        nbytes = parameters * dtype.size
        shapes = [f"{_compact(shape)} {dtype}"]
    else:
        shapes = [f"{_compact(t.shape)} {t.dtype}" for t in op.outputs]
        nbytes = sum(num_bytes(t, unknown) for t in op.outputs if not t.is_ref)
    return Node(op.name, op.type, op.device, [t.op.name for t in op.inputs], [c.name for c in op.control_inputs],
                shapes, parameters, flops(op, unknown), nbytes)


def _from_proto(node: Any) -> Node:
    shapes = [_compact(shape_from_proto(s)) for s in node.attr["_output_shapes"].list.shape] \
        if "_output_shapes" in node.attr else []
    inputs = [text.partition(":")[0] for text in node.input if not text.startswith("^")]
    return Node(node.name, node.op, node.device, inputs, [t[1:] for t in node.input if t.startswith("^")], shapes)


def _compact(shape: Any) -> str:
    """5x5x1x32; "?" for unknown dimensions, "scalar" for none."""
    if shape.dims is None:
        return "?"
    return "x".join("?" if d is None else str(d) for d in shape.dims) or "scalar"


def tree(nodes: list[Node]) -> Scope:
    """The scopes of `nodes`. A node that has the name of a scope lies in it, as a variable does beside its read."""
    prefixes = {prefix for node in nodes for prefix in _prefixes(node.name)}
    root = Scope("")
    for node in nodes:
        scope = root
        for prefix in [*_prefixes(node.name), *([node.name] if node.name in prefixes else [])]:
            scope = scope.scopes.setdefault(prefix.rpartition("/")[2], Scope(prefix))
        scope.nodes.append(node)
    return root


def _prefixes(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


# ---- times

def _add_times(model: Model, path: str) -> None:
    by_name = {node.name: node for node in model.nodes}
    for node in model.nodes:
        node.us = 0.0
    model.total_us = 0.0
    for device in _read_stats(path).dev_stats:
        for stats in device.node_stats:
            us = stats.op_end_rel_micros - stats.op_start_rel_micros
            if stats.all_start_nanos:
                us = (stats.op_end_rel_nanos - stats.op_start_rel_nanos) / 1e3
            model.total_us += us
            name = stats.node_name
            while name and name not in by_name:  # nodes that passes made are named below the one they replace
                name = name.rpartition("/")[0]
            if name:
                by_name[name].us += us  # type: ignore[operator]
                by_name[name].device = by_name[name].device or device.device


def _read_stats(path: str) -> Any:
    """StepStats from a RunMetadata or StepStats file, as bytes or text."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as e:
        raise NotFoundError(f"[graph] {path!r} cannot be read: {e.strerror}. Fix: name a file with a RunMetadata "
                            "message") from None
    for kind in (step_stats_pb2.RunMetadata, step_stats_pb2.StepStats):
        message = kind()
        try:
            message.ParseFromString(data)
        except DecodeError:
            try:
                text_format.Parse(data.decode(errors="replace"), message)
            except text_format.ParseError:
                continue
        stats = message.step_stats if kind is step_stats_pb2.RunMetadata else message
        if any(node.node_name for device in stats.dev_stats for node in device.node_stats):
            return stats
    raise DataLossError(f"[graph] {path!r} holds no step statistics: {len(data)} bytes. Fix: write what session.run "
                        "puts into run_metadata with trace_level=rf.RunOptions.FULL_TRACE")
