"""Locks of files and directories between processes. They end with the process at the latest."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import ElqError

try:
    import fcntl
except ImportError:  # Windows, where files that are open cannot be removed
    fcntl = None  # type: ignore[assignment]

CAN_LOCK = fcntl is not None


def hold(path: Path, *, exclusive: bool) -> int | None:
    """Lock a directory or file that is there, unless somebody else has it.

    RETURNS (int | None): What to close in the end, None where there is no lock to be had.
    """
    if fcntl is None:
        return None
    handle = os.open(path, os.O_RDONLY)
    try:
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError:  # held by another, or a file system without locks
        os.close(handle)
        return None
    return handle


@contextmanager
def alone(path: Path, busy: str = "") -> Iterator[None]:
    """Keep others out who ask for the same lock, other threads of this process included.

    path (Path): A file for the lock alone; made, and removed in the end.
    busy (str): Message of the ElqError that is raised while somebody else has it. Waits where
        empty.
    """
    if fcntl is None:
        yield
        return
    handle = _lock(path, busy)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _lock(path: Path, busy: str) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError:
            os.close(handle)
            raise ElqError(busy) from None
        except OSError:  # a file system without locks
            return handle
        except BaseException:  # interrupted while it waited
            os.close(handle)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)  # who had it removed the file: this lock keeps nobody out


class SharedLock:
    """Keeps the files of a generation in place while this object lives.

    home (Path): Their directory.
    """

    def __init__(self, home: Path) -> None:
        handle = hold(home, exclusive=False)
        if handle is not None:
            weakref.finalize(self, os.close, handle)
