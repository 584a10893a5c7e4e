"""Shards: the pass that computes the gradient of each of this rank's shards of the batch by itself.

A step with `ShardMean` ops divides the global batch into L shards, of which rank r of P has those in
[r * L // P, (r + 1) * L // P). What lies between the fed batch (or a random op) and the sharded ops is copied once for
each shard of this rank, reading its rows; variables, and what depends on them alone, are shared. So kernels meet the
same shapes on any number of ranks. Random ops of a copy have a stream of their own, keyed by the number of the shard
over all ranks. The copies end in buckets (exact_buckets.py) that mean them exactly, or in a gather in the order of the
shards.

It runs before all other passes. The sequence of collectives is the same on every rank, the number of copies is not.
"""
from __future__ import annotations

from hashlib import blake2b

import numpy as np
from ringflow.graph.errors import Error, FailedPreconditionError, GraphError, InvalidArgumentError
from ringflow.graph.graph import Graph
from ringflow.graph.operation import Operation, Tensor, at_site
from ringflow.graph.passes import Program, dead
from ringflow.graph.passes.order import ONLY_READ, is_update
from ringflow.graph.topology import ancestors, predecessors, topological_order

from .attach import communicator_of
from .communicator import Communicator
from .exact_buckets import build_buckets
from .world import current

SHARDED_OPS = frozenset({"ShardMean", "ShardConcat"})


