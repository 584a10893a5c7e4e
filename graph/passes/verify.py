"""The verifier: what must hold of a program between any two passes."""
from __future__ import annotations

from ..errors import InternalError, InvalidArgumentError
from ..opdef import OPS
from ..places import find_places
from ..topology import topological_order
from .program import Program


def verify(program: Program, after: str) -> None:
    """Raises: InternalError naming the pass and the node where the program is not well-formed."""
    ops = program.graph._ops
    members = set(ops)

    def fail(op: object, rule: str) -> None:
        raise InternalError(f"[verify] after the pass '{after}': {rule}: {op!r}. Fix: report this as a bug of ringflow")

    used = {(id(t), id(c)) for op in ops for t in op.outputs for c in t.consumers}
    if len({op.name for op in ops}) != len(ops):
        fail(program.graph, "node names are not unique")
    for op in ops:
        if op.type not in OPS:
            fail(op, "unknown op")
        for t in op.inputs:
            if t.op not in members:
                fail(op, f"input {t.name!r} is not in the graph")
            if (id(t), id(op)) not in used:
                fail(op, f"input {t.name!r} does not know its consumer")
        for c in op.control_inputs:
            if c not in members:
                fail(op, f"control input {c.name!r} is not in the graph")
        position = 0
        for arg in op.op_def.inputs:
            if arg.is_list:
                position += len(range(len(op.inputs))[op.span(arg.name)])
                continue
            want = arg.dtype if arg.dtype is not None else op.attrs[arg.type_attr]
            if op.inputs[position].dtype is not want:
                fail(op, f"input '{arg.name}' is not {want}")
            position += 1
        if position != len(op.inputs):
            fail(op, "wrong number of inputs")
    for op in program.targets:
        if op not in members:
            fail(op, "a target is not in the graph")
    topological_order(ops)
    try:
        find_places(ops)
    except InvalidArgumentError as e:
        fail(e, "an edge leaves a loop")
