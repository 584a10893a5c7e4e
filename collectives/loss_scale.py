"""Dynamic loss scaling: the loss is multiplied so that small gradients survive 16 bits; overflowing steps are skipped.

All ranks see the same reduced gradients, so all of them skip or none: a NaN or Inf of one rank is in everybody's sum.
A skipped step changes nothing: variables, optimizer slots and the global step are held back by a gate, then the scale
is halved. After `interval` steps in a row that were applied it is doubled.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ringflow.graph.errors import InvalidArgumentError
from ringflow.graph.operation import Operation, Tensor
from ringflow.graph.ops.rules import build
from ringflow.graph.state.variables import Variable


@dataclass(frozen=True)
class DynamicLossScale:
    """initial: the first scale; interval: steps without overflow after which it doubles."""

    initial: float = 2.0**15
    interval: int = 2000

    def __post_init__(self) -> None:
        if not self.initial >= 1 or self.interval < 1:
            raise InvalidArgumentError("[loss_scale] initial and interval must be at least 1: received "
                                       f"{self.initial}, {self.interval}")


class ScaleState:
    """The variables "loss_scale/scale" and "loss_scale/applied" (steps since the last change) of one train op."""

    def __init__(self, setting: DynamicLossScale) -> None:
        self._interval = setting.interval
        self.scale = Variable(np.float32(setting.initial), trainable=False, name="loss_scale/scale")
        self._applied = Variable(np.int32(0), trainable=False, name="loss_scale/applied")

    def update(self, finite: Tensor, controls: list[Operation]) -> list[Operation]:
        """What is run at the end of a step: `finite` says whether it was applied; `controls` are gates."""
        scale, one = self.scale.value(), np.int32(1)
        count = build("AddV2", self._applied.value(), one)
        full = build("GreaterEqual", count, np.int32(self._interval))
        grown = build("SelectV2", full, build("Mul", scale, np.float32(2)), scale)
        shrunk = build("Maximum", build("Mul", scale, np.float32(0.5)), np.float32(1))
        count = build("SelectV2", full, np.int32(0), count)
        scale, count = build("SelectV2", finite, grown, shrunk), build("SelectV2", finite, count, np.int32(0))
        with scale.graph.control_dependencies(controls):
            return [build("Assign", self.scale._as_ref_tensor(), scale).op,
                    build("Assign", self._applied._as_ref_tensor(), count).op]
