"""ReLU after max pooling instead of before it: of each window one number has to pass instead of all.

    max_pool(relu(x))  =  relu(max_pool(x))

Backwards, a window's gradient goes to its largest element, and only where that is positive: the ReLU's own gradient is
taken on the pooled side as well, and nothing of the size of the image is left of the ReLU. The bits are the same, but
for the sign of zeros.
"""
from __future__ import annotations

from ..operation import Operation, Tensor
from ..places import Places, find_places
from ..topology import topological_order
from .program import Program


def relu_after_pooling(program: Program) -> None:
    places = find_places(program.graph._ops)
    awaited = {c for op in program.graph._ops for c in op.control_inputs}
    fixed = awaited.union(program.targets)
    for relu in topological_order(program.graph._ops):
        if relu.type == "Relu" and not relu.control_inputs and relu not in fixed:
            readers = _Readers.of(relu.outputs[0], fixed, places)
            if readers is not None:
                _swap(program, relu, readers)


class _Readers:
    """Who reads a ReLU: poolings, their gradients, and the ReLU's own gradients of those."""

    def __init__(self) -> None:
        self.pools: list[Operation] = []
        self.gradients: list[tuple[Operation, Operation]] = []  # MaxPoolGrad, and the ReluGrad that alone reads it

    @classmethod
    def of(cls, y: Tensor, fixed: set[Operation], places: Places | None) -> _Readers | None:
        """None where somebody else reads `y`, or is in the way."""
        found = cls()
        rest = set(y.consumers)
        for op in sorted(rest, key=lambda op: op.id):
            if op in fixed or op.control_inputs or (places is not None and places[op] != places[y.op]):
                return None
            if op.type == "MaxPool":
                found.pools.append(op)
            elif op.type == "MaxPoolGrad" and op.inputs[0] is y:
                reader = op.outputs[0].consumers
                if len(reader) != 1 or reader[0].type != "ReluGrad" or reader[0].inputs[1] is not y:
                    return None
                found.gradients.append((op, reader[0]))
        named = {*found.pools, *(op for pair in found.gradients for op in pair)}
        from_here = all(gradient.inputs[1].op in found.pools for gradient, _ in found.gradients)
        return found if found.pools and from_here and rest == named else None


def _swap(program: Program, relu: Operation, readers: _Readers) -> None:
    x = relu.inputs[0]
    pooled_before: dict[Operation, Tensor] = {}
    for pool in readers.pools:
        y = pool.outputs[0]
        before = program.add("MaxPool", [x], pool.attrs, f"{pool.name}/_before_relu", like=pool).outputs[0]
        after = program.add("Relu", [before], {"T": y.dtype}, f"{pool.name}/_relu", like=pool).outputs[0]
        program.replace(y, after)
        pooled_before[after.op] = before
    for pool_gradient, relu_gradient in readers.gradients:
        after, dy = pool_gradient.inputs[1], pool_gradient.inputs[2]
        passed = program.add("ReluGrad", [dy, after], {"T": dy.dtype}, f"{relu_gradient.name}/_pooled",
                             like=relu_gradient)
        inputs = [x, pooled_before[after.op], passed.outputs[0]]
        dx = program.add("MaxPoolGrad", inputs, pool_gradient.attrs, f"{pool_gradient.name}/_of_relu",
                         like=pool_gradient)
        program.replace(relu_gradient.outputs[0], dx.outputs[0])
    program.remove({relu, *readers.pools, *(op for pair in readers.gradients for op in pair)})
