"""Readers of the reference interpreter: the mirror of csrc/kernels/file_reader.h and reader_kinds.cc."""
from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from ..errors import Error, InvalidArgumentError, OutOfRangeError, UnimplementedError
from ..interpreter import State
from ..interpreter.waiting import Attempt
from ..io.files import read_file
from ..io.record import open_input, records
from ..operation import Operation
from ..proto.example_pb2 import ReaderBaseState
from .queue_reference import DEQUEUE, Queue

Record = tuple[str, bytes]


class Reader:
    """Turns names from a queue into (key, record). `op` says of which kind it is, and how records lie in files."""

    def __init__(self, state: State, op: Operation) -> None:
        self.kind, self._attrs, self._state = op.type, dict(op.attrs), state
        self.reset()

    def reset(self) -> None:
        self.started = self.finished = self.produced = 0
        self._work = ""
        self._left: Iterator[Record] | None = None

    def read(self, queue: Queue, count: int, single: bool) -> Any:
        """The outputs of a read of 1 to `count` records of one file, or an Attempt at them."""
        if count < 1:
            raise InvalidArgumentError(f"[{self.kind}] num_records must be positive: got {count}")
        if [d.name for d in queue.dtypes] != ["string"]:
            raise InvalidArgumentError(f"[{self.kind}] the queue must hold names of files, one string each: "
                                       f"{queue.name!r} holds something else")
        with self._state.progress:
            found = self.advance(count)
        return _outputs(found, single) if found else queue.start(DEQUEUE, _Read(self, queue, count, single))

    def advance(self, count: int) -> list[Record]:
        """Up to `count` records of the file that is open; none where another is needed."""
        if self._left is None:
            return []
        try:
            found = list(islice(self._left, count))
        except Error:
            self._left = None
            raise
        if len(found) < count:
            self._left, self.finished = None, self.started
        self.produced += len(found)
        return found

    def start_work(self, work: str) -> None:
        self.started += 1
        self._work, self._left = work, self._open(work)

    def _open(self, work: str) -> Iterator[Record]:
        if self.kind == "IdentityReaderV2":
            return iter([(work, work.encode())])
        if self.kind == "WholeFileReaderV2":
            return ((w, read_file(w)) for w in [work])
        if self.kind == "TFRecordReaderV2":
            return ((f"{work}:{at}", data) for at, data in records(work, self._attrs["compression_type"]))
        if self.kind == "TextLineReaderV2":
            return self._lines(work)
        return self._fixed(work)

    def _lines(self, work: str) -> Iterator[Record]:
        with open_input(work, "") as f:
            for number, line in enumerate(f, 1):
                if number > self._attrs["skip_header_lines"]:
                    line = line.removesuffix(b"\n")
                    yield f"{work}:{number}", line.removesuffix(b"\r")

    def _fixed(self, work: str) -> Iterator[Record]:
        header, size, footer, hop = (self._attrs[f"{n}_bytes"] for n in ("header", "record", "footer", "hop"))
        with open_input(work, self._attrs["encoding"]) as f:
            data = f.read()
        if len(data) < header:
            raise OutOfRangeError(f"[{self.kind}] {work!r} is shorter than its header of {header} bytes")
        for index, at in enumerate(range(header, len(data) - footer - size + 1, hop or size)):
            yield f"{work}:{index}", data[at:at + size]

    # ---- state
    def serialize(self) -> bytes:
        self._serializable()
        busy = self._left is not None
        return ReaderBaseState(work_started=self.started, work_finished=self.finished if busy else self.started,
                               num_records_produced=self.produced,
                               current_work=self._work.encode() if busy else b"").SerializeToString()

    def restore(self, data: bytes) -> None:
        self._serializable()
        try:
            state = ReaderBaseState.FromString(data)
        except Exception as e:
            raise InvalidArgumentError(f"[ReaderRestoreState] {len(data)} bytes are not a state: {e}") from None
        if not (0 <= state.work_finished <= state.work_started <= state.work_finished + 1
                and state.num_records_produced >= 0):
            raise InvalidArgumentError(f"[ReaderRestoreState] a state must have counts that fit: got {state}")
        self.started, self.finished, self.produced = state.work_started, state.work_finished, state.num_records_produced
        self._work = state.current_work.decode()
        self._left = self._open(self._work) if self.started > self.finished else None

    def _serializable(self) -> None:
        if self.kind not in ("WholeFileReaderV2", "IdentityReaderV2"):
            raise UnimplementedError(f"[{self.kind}] has no state that can be serialized or restored. Fix: "
                                     "WholeFileReaderV2 and IdentityReaderV2 have")


class _Read(Attempt):
    """Waits in the line of those who dequeue names."""

    def __init__(self, reader: Reader, queue: Queue, count: int, single: bool) -> None:
        super().__init__("Read operation")
        self._reader, self._queue, self._count, self._single = reader, queue, count, single
        self._found: list[Record] = []

    def step(self) -> bool:
        while not (found := self._reader.advance(self._count)):
            if not self._queue.ready():
                if self._queue.closed:
                    raise OutOfRangeError(f"{self._queue.kind} '{self._queue.name}' is closed and has insufficient "
                                          "elements (requested 1, current size 0)")
                return False
            self._reader.start_work(bytes(self._queue.pop()[1].item()).decode())
        self._found = found
        return True

    def result(self) -> Any:
        return _outputs(self._found, self._single)


def _outputs(found: list[Record], single: bool) -> Any:
    columns = []
    for values in ([k.encode() for k, _ in found], [v for _, v in found]):
        column = np.empty(len(values), object)
        column[:] = values
        columns.append(column.reshape(()) if single else column)
    return columns


__all__ = ["Reader"]
