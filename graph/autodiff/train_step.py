"""TrainStep: what an optimizer leaves in the graph for the strategies that rewrite a training step.

An optimizer appends one record for each train op to the collection ``GraphKeys.TRAIN_STEPS``; a strategy looks its
train op up there. It lies in this layer because optimizers (train/) and strategies (collectives/) both need it.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import GraphError, InvalidArgumentError
from ..graph import GraphKeys
from ..indexed_slices import IndexedSlices
from ..operation import Operation, Tensor


@dataclass
class TrainStep:
    """One training step.

    grads_and_vars: gradients as they left ``compute_gradients`` (or entered ``apply_gradients`` where the former was
    not used), without the absent ones. consumers_from: operations whose id is at least this were made afterwards; those
    that read a gradient (clipping, decay, the updates) see what a strategy puts in its place. update_ops: all
    operations made by ``apply_gradients``. seed: the gradient of the loss by itself, from which all others follow,
    where it is known. averages: scalars over all ranks that a strategy offers, by name. strategy: the name of the
    strategy that has rewritten the step, or "".
    """

    train_op: Operation
    grads_and_vars: Sequence[tuple[Tensor | IndexedSlices, Any]]
    update_ops: Sequence[Operation]
    consumers_from: int
    optimizer: Any = None
    strategy: str = ""
    seed: Tensor | None = None
    averages: dict[str, Tensor] = field(default_factory=dict)


def find_train_step(train_op: Any, where: str) -> TrainStep:
    """The record of `train_op`.

    Raises: InvalidArgumentError where it is no operation; GraphError where no optimizer made it.
    """
    if not isinstance(train_op, Operation):
        raise InvalidArgumentError(f"[{where}] a train op is needed, got {type(train_op).__name__} {train_op!r:.60}. "
                                   "Fix: pass what optimizer.minimize(loss) returned")
    for step in train_op.graph.get_collection(GraphKeys.TRAIN_STEPS):
        if step.train_op is train_op:
            return step  # type: ignore[no-any-return]
    raise GraphError(f"[{where}] not an optimizer's train op: {train_op.name!r} ({train_op.type}).{train_op.where} "
                     "Fix: pass what optimizer.minimize(loss) or apply_gradients(...) returned, not a group around it",
                     train_op.name)
