"""Elementwise fusion: runs of elementwise ops of one shape become one node that works tile by tile.

A group runs where its last member ran. That is legal while everybody outside who waits for a member comes later in the
order of the program; it is checked whenever a group grows, so that no cycle can arise. Members come behind the same
operations that may wait (a dequeue): else others would wait for what they do not need, perhaps for themselves. Only
nodes of fully known shape take part: how an operand repeats must be plain. A BroadcastTo in front of a group is read
through.

Where a group reads several tensors that are cheap functions of fewer, such as x * 0.5 and x * x * x in the backward
pass of an activation, it computes them again: reading memory costs more than a multiplication.

The bits stay the same: the kernel (csrc/kernels/fused.cc) uses the formula of each op as it is.
"""
from __future__ import annotations

from ..operation import Operation, Tensor
from ..ops.fused import FUSIBLE
from ..places import Places, find_places
from ..shapes import TensorShape, broadcast
from ..topology import predecessors, topological_order
from .min_cut import minimum_cut
from .program import Program

_MOST_OPS = 32        # of a group: more temporaries would not stay in the first-level cache
_MOST_INPUTS = 16
_LEAST_ELEMENTS = 512  # below, one node's overhead is what several cost anyway
_CHEAP = frozenset(("Neg", "Abs", "Square", "Floor", "Relu", "Relu6", "AddV2", "Sub", "Mul", "Maximum", "Minimum",
                    "SquaredDifference", "ReluGrad", "Relu6Grad", "SigmoidGrad", "TanhGrad"))  # to compute again

Group = list[Operation]  # in the order of the program


def fuse_elementwise(program: Program) -> None:
    order = topological_order(program.graph._ops)
    position = {op: i for i, op in enumerate(order)}
    waiters, places, behind = _waiters(order), find_places(order), _behind(order)
    group_of: dict[Operation, Group] = {}
    for op in order:
        if op in program.targets or not _fusible(op):
            continue
        group = [op]
        for t in op.inputs:
            other = group_of.get(t.op)
            if other is None or other[0] in group or not _alike(other[0], op, places):
                continue
            if behind.get(other[0]) != behind.get(op):
                continue
            joined = sorted([*other, *group], key=position.__getitem__)
            if _fits(joined) and all(position[w] >= position[op] for m in other for w in waiters[m] if w not in other):
                group = joined
        for member in group:
            group_of[member] = group
    groups = {id(g): g for g in group_of.values()}.values()
    for group in sorted(groups, key=lambda g: position[g[-1]], reverse=True):  # readers first: what they compute again
        again = sorted(_computed_again(group, group_of, places), key=position.__getitem__)  # need not be written
        if len(group) + len(again) > 1:
            _replace(program, group, again, waiters)
    awaited = {c for op in program.graph._ops for c in op.control_inputs}
    program.remove({op for op in program.graph._ops if op.type == "BroadcastTo" and not op.outputs[0].consumers
                    and op not in awaited and op not in program.targets})


def _waiters(order: list[Operation]) -> dict[Operation, list[Operation]]:
    """Who waits for an operation, by data or control edges."""
    waiters = {op: [c for t in op.outputs for c in t.consumers] for op in order}
    for op in order:
        for before in op.control_inputs:
            waiters[before].append(op)
    return waiters


def _behind(order: list[Operation]) -> dict[Operation, frozenset[Operation]]:
    """The operations before each that may wait, where there are any."""
    behind: dict[Operation, frozenset[Operation]] = {}
    for op in order:
        before = {b for b in predecessors(op) if b in behind or b.op_def.waits}
        if before:
            waiting = [b for b in before if b.op_def.waits]
            behind[op] = frozenset(waiting).union(*(behind[b] for b in before if b in behind))
    return behind


def _fusible(op: Operation) -> bool:
    if op.type not in FUSIBLE and not _is_sum(op):
        return False
    y = op.outputs[0]
    if op.control_inputs or not y.dtype.is_floating or y.dtype.size < 4 or not y.shape.is_fully_defined():
        return False
    return (y.shape.num_elements() or 0) >= _LEAST_ELEMENTS and all(
        not t.is_ref and t.dtype is y.dtype and _repeats_once(t.shape, y.shape) for t in op.inputs)


def _is_sum(op: Operation) -> bool:
    """Whether it is a chain of AddV2: of few tensors, or of a bias that repeats in front."""
    if op.type == "BiasAdd":
        return bool(op.attrs["data_format"] == "NHWC")
    return op.type == "AddN" and 2 <= len(op.inputs) <= 8


