"""Graph files: reading and writing GraphDef and MetaGraphDef, as bytes (.pb, .meta) or text (.pbtxt).

The form is told by the content, not by the name. Files are written whole or not at all: a new file takes the old one's
place at the end.
"""
from __future__ import annotations

import os
import tempfile
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from ..errors import DataLossError, InvalidArgumentError, NotFoundError
from ..graph import Graph
from ..proto import graph_pb2, meta_graph_pb2


def write_message(message: Any, path: str, as_text: bool) -> str:
    """Writes a protobuf message; directories are made. Raises: OSError."""
    data = text_format.MessageToString(message, as_utf8=True).encode() if as_text else message.SerializeToString()
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=folder, prefix=os.path.basename(path) + ".")
    try:
        with open(handle, "wb") as file:
            file.write(data)
        os.chmod(unfinished, 0o666 & ~_umask())
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_graph(graph_or_graph_def: Any, logdir: str, name: str, as_text: bool = True) -> str:
    """Writes a graph (an rf.Graph or a GraphDef) to `logdir`/`name` and returns that path. Raises: OSError."""
    graph_def = graph_or_graph_def.as_graph_def() if isinstance(graph_or_graph_def, Graph) else graph_or_graph_def
    if not isinstance(graph_def, graph_pb2.GraphDef):
        raise InvalidArgumentError(f"[write_graph] needs an rf.Graph or a GraphDef: received "
                                   f"{type(graph_def).__name__}")
    return write_message(graph_def, os.path.join(logdir, name), as_text)


def read_graph_file(path: str) -> Any:
    """The MetaGraphDef in a file; one that holds a plain GraphDef gives a MetaGraphDef with that alone.

    Raises: NotFoundError where it cannot be read; DataLossError where it is neither, or is damaged.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as e:
        raise NotFoundError(f"[graph file] {path!r} cannot be read: {e.strerror}. Fix: name a .pb, .pbtxt or .meta "
                            "file") from None
    if not data:
        raise DataLossError(f"[graph file] {path!r} is empty. Fix: write the graph again")
    found = _from_bytes(data) or _from_text(data)
    if found is None:
        raise DataLossError(f"[graph file] {path!r} ({len(data)} bytes) is neither a GraphDef nor a MetaGraphDef, as "
                            "bytes or as text: damaged, cut off or something else. Fix: write it again, say with "
                            "rf.train.write_graph")
    return found


def _from_bytes(data: bytes) -> Any:
    for kind in (graph_pb2.GraphDef, meta_graph_pb2.MetaGraphDef):
        try:
            message = kind.FromString(data)
        except DecodeError:
            continue
        meta = _as_meta(message)
        if meta is not None:
            return meta
    return None


def _from_text(data: bytes) -> Any:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    for kind in (graph_pb2.GraphDef, meta_graph_pb2.MetaGraphDef):
        message = kind()
        try:
            text_format.Parse(text, message, allow_unknown_field=True)
        except text_format.ParseError:
            continue
        meta = _as_meta(message)
        if meta is not None:
            return meta
    return None


def _as_meta(message: Any) -> Any:
    """`message` as a MetaGraphDef; None where its nodes have no names and ops, as when bytes of one kind are read as
    the other."""
    meta = message
    if isinstance(message, graph_pb2.GraphDef):
        meta = meta_graph_pb2.MetaGraphDef(graph_def=message)
    nodes = meta.graph_def.node
    return meta if nodes and all(node.name and node.op for node in nodes) else None
