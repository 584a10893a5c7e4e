"""GraphDef in and out: graphs as TensorFlow's protobuf message, so that either project reads the other's files.

Writing and reading are exact inverses for every graph made here. Rules of reading follow TensorFlow's importer: nodes
in any order, missing attrs take defaults, type attrs may be inferred, attrs that begin with "_" are kept.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from .. import dtypes
from ..control_flow.derive import derive_contexts
from ..control_types import MERGE, NEXT_ITERATION
from ..dtypes import DType
from ..errors import AlreadyExistsError, DataLossError, InvalidArgumentError, NotFoundError
from ..graph import Graph, get_default_graph
from ..opdef import REQUIRED, Attr, lookup
from ..operation import Operation, Tensor
from ..proto import graph_pb2 as pb
from ..shapes import UNKNOWN, TensorShape
from .old_ops import SPELLINGS, Spelling

PRODUCER = 1087  # the GraphDef version written: what TensorFlow 2.x accepts without rewriting nodes

# Attrs of newer TensorFlow op definitions that ours do not have: dropped where they hold this default.
_FOREIGN_DEFAULTS: dict[str, Any] = {
    "use_cudnn_on_gpu": True, "debug_name": "", "index_type": dtypes.int32, "Tk": dtypes.int32,
    "bad_indices_policy": "",
    "allowed_devices": [], "explicit_paddings": [], "dilations": [1, 1, 1, 1], "use_locking": False, "container": "",
    "shared_name": "", "incompatible_shape_error": True, "Truncate": False, "data_format": "NHWC",
}

_HINTS = {"grad_a", "grad_b", "grad_x", "grad_y"}  # marks of TensorFlow's own rewrites: without effect on the result

_NUMBER_FIELDS = {  # TensorProto's typed lists
    dtypes.float32: "float_val", dtypes.float64: "double_val", dtypes.int32: "int_val", dtypes.int16: "int_val",
    dtypes.int8: "int_val", dtypes.uint8: "int_val", dtypes.uint16: "int_val", dtypes.int64: "int64_val",
    dtypes.bool_: "bool_val", dtypes.float16: "half_val", dtypes.bfloat16: "half_val", dtypes.uint32: "uint32_val",
    dtypes.uint64: "uint64_val",
}


# ---- values

def tensor_to_proto(array: Any, dtype: DType, out: Any) -> None:
    """Writes an array into the TensorProto `out`."""
    array = np.asarray(array)
    out.dtype = dtype.enum
    out.tensor_shape.SetInParent()
    for size in array.shape:
        out.tensor_shape.dim.add(size=size)
    if dtype is dtypes.string:
        out.string_val.extend(bytes(v) for v in array.ravel())
    elif array.size:
        out.tensor_content = np.ascontiguousarray(array).tobytes()


def tensor_from_proto(proto: Any) -> Any:
    """The array of a TensorProto. Raises: DataLossError where content and shape do not fit."""
    dtype = dtypes.as_dtype(proto.dtype)
    shape = shape_from_proto(proto.tensor_shape)
    if not shape.is_fully_defined():
        raise DataLossError(f"[GraphDef] a constant has shape {shape}, which is not fully defined")
    dims = shape.known
    count = int(np.prod(dims, dtype=object)) if dims else 1
    if dtype is dtypes.string:
        return _filled(list(proto.string_val), count, dims, b"", np.dtype(object))
    wanted = dtype.as_numpy_dtype
    if proto.tensor_content:
        if len(proto.tensor_content) != count * wanted.itemsize:
            raise DataLossError(f"[GraphDef] a constant of shape {shape} and dtype {dtype} needs "
                                f"{count * wanted.itemsize} "
                                f"bytes, the file has {len(proto.tensor_content)}")
        return np.frombuffer(proto.tensor_content, wanted).reshape(dims)
    values = getattr(proto, _NUMBER_FIELDS[dtype])
    if dtype in (dtypes.float16, dtypes.bfloat16):
        bits = _filled(list(values), count, dims, 0, np.dtype(np.uint16))
        return bits.view(wanted).reshape(dims)
    return _filled(list(values), count, dims, 0, wanted)


def _filled(values: list[Any], count: int, dims: Sequence[int], zero: Any, dtype: np.dtype[Any]) -> Any:
    """`values` as an array of `count` elements, the last one repeated as often as needed."""
    if len(values) > count:
        raise DataLossError(f"[GraphDef] a constant of {count} elements comes with {len(values)} values")
    if count > 2**31 and len(values) < count:
        raise DataLossError(f"[GraphDef] a constant claims {count} elements with {len(values)} values")
    array = np.full(count, values[-1] if values else zero, dtype)
    array[:len(values)] = values
    return array.reshape(dims)


def shape_to_proto(shape: TensorShape, out: Any) -> None:
    out.SetInParent()
    if shape.dims is None:
        out.unknown_rank = True
    else:
        for d in shape.dims:
            out.dim.add(size=-1 if d is None else d)


def shape_from_proto(proto: Any) -> TensorShape:
    return TensorShape(None) if proto.unknown_rank else TensorShape([None if d.size < 0 else d.size for d in proto.dim])


# ---- attrs

def attr_to_proto(kind: str, value: Any, out: Any, dtype: DType | None = None) -> None:
    """Writes one attr. `kind` is the OpDef's; `dtype` is that of a tensor attr."""
    if kind.startswith("list("):
        out.list.SetInParent()
        kind = kind[5:-1]
        if kind == "shape":
            for v in value:
                shape_to_proto(v, out.list.shape.add())
        elif kind == "type":
            out.list.type.extend(v.enum for v in value)
        elif kind == "string":
            out.list.s.extend(v if isinstance(v, bytes) else v.encode() for v in value)
        else:
            getattr(out.list, {"int": "i", "float": "f", "bool": "b"}[kind]).extend(value)
    elif kind == "type":
        out.type = value.enum
    elif kind == "shape":
        shape_to_proto(value, out.shape)
    elif kind == "tensor":
        tensor_to_proto(value, dtype or dtypes.as_dtype(np.asarray(value).dtype), out.tensor)
    elif kind == "string":
        out.s = value if isinstance(value, bytes) else value.encode()
    else:
        setattr(out, {"int": "i", "float": "f", "bool": "b"}[kind], value)


