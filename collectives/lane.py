"""What `distribute` adds to a training step besides the exchange: the lane, and what is decided with it at the update.

    seed of the gradients -> scaled by samples, loss scale, 1 / accumulated steps
    gradients -> (accumulated) -> reduced -> * factor -> the optimizer's updates, behind a gate where they may not run
    sums, weights -> _LanePack -> reduced in the last bucket -> _LaneUnpack -> factor, averages, errors

The lane (csrc/runtime/lane_ops.h) costs no collective. It carries the number of ranks, samples, metrics, and each
rank's step and checksum of a rotating slice of the weights. The squared norm and the finite flag need no words: every
rank computes them from the reduced gradients, which are the same bits everywhere, so all ranks clip and skip alike.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ringflow.graph.autodiff.train_step import TrainStep, find_train_step
from ringflow.graph.dtypes import DType, float32, float64
from ringflow.graph.errors import GraphError, InvalidArgumentError
from ringflow.graph.indexed_slices import IndexedSlices
from ringflow.graph.operation import Operation, Tensor
from ringflow.graph.ops import gate as gate
from ringflow.graph.ops.rules import build
from ringflow.graph.topology import ancestors

from . import lane_ops as lane_ops
from .accumulation import Accumulation
from .loss_scale import DynamicLossScale, ScaleState
from .ops import collective_reduce, next_keys
from .wire_dtype import hint_of


@dataclass(frozen=True)
class Options:
    """The keywords of `distribute` that are served here; `distribute` explains them."""

    clip_norm: float | None = None
    loss_scale: DynamicLossScale | float | None = None
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    samples: Tensor | None = None
    checks: bool = False
    accumulate: int = 1
    wire_dtype: Any = None
    rounding: str = "nearest"

    def __post_init__(self) -> None:
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise InvalidArgumentError(f"[distribute] clip_norm must be > 0: received {self.clip_norm}")
        if isinstance(self.accumulate, bool) or not isinstance(self.accumulate, int) or self.accumulate < 1:
            raise InvalidArgumentError("[distribute] accumulate must be a number of steps >= 1: received "
                                       f"{self.accumulate}")
        hint_of(self.wire_dtype, self.rounding)
        for name, value in [*self.metrics.items(), *([("samples", self.samples)] if self.samples is not None else [])]:
            if not isinstance(value, Tensor) or value.shape.rank not in (0, None):
                raise InvalidArgumentError(f"[distribute] {name!r} must be a scalar tensor: received {value!r:.80}. "
                                           "Fix: reduce it, as by rf.reduce_mean")

    @property
    def hint(self) -> str:
        return hint_of(self.wire_dtype, self.rounding)

    @property
    def changes_one_rank(self) -> bool:
        """Whether a world of one does anything but train."""
        return bool(self.clip_norm is not None or self.loss_scale is not None or self.metrics
                    or self.samples is not None or self.checks or self.accumulate > 1)

    @property
    def has_lane(self) -> bool:
        return bool(self.metrics or self.samples is not None or self.checks)


class StepParts:
    """The additions to one training step. Made inside the strategy's name scope; `size`: the number of ranks."""

    def __init__(self, step: TrainStep, options: Options, size: int) -> None:
        self._step, self._options, self._size = step, options, size
        self._needed = ancestors([step.train_op])
        dense = [g.dtype for g, _ in step.grads_and_vars if isinstance(g, Tensor)]
        self._dtype: DType = float64 if dense and dense[0] is float64 else float32
        self._sum = Accumulation(options.accumulate) if options.accumulate > 1 else None
        scale = options.loss_scale
        self._scale: ScaleState | None = None
        self._seed_scale: Tensor | None = None
        if isinstance(scale, DynamicLossScale):
            self._scale = ScaleState(scale)
            self._seed_scale = self._scale.scale.value()
        elif scale is not None:
            self._seed_scale = build("Cast", np.float64(scale), DstT=float32)
        self._samples = None if options.samples is None else _cast(options.samples, self._dtype)
        self._scale_seed()

    def _scale_seed(self) -> None:
        """Multiplies the gradient of the loss by itself, hence all gradients."""
        factors = [t for t in (self._samples, self._seed_scale) if t is not None]
        if self._sum and self._samples is None:
            factors.append(build("Cast", np.float64(1 / self._options.accumulate), DstT=self._dtype))
        if not factors:
            return
        seed = self._step.seed
        if seed is None:
            raise GraphError("[distribute] samples, loss_scale and accumulate change the gradient of the loss, which "
                             f"{self._step.train_op.name!r} does not tell.{self._step.train_op.where} "
                             "Fix: make the train op by optimizer.minimize(loss), or by compute_gradients of it")
        readers = [(op, i) for op in dict.fromkeys(seed.consumers) for i, t in enumerate(op.inputs) if t is seed]
        scaled = seed
        for f in factors:
            scaled = build("Mul", scaled, _cast(f, seed.dtype), name="scaled_loss")
        for op, i in readers:
            op._update_input(i, scaled)

    def reduce(self, gradient: Tensor, name: str) -> Tensor:
        """The mean of the ranks' dense gradients, accumulated before; the gradient itself in a world of one."""
        if self._sum:
            gradient = self._sum.sum(gradient, name)
        narrow = gradient.dtype in (float32, float64)  # others have 16 bits already
        return self._reduced(gradient, name, self._options.hint if narrow else "auto")

    def refuse_sparse(self, name: str) -> None:
        if self._sum:
            raise GraphError(f"[distribute] accumulate needs dense gradients: that of {name!r} is sparse. "
                             "Fix: read the variable by matmul of one-hot rows, or leave accumulate out")

    def _reduced(self, x: Tensor, name: str, hint: str) -> Tensor:
        if self._size == 1:
            return x
        with x.graph.control_dependencies([self._sum.last] if self._sum else []):
            result: Tensor = collective_reduce(x, merge_op="Add", final_op="Div", communication_hint=hint, name=name,
                                               **next_keys(x.graph, self._size))
        return result

    def finish(self, places: list[tuple[Operation, int]], sparse: list[IndexedSlices]) -> None:
        """`places`: (operation, input index) that read reduced gradients on the way to the updates, dense ones and the
        values of `sparse` ones."""
        o, end = self._options, []
        averages: dict[str, Tensor] = {}
        factor: Tensor | None = None  # of the reduced gradients
        if o.has_lane:
            sums, unpack = self._lane()
            end.append(unpack)
            samples, *values = sums
            averages["samples"] = samples
            averages.update((name, build("RealDiv", v, samples, name=f"mean_{name}"))
                            for name, v in zip(o.metrics, values))
            if self._samples is not None:
                factor = build("RealDiv", _constant(self._size, self._dtype), samples, name="per_sample")
        if self._seed_scale is not None:
            factor = _times(factor, build("Reciprocal", _cast(self._seed_scale, self._dtype)))
        gradients = list(dict.fromkeys(op.inputs[i] for op, i in places))
        gates = [self._sum.last] if self._sum else []
        if o.clip_norm is not None or self._scale:
            norm = self._norm(gradients, sparse, factor)
            averages["gradient_norm"] = norm
            if o.clip_norm is not None:
                limit = _constant(o.clip_norm, float64)
                factor = _times(factor, _cast(build("RealDiv", limit, build("Maximum", norm, limit)), self._dtype))
            if self._scale:
                finite = build("IsFinite", norm, name="finite")
                averages["loss_scale"], averages["finite"] = self._scale.scale.value(), finite
                end += self._scale.update(finite, gates)
                gates = [*gates, build("_Gate", finite, name="apply_if_finite")]
        if factor is not None:
            scaled = {g: build("Mul", g, _cast(factor, g.dtype), name="scaled") for g in gradients}
            for op, i in places:
                op._update_input(i, scaled[op.inputs[i]])
        updates = [op for op in self._step.update_ops if op in self._needed and _is_update(op)] if gates else []
        for op in updates:
            for g in gates:
                op._add_control_input(g)
        for op in end:
            self._step.train_op._add_control_input(op)
        self._step.averages.update(averages)

    def _lane(self) -> tuple[list[Tensor], Operation]:
        """([samples, sum of each metric], the unpacking operation)."""
        one = self._samples if self._samples is not None else _constant(1.0, self._dtype)
        sums = build("Pack", [one, *(build("Mul", _cast(m, self._dtype), one) for m in self._options.metrics.values())])
        count = 1 + len(self._options.metrics)
        if self._sum:
            sums = self._sum.sum(sums, "lane")
        weights = [v for _, v in self._step.grads_and_vars if v.dtype is self._dtype]
        name = self._step.train_op.name
        packed = build("_LanePack", sums, [v._as_tensor() for v in weights], T=self._dtype, lane=name, ranks=self._size)
        words = self._reduced(packed, "lane", "lane")
        reduced = self._sum.is_last if self._sum else _constant(True, None)
        sums = build("_LaneUnpack", words, reduced, [v._as_tensor() for v in weights], T=self._dtype, K=count,
                     lane=name, names=[v.op.name for v in weights])
        return [build("StridedSlice", sums, [k], [k + 1], [1], shrink_axis_mask=1) for k in range(count)], sums.op

    def _norm(self, gradients: list[Tensor], sparse: list[IndexedSlices], factor: Tensor | None) -> Tensor:
        """The norm, in double, of all gradients times the factor. Sparse rows of equal index count as their sum."""
        values = {s.values for s in sparse}
        parts = [g for g in gradients if g not in values] + [_summed(s) for s in sparse]
        by_dtype: dict[DType, list[Tensor]] = {}
        for g in parts:
            by_dtype.setdefault(g.dtype, []).append(g)
        squares = [build("_SquaredNorm", tensors, T=dtype) for dtype, tensors in by_dtype.items()]
        norm: Tensor = build("Sqrt", squares[0] if len(squares) == 1 else build("AddN", squares))
        return norm if factor is None else build("Mul", norm, _cast(factor, float64), name="gradient_norm")


