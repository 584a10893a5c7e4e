"""What a step costs, before and after it has been timed: seconds of operations, and of an allreduce by its bytes.

Both are models for deciding on buckets (schedule.py), not for reporting. Operations: a static estimate from shapes
until `measure` has timed them. The link: latency + bytes * seconds per byte, fitted to two sizes once per communicator;
all ranks then use the slowest rank's figures, rounded to powers of two, so that one machine usually decides alike.
"""
from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from ringflow.graph.operation import Operation, Tensor

from .communicator import Communicator

_FLOPS = 3e10  # of one core, in matrix products and convolutions
_BYTES = 8e9  # of one core, in everything else
_STEP_S = 5e-7  # of a node, whatever it does
_SMALL, _LARGE = 4 << 10, 1 << 20  # bytes of the two pings
_PINGS = 6
_MOST_CORES = 1024
_FREE = frozenset({"_Arg", "_Retval", "Const", "NoOp", "VariableV2", "Identity", "Reshape", "ExpandDims", "Squeeze",
                   "StopGradient", "_BucketReduce", "_BucketWait", "CollectiveReduce"})


@dataclass(frozen=True)
class Link:
    """The cost of an allreduce: ``latency_s + bytes * byte_s``.

    concurrent: whether it proceeds beside the computation. Through shared memory it does only where a core is spare.
    """

    latency_s: float
    byte_s: float
    concurrent: bool = True

    def seconds(self, nbytes: int) -> float:
        return self.latency_s + nbytes * self.byte_s

    def __str__(self) -> str:
        return f"{self.latency_s * 1e6:.4g} us + {self.byte_s * 1e9:.4g} ns/byte"


def link_of(world: Communicator) -> Link:
    """The link between the ranks of `world`, measured at the first call, which is collective.

    Steps: 2 * 6 bucket allreduces (4 KiB and 1 MiB) and two of some KiB.
    """
    if "link" not in world.remembered:
        world.remembered["link"] = _measured(world) if world.size > 1 else Link(0.0, 0.0, False)
    return world.remembered["link"]  # type: ignore[no-any-return]


def _measured(world: Communicator) -> Link:
    small, large = _ping(world, _SMALL), _ping(world, _LARGE)
    mine = np.array([small, max(large - small, 0.0), float(not _spare_core(world))])
    small, more, crowded = world.allreduce(mine, "max")
    byte_s = more / (_LARGE - _SMALL)
    in_memory = world.native.algorithm == "one_pass"
    return Link(_rounded(max(small - _SMALL * byte_s, 1e-6)), _rounded(max(byte_s, 1e-12)),
                not (in_memory and crowded))


def _spare_core(world: Communicator) -> bool:
    """Whether this rank has two cores, each counted by the share that it has of it. For ranks of one node."""
    mine = [c for c in os.sched_getaffinity(0) if c < _MOST_CORES]
    users = np.zeros(_MOST_CORES, np.int32)
    users[mine] = 1
    users = world.allreduce(users)
    return bool(np.sum(1.0 / users[mine]) >= 2)


def _ping(world: Communicator, nbytes: int) -> float:
    """Seconds of an allreduce of `nbytes` on the communication thread: the best of a few."""
    bucket, times = world.bucket(nbytes), []
    for _ in range(_PINGS):
        begin = time.perf_counter()
        world.wait(world.start(bucket, nbytes // 4, np.float32))
        times.append(time.perf_counter() - begin)
    return min(times)


def _rounded(value: float) -> float:
    return 2.0 ** round(math.log2(value))


def estimated_seconds(op: Operation) -> float:
    """A guess from the shapes; unknown dimensions count as 1."""
    if op.type in _FREE:
        return 0.0
    flops = 0
    if op.type in ("MatMul", "BatchMatMulV2", "BatchMatMul"):
        inner = op.inputs[0].shape.dims
        adjoint = op.attrs.get("transpose_a", op.attrs.get("adj_x", False))
        flops = 2 * _count(op.outputs[0]) * ((inner[-2 if adjoint else -1] or 1) if inner else 1)
    elif op.type.startswith("Conv2D"):
        flops = 2 * _conv_products(op)
    moved = sum(_count(t) * t.dtype.size for t in [*op.inputs, *op.outputs] if t.dtype.size)
    return _STEP_S + flops / _FLOPS + (0.0 if flops else moved / _BYTES)


def _conv_products(op: Operation) -> int:
    """Filter elements x output pixels, of Conv2D and of both its gradients."""
    if op.type == "Conv2DBackpropFilter":
        kernel, out = op.outputs[0], op.inputs[2]
    else:
        kernel, out = op.inputs[1], op.outputs[0] if op.type == "Conv2D" else op.inputs[2]
    channels = kernel.shape.dims[-1] if kernel.shape.dims else 1
    return _count(kernel) * _count(out) // max(channels or 1, 1)


def _count(t: Tensor) -> int:
    dims: Any = t.shape.dims or ()
    return math.prod(d or 1 for d in dims)
