"""The global step: one int64 variable of a graph that counts training steps."""
from __future__ import annotations

import numpy as np
from ringflow.graph.errors import AlreadyExistsError, GraphError
from ringflow.graph.graph import Graph, GraphKeys, get_default_graph
from ringflow.graph.state.variable_scope import get_variable
from ringflow.graph.state.variables import Variable


def get_global_step(graph: Graph | None = None) -> Variable | None:
    """The global step of `graph` (default: the default graph), or None. Raises: GraphError where there are several."""
    found = (graph or get_default_graph()).get_collection(GraphKeys.GLOBAL_STEP)
    if len(found) > 1:
        raise GraphError(f"[global_step] the graph has {len(found)} global steps: "
                         f"{', '.join(v.op.name for v in found)}")
    return found[0] if found else None


def create_global_step(graph: Graph | None = None) -> Variable:
    """A new global step, 0 at first. Raises: AlreadyExistsError where the graph has one."""
    graph = graph or get_default_graph()
    existing = get_global_step(graph)
    if existing is not None:
        raise AlreadyExistsError(f"[global_step] {existing.op.name!r} already exists.{existing.op.where} "
                                 "Fix: use get_or_create_global_step()")
    with graph.as_default():
        return get_variable("global_step", initializer=np.zeros((), np.int64), dtype=np.int64, trainable=False,
                            collections=[GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP])


def get_or_create_global_step(graph: Graph | None = None) -> Variable:
    """The global step of `graph` (default: the default graph), made where there is none."""
    return get_global_step(graph) or create_global_step(graph)