def kind_of(value: Any) -> str:
    """The attr kind of a Python value, for attrs that no OpDef declares (names that begin with "_")."""
    if isinstance(value, list):
        return f"list({kind_of(value[0]) if value else 'int'})"
    for kind, types in (("bool", bool), ("int", int), ("float", float), ("string", (str, bytes)), ("type", DType),
                        ("shape", TensorShape), ("tensor", np.ndarray)):
        if isinstance(value, types):
            return kind
    raise InvalidArgumentError(f"[GraphDef] an attr cannot hold {value!r}")


def attr_from_proto(proto: Any) -> Any:
    which = proto.WhichOneof("value")
    if which == "list":
        for field in ("s", "i", "f", "b", "type", "shape", "tensor"):
            values = getattr(proto.list, field)
            if len(values):
                return [_single(field, v) for v in values]
        return []
    return None if which is None else _single(which, getattr(proto, which))


def _single(field: str, value: Any) -> Any:
    if field == "s":
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if field == "type":
        return dtypes.as_dtype(value)
    if field == "shape":
        return shape_from_proto(value)
    if field == "tensor":
        return tensor_from_proto(value)
    return value


# ---- graphs

def input_name(t: Tensor) -> str:
    return t.op.name if t.index == 0 else f"{t.op.name}:{t.index}"


def node_to_proto(op: Operation, out: Any) -> None:
    out.name = op.name
    out.op = op.type
    out.input.extend([input_name(t) for t in op.inputs])
    out.input.extend(["^" + c.name for c in op.control_inputs])
    if op.device:
        out.device = op.device
    for key, value in op.attrs.items():
        spec = op.op_def.attrs.get(key)
        attr_to_proto(spec.kind if spec else kind_of(value), value, out.attr[key], op.attrs.get("dtype"))


