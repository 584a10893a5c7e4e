"""The Python face of a communicator: collectives on NumPy arrays and on picklable objects.

Calls block, release the GIL, and must be made by every rank in the same order. A rank that fails ends the others'
calls with AbortedError. In a world of one every collective returns its argument's copy.
"""
from __future__ import annotations

import pickle
import socket
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from ringflow.graph.errors import BY_CODE, InvalidArgumentError, UnknownError

_MAX_DIMS = 8


class Communicator:
    """Rank `rank` of `size`. Made by `init()` or by `loopback.run`, not by hand."""

    def __init__(self, native: Any = None, *, local_rank: int = 0, local_size: int = 1) -> None:
        if native is not None:
            self.native = native  # else the cached property makes a world of one, when it is needed
        self.rank: int = native.rank if native is not None else 0
        self.size: int = native.size if native is not None else 1
        self.local_rank = local_rank
        self.local_size = local_size
        self.agreed: set[bytes] = set()  # hashes of programs that all ranks have shown to be the same (consensus.py)
        self.remembered: dict[Any, Any] = {}  # what ranks have decided together: the link's costs, buckets (buckets.py)

    @cached_property
    def native(self) -> Any:
        """The C++ communicator, for the runtime."""
        return _core().Communicator.loopback(1)[0]

    @property
    def host(self) -> str:
        return socket.gethostname()

    def __repr__(self) -> str:
        return f"<ringflow Communicator rank {self.rank}/{self.size}, {self.native.transport}, {self.native.algorithm}>"

    # ---- arrays -------------------------------------------------------------------------------------------------
    def allreduce(self, x: Any, op: str = "sum") -> np.ndarray:
        """y = x_0 op x_1 op ... over the ranks, elementwise; a new array.

        x: any shape, the same on every rank. op: 'sum', 'mean' (or 'average'), 'min', 'max', 'prod'.

        Steps and bytes: 2 barriers and none sent where the ranks share memory (one pass), otherwise 2(P-1) steps and
        2n(P-1)/P bytes sent per rank (ring).
        Raises: InvalidArgumentError for the mean of integers, or where ranks call with different arguments.

        >>> Communicator().allreduce([1.0, 2.0])
        array([1., 2.])
        """
        y = _copy(x)
        self._call(self.native.allreduce, y, op)
        return y

    def broadcast(self, x: Any, root: int = 0) -> np.ndarray:
        """The root's x on every rank, as a new array. x: the same shape and dtype everywhere."""
        y = _copy(x)
        self._call(self.native.broadcast, y, root)
        return y

    def allgather(self, x: Any) -> np.ndarray:
        """The ranks' arrays concatenated along axis 0, in rank order; scalars become shape (P,).

        Shapes may differ in axis 0 only. Bytes sent per rank: n_total - n_own (ring), none in shared memory.
        """
        x = np.ascontiguousarray(x) if np.ndim(x) else np.ascontiguousarray(x).reshape(1)
        shapes = self._shapes(x)
        rows = [int(s[2]) for s in shapes]
        y = np.empty((sum(rows), *x.shape[1:]), x.dtype)
        row_bytes = x.itemsize * int(np.prod(x.shape[1:], dtype=np.int64))
        self._call(self.native.allgatherv, x, y, [n * row_bytes for n in rows])
        return y

    def send(self, x: Any, to: int, tag: int = 0) -> None:
        """Sends x to one rank, which must `recv` an array of the same size."""
        self._call(self.native.send, np.ascontiguousarray(x), to, tag)

    def recv(self, out: np.ndarray, source: int, tag: int = 0) -> np.ndarray:
        """Receives into `out` (C-contiguous) and returns it."""
        self._call(self.native.recv, out, source, tag)
        return out

    def barrier(self) -> None:
        """Returns once every rank has called it."""
        self._call(self.native.barrier)

    # ---- objects ------------------------------------------------------------------------------------------------
    def broadcast_object(self, value: Any, root: int = 0) -> Any:
        """The root's object on every rank, by pickle. The argument of other ranks is ignored."""
        if self.size == 1:
            return value
        data = np.frombuffer(pickle.dumps(value) if self.rank == root else b"", np.uint8)
        length = int(self.broadcast(np.int64(data.size), root)[()])
        data = self.broadcast(data if self.rank == root else np.empty(length, np.uint8), root)
        return value if self.rank == root else pickle.loads(data.tobytes())

    def allgather_object(self, value: Any) -> list[Any]:
        """Every rank's object, in rank order, on every rank, by pickle."""
        if self.size == 1:
            return [value]
        data = np.frombuffer(pickle.dumps(value), np.uint8)
        sizes = self.allgather(np.int64(data.size))
        parts = np.split(self.allgather(data), np.cumsum(sizes)[:-1])
        return [value if r == self.rank else pickle.loads(p.tobytes()) for r, p in enumerate(parts)]

    def gather_object(self, value: Any, root: int = 0) -> list[Any] | None:
        """Every rank's object, in rank order, on the root; None elsewhere."""
        everything = self.allgather_object(value)
        return everything if self.rank == root else None

    # ---- buckets ------------------------------------------------------------------------------------------------
    def bucket(self, nbytes: int) -> Any:
        """Pinned memory for a recurring allreduce: fill `.input(dtype)`, start, wait, read `.result(dtype)` in place.

        Collective. The input may be refilled, and the result read, after `wait` until the next `start`.
        """
        return self._call(self.native.bucket, nbytes)

    def start(self, bucket: Any, count: int, dtype: Any, op: str = "sum", *, overlap: bool = True) -> int:
        """Starts the allreduce of the bucket's first `count` elements in the background; a ticket for `wait`.

        overlap: False where `wait` follows at once: the waiting thread then does it, which saves two thread switches.
        """
        return self._call(self.native.start, bucket, count, dtype, op, overlap)

    def wait(self, ticket: int) -> None:
        self._call(self.native.wait, ticket)

    # ---- failure ------------------------------------------------------------------------------------------------
    def abort(self, reason: str) -> None:
        """Ends every rank's collectives, now and later, with AbortedError and this text."""
        self.native.abort(f"rank {self.rank}/{self.size} ({self.host}) ended: {reason}")

    # ---- inside -------------------------------------------------------------------------------------------------
    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except _core().Error as e:
            raise BY_CODE.get(e.code, UnknownError)(str(e)) from None

    def _shapes(self, x: np.ndarray) -> np.ndarray:
        """(P, 2 + 8) int64: dtype, dimensions and shape of every rank's array; checks that they fit together."""
        mine = np.zeros(2 + _MAX_DIMS, np.int64)
        mine[:2] = np.frombuffer(x.dtype.str.encode().ljust(8), np.int64)[0], x.ndim
        mine[2:2 + x.ndim] = x.shape
        every = np.empty((self.size, mine.size), np.int64)
        self._call(self.native.allgatherv, mine, every, [mine.nbytes] * self.size)
        for r, other in enumerate(every):
            if any(other[:2] != mine[:2]) or any(other[3:] != mine[3:]):
                dtype, shape = other[:1].tobytes().decode().strip(), tuple(int(n) for n in other[2:2 + other[1]])
                raise InvalidArgumentError(
                    f"[allgather] rank {self.rank}/{self.size}: shapes may differ in axis 0 only: "
                    f"{x.dtype} {x.shape} here, rank {r} has {np.dtype(dtype)} {shape}. "
                    "Fix: gather arrays of one dtype and equal trailing dimensions.")
        return every


def _copy(x: Any) -> np.ndarray:
    return np.array(x, order="C", copy=True)


def _core() -> Any:
    from ringflow import (
        _core as core,
        kernels as kernels,  # loads BLAS, which _core is linked to
    )

    return core
