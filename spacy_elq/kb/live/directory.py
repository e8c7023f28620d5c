"""A knowledge base directory that is open: its files, the changes on top, and how both move on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import ElqError, Errors
from ..files.store import DELTA, MANIFEST, Manifest
from ..search.stored_kb import StoredKB
from .change_log import ChangeLog
from .delta import Change, Delta
from .generations import remove_unused_generations

# How often opening starts over because a compaction put other files in place meanwhile.
ATTEMPTS = 5
# Directories that Python packages are installed in.
PACKAGES = {"site-packages", "dist-packages"}
Stamp = tuple[int, int, int]


class KBDirectory:
    """What a directory holds, up to the last `refresh` or change. Not to be used by two threads
    at once; what it returned stays valid for those that have it.

    path (Path): The directory.
    device (int): GPU to search on; -1 for the CPU.
    manifest (Manifest): Its manifest.
    base (StoredKB | None): The immutable files.
    delta (Delta): The changes on top.
    """

    def __init__(self, path: Path, device: int = -1) -> None:
        self.path = path.absolute()
        self._device = device
        self._swept = False
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
            # Else files were put in their place meanwhile, and these may have been removed.
            if stamp == _stamp(self.path):
                return
        raise ElqError(Errors.ELQ240.format(path=self.path))

    def _take(self, manifest: Manifest, stamp: Stamp | None) -> None:
        base = StoredKB.open(self.path, manifest) if manifest.files else None
        if base is not None and self._device >= 0:
            base.use_gpu(self._device)
        log = ChangeLog(manifest.home(self.path) / DELTA, manifest.identity)
        delta = Delta.of(manifest.width, manifest.entities, log.read())
        self.manifest, self.base, self.delta = manifest, base, delta
        self._log, self._stamp = log, stamp

    def is_writable(self) -> bool:
        """RETURNS (bool): Whether changes can be written to the directory. Not into installed
        packages: pip would leave them there, under the files of the next version."""
        if PACKAGES & {*self.path.parts}:
            return False
        delta = self._log.path
        return os.access(delta.parent, os.W_OK) and (
            not delta.exists() or os.access(delta, os.W_OK)
        )

    def refresh(self) -> bool:
        """Take over what other processes changed since. Takes microseconds if they did not.

        RETURNS (bool): Whether something changed.
        """
        stamp = _stamp(self.path)
        if stamp not in (None, self._stamp, self._ignored):
            return self._replace(stamp)
        return self._log.is_new() and self._catch_up()

    def _replace(self, stamp: Stamp | None) -> bool:
        new = KBDirectory(self.path, self._device)
        if _kind(new.manifest) != _kind(self.manifest):
            self._ignored = stamp  # of another encoder: no successor of this one
            return False
        self.manifest, self.base, self.delta = new.manifest, new.base, new.delta
        self._log, self._stamp, self._swept = new._log, new._stamp, False
        return True

    def _catch_up(self) -> bool:
        changes = self._log.read()
        self._apply(changes)
        return bool(changes)

    def _apply(self, changes: list[Change]) -> None:
        self.delta = self.delta.apply(changes).renewed()

    @contextmanager
    def writing(self) -> Iterator[list[Change]]:
        """Keep other writers out, with all of their changes taken over.

        YIELDS (list[Change]): To be filled; when the block ends they are on disk, then made.
        """
        changes: list[Change] = []
        with self.locked():
            yield changes
            if changes:
                self._log.write(changes)
        self._apply(changes)

    def rewrite(self, changes: Iterable[Change]) -> None:
        """Put changes in the place of all that there are.

        RAISES (ElqError): If the directory was changed since this read it; nothing is done then.
        """
        changed = Errors.ELQ254.format(path=self.path)
        if _stamp(self.path) != self._stamp:  # the log may be gone
            raise ElqError(changed)
        with self._log.transaction():
            if _stamp(self.path) != self._stamp or self._log.read():
                raise ElqError(changed)
            self._log.clear()
            self._log.write(changes)
        # For those who have it open this is another state, not a later one.
        self.manifest.write(self.path)
        self.refresh()

    def tidy(self) -> None:
        """Remove what no manifest names and nobody has open."""
        self._swept = False
        with self.locked():
            return

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers out, with all of their changes taken over."""
        self.refresh()
        while True:
            with self._log.transaction():
                # Or else other files were put in place just before, and have a log of their own.
                if _stamp(self.path) == self._stamp:
                    self._catch_up()
                    if not self._swept:
                        remove_unused_generations(self.path, self.manifest)
                        self._swept = True
                    yield
                    return
            if not self.refresh():
                raise ElqError(Errors.ELQ222.format(path=self.path))


def _kind(manifest: Manifest) -> tuple[int, str, bool]:
    return manifest.width, manifest.fingerprint, manifest.normalized


def _stamp(path: Path) -> Stamp | None:
    """What changes when the manifest is replaced; None while there is none."""
    try:
        status = (path / MANIFEST).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
