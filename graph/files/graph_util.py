"""``rf.graph_util``: graph files made smaller and self-contained, for programs that only run them.

``convert_variables_to_constants`` freezes a trained graph: what is left is a GraphDef that any reader of TensorFlow's
format runs without variables, state or this library. All functions take GraphDef messages and return new ones.
"""
from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..dtypes import as_dtype
from ..errors import InvalidArgumentError, NotFoundError
from ..graph import Graph
from ..opdef import OPS
from ..passes import Program
from ..passes.order import order_updates as order_program
from ..proto import graph_pb2 as pb
from .wire import import_graph_def, tensor_to_proto, to_graph_def

_REFERENCES = ("VariableV2", "Variable")
_VARIABLES = (*_REFERENCES, "VarHandleOp")
# What a reference or a handle may go through, and what a value goes through instead.
_PASS_ON = {"Identity": "Identity", "RefIdentity": "Identity", "Enter": "Enter", "RefEnter": "Enter",
            "Switch": "Switch", "RefSwitch": "Switch"}
_SPLICED = ("Identity", "CheckNumerics")


def node_of(text: str) -> str:
    """The node that an input ("n", "n:1", "^n") or a fetch names."""
    return text.lstrip("^").partition(":")[0]


def extract_sub_graph(graph_def: Any, dest_nodes: Sequence[str]) -> Any:
    """The nodes that `dest_nodes` (names of nodes or tensors) need, in the order of the file.

    Raises: NotFoundError, with near names, where a node is not there; InvalidArgumentError for a string as the list.
    """
    if isinstance(dest_nodes, (str, bytes)):
        raise InvalidArgumentError(f"[graph_util] dest_nodes must be a list: received {dest_nodes!r}. Fix: "
                                   f"[{dest_nodes!r}]")
    by_name = {node.name: node for node in graph_def.node}
    needed: set[str] = set()
    stack = [(node_of(name), "") for name in dest_nodes]
    while stack:
        name, reader = stack.pop()
        if name in needed:
            continue
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, 3)
            raise NotFoundError(f"[graph_util] the graph has no node {name!r}"
                                + (f", which {reader!r} reads" if reader else "")
                                + (f". Near: {', '.join(near)}" if near else ""), name)
        needed.add(name)
        stack.extend((node_of(text), name) for text in by_name[name].input)
    return _with_nodes(graph_def, (node for node in graph_def.node if node.name in needed))


def _with_nodes(like: Any, nodes: Iterable[Any]) -> Any:
    out = pb.GraphDef()
    out.versions.CopyFrom(like.versions)
    out.library.CopyFrom(like.library)
    out.node.extend(nodes)
    return out


def remove_training_nodes(input_graph: Any, protected_nodes: Sequence[str] | None = None) -> Any:
    """Without Identity and CheckNumerics nodes: their readers read what those read. Nodes with a control edge on either
    side stay, and so do `protected_nodes`."""
    protected = {node_of(name) for name in protected_nodes or ()}
    protected |= {node_of(text) for node in input_graph.node for text in node.input if text.startswith("^")}
    source = {node.name: node.input[0] for node in input_graph.node if node.op in _SPLICED
              and node.name not in protected and not any(text.startswith("^") for text in node.input)}

    def resolved(text: str) -> str:
        while node_of(text) in source and not text.startswith("^"):
            text = source[node_of(text)]
        return text

    out = _with_nodes(input_graph, (node for node in input_graph.node if node.name not in source))
    for node in out.node:
        node.input[:] = [resolved(text) for text in node.input]
    return out


# ---- freezing

def convert_variables_to_constants(sess: Any, input_graph_def: Any, output_node_names: Sequence[str],
                                   variable_names_whitelist: Sequence[str] | None = None,
                                   variable_names_blacklist: Sequence[str] | None = None) -> Any:
    """The part of `input_graph_def` that `output_node_names` need, with the values that variables have in `sess` in
    their place. Variables outside the whitelist, or in the blacklist (names of nodes), stay variables.

    Raises: FailedPreconditionError for a variable without a value; InvalidArgumentError where an output needs an update
    of a variable; NotFoundError where there is no such output.
    """
    graph_def = extract_sub_graph(input_graph_def, output_node_names)
    kept = set(variable_names_blacklist or ())
    frozen = [node.name for node in graph_def.node if node.op in _VARIABLES and node.name not in kept
              and (variable_names_whitelist is None or node.name in variable_names_whitelist)]
    values = dict(zip(frozen, sess.run([_value_of(sess.graph, name) for name in frozen])))
    return _Freezer(graph_def, values).result()


def _value_of(graph: Graph, name: str) -> Any:
    """The tensor whose value is that of the variable at node `name`."""
    op = graph.get_operation_by_name(name)
    if op.type in _REFERENCES:
        return op.outputs[0]
    for reader in op.outputs[0].consumers:
        if reader.type == "ReadVariableOp" and not reader.control_inputs:
            return reader.outputs[0]
    with graph.as_default(), graph.control_dependencies(None):
        read: Any = OPS["ReadVariableOp"]
        return read(op.outputs[0], dtype=op.attrs["dtype"], name=f"{name}/Read")


