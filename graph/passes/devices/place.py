"""Placement: gives every node of a program a device. Runs before all other passes, which keep nodes where they are.

What must stay together is found first (union-find): nodes colocated by name (`_class`), references and handles with all
who hold them, loops and conditionals (but for what names a device of its own), gates with what they hold back,
collectives (one order between ranks needs one device), shape questions with what they ask about, fetches with what they
fetch, and a lone source with its only reader. Each group may go where its device names allow and kernels exist; among
these, placement/search.py decides by costs. With a single device there is nothing to decide, only names to check.
"""
from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from ...control_types import ENTER, EXIT, MERGE, SWITCH, is_back_edge
from ...device import Device, DeviceSpec, names_of
from ...errors import Error, InvalidArgumentError
from ...operation import Operation, at_site
from ...placement.costs import Costs
from ...placement.search import best, problem
from ..program import Program

Supports = Callable[[Operation, str], bool]  # (operation, device type) -> whether there is a kernel

TOGETHER: set[str] = set()  # op types of which a program has all on one device; layers above add theirs at import

_METADATA = ("Shape", "ShapeN", "Size", "Rank")


def place(program: Program, devices: Sequence[Device], supports: Supports, soft: bool = False,
          costs: Costs | None = None) -> None:
    """Sets the device of every node. `devices`: those of the session, preferred ones first.

    Raises: InvalidArgumentError naming the node whose device is not there (unless `soft`), or the nodes that must be
    together but cannot.
    """
    if len(devices) == 1:
        if not soft:
            for op in program.graph._ops:
                if op.device:
                    _named(op, devices, soft)
        return
    ops = program.graph._ops
    group = groups(program)
    legal = {g: _legal(members, devices, supports, soft) for g, members in _members(ops, group).items()}
    placement = best(problem(ops, group, legal, costs or Costs()), devices)
    for op in ops:
        op.device = placement[group[op]].name


def log_placement(program: Program, devices: Sequence[Device]) -> None:
    """Prints a line for each node: ``name: (Op): device``."""
    for op in program.graph._ops:
        where = op.device if len(devices) > 1 else devices[0].name
        print(f"{op.name}: ({op.type}): {where}", file=sys.stderr)


def groups(program: Program) -> dict[Operation, int]:
    """The number of the group of each node."""
    ops = program.graph._ops
    together = _UnionFind()
    for op in ops:
        together.find(op)
        for name in op.attrs.get("_class", ()):
            together.unite(op, name)
        for t in op.inputs:
            if t.is_ref or t.dtype.kind == "h":
                together.unite(op, t.op)
        if op.type in TOGETHER:
            together.unite(op, "collectives")
        if op.type in _METADATA or op.type == "_Retval":
            together.unite(op, op.inputs[0].op)
        if op.attrs.get("shared_name"):
            together.unite(op, f"{op.attrs.get('container')}/{op.attrs['shared_name']}")
        for c in op.control_inputs:
            if c.type == "_Gate":
                together.unite(op, c)
        if not op.inputs and not op.device and len(op.outputs) == 1 and not op.outputs[0].is_ref:
            readers = set(op.outputs[0].consumers)
            if len(readers) == 1 and not op.control_inputs:
                together.unite(op, readers.pop())
    for name in [n for n in together.names() if n.startswith("loc:@")]:
        named = program.graph._by_name.get(name[5:])
        if named is not None:
            together.unite(named, name)
    for a, b in _kept_whole(ops):
        together.unite(a, b)
    numbers: dict[object, int] = {}
    return {op: numbers.setdefault(together.find(op), len(numbers)) for op in ops}


def _kept_whole(ops: Sequence[Operation]) -> Iterable[tuple[Operation, Operation]]:
    """Loops and conditionals stay on one device, but for what is on another by name. A back edge stays inside a device.
    """
    region = _UnionFind()
    for a, b in _conditional_edges(ops):
        region.unite(a, b)
    by_name: dict[tuple[object, str], Operation] = {}
    for op in ops:
        if op in region:
            yield by_name.setdefault((region.find(op), op.device), op), op
        if op.type in MERGE:
            for t in op.inputs:
                if is_back_edge(t, op):
                    yield t.op, op


