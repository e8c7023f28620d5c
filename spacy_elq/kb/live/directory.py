"""An open knowledge base directory: its files, the changes on top, and how to follow both."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import ElqError, Errors
from ..files.database import has_links
from ..files.manifest import DELTA, DELTA_MADE, MANIFEST, NAMES_VERSION, Manifest
from ..search.stored_kb import StoredKB
from .change_log import ChangeLog
from .delta import Change, Delta
from .generations import remove_unused_generations

# How often opening is tried again because a compaction replaced the files meanwhile.
ATTEMPTS = 5
# Directories of installed Python packages.
PACKAGES = {"site-packages", "dist-packages"}
Stamp = tuple[int, int, int]


class KBDirectory:
    """The content of a directory as of the last `refresh` or change. Not thread-safe, but its base
    and delta never change and may be shared.

    path (Path): The directory.
    device (int): GPU to search on; -1 for the CPU.
    manifest (Manifest): The manifest of the directory.
    base (StoredKB | None): The immutable files.
    delta (Delta): The changes on top.
    """

    def __init__(self, path: Path, device: int = -1) -> None:
        self.path = path.absolute()
        self._device = device
        self._tidied = False
        self._ignored: Stamp | None = None
        self._load()

    def _load(self) -> None:
        for _ in range(ATTEMPTS):
            stamp = _stamp(self.path)
            try:
                self._take(Manifest.read(self.path), stamp)
            except (ElqError, OSError):
                if stamp == _stamp(self.path):
                    raise
            # Otherwise the files were replaced meanwhile, and those just opened may be gone.
            if stamp == _stamp(self.path):
                return
        raise ElqError(Errors.ELQ240.format(path=self.path))

    def _take(self, manifest: Manifest, stamp: Stamp | None) -> None:
        base = StoredKB.open(self.path, manifest) if manifest.files else None
        if base is not None and self._device >= 0:
            base.use_gpu(self._device)
        log = ChangeLog(manifest.home(self.path) / DELTA, manifest.identity)
        delta = Delta.of(manifest.width, manifest.entities, read_changes(log, manifest))
        self.manifest, self.base, self.delta = manifest, base, delta
        self._log, self._stamp = log, stamp

    def is_writable(self) -> bool:
        """RETURNS (bool): Whether changes can be written to the directory. False for installed
        packages: pip would leave the changes there, on top of the files of the next version. False
        for symbolic links, as in the cache of a model hub: others share what they lead to."""
        delta = self._log.path
        if PACKAGES & {*self.path.parts} or self.has_links():
            return False
        return os.access(delta.parent, os.W_OK) and (
            not delta.exists() or os.access(delta, os.W_OK)
        )

    def has_links(self) -> bool:
        """RETURNS (bool): Whether a file that changes would write is a symbolic link."""
        mark = self._log.path.with_name(DELTA_MADE)
        return has_links(self._log.path) or mark.is_symlink() or (self.path / MANIFEST).is_symlink()

    def refresh(self) -> bool:
        """Take over the changes of other processes. Takes microseconds if there are none.

        RETURNS (bool): Whether something changed.
        """
        stamp = _stamp(self.path)
        if stamp not in (None, self._stamp, self._ignored):
            return self._replace(stamp)
        try:
            return self._log.is_new() and self._catch_up()
        except ElqError:
            if stamp == _stamp(self.path):
                raise
        return self.refresh()  # the files, and with them the log, were replaced just then

    def _replace(self, stamp: Stamp | None) -> bool:
        new = KBDirectory(self.path, self._device)
        if _kind(new.manifest) != _kind(self.manifest):
            self._ignored = stamp  # another encoder made it, so it does not follow this one
            return False
        self.manifest, self.base, self.delta = new.manifest, new.base, new.delta
        self._log, self._stamp, self._tidied = new._log, new._stamp, False
        return True

    def _catch_up(self) -> bool:
        changes = read_changes(self._log, self.manifest)
        self._apply(changes)
        return bool(changes)

    def _apply(self, changes: list[Change]) -> None:
        self.delta = self.delta.apply(changes).renewed()

    @contextmanager
    def writing(self) -> Iterator[list[Change]]:
        """Take over the changes of other writers, and keep them out.

        YIELDS (list[Change]): A list to fill. When the block ends, the changes are on disk and in
            the delta.
        """
        changes: list[Change] = []
        with self.locked():
            yield changes
            if changes:
                self._log.write(changes)
        self._apply(changes)

    def rewrite(self, changes: Iterable[Change]) -> None:
        """Replace all changes.

        RAISES (ElqError): If the directory changed since it was read. Nothing is written then.
        """
        if self.has_links():
            raise ElqError(Errors.ELQ249.format(path=self.path))
        changed = Errors.ELQ254.format(path=self.path)
        if _stamp(self.path) != self._stamp:  # the log may be gone
            raise ElqError(changed)
        with self._log.transaction():
            if _stamp(self.path) != self._stamp or self._log.read():
                raise ElqError(changed)
            self._log.clear()
            self._log.write(changes)
        # A new manifest file makes other processes reopen it: the changes they know are replaced.
        self.manifest.write(self.path)
        self.refresh()

    def tidy(self) -> None:
        """Remove files and subdirectories that are not in use, see `remove_unused_generations`."""
        self._tidied = False
        with self.locked():
            return

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Take over the changes of other writers, and keep them out."""
        self.refresh()
        while True:
            with self._log.transaction():
                # Otherwise the files were replaced just before, and have another log.
                if _stamp(self.path) == self._stamp:
                    self._catch_up()
                    if not self._tidied:
                        remove_unused_generations(self.path, self.manifest)
                        self._tidied = True
                    yield
                    return
            if not self.refresh():
                raise ElqError(Errors.ELQ222.format(path=self.path))


def read_changes(log: ChangeLog, manifest: Manifest) -> list[Change]:
    """RETURNS (list[Change]): The unread changes, with names as this release writes them."""
    changes = log.read()
    for change in changes:
        if problem := change.problem(manifest.width, manifest.entities):
            reason = f"that of {change.id!r} {problem}"
            raise ElqError(Errors.ELQ216.format(path=log.path, reason=reason))
    if manifest.names_version != NAMES_VERSION:
        return [change.with_new_names() for change in changes]
    return changes


def _kind(manifest: Manifest) -> tuple[int, str, bool]:
    return manifest.width, manifest.fingerprint, manifest.normalized


def _stamp(path: Path) -> Stamp | None:
    """RETURNS (Stamp | None): Changes when the manifest is replaced; None if there is none."""
    try:
        status = (path / MANIFEST).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
