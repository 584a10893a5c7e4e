"""The Python face of a communicator: collectives on arrays and on picklable objects.

An array is anything of arrays.py: NumPy's, DLPack's or a buffer's. Results are new NumPy arrays, or `out`.
Calls block, release the GIL, and must be made by every rank in the same order. A rank that fails ends the others'
calls with AbortedError. In a world of one every collective returns its argument's copy.
"""
from __future__ import annotations

import pickle
import socket
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from ringflow.graph.errors import BY_CODE, InvalidArgumentError, UnknownError

from .arrays import Incoming, Outgoing

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
    def allreduce(self, x: Any, op: str = "sum", algorithm: str = "auto", out: Any = None, *,
                  dtype: str | None = None) -> Any:
        """y = x_0 op x_1 op ... over the ranks, elementwise; a new array, or `out`, which may be x itself.

        x: any shape, the same on every rank. op: 'sum', 'mean' (or 'average'), 'min', 'max', 'prod'; of bool, sum and
        max are "any", prod and min are "all". algorithm: one of `algorithms()`. dtype: 'bfloat16' says that the uint16
        values of x are the bits of bfloat16.

        Steps and bytes: 2 barriers and none sent where the ranks share memory (one pass); between nodes 2n(m-1)/m bytes
        sent per node of m (hierarchical); otherwise 2(P-1) steps and 2n(P-1)/P bytes sent per rank (ring), or fewer
        steps (halving_doubling, tree). docs/collectives.md has the table.
        Raises: InvalidArgumentError for the mean of integers and bool, an algorithm that is not usable here, or where
        ranks call with different arguments.

        >>> Communicator().allreduce([1.0, 2.0])
        array([1., 2.])
        """
        if out is None and dtype is None and type(x) is np.ndarray and x.dtype.kind in "fiub":  # the usual case, fast
            y = np.array(x, order="C")
            self._call(self.native.allreduce, y, op, algorithm)
            return y
        incoming = Incoming(x, dtype)
        outgoing = Outgoing(incoming, incoming.array.shape, out)
        outgoing.fill(incoming.array)
        self._call(self.native.allreduce, outgoing.array, op, algorithm)
        return outgoing.result()

    def reduce(self, x: Any, op: str = "sum", root: int = 0, out: Any = None, *, dtype: str | None = None) -> Any:
        """allreduce whose result only the root gets; None elsewhere.

        Bytes sent per rank: n up to 64 KiB (tree), about 2n(P-1)/P above; none in shared memory.
        """
        incoming = Incoming(x, dtype)
        mine = self.rank == root
        outgoing = Outgoing(incoming, incoming.array.shape, out if mine else None)
        outgoing.fill(incoming.array)
        self._call(self.native.reduce, outgoing.array, op, root)
        return outgoing.result() if mine else None

    def reduce_scatter(self, x: Any, op: str = "sum", out: Any = None, *, rows: Sequence[int] | None = None,
                       dtype: str | None = None) -> Any:
        """Rank r's part, along axis 0, of allreduce(x, op).

        rows[r]: how many rows rank r gets; by default as even as possible, the first ranks one more.
        Bytes sent per rank: n - n_r (ring), none in shared memory.

        >>> Communicator().reduce_scatter([1.0, 2.0])
        array([1., 2.])
        """
        incoming = Incoming(x, dtype)
        x = incoming.array.reshape(-1) if incoming.array.ndim == 0 else incoming.array
        if rows is None:
            rows = [len(x) // self.size + (r < len(x) % self.size) for r in range(self.size)]
        if len(rows) != self.size or sum(rows) != len(x):
            raise InvalidArgumentError(f"[reduce_scatter] rank {self.rank}/{self.size}: rows must be {self.size} "
                                       f"numbers with the sum {len(x)}: received {list(rows)}")
        width = int(np.prod(x.shape[1:], dtype=np.int64))
        outgoing = Outgoing(incoming, (rows[self.rank], *x.shape[1:]), out)
        self._call(self.native.reduce_scatter, x, outgoing.array, [n * width for n in rows], op)
        return outgoing.result()

    def broadcast(self, x: Any, root: int = 0, out: Any = None) -> Any:
        """The root's x on every rank, as a new array or `out`. x: the same shape and dtype everywhere.

        Bytes sent per rank: up to 64 KiB n to each child in a binomial tree, above it n (chain); none in shared memory.
        """
        incoming = Incoming(x)
        outgoing = Outgoing(incoming, incoming.array.shape, out)
        outgoing.fill(incoming.array)
        self._call(self.native.broadcast, outgoing.array, root)
        return outgoing.result()

    def alltoall(self, x: Any, rows: Sequence[int] | None = None) -> Any:
        """The rows that the ranks have for this one, concatenated in rank order.

        rows[r]: how many of x's rows, in order, go to rank r; by default the same number to each.
        Bytes sent per rank: those for the others; none in shared memory.

        >>> Communicator().alltoall([1.0, 2.0])
        array([1., 2.])
        """
        incoming = Incoming(x)
        x = incoming.array.reshape(-1) if incoming.array.ndim == 0 else incoming.array
        if rows is None and len(x) % self.size == 0:
            rows = [len(x) // self.size] * self.size
        # every rank joins the exchange of sizes and learns of a mistake, whoever made it
        good = rows is not None and len(rows) == self.size and sum(rows) == len(x) and min(rows, default=0) >= 0
        every = np.empty((self.size, self.size), np.int64)
        mine = np.asarray(rows if good else [-1] * self.size, np.int64)
        self._call(self.native.allgatherv, mine, every, [8 * self.size] * self.size)
        for r in range(self.size):
            if (every[r] < 0).any():
                here = f": {list(rows) if rows is not None else 'none'} for {len(x)} rows" if r == self.rank else ""
                raise InvalidArgumentError(f"[alltoall] rank {self.rank}/{self.size}: rank {r} has no rows for each of "
                                           f"{self.size} ranks that add up to its array's{here}. Fix: pass rows=.")
        received = every[:, self.rank]
        width = x.itemsize * int(np.prod(x.shape[1:], dtype=np.int64))
        outgoing = Outgoing(incoming, (int(received.sum()), *x.shape[1:]), None)
        self._call(self.native.alltoallv, x, [int(n) * width for n in mine], outgoing.array,
                   [int(n) * width for n in received])
        return outgoing.result()

    def allgather(self, x: Any) -> Any:
        """The ranks' arrays concatenated along axis 0, in rank order; scalars become shape (P,).

        Shapes may differ in axis 0 only. Bytes sent per rank: n_total - n_own (ring), none in shared memory.
        """
        incoming = Incoming(x)
        x = incoming.array.reshape(1) if incoming.array.ndim == 0 else incoming.array
        shapes = self._shapes(x)
        rows = [int(s[2]) for s in shapes]
        outgoing = Outgoing(incoming, (sum(rows), *x.shape[1:]), None)
        row_bytes = x.itemsize * int(np.prod(x.shape[1:], dtype=np.int64))
        self._call(self.native.allgatherv, x, outgoing.array, [n * row_bytes for n in rows])
        return outgoing.result()

    def send(self, x: Any, to: int, tag: int = 0) -> None:
        """Sends x to one rank, which must `recv` an array of the same size."""
        self._call(self.native.send, Incoming(x).array, to, tag)

    def recv(self, out: Any, source: int, tag: int = 0) -> Any:
        """Receives into `out` and returns it."""
        outgoing = Outgoing(Incoming(out), None, out)
        self._call(self.native.recv, outgoing.array, source, tag)
        return outgoing.result()

    def barrier(self) -> None:
        """Returns once every rank has called it."""
        self._call(self.native.barrier)

    def split(self, color: int | None, key: int = 0) -> Communicator | None:
        """The communicator of the ranks with the same color, ordered by (key, rank); None for the color None.

        Collective. It shares this one's thread, deadlines and aborts; ranks in both must call both in the same order.
        """
        if color is not None and color < 0:
            raise InvalidArgumentError(f"[split] the color must be >= 0 or None: received {color}")
        native = self._call(self.native.split, -1 if color is None else color, key)
        if native is None:
            return None
        node = native.nodes[native.rank]
        here = [r for r in range(native.size) if native.nodes[r] == node]
        return Communicator(native, local_rank=here.index(native.rank), local_size=len(here))

    # ---- algorithms ---------------------------------------------------------------------------------------------
    def algorithms(self) -> list[str]:
        """The allreduce algorithms that are usable between these ranks."""
        return self.native.algorithms()  # type: ignore[no-any-return]

    def set_selection(self, table: Sequence[tuple[int | None, str]]) -> None:
        """Which algorithm an allreduce of so many bytes runs: rows (up_to_bytes, name), ascending; the last row serves
        everything above it, too. The same on every rank. RINGFLOW_ALLREDUCE and the argument of a call come first."""
        self._call(self.native.set_selection, list(table))

    def bytes_sent(self) -> int:
        """Payload bytes that this rank has handed to the transport; none pass through shared memory."""
        return self.native.bytes_sent()  # type: ignore[no-any-return]

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
    def bucket(self, nbytes: int, *, in_place: bool = False) -> Any:
        """Pinned memory for a recurring allreduce: fill `.input(dtype)`, start, wait, read `.result(dtype)` in place.

        Collective. After `wait` the input may be refilled, and the result read until the next `start`. in_place: less
        memory and fewer barriers; the result is lost when any rank refills its input, so all ranks call `barrier`
        between reading the one and filling the other.
        """
        return self._call(self.native.bucket, nbytes, in_place)

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


def _core() -> Any:
    from ringflow import (
        _core as core,
        kernels as kernels,  # loads BLAS, which _core is linked to
    )

    return core
