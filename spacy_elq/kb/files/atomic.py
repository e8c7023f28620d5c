"""Directories that are replaced as a whole or not at all.

A directory is made under another name and renamed when it is complete, so that nobody can open a
half-written one. Replacing an existing one takes two renames: `recover` repairs an interruption
between them. A symbolic link is replaced itself, wherever it leads; its target stays as it is.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ...files import remove, sync
from .locks import exclusive_lock, hold

# Raises an error for a directory that must not be replaced.
Check = Callable[[Path], None]


@contextmanager
def atomic_directory(path: Path, check: Check) -> Iterator[Path]:
    """Write a directory so that `path` holds either all of it or what was there before.

    path (Path): The directory to make or replace. Its parents are made.
    check (Callable): Raises an error if the existing directory must not be replaced.
    YIELDS (Path): An empty directory beside it, to be filled.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 (a symlink is replaced, not followed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _saving_directory(path) as parent:
        work = parent / "new"
        work.mkdir()
        yield work
        publish(work, path, check)


@contextmanager
def _saving_directory(path: Path) -> Iterator[Path]:
    """YIELDS (Path): A temporary, locked directory beside `path`. Removes unlocked ones first:
    those of killed processes."""
    prefix = f".{path.name}.saving-"
    with _publishing(path):  # nobody cleans up between its making and its lock
        for item in path.parent.iterdir():
            if item.name.startswith(prefix) and (handle := hold(item, exclusive=True)) is not None:
                shutil.rmtree(item, ignore_errors=True)
                os.close(handle)
        directory = tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent)
        handle = hold(Path(directory.name), exclusive=True)
    try:
        with directory as name:
            yield Path(name)
    finally:
        if handle is not None:
            os.close(handle)


def publish(work: Path, path: Path, check: Check) -> None:
    """Give a finished directory its name. Its files are on disk when it appears.

    work (Path): The finished directory, on the same file system.
    path (Path): Its name, which an existing directory may have.
    check (Callable): Raises an error if the existing directory must not be replaced.
    """
    for file in (*work.rglob("*"), work):
        sync(file)
    with _publishing(path):
        _put_back(path)
        if os.path.lexists(path):  # also a link that leads nowhere
            check(path)
            _replace(work, path)
        else:
            work.rename(path)
    sync(path.parent)


def recover(path: Path) -> None:
    """Restore a directory whose replacement was interrupted between the two renames; if one is
    running, wait for it."""
    if _is_interrupted(path):
        with _publishing(path):
            _put_back(path)


def _replace(work: Path, path: Path) -> None:
    remove(_backup(path))
    path.rename(_backup(path))
    try:
        work.rename(path)
    except OSError:
        _put_back(path)
        raise
    remove(_backup(path))


def _put_back(path: Path) -> None:
    if _is_interrupted(path):
        _backup(path).rename(path)


def _is_interrupted(path: Path) -> bool:
    return not os.path.lexists(path) and os.path.lexists(_backup(path))


def _backup(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _publishing(path: Path) -> AbstractContextManager[None]:
    """Keep others from renaming a directory."""
    return exclusive_lock(path.with_name(f".{path.name}.lock"))