def to_graph_def(graph: Graph, ops: Iterable[Operation] | None = None, annotate: bool = False,
                 shapes: bool = False) -> Any:
    """The graph (or some of its operations) as a GraphDef message. `shapes`: with ``_output_shapes`` on every node;
    `annotate`: with ``_output_dtypes`` too, as the runtime wants it."""
    message = pb.GraphDef()
    message.versions.producer = PRODUCER
    for op in graph.get_operations() if ops is None else ops:
        node = message.node.add()
        node_to_proto(op, node)
        if shapes or annotate:
            attr_to_proto("list(shape)", [t.shape for t in op.outputs], node.attr["_output_shapes"])
        if annotate:
            numbers: Any = node.attr["_output_dtypes"].list
            numbers.SetInParent()
            numbers.type.extend([t.dtype.enum + (100 if t.is_ref else 0) for t in op.outputs])
    return message


def parse(data: Any) -> Any:
    """A GraphDef message from bytes. Raises: DataLossError where they are not one."""
    try:
        return pb.GraphDef.FromString(bytes(data))
    except DecodeError as e:
        raise DataLossError(f"[GraphDef] {len(data)} bytes are not a GraphDef: corrupt or truncated ({e})") from None


def import_graph_def(graph_def: Any, input_map: dict[str, Any] | None = None,
                     return_elements: Sequence[str] | None = None, name: str | None = None) -> list[Any] | None:
    """Adds the nodes of `graph_def` (a GraphDef message of either project, or its bytes) to the default graph.

    Args: input_map: names of its tensors -> tensors of this graph to use instead; return_elements: names of operations
    or tensors to return; name: prefix (default "import", "" for none).
    Raises: DataLossError for bytes that are no GraphDef; InvalidArgumentError for an unknown op, a bad attr, a missing
    input (naming both ends) or a cycle; AlreadyExistsError for a duplicate name.
    """
    if isinstance(graph_def, (bytes, bytearray, memoryview)):
        graph_def = parse(graph_def)
    elif not isinstance(graph_def, pb.GraphDef):
        graph_def = parse(graph_def.SerializeToString())
    graph = get_default_graph()
    if graph_def.versions.min_consumer > PRODUCER:
        raise InvalidArgumentError(f"[GraphDef] the file needs a reader of version {graph_def.versions.min_consumer}, "
                                   f"this one is {PRODUCER}")
    prefix = "import" if name is None else name.rstrip("/")
    with graph.name_scope(prefix) as scope:
        imported = _import_nodes(graph, graph_def.node, scope, dict(input_map or {}))
    if return_elements is None:
        return None
    return [imported[e] if ":" not in e else imported[e.rpartition(":")[0]].outputs[int(e.rpartition(":")[2])]
            for e in return_elements]


def _import_nodes(graph: Graph, nodes: Any, scope: str, mapped: dict[str, Any]) -> dict[str, Operation]:
    by_name: dict[str, Any] = {}
    for node in nodes:
        if node.name in by_name:
            raise AlreadyExistsError(f"[GraphDef] two nodes are named {node.name!r}")
        by_name[node.name] = node
    done: dict[str, Operation] = {}
    back_edges: list[tuple[Operation, int, str]] = []
    for node in _in_order(by_name):
        inputs: list[Tensor] = []
        late: list[tuple[int, str]] = []
        controls: list[Operation] = []
        for text in node.input:
            if text.startswith("^"):
                controls.append(done[text[1:]])
                continue
            source, index = _split(text)
            given = mapped.get(f"{source}:{index}", mapped.get(text))
            if given is not None:
                inputs.append(given if isinstance(given, Tensor) else given._as_tensor())
                continue
            if _is_back_edge(node, by_name[source]):
                late.append((len(inputs) + len(late), source))
                continue
            outputs = done[source].outputs
            if index >= len(outputs):
                raise InvalidArgumentError(f"[GraphDef] node {node.name!r} wants output {index} of {source!r}, "
                                           f"which has {len(outputs)}", node.name)
            inputs.append(outputs[index])
        spelling = SPELLINGS.get(node.op, Spelling(node.op))
        attrs = _attrs(node, spelling)
        for k, _ in late:  # the input from outside stands in until the loop is closed
            inputs.insert(k, inputs[0])
        if spelling.rewrite is not None:
            inputs = spelling.rewrite(graph, inputs, attrs, scope + node.name)
        done[node.name] = graph.create_op(spelling.op, inputs, attrs, scope + node.name + "/",
                                          control_inputs=controls, device=node.device or None)
        if late:
            done[node.name].outputs[0].shape = UNKNOWN  # it may differ between iterations
            back_edges += [(done[node.name], k, source) for k, source in late]
    for op, k, source in back_edges:
        op._update_input(k, done[source].outputs[0])
    derive_contexts(graph, done.values())
    return done


