"""Which kernels there are: (op, device type, dtypes) with a priority. What placement asks, and what picks a kernel.

The CPU's kernels are those compiled into ``ringflow._core``; another device type joins by ``register_device`` and
``register``. Of several kernels that fit a node the one of the highest priority runs; two of equal priority for the
same node are an error when the second is registered. Written at import only.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ringflow import _core
from ringflow.graph.control_types import CONTROL_FLOW
from ringflow.graph.dtypes import DType, as_dtype
from ringflow.graph.errors import AlreadyExistsError
from ringflow.graph.operation import Operation

# the executor itself deals with these
_ANYWHERE = CONTROL_FLOW | {"Const", "NoOp", "_Arg", "_Retval", "_Gate"}


@dataclass(frozen=True)
class KernelDef:
    """One kernel: of `op` on `device_type`, where attr `dtype_attr` is one of `dtypes` (None: whatever it is)."""

    op: str
    device_type: str
    dtype_attr: str = ""
    dtypes: frozenset[DType] | None = None
    priority: int = 0

    def fits(self, op: Operation) -> bool:
        return self.dtypes is None or op.attrs.get(self.dtype_attr) in self.dtypes

    def overlaps(self, other: KernelDef) -> bool:
        return self.dtypes is None or other.dtypes is None or not self.dtypes.isdisjoint(other.dtypes)


DEVICES: dict[str, int] = {}  # device type -> priority: operations go to the highest that has a kernel
_kernels: dict[tuple[str, str], list[KernelDef]] = {}


def register_device(device_type: str, priority: int) -> None:
    """Raises: AlreadyExistsError."""
    if device_type in DEVICES:
        raise AlreadyExistsError(f"[kernels] device type {device_type!r} is registered already")
    DEVICES[device_type] = priority


def register(kernel: KernelDef) -> None:
    """Raises: AlreadyExistsError where another kernel of equal priority fits the same nodes."""
    known = _kernels.setdefault((kernel.op, kernel.device_type), [])
    for other in known:
        if other.priority == kernel.priority and other.overlaps(kernel):
            raise AlreadyExistsError(f"[kernels] two kernels of {kernel.op} for {kernel.device_type} have priority "
                                     f"{kernel.priority}: {other} and {kernel}. Fix: give one a higher priority")
    known.append(kernel)
    known.sort(key=lambda k: -k.priority)


def find(op: Operation, device_type: str) -> KernelDef | None:
    """The kernel that runs `op` on a device of that type."""
    if op.type in _ANYWHERE:
        return KernelDef(op.type, device_type)
    return next((k for k in _kernels.get((op.type, device_type), ()) if k.fits(op)), None)


def kernels_of(op_type: str) -> Sequence[KernelDef]:
    """Every kernel of an op, those of the preferred devices first."""
    return [k for d in sorted(DEVICES, key=lambda d: -DEVICES[d]) for k in _kernels.get((op_type, d), ())]


register_device("CPU", 60)
for _op, _dtypes in _core.kernels():
    _allowed = frozenset(map(as_dtype, _dtypes)) if _dtypes else None
    register(KernelDef(_op, "CPU", _core.kernel_dtype_attr(_op), _allowed))
