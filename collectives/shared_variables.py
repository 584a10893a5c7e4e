"""Variables that the ranks of one node hold in common: each rank updates a slice, nobody updates what another does.

    gradient -> allreduce -> Apply (all of w)    becomes    gradient -> allreduce -> meet -> Apply (slice of w) -> meet

The variables and slots of a distributed step move to shared memory when the session starts, after they took rank 0's
values. Each rank then reads 1/P of the reduced gradients and writes 1/P of weights and slots, and a node holds one copy
of them in its caches and its memory. The first meeting lets nobody write while another still computes with the old
values, the second lets nobody read before all have written. Bits are the same on all ranks because they are the same.

A rank that assigns to such a variable assigns for all ranks. Variables stay private where RINGFLOW_SHARED_VARIABLES is
0, where `checks` compare what each rank holds, where somebody else than the optimizer and Assign writes them, and where
they would take more than half of what is free in /dev/shm.
Source: the sharded optimizer states of ZeRO (Rajbhandari et al., SC'20), with a memory in place of the allgather.
"""
from __future__ import annotations

import os

from ringflow.graph import config
from ringflow.graph.autodiff.train_step import TrainStep
from ringflow.graph.define import attr, define
from ringflow.graph.dtypes import FIXED
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.interpreter import Ref
from ringflow.graph.operation import Operation, Tensor, at_site
from ringflow.graph.ops.rules import first_shape
from ringflow.graph.passes import Program
from ringflow.graph.topology import predecessors, topological_order

from .attach import COLLECTIVE_OPS, always_run, communicator_of
from .communicator import Communicator

UPDATES = frozenset({"ApplyGradientDescent", "ApplyMomentum", "ApplyAdagrad", "ApplyAdam", "ApplyRMSProp"})
_LINE = 64      # bytes: ranks write whole cache lines
_PAGE = 4096
_ROOM = 2       # times what variables take must be free: gradients need as much again
_COLLECTION = "shared_variables"


@define("_ShareVariable(ref: &T) -> output_ref: &T", T=FIXED, stateful=True, differentiable=False, shape=first_shape,
        group_size=attr("int"), group_key=attr("int"), instance_key=attr("int"), stays=False)
def share_variable(ref: Ref) -> Ref:
    """Moves the variable to memory that all ranks share, with rank 0's value. Collective. stays: it is not moved."""
    return ref  # the reference backend keeps it to itself


@define("_RanksMeet()", stateful=True, differentiable=False)
def ranks_meet(*, op: Operation) -> None:
    """Done when every rank has come here."""
    communicator_of(op.graph).barrier()


def mark_shared(step: TrainStep, world: Communicator) -> set[Operation]:
    """Marks the updates that could go by slices; the variables, slots included, that could be shared."""
    if not config.get("RINGFLOW_SHARED_VARIABLES") or world.size == 1 or not world.native.shares_memory:
        return set()
    updates = [op for op in step.update_ops
               if op.type in UPDATES and op.context is None
               and all(v.outputs[0].shape.is_fully_defined() for v in _variables(op))]
    for op in updates:
        op.attrs["_shared"] = True
    step.train_op.graph.get_collection_ref(_COLLECTION).extend(updates)
    return {v for op in updates for v in _variables(op)}


def _variables(update: Operation) -> list[Operation]:
    """The variables that `update` changes."""
    return [_variable(t) for arg, t in zip(update.op_def.inputs, update.inputs) if arg.is_ref]


def _variable(ref: Tensor) -> Operation:
    """The variable that a reference leads to, perhaps by way of another update."""
    while ref.op.inputs and ref.op.op_def.inputs[0].is_ref:
        ref = ref.op.inputs[0]
    return ref.op


def _writers(variable: Operation) -> list[Operation]:
    """Who changes the variable, but for Assign: that writes the same on all ranks or is not meant for shared ones."""
    found, refs = [], [variable.outputs[0]]
    for ref in refs:
        for op in ref.consumers:
            if variable in _variables(op):
                refs += [t for t in op.outputs if t.is_ref]
                found += [op] if op.type not in ("Assign", "_ShareVariable") and op not in found else []
    return found


def _key(program: Program) -> tuple[str, ...]:
    return _COLLECTION, *(op.name for op in program.source.get_collection(_COLLECTION))


def _shared_names(program: Program, world: Communicator) -> frozenset[str]:
    """Names of the variables that are shared. Collective where it is first asked of these updates: rank 0 decides, by
    the graph as it is then, and by the memory that there is."""
    updates, key = program.source.get_collection(_COLLECTION), _key(program)
    if key not in world.remembered:
        alone = [op for op in updates if all(_writers(v) == [op] for v in _variables(op))]
        shared = {v for op in alone for v in _variables(op)}
        wanted = sum((v.outputs[0].shape.num_elements() or 0) * v.outputs[0].dtype.size for v in shared)
        names = {v.name for v in shared} if _ROOM * wanted <= _free_bytes() else set()
        world.remembered[key] = world.broadcast_object(frozenset(names))
    found: frozenset[str] = world.remembered[key]
    return found


def _free_bytes() -> int:
    try:
        disk = os.statvfs("/dev/shm")
    except OSError:  # there is none: the threads of a process do without
        return 1 << 62
    return disk.f_bavail * disk.f_frsize


def _check_writers(program: Program, shared: frozenset[str], updates: list[Operation]) -> None:
    for variable in program.graph._ops:
        for op in _writers(variable) if variable.name in shared else ():
            if op not in updates:
                raise at_site(InvalidArgumentError(
                    f"[{op.type}] {op.name!r} would write variable {variable.name!r} once on every rank: they hold it "
                    "in common since the first training step. Fix: build the op before that step, or set "
                    "RINGFLOW_SHARED_VARIABLES=0", op.name), op.site)


def update_by_slices(program: Program) -> None:
    """Pass: updates of shared variables write this rank's slice, between two meetings."""
    if not program.source.get_collection(_COLLECTION):
        return
    if getattr(getattr(program.session, "backend", None), "resources", None) is None:
        return
    updates = [op for op in program.graph._ops if op.attrs.get("_shared")]
    moves = [op for op in program.graph._ops if op.type == "_ShareVariable"]
    world = communicator_of(program.source)
    if not (updates or moves) and _key(program) not in world.remembered:
        return  # before the first step
    shared = _shared_names(program, world)
    updates = [op for op in updates if all(v.name in shared for v in _variables(op))]
    _check_writers(program, shared, updates)
    for op in moves:
        op.attrs["stays"] = _variable(op.inputs[0]).name not in shared
    if not updates:
        return
    for op in updates:
        op.attrs["_slice"] = list(slice_of(op, world))
    followers = _followers(program, updates)
    always = always_run(program)
    others = [op for op in program.graph._ops if op.type in COLLECTIVE_OPS and op not in followers and always(op)]
    before = dict.fromkeys(p for op in updates for p in predecessors(op) if p not in updates and always(p))
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
