"""What happens to a graph between ``session.run`` and the runtime: an ordered list of passes over a private copy.

``extract`` prunes the user's graph to what the fetches need and copies it with the concrete shapes of the feeds;
every pass then changes the copy in place; the verifier runs between them. A pass is a function of a Program, one per
file; a layer above adds its own with ``register``. Families of passes have rooms:

    order     reads and updates of variables, locks: what else the graph leaves open
    products  products of matrices that become fewer, smaller, or need no copies
    fusion    elementwise ops and reductions that become one node
    devices   who runs what: before all passes, and after them
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

from ..device import Device
from ..errors import InternalError
from ..placement.costs import Costs
from ..run_options import GraphOptions
from . import broadcasts, cse, dead, fold, fusion, layout, order, pooling, products, rows, simplify, ties, verify
from .devices import log_placement, partition, place, receive_late
from .program import Partition, Program, extract, unfit_feed

Pass = Callable[[Program], None]

PASSES: list[tuple[str, Pass]] = [
    ("order locks", order.order_locks),
    ("order reads before updates", order.order_updates),
    ("fold constants", fold.fold_constants),
    ("channels last", layout.to_channels_last),
    ("simplify", simplify.simplify),
    ("tie to branches", ties.tie_to_branches),
    ("broadcast late", broadcasts.broadcast_late),
    ("join common subexpressions", cse.join_common_subexpressions),
    ("multiply before lookup", products.multiply_before_lookup),
    ("products of views", products.products_of_views),
    ("join products", products.join_products),
    ("share rows", rows.share_rows),
    ("drop dead code", dead.drop_dead_code),
    ("ReLU after pooling", pooling.relu_after_pooling),
    ("sum over iterations", products.sum_over_iterations),
    ("sum products", products.sum_products),
    ("fuse elementwise ops", fusion.fuse_elementwise),
]


# what changes the time of a run, not its result
OPTIONAL = frozenset({"fold constants", "simplify", "tie to branches", "broadcast late", "join common subexpressions",
                      "multiply before lookup", "products of views", "join products", "share rows", "drop dead code",
                      "ReLU after pooling", "sum over iterations", "sum products", "fuse elementwise ops"})


def register(name: str, function: Pass, before: str | None = None) -> None:
    """Adds a pass at the end of the list, or before the pass called `before`. At import only."""
    names = [n for n, _ in PASSES]
    if name in names:
        raise InternalError(f"[passes] a pass named {name!r} exists already")
    PASSES.insert(len(PASSES) if before is None else names.index(before), (name, function))


def optimise(program: Program, trace: Callable[[str, Program], None] | None = None, least: bool = False) -> Program:
    """Runs all passes on `program`, in place; with `least` only those that the result depends on. `trace(name,
    program)` sees it before the first and after each."""
    if trace is not None:
        trace("extract", program)
    for name, function in PASSES:
        if least and name in OPTIONAL:
            continue
        function(program)
        verify.verify(program, name)
        if trace is not None:
            trace(name, program)
    return program


def split(program: Program, devices: Sequence[Device], options: GraphOptions, costs: Costs | None = None) -> None:
    """Sets the partitions of a program that was placed on several of `devices`."""
    parts = partition(program, devices, options.enable_bfloat16_sendrecv)
    if len(parts) > 1:
        if options.enable_recv_scheduling:
            receive_late(parts, costs or Costs())
        program.parts = parts


__all__ = ["OPTIONAL", "PASSES", "Partition", "Program", "extract", "log_placement", "optimise", "place",
           "register", "split", "unfit_feed"]
