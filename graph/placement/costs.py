"""What operations and copies between devices cost: a static model from shapes, replaced by measured times.

For decisions (placement, buckets), not for reporting. Source of the static model: one core's throughput in matrix
products and in everything else; the TensorFlow white paper, section 3.2.1, for measuring in place of it.
"""
from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..operation import Operation, Tensor
from .flops import num_bytes, products

_FLOPS = 3e10  # of one core, in matrix products and convolutions
_BYTES = 8e9  # of one core, in everything else
_STEP_S = 5e-7  # of a node, whatever it does
_FREE = frozenset({"_Arg", "_Retval", "Const", "NoOp", "VariableV2", "Identity", "Reshape", "ExpandDims", "Squeeze",
                   "StopGradient", "_SplitRows", "_BucketReduce", "_BucketWait", "CollectiveReduce", "VarHandleOp",
                   "ReadVariableOp"})


@dataclass(frozen=True)
class Costs:
    """Microseconds of nodes and of copies. `times`: measured, by node name; where it is empty, everything is estimated,
    otherwise a node that is not in it costs nothing (it was optimised away). `sizes`: measured bytes, by tensor name.
    `speeds`: how many times faster than a CPU a device type is. A copy between devices takes ``latency_us + bytes *
    byte_us``; the defaults are those of two devices of one process.
    """

    times: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    speeds: Mapping[str, float] = field(default_factory=dict)
    latency_us: float = 6.0
    byte_us: float = 2e-4

    def compute_us(self, op: Operation, device_type: str = "CPU") -> float:
        us = self.times.get(op.name, 0.0) if self.times else estimated_seconds(op) * 1e6
        return us / self.speeds.get(device_type, 1.0)

    def copy_us(self, t: Tensor) -> float:
        size = self.sizes.get(t.name)
        return self.latency_us + self.byte_us * (num_bytes(t) if size is None else size)


def from_steps(steps: list[Mapping[str, float]], sizes: Mapping[str, int] | None = None) -> Costs:
    """Costs from the microseconds of the nodes in some steps: medians. A node seen in less than half as many steps as
    the median node is left out: it does not belong to the step."""
    seen: dict[str, list[float]] = {}
    for step in steps:
        for name, us in step.items():
            seen.setdefault(name, []).append(us)
    usual = statistics.median([len(times) for times in seen.values()]) if seen else 0
    return Costs({n: statistics.median(times) for n, times in seen.items() if 2 * len(times) >= usual}, sizes or {})


def estimated_seconds(op: Operation) -> float:
    """A guess from the shapes; unknown dimensions count as 1."""
    if op.type in _FREE:
        return 0.0
    work = products(op)
    moved = sum(num_bytes(t) for t in [*op.inputs, *op.outputs])
    return _STEP_S + work / _FLOPS + (0.0 if work else moved / _BYTES)
