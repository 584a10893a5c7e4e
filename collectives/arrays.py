"""What collectives take for an array, and give back: NumPy arrays of any layout and alignment, objects with
`__dlpack__` on the CPU, buffers, and whatever np.asarray takes.

bfloat16, which NumPy lacks: ml_dtypes' arrays, uint16 bits with dtype='bfloat16', or the record type [('bfloat16',
'<u2')] of ringflow's own results. It comes back as it came.
"""
from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from ringflow.graph.errors import InvalidArgumentError

_BFLOAT16 = np.dtype([("bfloat16", "<u2")])
_DLPACK_CPU = (1, 3)  # kDLCPU, kDLCUDAHost


class Incoming:
    """`array`: C-contiguous, aligned, of the runtime's dtypes; memory of the caller's where that is so already."""

    def __init__(self, x: Any, dtype: str | None = None) -> None:
        array = _view(x)
        self.original = array.dtype
        if dtype is not None and dtype != array.dtype.name:
            if dtype != "bfloat16" or array.dtype not in (np.uint16, _BFLOAT16):
                raise InvalidArgumentError(f"[collectives] dtype may only say 'bfloat16', of uint16 bits: received "
                                           f"{dtype!r} for {array.dtype}")
        self.dtype = _BFLOAT16 if "bfloat16" in (dtype, array.dtype.name) else array.dtype
        shape = array.shape
        self.array = np.require(array, None, ["C", "A"]).view(self.dtype).reshape(shape)


class Outgoing:
    """Where a result goes: a new array, or the caller's `out`, directly where its memory can be written as it is."""

    def __init__(self, like: Incoming, shape: tuple[int, ...] | None, out: Any) -> None:
        self.like, self.out, self.target = like, out, None
        if out is None:
            assert shape is not None
            self.array = np.empty(shape, like.dtype)
            return
        target = _view(out, writable=True)
        if (shape is not None and target.shape != shape) or target.dtype.itemsize != like.dtype.itemsize or \
                (target.dtype != like.original and target.dtype != like.dtype):
            raise InvalidArgumentError(f"[collectives] out must be {like.original} of shape {shape}: received "
                                       f"{target.dtype} of shape {target.shape}")
        if not target.flags.writeable:
            raise InvalidArgumentError("[collectives] out must be writable")
        if target.flags.c_contiguous and target.flags.aligned:
            self.array = target.view(like.dtype)
        else:
            self.target, self.array = target, np.empty(target.shape, like.dtype)

    def fill(self, x: np.ndarray) -> None:
        in_place = self.out is not None and np.may_share_memory(self.array, x) and \
            self.array.ctypes.data == x.ctypes.data
        if not in_place:
            self.array[...] = x

    def result(self) -> Any:
        if self.out is None:
            return self.array.view(self.like.original)
        if self.target is not None:
            self.target[...] = self.array.view(self.target.dtype)
        return self.out


def _view(x: Any, writable: bool = False) -> np.ndarray:
    if isinstance(x, np.ndarray):
        return x
    if hasattr(x, "__dlpack__") and not isinstance(x, np.generic):
        kind = int(x.__dlpack_device__()[0])
        if kind not in _DLPACK_CPU:
            raise InvalidArgumentError("[collectives] the array must be in memory of the CPU: received DLPack device "
                                       f"type {kind}. Fix: copy it to the host first.")
        try:
            array = np.from_dlpack(x)
        except (BufferError, RuntimeError, TypeError) as e:
            raise InvalidArgumentError(f"[collectives] NumPy cannot view this {type(x).__name__}: {e}. Fix: for "
                                       "bfloat16 pass its bits as uint16 with dtype='bfloat16'.") from e
        # NumPy calls every DLPack array read-only that does not say otherwise, which older producers cannot
        return array if array.flags.writeable or not writable else _writable(array, x)
    if isinstance(x, (bytes, bytearray, memoryview)):
        return np.asarray(memoryview(x))
    return np.asarray(x)


def _writable(array: np.ndarray, owner: Any) -> np.ndarray:
    if array.nbytes == 0:
        return np.empty(array.shape, array.dtype)
    if not array.flags.c_contiguous:
        raise InvalidArgumentError("[collectives] out must be C-contiguous where it is a DLPack array")
    memory = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    memory.owner = owner  # type: ignore[attr-defined]
    return np.frombuffer(memory, array.dtype).reshape(array.shape)