class _Freezer:
    """Rewrites the readers of frozen variables. `stands` maps a node whose output was a reference or a handle to the
    variable's value, and is now that value, to the variable."""

    def __init__(self, graph_def: Any, values: dict[str, Any]) -> None:
        self._in = graph_def
        self._values = values
        self._stands: dict[str, str] = {name: name for name in values}
        readers: dict[str, list[Any]] = {}
        for node in graph_def.node:
            for text in node.input:
                readers.setdefault(node_of(text), []).append(node)
        stack = list(values)
        while stack:
            name = stack.pop()
            for node in readers.get(name, ()):
                if node.op in _PASS_ON and node.name not in self._stands and node_of(node.input[0]) == name:
                    self._stands[node.name] = self._stands[name]
                    stack.append(node.name)

    def result(self) -> Any:
        out = _with_nodes(self._in, ())
        for node in self._in.node:
            if node.name in self._values:
                self._constant(out, node)
                continue
            new = out.node.add()
            new.CopyFrom(node)
            if node.name in self._stands:
                new.op = _PASS_ON[node.op]
                new.attr["T"].type = self._dtype(self._stands[node.name]).enum
            elif any(node_of(text) in self._stands and not text.startswith("^") for text in node.input):
                self._reader(out, new)
        return out

    def _dtype(self, variable: str) -> Any:
        return as_dtype(next(n.attr["dtype"].type for n in self._in.node if n.name == variable))

    def _constant(self, out: Any, node: Any) -> None:
        new = out.node.add(name=node.name, op="Const", device=node.device,
                           input=[text for text in node.input if text.startswith("^")])
        dtype = self._dtype(node.name)
        new.attr["dtype"].type = dtype.enum
        tensor_to_proto(self._values[node.name], dtype, new.attr["value"].tensor)

    def _reader(self, out: Any, node: Any) -> None:
        """`node`, in place, reads values where it read references or handles."""
        definition = OPS.get(node.op)
        variable = next(self._stands[node_of(t)] for t in node.input if node_of(t) in self._stands)
        rewrite = _READERS.get(node.op)
        if rewrite is not None:
            rewrite(out, node, self._dtype(variable))
        elif definition is not None and any(arg.is_ref for arg in definition.inputs) or \
                node.op.startswith(("Resource", "Assign")):
            raise InvalidArgumentError(
                f"[graph_util] the outputs need node {node.name!r} ({node.op}), which updates the variable "
                f"{variable!r}: it cannot become a constant. Fix: freeze outputs that do not train, or put the "
                "variable on the blacklist", node.name)


def _read(out: Any, node: Any, dtype: Any) -> None:
    """ReadVariableOp(resource; dtype) -> Identity(input; T)"""
    node.op = "Identity"
    node.attr["T"].type = dtype.enum
    del node.attr["dtype"]


def _gather(out: Any, node: Any, dtype: Any) -> None:
    """ResourceGather(resource, indices; dtype) -> GatherV2(params, indices, axis=batch_dims; Tparams)"""
    node.op = "GatherV2"
    node.attr["Tparams"].type = dtype.enum
    node.attr["Taxis"].type = pb.DT_INT32
    axis = out.node.add(name=f"{node.name}/axis", op="Const", device=node.device)
    axis.attr["dtype"].type = pb.DT_INT32
    axis.attr["value"].tensor.dtype = pb.DT_INT32
    axis.attr["value"].tensor.tensor_shape.SetInParent()
    axis.attr["value"].tensor.int_val.append(node.attr["batch_dims"].i)
    node.input.insert(2, axis.name)
    for name in ("dtype", "validate_indices"):
        if name in node.attr:
            del node.attr[name]


def _shape(out: Any, node: Any, dtype: Any) -> None:
    """VariableShape(input; out_type) -> Shape(input; T, out_type)"""
    node.op = "Shape"
    node.attr["T"].type = dtype.enum


def _initialized(out: Any, node: Any, dtype: Any) -> None:
    """IsVariableInitialized -> true"""
    node.op = "Const"
    node.input[:] = ["^" + node_of(text) for text in node.input]
    node.attr.clear()
    node.attr["dtype"].type = pb.DT_BOOL
    node.attr["value"].tensor.dtype = pb.DT_BOOL
    node.attr["value"].tensor.tensor_shape.SetInParent()
    node.attr["value"].tensor.bool_val.append(True)


_READERS: dict[str, Callable[[Any, Any, Any], None]] = {
    "ReadVariableOp": _read, "ResourceGather": _gather, "VariableShape": _shape,
    "IsVariableInitialized": _initialized, "VarIsInitializedOp": _initialized,
}


# ---- for readers that leave the order of reads and updates open

def order_updates(graph_def: Any, outputs: Sequence[str]) -> Any:
    """`graph_def` with the control edges that make a run of `outputs` (names of nodes or tensors) give everywhere what
    it gives here: reads see variables as they were before the run, except after an update that they depend on.

    TensorFlow lets a read and an unrelated update of a reference variable race. Where a value read must outlive an
    update, a Snapshot node is put behind the read. Runs of other outputs may wait for more than they need.
    """
    part = Graph()
    with part.as_default():
        import_graph_def(extract_sub_graph(graph_def, outputs), name="")
    order_program(Program(part, part, [], []))
    ordered = {node.name: node for node in to_graph_def(part).node}
    out = _with_nodes(graph_def, graph_def.node)
    for node in out.node:
        changed = ordered.pop(node.name, None)
        if changed is not None:
            node.CopyFrom(changed)
    out.node.extend(ordered.values())
    return out


__all__ = ["convert_variables_to_constants", "extract_sub_graph", "order_updates", "remove_training_nodes"]
