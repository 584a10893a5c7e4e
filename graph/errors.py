"""Every exception of ringflow, one class per TensorFlow status code.

The text reads ``[where] the rule that failed: what was received. Fix: the next action.`` and, for errors of a
graph node, ``Created at file:line.``
"""
from __future__ import annotations


class Error(Exception):
    """Base of all. `node` is the name of the failed node, or ''."""

    code = 2

    def __init__(self, message: str, node: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.node = node


OpError = Error  # TensorFlow's name


class CancelledError(Error):
    code = 1


class UnknownError(Error):
    code = 2


class InvalidArgumentError(Error, ValueError):
    code = 3


class DeadlineExceededError(Error, TimeoutError):
    code = 4


class NotFoundError(Error, LookupError):
    code = 5


class AlreadyExistsError(Error):
    code = 6


class PermissionDeniedError(Error, PermissionError):
    code = 7


class ResourceExhaustedError(Error):
    """Memory or storage is full."""

    code = 8


class FailedPreconditionError(Error):
    code = 9


class AbortedError(Error):
    """A run or a collective was given up, often because another rank ended."""

    code = 10


class OutOfRangeError(Error):
    code = 11


class UnimplementedError(Error, NotImplementedError):
    code = 12


class InternalError(Error):
    code = 13


class UnavailableError(Error):
    code = 14


class DataLossError(Error):
    """Bytes that should be a graph or a checkpoint are not."""

    code = 15


class GraphError(Error, RuntimeError):
    """The graph may not be changed or used that way (finalized, already run, another graph's tensor)."""

    code = 9


BY_CODE: dict[int, type[Error]] = {
    c.code: c
    for c in (CancelledError, UnknownError, InvalidArgumentError, DeadlineExceededError, NotFoundError,
              AlreadyExistsError, PermissionDeniedError, ResourceExhaustedError, FailedPreconditionError, AbortedError,
              OutOfRangeError, UnimplementedError, InternalError, UnavailableError, DataLossError)
}
