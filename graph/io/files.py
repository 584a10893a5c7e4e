"""Files written whole or not at all, and the errors of the system as this package's."""
from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import (
    Error,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnknownError,
)

_CLASSES: dict[int, type[Error]] = {
    errno.ENOENT: NotFoundError, errno.EACCES: PermissionDeniedError, errno.EPERM: PermissionDeniedError,
    errno.EROFS: PermissionDeniedError, errno.ENOSPC: ResourceExhaustedError, errno.EDQUOT: ResourceExhaustedError,
    errno.EFBIG: ResourceExhaustedError, errno.EMFILE: ResourceExhaustedError, errno.EISDIR: FailedPreconditionError,
    errno.ENOTDIR: FailedPreconditionError, errno.EEXIST: FailedPreconditionError, errno.EINVAL: InvalidArgumentError,
}


@contextmanager
def system_errors(what: str, path: str) -> Iterator[None]:
    """Raises: the class that belongs to the errno of an OSError, naming `path`."""
    try:
        yield
    except OSError as e:
        if isinstance(e, Error):
            raise
        kind = _CLASSES.get(e.errno or 0, UnknownError)
        raise kind(f"[file] cannot {what} {path!r}: {e.strerror}. Fix: check the path, the rights and the space "
                   "there") from None


def read_file(path: str) -> bytes:
    with system_errors("read", path):
        return Path(path).read_bytes()


def write_file(path: str, content: bytes) -> None:
    """Makes the folders above it. A crash leaves the old file or the new one."""
    temporary = f"{path}.tmp-{os.getpid()}"
    with system_errors("write", path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as f:
                f.write(content)
                f.flush()
                os.fsync(f.fileno())
            os.replace(temporary, path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
