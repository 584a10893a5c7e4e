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

    def require(ok: bool, op: object, rule: str) -> None:
        if not ok:
            raise InternalError(f"[verify] after the pass '{after}': {rule}: {op!r}. Fix: report this as a bug of "
                                "ringflow")

    used = {(id(t), id(c)) for op in ops for t in op.outputs for c in t.consumers}
    require(len({op.name for op in ops}) == len(ops), program.graph, "node names are not unique")
    for op in ops:
        require(op.type in OPS, op, "unknown op")
        for t in op.inputs:
            require(t.op in members, op, f"input {t.name!r} is not in the graph")
            require((id(t), id(op)) in used, op, f"input {t.name!r} does not know its consumer")
        for c in op.control_inputs:
            require(c in members, op, f"control input {c.name!r} is not in the graph")
        position = 0
        for arg in op.op_def.inputs:
            if not arg.is_list:
                want = arg.dtype if arg.dtype is not None else op.attrs[arg.type_attr]
                require(op.inputs[position].dtype is want, op, f"input '{arg.name}' is not {want}")
                position += 1
            else:
                position += len(range(len(op.inputs))[op.span(arg.name)])
        require(position == len(op.inputs), op, "wrong number of inputs")
    for op in program.targets:
        require(op in members, op, "a target is not in the graph")
    topological_order(ops)
    try:
        find_places(ops)
    except InvalidArgumentError as e:
        require(False, e, "an edge leaves a loop")