def _is_back_edge(node: Any, source: Any) -> bool:
    return node.op in MERGE and source.op in NEXT_ITERATION


def _attrs(node: Any, spelling: Spelling) -> dict[str, Any]:
    definition = lookup(spelling.op)
    attrs: dict[str, Any] = {}
    for key, proto in node.attr.items():
        spec = definition.attrs.get(key)
        if spec is None and not key.startswith("_"):
            value = attr_from_proto(proto)
            if key in spelling.reads:
                attrs[key] = value
            if key in spelling.reads + spelling.drops:
                continue
            if key in _HINTS or key in _FOREIGN_DEFAULTS and value == _FOREIGN_DEFAULTS[key]:
                continue
            raise InvalidArgumentError(f"[GraphDef] node {node.name!r} ({node.op}) has the attr {key!r} = {value!r}, "
                                       "which is not supported", node.name)
        if key.startswith("_") and proto.WhichOneof("value") in ("func", "placeholder", None):
            continue
        value = attr_from_proto(proto)
        if spec is not None and not _fits(spec, proto):
            raise InvalidArgumentError(f"[GraphDef] node {node.name!r} ({node.op}): attr {key!r} must be {spec.kind}, "
                                       f"got {proto.WhichOneof('value')}", node.name)
        attrs[key] = value
    for key, spec in definition.attrs.items():
        if key not in attrs and spec.default is REQUIRED and spec.kind not in ("type", "list(type)") \
                and not any(key == a.number_attr for a in definition.inputs):
            raise InvalidArgumentError(f"[GraphDef] node {node.name!r} ({node.op}) lacks the attr {key!r}", node.name)
    return attrs


def _fits(spec: Attr, proto: Any) -> bool:
    which = proto.WhichOneof("value")
    if spec.kind.startswith("list("):
        return bool(which == "list")
    return bool(which == {"string": "s", "int": "i", "float": "f", "bool": "b"}.get(spec.kind, spec.kind))


def _split(text: str) -> tuple[str, int]:
    name, colon, index = text.rpartition(":")
    return (name, int(index)) if colon and index.isdigit() else (text, 0)


def _in_order(by_name: dict[str, Any]) -> list[Any]:
    """Nodes so that each comes after its inputs. Iterative: graphs may be deep."""
    order: list[Any] = []
    state: dict[str, int] = {}  # 1 open, 2 done
    for root in by_name:
        stack = [(root, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                state[name] = 2
                order.append(by_name[name])
                continue
            if name in state:
                if state[name] == 1:
                    raise InvalidArgumentError(f"[GraphDef] the graph has a cycle through {name!r}", name)
                continue
            state[name] = 1
            stack.append((name, True))
            for text in reversed(by_name[name].input):
                source = text[1:] if text.startswith("^") else _split(text)[0]
                if source not in by_name:
                    raise NotFoundError(f"[GraphDef] node {name!r} has the input {text!r}, but no node is named "
                                        f"{source!r}", name)
                if _is_back_edge(by_name[name], by_name[source]):
                    continue
                if state.get(source) != 2:
                    if state.get(source) == 1:
                        raise InvalidArgumentError(f"[GraphDef] the graph has a cycle through {source!r}", source)
                    stack.append((source, False))
    return order
