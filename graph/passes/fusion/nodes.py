"""The node of a group: `_Fused` where all members have one shape and are elementwise, else `_FusedRows`."""
from __future__ import annotations

from ...operation import Operation, Tensor
from ...ops.fused import FUSIBLE
from ...ops.fused_rows import result_shape
from ...shapes import TensorShape, broadcast_all
from ..program import Program
from .fusible import fused_name, is_column_sum, operands
from .groups import Group, inputs_of, whole_of


def replace_group(program: Program, group: Group, again: Group, waiters: dict[Operation, list[Operation]]) -> None:
    """One node instead of `group`, which repeats the operations of `again`; nobody needs those of `group` then."""
    whole, inside, members = whole_of(group), set(group), [*again, *group]
    by_rows = any(fused_name(op) not in FUSIBLE or op.outputs[0].shape != whole for op in group)
    inputs = inputs_of(members)
    if not _spans(members, inputs, whole, by_rows):
        inputs = inputs_of(members, through=False)
    shown = [op for op in group if op is group[-1] or is_column_sum(op)
             or any(c not in inside for c in op.outputs[0].consumers)]
    shown.sort(key=lambda op: (op.outputs[0].shape == whole, op is group[-1]), reverse=True)
    sources = list(dict.fromkeys(inputs.values()))
    if by_rows:  # output 0 may be written over input 0
        sources.sort(key=lambda t: t.shape == whole and _ends(t, group, shown[0]), reverse=True)
    ops, args, made = _recipe(members, {t: sources.index(s) for t, s in inputs.items()}, len(sources))
    attrs = {"T": shown[0].outputs[0].dtype, "N": len(sources), "M": len(shown), "ops": ops, "args": args,
             "results": [made[op] for op in shown]}
    kind, name = "_FusedRows" if by_rows else "_Fused", f"{group[-1].name}/_fused"
    node = program.add(kind, sources, attrs, name, like=group[-1])
    for op, t in zip(shown, node.outputs):
        program.replace(op.outputs[0], t)
    for op in group:
        for waiter in waiters[op]:
            if op in waiter.control_inputs:
                waiter.control_inputs = list(dict.fromkeys(node if c is op else c for c in waiter.control_inputs))
    for t in {t for op in group for t in op.inputs}:
        t.consumers = [c for c in t.consumers if c not in inside]


def _recipe(members: Group, number: dict[Tensor, int],
            inputs: int) -> tuple[list[str], list[int], dict[Operation, int]]:
    """Attrs `ops` and `args` for `members`, which read inputs of these numbers; and the op of each member's result."""
    ops: list[str] = []
    args: list[int] = []
    made: dict[Operation, int] = {}
    for op in members:
        read = [number[t] for t in operands(op)]
        for k in range(max(1, len(read) - 1)):  # AddN is a chain of additions, from the left
            ops.append(fused_name(op) or op.type)
            args += [read[0] if k == 0 else inputs + len(ops) - 2, read[min(k + 1, len(read) - 1)]]
        made[op] = len(ops) - 1
        number[op.outputs[0]] = inputs + made[op]
    return ops, args, made


def _spans(members: Group, inputs: dict[Tensor, Tensor], whole: TensorShape, by_rows: bool) -> bool:
    """Whether what is read tells how far to repeat: all together and, by rows, for each member."""
    if broadcast_all((t.shape for t in inputs.values()), "_Fused") != whole:
        return False
    shapes = {t: source.shape for t, source in inputs.items()}
    for op in members if by_rows else ():
        read = [shapes[t] for t in operands(op)]
        shapes[op.outputs[0]] = result_shape(fused_name(op) or op.type, read[0], broadcast_all(read, op.type))
    return all(shapes.get(op.outputs[0], op.outputs[0].shape) == op.outputs[0].shape for op in members)


def _ends(t: Tensor, group: Group, first: Operation) -> bool:
    """Whether nobody reads `t` outside, nor after `first` has been computed: its memory may become that of `first`."""
    after = group[group.index(first) + 1:]
    return not t.is_ref and all(c in group for c in t.consumers) and not any(t in op.inputs for op in after)
