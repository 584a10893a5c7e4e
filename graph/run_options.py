"""Options of sessions and of single runs: plain objects with the field names of TensorFlow's messages.

    config = rf.ConfigProto(device_count={"CPU": 2}, allow_soft_placement=True)
    with rf.Session(config=config) as session:
        session.run(loss, options=rf.RunOptions(timeout_in_ms=5000))

A field that does not exist cannot be set. Fields that only concern a GPU are kept and have no effect without one.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from .errors import InvalidArgumentError


@dataclass(slots=True, kw_only=True)
class RunOptions:
    """Of one ``session.run``. timeout_in_ms: 0 for none; a run that takes longer ends with DeadlineExceededError.
    trace_level: NO_TRACE ... FULL_TRACE, what is recorded in `run_metadata`."""

    NO_TRACE: ClassVar[int] = 0
    SOFTWARE_TRACE: ClassVar[int] = 1
    HARDWARE_TRACE: ClassVar[int] = 2
    FULL_TRACE: ClassVar[int] = 3

    trace_level: int = 0
    timeout_in_ms: int = 0
    output_partition_graphs: bool = False

    def __post_init__(self) -> None:
        if self.trace_level not in range(4) or self.timeout_in_ms < 0:
            raise InvalidArgumentError(f"[RunOptions] trace_level must be 0..3 and timeout_in_ms >= 0: received {self}")


@dataclass(slots=True, kw_only=True)
class GPUOptions:
    """Kept for scripts that set them."""

    allow_growth: bool = True
    per_process_gpu_memory_fraction: float = 0.0
    visible_device_list: str = ""


@dataclass(slots=True, kw_only=True)
class OptimizerOptions:
    """opt_level: L0 leaves out every pass that only makes a graph faster."""

    L0: ClassVar[int] = -1
    L1: ClassVar[int] = 0

    opt_level: int = 0


@dataclass(slots=True, kw_only=True)
class GraphOptions:
    """enable_recv_scheduling: receives between devices start as late as does not lengthen the step;
    enable_bfloat16_sendrecv: float32 travels between tasks as bfloat16; build_cost_model: after that many runs a plan
    is placed again by the times measured (0: never)."""

    enable_recv_scheduling: bool = False
    enable_bfloat16_sendrecv: bool = False
    build_cost_model: int = 0
    optimizer_options: OptimizerOptions = field(default_factory=OptimizerOptions)


@dataclass(slots=True, kw_only=True)
class ConfigProto:
    """Of a session. device_count: how many devices of a type there are (default: one CPU); allow_soft_placement: an
    operation on a device that is not there runs elsewhere instead of being an error; log_device_placement: prints the
    device of every node; the numbers of threads: 0 for the default."""

    device_count: dict[str, int] = field(default_factory=dict)
    allow_soft_placement: bool = False
    log_device_placement: bool = False
    inter_op_parallelism_threads: int = 0
    intra_op_parallelism_threads: int = 0
    gpu_options: GPUOptions = field(default_factory=GPUOptions)
    graph_options: GraphOptions = field(default_factory=GraphOptions)


def checked_config(config: Any) -> ConfigProto:
    """`config`, or the defaults for None. Raises: InvalidArgumentError."""
    if config is None:
        return ConfigProto()
    if not isinstance(config, ConfigProto):
        raise InvalidArgumentError(f"[Session] config must be an rf.ConfigProto: received {type(config).__name__}")
    for kind, count in config.device_count.items():
        if not isinstance(count, int) or count < 0:
            raise InvalidArgumentError(f"[Session] device_count[{kind!r}] must be an integer >= 0: received {count!r}")
    for name in ("inter_op_parallelism_threads", "intra_op_parallelism_threads"):
        if getattr(config, name) < 0:
            raise InvalidArgumentError(f"[Session] {name} must be >= 0: received {getattr(config, name)}")
    return config


def checked_options(options: Any) -> RunOptions:
    """Raises: InvalidArgumentError where `options` is no RunOptions."""
    if not isinstance(options, RunOptions):
        raise InvalidArgumentError(f"[run] options must be rf.RunOptions: received {type(options).__name__}")
    return options


__all__ = ["ConfigProto", "GPUOptions", "GraphOptions", "OptimizerOptions", "RunOptions"]