def shards_of(rank: int, size: int, shards: int) -> range:
    """The shards that belong to one rank. The parts of two ranks differ by one at most."""
    return range(rank * shards // size, (rank + 1) * shards // size)


def check_shards(shards: int, size: int) -> None:
    """Raises: InvalidArgumentError unless every one of `size` ranks gets a shard."""
    if not size <= shards:
        raise InvalidArgumentError(f"[distribute] every rank needs a shard: there are {size} ranks and "
                                   f"shards={shards}. Fix: give shards >= {size}, or start at most {shards} ranks")


def shard_rows(global_rows: int, shards: int, *, communicator: Communicator | None = None) -> slice:
    """Which rows of a global batch of `global_rows` this rank feeds, as a slice: those of its shards.

    Raises: InvalidArgumentError where the rows do not divide into `shards` equal shards, or there are more ranks than
    shards.

    >>> shard_rows(32, 8, communicator=Communicator())
    slice(0, 32, None)
    """
    world = communicator or current()
    check_shards(shards, world.size)
    if global_rows % shards:
        raise InvalidArgumentError(f"[shard_rows] shards are of one size: {global_rows} rows do not divide into "
                                   f"{shards} shards. Fix: leave out or fill up the last rows")
    own = shards_of(world.rank, world.size, shards)
    return slice(own.start * (global_rows // shards), own.stop * (global_rows // shards))


# ---- which operations a shard has to itself
def followers(sources: set[Operation], ops: list[Operation]) -> set[Operation]:
    """`sources` and what follows them by data or control edges, up to updates, sharded ops and fetches. `ops`: all, in
    topological order."""
    found = set(sources)
    for op in ops:
        if not (op.type in SHARDED_OPS or op.type == "_Retval" or is_update(op)) \
                and not found.isdisjoint(predecessors(op)):
            found.add(op)
    return found


def split_into_shards(program: Program) -> None:
    """Pass: see the top of this file."""
    sharded = [op for op in program.graph._ops if op.type in SHARDED_OPS]
    world = communicator_of(program.source)
    if not sharded or sharded[0].attrs["group_size"] != world.size:  # the pass "attach communicator" will complain
        return
    total = sharded[0].attrs["shards"]
    own = shards_of(world.rank, world.size, total)
    order = topological_order(program.graph._ops)
    needed = ancestors(sharded)
    batch = _fed_batch(program, sharded[0].attrs["batch"], needed)
    rows = [_shard_size(arg, len(own), total, world) for arg in batch]
    region = followers({op for op in needed if op in batch or op.op_def.statistical}, order) & needed - set(sharded)
    copied = [op for op in order if op in region and op.type != "_Arg"]
    for op in copied:
        if op.op_def.stateful and not op.op_def.statistical and op.type not in ONLY_READ:
            raise at_site(GraphError(
                f"[distribute] {op.type} cannot be part of a shard's gradient: {op.name!r} lies between the batch and "
                "a gradient, and has a state or meets other ranks. Fix: compute it outside, or leave out "
                "reproducible=True", op.name), op.site)
    values = _copy(program, copied, batch, rows, own)

    def of_shards(t: Tensor) -> list[Tensor]:
        return [copies.get(t, t) for copies in values]

    shared = {op for op in sharded if op.inputs[0].op not in region}
    means = [op for op in sharded if op.type == "ShardMean" and op not in shared]
    build_buckets(program, means, {op: of_shards(op.inputs[0]) for op in means}, rows, order)
    for op in sharded:
        if op.type == "ShardConcat":
            program.replace(op.outputs[0], _concat(program, op, of_shards(op.inputs[0]), world, op in shared))
        elif op in shared:  # the same on all shards, such as the gradient of weight decay alone
            program.replace(op.outputs[0], op.inputs[0])
    program.remove(set(sharded))
    dead.drop_dead_code(program)  # the whole batch's part, unless something of it is fetched


def _fed_batch(program: Program, names: list[str], needed: set[Operation]) -> list[Operation]:
    """The `_Arg` nodes of the batch, in the order of `names`."""
    args = {op.name: op for op in program.graph._ops if op.type == "_Arg" and op in needed}
    batch = [args.pop(f"{name}/_arg_0") for name in names if f"{name}/_arg_0" in args]
    for name in args:
        source = program.source.get_operation_by_name(name.rpartition("/_arg_")[0])
        shape = source.outputs[int(name.rpartition("_")[2])].shape
        if source.type != "Placeholder" and (not shape.dims or shape.dims[0] is None) and shape.rank != 0:
            raise at_site(InvalidArgumentError(
                f"[distribute] what is fed for {source.name!r}, of shape {shape}, cannot be divided into shards: it "
                "is no placeholder. Fix: feed the placeholders of the batch", source.name), source.site)
    return batch


def _shard_size(arg: Operation, own: int, total: int, world: Communicator) -> int:
    shape = arg.outputs[0].shape
    rows = shape.dims[0] if shape.dims else None
    if rows is None:
        raise FailedPreconditionError(
            f"[distribute] reproducible training needs batches of few sizes: {arg.name!r} has been fed too many "
            "different "
            f"shapes.{arg.where} Fix: fill up batches to one size", arg.name)
    if rows % own:
        raise at_site(InvalidArgumentError(
            f"[distribute] rank {world.rank}/{world.size} has {own} of {total} shards: {rows} rows fed for "
            f"{arg.name.rpartition('/')[0]!r} do not divide by {own}. Fix: feed the rows that shard_rows(global_batch, "
            f"{total}) says", arg.name), arg.site)
    return rows // own


# ---- copies
def _copy(program: Program, ops: list[Operation], batch: list[Operation], rows: list[int],
          own: range) -> list[dict[Tensor, Tensor]]:
    """Copies `ops` for each shard in `own`; what each tensor has become there.

    The copies of an operation follow one another, and so they run: weights are read from the cache, a gradient's parts
    are there together, so that its exchange can begin and their memory end, and activations need what the whole batch's
    would.
    """
    values = [{arg.outputs[0]: _rows(program, arg, n, at, shard) for arg, n in zip(batch, rows)}
              for at, shard in enumerate(own)]
    copies: list[dict[Operation, Operation]] = [{} for _ in own]
    for op in ops:
        for shard, value, copied in zip(own, values, copies):
            copied[op] = copy = _copy_for_shard(program, op, shard, value, copied, rows)
            value.update(zip(op.outputs, copy.outputs))
    return values


def _copy_for_shard(program: Program, op: Operation, shard: int, values: dict[Tensor, Tensor],
                    copies: dict[Operation, Operation], rows: list[int]) -> Operation:
    attrs = dict(op.attrs)
    if op.op_def.statistical:
        attrs["seed2"] = _seed(attrs["seed2"], shard)
    controls = [copies.get(c, c) for c in op.control_inputs]
    try:
        copy = program.graph.create_op(op.op_def, [values.get(t, t) for t in op.inputs], attrs,
                                       f"{op.name}/shard_{shard}", control_inputs=controls, device=op.device)
    except Error as e:
        raise at_site(type(e)(
            f"{e.message.partition(' Created at')[0]} This is for one shard of {max(rows, default=0)} rows. Fix: let "
            "no shape depend on the size of the whole batch", op.name), op.site) from None
    copy.site = op.site
    declared = _declared(program.source, op)
    for t in copy.outputs if declared else ():
        known = declared.outputs[t.index].shape
        if known.is_compatible_with(t.shape):  # what set_shape added stays known
            t.shape = t.shape.merge_with(known)
    return copy


def _declared(source: Graph, op: Operation) -> Operation | None:
    """The original of `op`, whose shapes do not know how many rows are fed."""
    return source._by_name.get(op.name)


def _rows(program: Program, arg: Operation, n: int, at: int, shard: int) -> Tensor:
    """Rows [at * n, (at + 1) * n) of what is fed."""
    t = arg.outputs[0]
    if t.shape[0] == n:
        return t
    rest = list(t.shape.known)[1:]
    begin, size = ([first] + others for first, others in ((at * n, [0] * len(rest)), (n, rest)))
    name = f"{arg.name}/shard_{shard}"
    bounds = [_constant(program, v, f"{name}/{k}", arg) for k, v in (("begin", begin), ("size", size))]
    return program.add("Slice", [t, *bounds], {}, name, like=arg).outputs[0]


def _constant(program: Program, value: object, name: str, like: Operation) -> Tensor:
    array = np.array(value, np.int64)
    return program.add("Const", [], {"value": array, "dtype": array.dtype}, name, like=like).outputs[0]


def _seed(seed2: int, shard: int) -> int:
    """The second seed of a random op's copy: another stream for each pair of seed and shard."""
    return int.from_bytes(blake2b(f"{seed2}/{shard}".encode(), digest_size=8).digest(), "little") >> 1


def _concat(program: Program, op: Operation, parts: list[Tensor], world: Communicator, shared: bool) -> Tensor:
    """All shards' rows in order: ranks hold neighbouring shards, so their rows in the order of ranks."""
    if shared:
        parts = parts[:1] * op.attrs["shards"]
    rows = parts[0]
    if len(parts) > 1:
        axis = _constant(program, 0, f"{op.name}/axis", op)
        rows = program.add("ConcatV2", [*parts, axis], {}, f"{op.name}/own", like=op).outputs[0]
    if shared or world.size == 1:
        return rows
    keys = {k: op.attrs[k] for k in ("group_size", "group_key", "instance_key")}
    return program.add("CollectiveGather", [rows], keys, f"{op.name}/gather", op.control_inputs, op).outputs[0]


def random_key(ops: set[Operation]) -> str:
    """A hash of the seeds of the random ops among `ops`. Raises: GraphError for one that the machine would seed."""
    lines = []
    for op in sorted((op for op in ops if op.op_def.statistical), key=lambda o: o.id):
        seeds = op.attrs["seed"], op.attrs["seed2"]
        if seeds == (0, 0):
            raise GraphError(f"[distribute] reproducible training needs seeds: the random op {op.name!r} ({op.type}) "
                             "has "
                             f"none.{op.where} Fix: call rf.set_random_seed before it is built", op.name)
        lines.append(f"{op.name} {seeds}\n")
    return blake2b("".join(lines).encode(), digest_size=8).hexdigest() if lines else ""
