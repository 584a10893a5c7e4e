"""``rf.summary``: operations that describe a step to TensorBoard, and the writer of its files.

    rf.summary.scalar("loss", loss)
    merged = rf.summary.merge_all()
    with rf.summary.FileWriter("logs", rf.get_default_graph()) as writer:
        writer.add_summary(session.run(merged, feeds), step)

Each function gives a tensor () string, a serialized Summary, and lists it in GraphKeys.SUMMARIES. The tag is the node's
name, scopes included; `family` puts it first and groups tags on TensorBoard's pages.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.graph import GraphKeys, get_default_graph
from ringflow.graph.opdef import OPS
from ringflow.graph.operation import Tensor
from ringflow.graph.proto.event_pb2 import Event, HistogramProto, SessionLog, Summary

from .file_writer import FileWriter, FileWriterCache

_REFUSED = re.compile(r"[^-/\w.]")


def scalar(name: str, tensor: Any, collections: Sequence[str] | None = None, family: str | None = None) -> Tensor:
    """One number: tensor () of a number type."""
    return _summary("ScalarSummary", name, collections, family, values=tensor)


def histogram(name: str, values: Any, collections: Sequence[str] | None = None, family: str | None = None) -> Tensor:
    """The distribution of `values` of any shape. Running it raises InvalidArgumentError for nan and inf."""
    return _summary("HistogramSummary", name, collections, family, values=values)


def image(name: str, tensor: Any, max_outputs: int = 3, collections: Sequence[str] | None = None,
          family: str | None = None) -> Tensor:
    """The first `max_outputs` of tensor (n, h, w, 1 | 3 | 4) uint8, float32 or float64; floats are scaled."""
    return _summary("ImageSummary", name, collections, family, tensor=tensor, max_images=max_outputs)


def merge(inputs: Sequence[Tensor], collections: Sequence[str] | None = None, name: str | None = None) -> Tensor:
    """One Summary of several. Running it raises InvalidArgumentError where a tag comes twice.

    Raises: InvalidArgumentError for an empty list."""
    if not inputs:
        raise InvalidArgumentError("[summary] merge() needs at least one summary: received none")
    return _listed(OPS["MergeSummary"](list(inputs), name=name), collections or ())  # type: ignore[operator]


def merge_all(key: str = GraphKeys.SUMMARIES, scope: str | None = None, name: str | None = None) -> Tensor | None:
    """All summaries of the collection `key` (those whose name matches `scope`), merged; None where there are none."""
    found = get_default_graph().get_collection(key, scope)
    return merge(found, name=name) if found else None


def _summary(op: str, name: str, collections: Sequence[str] | None, family: str | None, **arguments: Any) -> Tensor:
    base = clean(name) if family is None else f"{clean(family)}/{clean(name)}"
    with get_default_graph().name_scope(base) as scope:
        tag = scope.rstrip("/") if family is None else f"{clean(family)}/{scope.rstrip('/')}"
        arguments["tags" if op == "ScalarSummary" else "tag"] = tag
        return _listed(OPS[op](name=scope, **arguments), collections)  # type: ignore[operator]


def _listed(summary: Tensor, collections: Sequence[str] | None) -> Tensor:
    for key in (GraphKeys.SUMMARIES,) if collections is None else collections:
        get_default_graph().add_to_collection(key, summary)
    return summary


def clean(name: str) -> str:
    """`name` with what node names cannot hold replaced by "_". Raises: InvalidArgumentError where nothing is left."""
    cleaned = _REFUSED.sub("_", name).lstrip("/")
    if not cleaned:
        raise InvalidArgumentError(f"[summary] {name!r} is no name of a summary. Fix: use letters, digits, '_', '/'")
    return cleaned


__all__ = ["Event", "FileWriter", "FileWriterCache", "HistogramProto", "SessionLog", "Summary", "histogram", "image",
           "merge", "merge_all", "scalar"]