def _alike(a: Operation, b: Operation, places: Places | None) -> bool:
    """Whether one node could be both: alive and dead together, among other things."""
    x, y = a.outputs[0], b.outputs[0]
    same_place = places is None or places[a] == places[b]
    return x.shape == y.shape and x.dtype is y.dtype and a.device == b.device and same_place


def _fits(group: Group) -> bool:
    return len(group) <= _MOST_OPS and len(_inputs(group)) <= _MOST_INPUTS


def _repeats_once(operand: TensorShape, result: TensorShape) -> bool:
    """Whether the dimensions in which `operand` does not repeat over `result` are neighbours."""
    if not operand.is_fully_defined():
        return False
    sizes = [1] * (len(result.known) - len(operand.known)) + list(operand.known)
    same = [a == b for a, b in zip(sizes, result.known) if b != 1]
    return sum(now and not before for before, now in zip([False, *same], same)) <= 1


def _source(t: Tensor) -> Tensor:
    """What a group reads for `t`: what a BroadcastTo repeats, unless that is memory that somebody may change."""
    x = t.op.inputs[0] if t.op.type == "BroadcastTo" else t
    usable = not x.is_ref and not x.op.op_def.aliases and not t.op.control_inputs and _repeats_once(x.shape, t.shape)
    return x if usable else t


def _inputs(group: Group, source: bool = True) -> dict[Tensor, Tensor]:
    """What members read from outside, each with what is read in its place."""
    inside = set(group)
    return {t: _source(t) if source else t for op in group for t in op.inputs if t.op not in inside}


def _common(inputs: list[Tensor]) -> TensorShape:
    shape = inputs[0].shape
    for t in inputs[1:]:
        shape = broadcast(shape, t.shape, "_Fused")
    return shape


def _computed_again(group: Group, group_of: dict[Operation, Group], places: Places | None) -> set[Operation]:
    """Cheap operations of other groups that `group` had better repeat than read the results of: those behind the
    fewest tensors from which all that it reads can be computed."""
    shape = group[-1].outputs[0].shape

    def parts(t: Tensor) -> list[Tensor] | None:
        """What `t` is computed from again; None where it had better be read."""
        if t.op not in group_of or t.op.type not in _CHEAP or not _alike(t.op, group[-1], places):
            return None
        if any(x.is_ref or x.op.op_def.aliases for x in t.op.inputs):  # memory that may have changed by then
            return None
        return [x for x in t.op.inputs if x.shape == shape]

    wanted = [t for t in _inputs(group) if t.shape == shape]
    fewest = minimum_cut(wanted, parts)
    again = set[Operation]()
    if len(fewest) < len(wanted):
        stack = [t for t in wanted if t not in fewest]
        while stack:
            t = stack.pop()
            again.add(t.op)
            stack.extend(x for x in parts(t) or () if x not in fewest and x.op not in again)
    fits = len(group) + len(again) <= _MOST_OPS and len(_inputs([*group, *again])) <= _MOST_INPUTS
    return again if fits else set()


def _replace(program: Program, group: Group, again: Group, waiters: dict[Operation, list[Operation]]) -> None:
    """One node instead of `group`, which repeats the operations of `again`."""
    last, inside = group[-1], set(group)
    inputs = _inputs([*again, *group])
    if _common(list(inputs.values())) != last.outputs[0].shape:  # nobody would tell how far to repeat
        inputs = _inputs([*again, *group], source=False)
    sources = list(dict.fromkeys(inputs.values()))
    number = {t: sources.index(s) for t, s in inputs.items()}
    ops: list[str] = []
    args: list[int] = []
    made: dict[Operation, int] = {}  # the op in `ops` that gives a member's result
    for op in [*again, *group]:
        operands = [number[t] for t in op.inputs]
        for k in range(max(1, len(operands) - 1)):  # AddN is a chain of additions, from the left
            first = operands[0] if k == 0 else len(sources) + len(ops) - 1
            ops.append(op.type if op.type in FUSIBLE else "AddV2")
            args += [first, operands[min(k + 1, len(operands) - 1)]]
        made[op] = len(ops) - 1
        number[op.outputs[0]] = len(sources) + made[op]
    shown = [last, *(op for op in group[:-1] if any(c not in inside for c in op.outputs[0].consumers))]
    attrs = {"T": last.outputs[0].dtype, "N": len(sources), "M": len(shown), "ops": ops, "args": args,
             "results": [made[op] for op in shown]}
    node = program.add("_Fused", sources, attrs, f"{last.name}/_fused", like=last)
    for op, t in zip(shown, node.outputs):
        program.replace(op.outputs[0], t)
    for op in group:
        for waiter in waiters[op]:
            if op in waiter.control_inputs:
                waiter.control_inputs = list(dict.fromkeys(node if c is op else c for c in waiter.control_inputs))
    program.remove(inside)
