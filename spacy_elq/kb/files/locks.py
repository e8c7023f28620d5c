"""Locks of files and directories between processes. A process that ends gives up its locks."""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import ElqError

try:
    import fcntl
except ImportError:  # Windows, where open files can't be removed anyway
    fcntl = None  # type: ignore[assignment]

CAN_LOCK = fcntl is not None
# Errors of a file system without locks.
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


def hold(path: Path, *, exclusive: bool) -> int | None:
    """Lock an existing directory or file, unless another process or thread holds it.

    RETURNS (int | None): A handle to close in the end, None if it could not be locked.
    """
    if fcntl is None:
        return None
    handle = os.open(path, os.O_RDONLY)
    try:
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError:  # held elsewhere, or a file system without locks
        os.close(handle)
        return None
    return handle


@contextmanager
def exclusive_lock(path: Path, busy: str = "") -> Iterator[None]:
    """Keep out other processes, and threads of this one, that ask for the same lock.

    path (Path): A file for this lock only; it is made, and removed in the end.
    busy (str): Message of the ElqError to raise while another one holds the lock; "" to wait.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0 if busy else -1)
    try:
        lock.acquire()
    except Timeout:
        raise ElqError(busy) from None
    except OSError as err:
        if err.errno not in NO_LOCKS:
            raise
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            path.unlink()  # before the release: a waiting process would lock a removed file
        lock.release()


class SharedLock:
    """Keeps the files of a generation from being removed while this object lives.

    home (Path): Their directory.
    """

    def __init__(self, home: Path) -> None:
        handle = hold(home, exclusive=False)
        if handle is not None:
            weakref.finalize(self, os.close, handle)
