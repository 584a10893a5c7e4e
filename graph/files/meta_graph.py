"""Meta graphs: a graph with its collections, so that another program goes on with it.

A collection becomes names of tensors and operations, numbers, strings, or messages: variables as VariableDef, what
other modules ``register`` as they say. What none of these fits is left out with a warning.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from ..errors import DataLossError, InvalidArgumentError
from ..graph import Graph, GraphKeys, get_default_graph
from ..opdef import OPS
from ..operation import Operation, Tensor
from ..proto import graph_pb2, meta_graph_pb2 as pb
from ..state.variables import Variable
from .graph_file import read_graph_file, write_message
from .op_list import op_def_to_proto
from .wire import import_graph_def

META_GRAPH_VERSION = "1.0"


@dataclass(frozen=True)
class Form:
    """How the items of a collection are written: `to_proto(item) -> message`, `from_proto(message, scope) -> item`."""

    message: Any
    to_proto: Callable[[Any], Any]
    from_proto: Callable[[Any, str], Any]


FORMS: dict[str, Form] = {}  # by collection; written at import only
_OF_THIS_PROGRAM = (GraphKeys.TRAIN_STEPS, GraphKeys.BEFORE_FIRST_RUN)  # records that no file holds


def register(collection: str, message: Any, to_proto: Callable[[Any], Any],
             from_proto: Callable[[Any, str], Any]) -> None:
    """Says how the items of a collection are written and read. At import only."""
    FORMS[collection] = Form(message, to_proto, from_proto)


for _key in (GraphKeys.GLOBAL_VARIABLES, GraphKeys.LOCAL_VARIABLES, GraphKeys.TRAINABLE_VARIABLES,
             GraphKeys.MODEL_VARIABLES, GraphKeys.MOVING_AVERAGE_VARIABLES, GraphKeys.GLOBAL_STEP):
    register(_key, pb.VariableDef, lambda v: v.to_proto(), lambda proto, scope: Variable.from_proto(proto, scope))


# ---- writing

def export_meta_graph(filename: str | None = None, *, graph: Graph | None = None, graph_def: Any = None,
                      collection_list: Sequence[str] | None = None, as_text: bool = False,
                      clear_devices: bool = False, saver_def: Any = None) -> Any:
    """The MetaGraphDef of `graph` (default: the default graph), also written to `filename` where one is given.

    Args: graph_def: written in place of the graph's own, say with ``graph_util.order_updates``; collection_list: the
    collections to write (default: all); clear_devices: leaves out the devices of nodes.
    Raises: OSError where the file cannot be written.
    """
    graph = graph or get_default_graph()
    meta = pb.MetaGraphDef()
    meta.graph_def.CopyFrom(graph.as_graph_def(add_shapes=True) if graph_def is None else graph_def)
    meta.meta_info_def.meta_graph_version = META_GRAPH_VERSION
    meta.meta_info_def.stripped_op_list.SetInParent()
    for name in sorted({node.op for node in meta.graph_def.node}):
        if name in OPS:
            op_def_to_proto(OPS[name], meta.meta_info_def.stripped_op_list.op.add())
    if saver_def is not None:
        meta.saver_def.CopyFrom(saver_def)
    if clear_devices:
        _clear_devices(meta.graph_def)
    for key in graph.collection_names() if collection_list is None else collection_list:
        items = graph.get_collection(key)
        if items and key not in _OF_THIS_PROGRAM:
            _write_collection(key, items, meta.collection_def)
    if filename is not None:
        write_message(meta, filename, as_text)
    return meta


def _clear_devices(graph_def: Any) -> None:
    for node in graph_def.node:
        node.device = ""


def _write_collection(key: str, items: list[Any], out: Any) -> None:
    form = FORMS.get(key)
    if form is not None:
        out[key].bytes_list.value.extend([form.to_proto(item).SerializeToString() for item in items])
    elif all(isinstance(item, (Tensor, Operation, Variable)) for item in items):
        out[key].node_list.value.extend([item.name for item in items])
    elif all(isinstance(item, int) for item in items):
        out[key].int64_list.value.extend(items)
    elif all(isinstance(item, (int, float)) for item in items):
        out[key].float_list.value.extend(items)
    elif all(isinstance(item, (str, bytes)) for item in items):
        out[key].bytes_list.value.extend([i if isinstance(i, bytes) else i.encode() for i in items])
    else:
        kinds = sorted({type(item).__name__ for item in items})
        warnings.warn(f"[export_meta_graph] the collection {key!r} is left out: no file holds {', '.join(kinds)}. "
                      "Fix: register how to write it, or name the others in collection_list", stacklevel=4)


# ---- reading

def import_meta_graph(meta_graph_or_file: Any, clear_devices: bool = False, import_scope: str | None = None) -> None:
    """Adds a meta graph (a message or the name of a file) to the default graph, and its items to the collections.

    `import_scope`: a prefix for all names. Checkpoints are restored by whoever reads them: nothing is returned.
    Raises: NotFoundError, DataLossError for a file that cannot be read; as ``import_graph_def``.
    """
    meta = meta_graph_or_file
    if isinstance(meta, str):
        meta = read_graph_file(meta)
    elif not isinstance(meta, pb.MetaGraphDef):
        try:
            meta = pb.MetaGraphDef.FromString(meta if isinstance(meta, bytes) else meta.SerializeToString())
        except (AttributeError, DecodeError):
            raise InvalidArgumentError(f"[import_meta_graph] needs a MetaGraphDef or the name of a file: received "
                                       f"{type(meta).__name__}") from None
    scope = (import_scope or "").rstrip("/")
    graph_def = graph_pb2.GraphDef()
    graph_def.CopyFrom(meta.graph_def)
    if clear_devices:
        _clear_devices(graph_def)
    for node in graph_def.node if scope else ():
        if node.op == "VarHandleOp" and node.attr["shared_name"].s == node.name.encode():
            node.attr["shared_name"].s = scoped(node.name, scope).encode()  # a variable of its own
    graph = get_default_graph()
    import_graph_def(graph_def, name=scope)
    read: dict[str, Any] = {}  # an item of several collections is one object
    for key in sorted(meta.collection_def):
        for item in _read_collection(graph, key, meta.collection_def[key], scope, read):
            graph.add_to_collection(key, item)


def _read_collection(graph: Graph, key: str, collection: Any, scope: str, read: dict[str, Any]) -> list[Any]:
    kind = collection.WhichOneof("kind")
    if kind is None:
        return []
    values = list(getattr(collection, kind).value)
    if kind == "node_list":
        return [graph.as_graph_element(scoped(name, scope)) for name in values]
    form = FORMS.get(key)
    if form is None or kind != "bytes_list":
        return [v.decode(errors="surrogateescape") if isinstance(v, bytes) else v for v in values]
    items = []
    for data in values:
        try:
            message = form.message.FromString(data)
        except DecodeError:
            raise DataLossError(f"[import_meta_graph] the collection {key!r} holds {len(data)} bytes that are no "
                                f"{form.message.DESCRIPTOR.name}. Fix: write the meta graph again") from None
        same = f"{form.message.DESCRIPTOR.name} {message.SerializeToString(deterministic=True)!r}"
        if same not in read:
            read[same] = form.from_proto(message, scope)
        items.append(read[same])
    return items


def scoped(name: str, scope: str) -> str:
    """The name of an imported node or tensor."""
    return f"{scope}/{name}" if scope else name


__all__ = ["export_meta_graph", "import_meta_graph", "register"]