def averages(train_op: Operation) -> dict[str, Tensor]:
    """Scalars over all ranks of a distributed step, by name: the metrics given to `distribute`, and as its options have
    it "samples", "gradient_norm" (before clipping), "loss_scale", "finite".

    Fetch them with the train op: they need its collectives, so every rank must run them.
    Raises: GraphError where `train_op` is not distributed.

    >>> _, mean = session.run([train_op, rf.collectives.averages(train_op)["loss"]], feeds)  # doctest: +SKIP
    """
    step = find_train_step(train_op, "averages")
    if not step.strategy:
        raise GraphError(f"[averages] {train_op.name!r} is not distributed.{train_op.where} Fix: call distribute first",
                         train_op.name)
    return dict(step.averages)


def _is_update(op: Operation) -> bool:
    """Whether `op` changes a variable and nothing else comes out of it."""
    written = any(a.is_ref or a.dtype is not None and a.dtype.name == "resource" for a in op.op_def.inputs)
    return written and op.op_def.stateful and all(a.is_ref for a in op.op_def.outputs)


def _summed(gradient: IndexedSlices) -> Tensor:
    distinct, position = build("Unique", gradient.indices)
    count = build("StridedSlice", build("Shape", distinct), [0], [1], [1], shrink_axis_mask=1)
    rows: Tensor = build("UnsortedSegmentSum", gradient.values, position, count)
    return rows


def _cast(t: Tensor, dtype: DType) -> Tensor:
    return t if t.dtype is dtype else build("Cast", t, DstT=dtype)


def _constant(value: Any, dtype: DType | None) -> Tensor:
    array = np.asarray(value, dtype.as_numpy_dtype if dtype else None)
    result: Tensor = build("Identity", array)
    return result


def _times(a: Tensor | None, b: Tensor) -> Tensor:
    result: Tensor = b if a is None else build("Mul", a, b)
    return result
