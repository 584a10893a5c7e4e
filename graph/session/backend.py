"""What executes programs: the protocol, the NumPy interpreter as one that does, and the table of all."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ..interpreter import Interpreter, State
from ..operation import Operation
from ..passes import Program
from ..run_options import ConfigProto


class Run(Protocol):
    """A compiled program.

    It may have an attribute `offer`: a function as this one, that takes values nobody has looked at, and gives None
    where they are not all arrays of the dtypes and shapes that it was compiled for. The common case is so checked once.
    """

    def __call__(self, feeds: Sequence[Any], timeout_ms: int = 0) -> list[Any]:
        """Fetched arrays (by `_Retval` index) from fed ones (by `_Arg` index). Raises: DeadlineExceededError where it
        takes longer than `timeout_ms`, if that is not 0."""


class Backend(Protocol):
    """What executes programs, and where its variables live. One instance belongs to one session."""

    def compile(self, program: Program) -> Run:
        """What runs `program`, in its partitions where it has several."""

    def reset(self, container: str) -> None:
        """Forgets the variables of a container."""

    @property
    def device_types(self) -> Mapping[str, int]:
        """What kinds of devices there are, and which are preferred: the higher, the more."""

    def supports(self, op: Operation, device_type: str) -> bool:
        """Whether there is a kernel for `op` on devices of that type."""

    def close(self) -> None:
        """Cancels what runs. Nothing runs afterwards."""


class Reference:
    """The NumPy interpreter as a backend. Its devices are names; a run looks at its deadline where it has to wait."""

    device_types = {"CPU": 60}

    def __init__(self, config: ConfigProto) -> None:
        self.state = State()

    def compile(self, program: Program) -> Run:
        return Interpreter(program.graph, self.state).run

    def reset(self, container: str) -> None:
        self.state.reset(container)

    def supports(self, op: Operation, device_type: str) -> bool:
        return True

    def close(self) -> None:
        self.state.close()


BACKENDS: dict[str, Callable[[ConfigProto], Backend]] = {"reference": Reference}  # written at import only
