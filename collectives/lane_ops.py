"""Ops of the lane and of what decides on an update. The layout of the lane stands in csrc/runtime/lane_ops.h.

The NumPy references do as the kernels do, but for the checksum: all ranks of a world use one backend.
"""
from __future__ import annotations

from collections import Counter
from zlib import crc32

import numpy as np
from ringflow.graph.define import Array, attr, define
from ringflow.graph.dtypes import FLOATS, float32, float64
from ringflow.graph.errors import DataLossError, InternalError
from ringflow.graph.interpreter import State
from ringflow.graph.operation import Operation
from ringflow.graph.ops.rules import scalar_shape
from ringflow.graph.shapes import TensorShape

from .attach import COLLECTIVE_OPS, communicator_of
from .communicator import Communicator

LANE = (float32, float64)
_SLICE = 16384  # elements of a weight that one checksum covers


def _seat(op: Operation) -> Communicator:
    """The world of the step: a world of one where the program holds no collective."""
    held = any(o.type in COLLECTIVE_OPS for o in op.graph.get_operations())
    return communicator_of(op.graph) if held else Communicator()


def rotation(step: int, sizes: list[int]) -> tuple[int, int, int]:
    """(weight, begin, end) of the elements whose checksum step `step` compares; weight -1 where there are none."""
    slices = [(i, b, min(n, b + _SLICE)) for i, n in enumerate(sizes) for b in range(0, n, _SLICE)]
    return slices[step % len(slices)] if slices else (-1, 0, 0)


def _modulus(ranks: int) -> int:
    modulus = 1 << 20
    while modulus > 2 and modulus * ranks > 1 << 24:
        modulus //= 2
    return modulus


@define("_LanePack(sums: T, weights: V*T) -> words: T", T=LANE, lane=attr("string"), ranks=attr("int"),
        stateful=True, differentiable=False)
def lane_pack(sums: Array, weights: list[Array], *, lane: str, state: State, op: Operation) -> Array:
    """What this rank adds to the lane: 1, `sums` (K), and its own step and checksum of a slice of `weights`."""
    world = _seat(op)
    steps = state.containers.setdefault("_lanes", {})
    steps[lane] = step = steps.get(lane, 0) + 1
    out = np.zeros(1 + sums.size + 2 * world.size, sums.dtype)
    out[0], out[1:1 + sums.size] = 1, sums
    modulus, mine = _modulus(world.size), 1 + sums.size + 2 * world.rank
    weight, begin, end = rotation(step, [w.size for w in weights])
    out[mine] = step % modulus
    if weight >= 0:
        out[mine + 1] = crc32(weights[weight].reshape(-1)[begin:end].tobytes()) % modulus
    return out * world.size


@lane_pack.shape
def _(op: Operation) -> list[TensorShape]:
    k = op.inputs[0].shape.num_elements()
    return [TensorShape([None if k is None else 1 + k + 2 * op.attrs["ranks"]])]


@define("_LaneUnpack(words: T, reduced: bool, weights: V*T) -> sums: T", T=LANE, names=attr("list(string)"),
        K=attr("int"), lane=attr("string"), stateful=True, differentiable=False)
def lane_unpack(words: Array, reduced: Array, weights: list[Array], *, names: list[str], lane: str, state: State,
                op: Operation) -> Array:
    """The sums over the ranks; NaN where the lane has not been reduced in this run.

    Raises: InternalError where the sums are not of all ranks, or of different steps; DataLossError naming the variable
    and the ranks that are fewer, where weights differ.
    """
    world = _seat(op)
    k = words.size - 1 - 2 * world.size
    if not reduced:
        return np.full(k, np.nan, words.dtype)
    where = f"[lane] rank {world.rank}/{world.size}: "
    if words[0] != world.size:
        raise InternalError(f"{where}the sums of this step hold the gradients of {words[0]:g} ranks, not of "
                            f"{world.size}. Fix: restart from the last checkpoint.")
    steps, checksums = words[1 + k::2].tolist(), words[2 + k::2].tolist()
    if len(set(steps)) > 1:
        raise InternalError(f"{where}the ranks are not at the same step: {steps}. "
                            "Fix: run the train op equally often on every rank.")
    if len(set(checksums)) > 1:
        most = Counter(checksums).most_common(1)[0][0]
        few = [r for r, c in enumerate(checksums) if c != most]
        weight, begin, end = rotation(state.containers["_lanes"][lane], [w.size for w in weights])
        raise DataLossError(f"{where}the weights have drifted apart: variable {names[weight]!r}, elements {begin} to "
                            f"{end - 1}: ranks {few} differ. Fix: do not change variables on single ranks; restart "
                            "from a checkpoint.")
    return words[1:1 + k]


@lane_unpack.shape
def _(op: Operation) -> list[TensorShape]:
    return [TensorShape([op.attrs["K"]])]


@define("_SquaredNorm(inputs: N*T) -> norm: float64", T=FLOATS, stateful=False, differentiable=False,
        shape=scalar_shape)
def squared_norm(inputs: list[Array]) -> Array:
    """The sum of squares of all elements, in double: output (), finite exactly if every element is."""
    return np.asarray(sum(np.square(x.astype(np.float64)).sum() for x in inputs))
