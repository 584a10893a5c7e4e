"""Variables that the ranks of one node hold in common: each rank updates a slice, nobody updates what another does.

    gradient -> allreduce -> Apply (all of w)    becomes    gradient -> allreduce -> meet -> Apply (slice of w) -> meet

The variables and slots of a distributed step move to shared memory when the session starts, after they took rank 0's
values. Each rank then reads 1/P of the reduced gradients and writes 1/P of weights and slots, and a node holds one copy
of them in its caches and its memory. The first meeting lets nobody write while another still computes with the old
values, the second lets nobody read before all have written. Bits are the same on all ranks because they are the same.

Off unless RINGFLOW_SHARED_VARIABLES is 1: a rank that assigns to such a variable then assigns for all ranks.
Source: the sharded optimizer states of ZeRO (Rajbhandari et al., SC'20), with a memory in place of the allgather.
"""
from __future__ import annotations

from ringflow.graph import config
from ringflow.graph.define import attr, define
from ringflow.graph.dtypes import FIXED
from ringflow.graph.interpreter import Ref
from ringflow.graph.operation import Operation
from ringflow.graph.ops.rules import first_shape
from ringflow.graph.passes import Program
from ringflow.graph.topology import predecessors, topological_order
from ringflow.graph.train_step import TrainStep

from .attach import COLLECTIVE_OPS, communicator_of
from .communicator import Communicator

UPDATES = frozenset({"ApplyGradientDescent", "ApplyMomentum", "ApplyAdagrad", "ApplyAdam", "ApplyRMSProp"})
_LINE = 64      # bytes: ranks write whole cache lines
_PAGE = 4096


@define("_ShareVariable(ref: &T) -> output_ref: &T", T=FIXED, stateful=True, differentiable=False, shape=first_shape,
        group_size=attr("int"), group_key=attr("int"), instance_key=attr("int"))
def share_variable(ref: Ref, *, group_size: int, group_key: int, instance_key: int) -> Ref:
    """Moves the variable to memory that all ranks share, with rank 0's value. Collective."""
    return ref  # the reference backend keeps it to itself


@define("_RanksMeet()", stateful=True, differentiable=False)
def ranks_meet(*, op: Operation) -> None:
    """Done when every rank has come here."""
    communicator_of(op.graph).barrier()


def mark_shared(step: TrainStep, world: Communicator) -> set[Operation]:
    """Marks the updates that can go by slices; the variables, slots included, that are to be shared."""
    if not config.get("RINGFLOW_SHARED_VARIABLES") or not world.native.shares_memory:
        return set()
    shared: set[Operation] = set()
    for op in step.update_ops:
        if op.type not in UPDATES or not all(t.shape.is_fully_defined() for t in op.inputs if t.is_ref):
            continue
        variables = [t.op for t in op.inputs if t.is_ref]
        if any(w is not op and w.type != "Assign" for v in variables for w in _writers(v)):
            continue  # somebody else writes it too, all of it
        op.attrs["_shared"] = True
        shared.update(variables)
    return shared


def _writers(variable: Operation) -> list[Operation]:
    return [op for op in variable.outputs[0].consumers
            if any(t.is_ref and t.op is variable for t in op.inputs) and op.outputs and op.outputs[0].is_ref]


def update_by_slices(program: Program) -> None:
    """Pass: marked updates write this rank's slice, between two meetings."""
    updates = [op for op in program.graph._ops if op.attrs.get("_shared")]
    if not updates or getattr(getattr(program.session, "backend", None), "resources", None) is None:
        return
    world = communicator_of(program.graph)
    for op in updates:
        op.attrs["_slice"] = list(slice_of(op, world))
    followers = _followers(program, updates)
    others = [op for op in program.graph._ops if op.type in COLLECTIVE_OPS and op not in followers]
    before = dict.fromkeys(p for op in updates for p in predecessors(op) if p not in updates)
    meet = program.add("_RanksMeet", [], {}, "meet_before_updates", list(dict.fromkeys([*before, *others])), updates[0])
    done = program.add("_RanksMeet", [], {}, "meet_after_updates", updates, updates[0])
    for op in updates:
        op.control_inputs.append(meet)
    marked = set(updates)
    for op in program.graph._ops:
        if op is not done and op not in marked and any(p in marked for p in predecessors(op)):
            op.control_inputs.append(done)
    program.targets.append(done)


def _followers(program: Program, updates: list[Operation]) -> set[Operation]:
    found = set(updates)
    for op in topological_order(program.graph._ops):
        if any(p in found for p in predecessors(op)):
            found.add(op)
    return found


def slice_of(update: Operation, world: Communicator) -> tuple[int, int]:
    """The elements of its variable that this rank updates: those of the gradient that it has reduced itself, where that
    comes out of a bucket, otherwise an equal share."""
    count = update.inputs[0].shape.num_elements() or 0
    item = update.inputs[0].dtype.size
    gradients = [t for t in update.inputs if t.op.type == "_BucketWait"]
    if not gradients:
        return _share(count, item, _LINE, world)
    elements = gradients[0].op.attrs["elements"]
    sizes = [-(-n * item // _LINE) * _LINE // item for n in elements]
    begin, total = sum(sizes[:gradients[0].index]), sum(sizes)
    unit = _PAGE if total * item >= 4 * _PAGE * world.size else _LINE
    first, last = _share(total, item, unit, world)
    return min(max(first - begin, 0), count), min(max(last - begin, 0), count)


def _share(count: int, item: int, unit: int, world: Communicator) -> tuple[int, int]:
    units = -(-count * item // unit)
    share = -(-units // world.size) * unit // item
    return min(count, world.rank * share), min(count, (world.rank + 1) * share)