def _conditional_edges(ops: Sequence[Operation]) -> Iterable[tuple[Operation, Operation]]:
    """Edges inside loops, and between a Switch and the Merge after it: what flows there may be dead, or many."""
    stack = [(op, op.type in ENTER) for op in ops if op.type in ENTER | SWITCH]
    if not stack:
        return
    waiting: dict[Operation, list[Operation]] = defaultdict(list)
    for op in ops:
        for c in op.control_inputs:
            waiting[c].append(op)
    in_loop: set[Operation] = set()
    found: set[Operation] = set()
    while stack:
        op, loop = stack.pop()
        if op in (in_loop if loop else found):
            continue
        (in_loop if loop else found).add(op)
        if op.type in EXIT or (op.type in MERGE and not loop):
            continue
        for after in [*waiting[op], *(c for t in op.outputs for c in t.consumers)]:
            yield op, after
            stack.append((after, loop))


def _members(ops: Iterable[Operation], group: dict[Operation, int]) -> dict[int, list[Operation]]:
    members: dict[int, list[Operation]] = defaultdict(list)
    for op in ops:
        members[group[op]].append(op)
    return members


def _legal(members: list[Operation], devices: Sequence[Device], supports: Supports, soft: bool) -> list[Device]:
    """The devices that all of `members` may be on. Raises: InvalidArgumentError."""
    allowed = list(devices)
    by: Operation | None = None
    for op in members:
        named = _named(op, devices, soft) if op.device else devices
        able = [d for d in named if supports(op, d.spec.device_type or "")]
        if not able and op.device and not soft and any(supports(op, d.spec.device_type or "") for d in devices):
            raise at_site(InvalidArgumentError(
                f"Cannot assign a device for operation {op.name}: it was explicitly assigned to {op.device}, where no "
                f"kernel of {op.type} exists. Fix: leave the device out, or allow_soft_placement=True", op.name),
                op.site)
        able = able or [d for d in devices if supports(op, d.spec.device_type or "")]
        able = able or list(named)  # where the missing kernel is reported
        rest = [d for d in allowed if d in able]
        if not rest and not soft:
            raise at_site(_apart(op, by), op.site)
        if rest and len(rest) < len(allowed):
            by = op
        allowed = rest or allowed
    return allowed


def _apart(op: Operation, other: Operation | None) -> Error:
    first = f"{other.name!r} ({other.device or 'any device'})" if other is not None else "others"
    return InvalidArgumentError(
        f"Cannot assign a device for operation {op.name}: it must be on one device with {first}, because of "
        f"colocation, a reference, a handle or control flow, but may only be on "
        f"{op.device or 'devices that have its kernel'}. Fix: name one device for both, or allow_soft_placement=True",
        op.name)


def _named(op: Operation, devices: Sequence[Device], soft: bool) -> Sequence[Device]:
    """The devices that the node's own device name means; where there is none and `soft`, all of the same task."""
    spec = DeviceSpec.parse(op.device)
    found = [d for d in devices if spec.matches(d.spec)]
    if found:
        return found
    if not soft:
        raise at_site(InvalidArgumentError(
            f"Cannot assign a device for operation {op.name}: it was explicitly assigned to {op.device} but available "
            f"devices are [ {names_of(devices)} ]. Fix: name one of these, or pass "
            "rf.ConfigProto(allow_soft_placement=True)", op.name), op.site)
    task = DeviceSpec(spec.job, spec.replica, spec.task)
    return [d for d in devices if task.matches(d.spec)] or devices


class _UnionFind:
    """Groups of nodes, and of names that stand for nodes."""

    def __init__(self) -> None:
        self._parent: dict[object, object] = {}

    def find(self, x: object) -> object:
        parent = self._parent.setdefault(x, x)
        while parent is not self._parent[parent]:  # halve the path
            self._parent[x] = self._parent[parent]
            x, parent = parent, self._parent[parent]
        return parent

    def __contains__(self, x: object) -> bool:
        return x in self._parent

    def unite(self, x: object, y: object) -> None:
        a, b = self.find(x), self.find(y)
        if a is not b:
            self._parent[b] = a

    def names(self) -> list[str]:
        return [x for x in self._parent if isinstance(x, str)]


__all__ = ["TOGETHER", "Supports", "groups", "log_placement", "place"]
