"""The branches and loops of a graph that came from a file: contexts, Conds and Loops from its Switches and Merges.

With them such a graph can be built on and differentiated like one made here. What has not the form that rf.cond and
rf.while_loop (or TensorFlow's) give is left as it is: it runs, but there is no gradient through it.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..control_types import CONTROL_FLOW, ENTER, MERGE, SWITCH, is_back_edge
from ..errors import InvalidArgumentError
from ..graph import Graph
from ..operation import Operation, Tensor
from ..places import UNKNOWN_BRANCH, Place, Places
from ..topology import forward_predecessors, topological_order
from .cond import Cond
from .contexts import CondContext, Context, WhileContext
from .while_loop import Loop, Variable


def derive_contexts(graph: Graph, imported: Iterable[Operation]) -> None:
    """Sets the contexts of `imported` operations, and what conds and loops they make up."""
    ops = list(imported)
    if graph._context is not None or not any(op.type in CONTROL_FLOW for op in ops):
        return
    try:
        order = topological_order(graph._ops)
        places = Places(order)
    except InvalidArgumentError:
        return  # the graph cannot run: whoever runs it is told
    mine = set(ops)
    _Derivation(graph, [op for op in order if op in mine], places).run()


class _Derivation:
    def __init__(self, graph: Graph, order: Sequence[Operation], places: Places) -> None:
        self._graph = graph
        self._order = order
        self._places = places
        self._contexts: dict[Any, Context] = {}
        self._conds: dict[Any, Cond] = {}

    def run(self) -> None:
        loops: list[WhileContext] = []
        for op in self._order:
            op.context = self._context_of(op)
            if op.type in ENTER and isinstance(op.context, WhileContext):
                if op.attrs["is_constant"]:
                    op.context.imports[op.outputs[0]] = op.inputs[0]
                    op.context.captured.setdefault(op.inputs[0], op.outputs[0])
                if op.context.loop_ is None:
                    op.context.loop_ = Loop(op.context.name.rpartition("/")[0] or op.context.name, op.context)
                    op.context.parallel_iterations = op.attrs["parallel_iterations"]
                    loops.append(op.context)
            elif op.type in SWITCH and isinstance(op.context, tuple):
                for context, t in zip(op.context, op.outputs):
                    context.imports[t] = op.inputs[0]
                    context.captured.setdefault(op.inputs[0], t)
        for op in self._order:
            if op.type == "LoopCond" and isinstance(op.context, WhileContext) and op.context.loop_ is not None:
                op.context.loop_.condition = op.outputs[0]
        for op in self._order:
            if op.type in MERGE and isinstance(op.context, WhileContext) and len(op.inputs) == 2:
                _add_variable(self._graph, op, op.context)
        for loop in loops:
            assert loop.loop_ is not None
            if loop.loop_.condition is None or not loop.loop_.variables:
                _forget(self._graph, loop.loop_)
        self._join_branches()

    # ---- contexts
    def _context_of(self, op: Operation) -> Context | tuple[Context, Context] | None:
        if not op.outputs:
            return self._context(self._places.after(op))
        if op.type in SWITCH and op.inputs[1].op.type != "LoopCond":
            return tuple(self._context(self._places.output(t)) for t in op.outputs)  # type: ignore[return-value]
        if op.type in SWITCH:
            return self._context(self._places[op])
        return self._context(self._places.output(op.outputs[0]))

    def _context(self, place: Place) -> Context | None:
        """The context of a place: conditions and frames around it, from the outside in."""
        context: Context | None = None
        for depth in range(len(place.frame) + 1):
            for pred, branch in self._ordered(place, depth):
                context = self._branches(context, pred)[branch]
            if depth < len(place.frame):
                name = place.frame[depth]
                if (context, name) not in self._contexts:
                    self._contexts[context, name] = WhileContext(self._graph, name, context)
                context = self._contexts[context, name]
        return context

    def _ordered(self, place: Place, depth: int) -> list[tuple[Tensor, int]]:
        """The branches of `place` that belong to the frame at `depth`, the outermost first."""
        found = []
        for pred, branch in place.conditions:
            if branch != UNKNOWN_BRANCH and pred.op.type != "LoopCond":
                at = self._places.output(pred)
                if len(at.frame) == depth:
                    found.append((len(at.conditions), pred.op.id, pred, branch))
        return [(pred, branch) for _, _, pred, branch in sorted(found, key=lambda f: f[:2])]

    def _branches(self, outer: Context | None, pred: Tensor) -> tuple[CondContext, CondContext]:
        if (outer, pred, 0) not in self._contexts:
            name = pred.op.name.rpartition("/")[0] or pred.op.name
            for b in (0, 1):
                self._contexts[outer, pred, b] = CondContext(self._graph, name, outer, pred, b)
        no, yes = self._contexts[outer, pred, 0], self._contexts[outer, pred, 1]
        assert isinstance(no, CondContext) and isinstance(yes, CondContext)
        return no, yes

    # ---- results of branches
    def _join_branches(self) -> None:
        """Merges of one predicate are one cond, unless one depends on another."""
        level: dict[Operation, dict[CondContext, int]] = {}
        for op in self._order:
            mine: dict[CondContext, int] = {}
            for before in forward_predecessors(op):
                for context, n in level.get(before, {}).items():
                    mine[context] = max(n, mine.get(context, 0))
            pair = _pair(op)
            if pair is not None:
                no, yes = pair
                n = mine.get(no, 0)
                mine[no] = n + 1
                cond = self._conds.get((no, n))
                if cond is None:
                    cond = self._conds[no, n] = Cond(no.name, no.pred, (no, yes))
                    no.cond = yes.cond = no.cond or cond
                cond.merges.append(op)
                self._graph._units[op] = cond
            level[op] = mine


def _pair(op: Operation) -> tuple[CondContext, CondContext] | None:
    """The branches (false, true) whose results a Merge joins; None for any other operation."""
    if op.type not in MERGE or len(op.inputs) != 2 or any(is_back_edge(t, op) for t in op.inputs):
        return None
    contexts = [t.context for t in op.inputs]
    no, yes = sorted(contexts, key=lambda c: getattr(c, "branch", 0))
    if isinstance(no, CondContext) and isinstance(yes, CondContext) and (no.branch, yes.branch) == (0, 1):
        return (no, yes) if no.pred is yes.pred and no.outer is yes.outer else None
    return None


def _add_variable(graph: Graph, merge: Operation, context: WhileContext) -> None:
    """The loop variable that goes through `merge`."""
    nexts = [t for t in merge.inputs if is_back_edge(t, merge)]
    enters = [t for t in merge.inputs if t.op.type in ENTER and t.context is context]
    loop = context.loop_
    if len(nexts) != 1 or len(enters) != 1 or loop is None:
        return
    variable = Variable(enters[0], merge.outputs[0], next=nexts[0])
    for op in merge.outputs[0].consumers:
        if op.type in SWITCH and op.inputs[1].op.type == "LoopCond":
            variable.leaves, variable.stays = op.outputs
            for user in op.outputs[0].consumers:
                if user.type in ("Exit", "RefExit"):
                    variable.exit = user.outputs[0]
                    graph._units[user] = loop
    for user in variable.stays.consumers if variable.stays is not None else ():
        if user.type == "Identity" and context.pivot is None:
            context.pivot = user.outputs[0]
    loop.variables.append(variable)


def _forget(graph: Graph, loop: Loop) -> None:
    for op in [op for op, unit in graph._units.items() if unit is loop]:
        del graph._units[op]
