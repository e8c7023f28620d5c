"""Write a knowledge base as a directory or as bytes."""

from __future__ import annotations

from pathlib import Path

import srsly

from ..errors import ElqError, Errors
from .files.atomic import atomic_directory
from .files.manifest import DELTA, Manifest, check_replaceable
from .live.change_log import ChangeLog
from .live.delta import Change, Delta
from .live.directory import KBDirectory
from .search.stored_kb import StoredKB


def write_directory(path: Path, manifest: Manifest, base: StoredKB | None, delta: Delta) -> None:
    """Write a knowledge base; see `FaissKB.to_disk`."""
    check_replaceable(path)
    saved = _same_files(path, manifest) if base else None
    if saved is not None:
        if delta or saved.delta:
            saved.rewrite(delta.changes())
        return
    with atomic_directory(path, check_replaceable) as work:
        if base:
            base.copy_to(work)
        else:
            manifest.home(work).mkdir(exist_ok=True)
            manifest.write(work)
        _write_delta(work, manifest, delta)


def _same_files(path: Path, manifest: Manifest) -> KBDirectory | None:
    """RETURNS (KBDirectory | None): A directory that has these files, so that only the changes need
    to be written; links in its or their place are replaced."""
    if path.is_symlink():
        return None
    try:
        saved = KBDirectory(path) if Manifest.read(path) == manifest else None
    except ElqError:  # no knowledge base, or a broken one: write it again
        return None
    return None if saved is None or saved.has_links() else saved


def _write_delta(path: Path, manifest: Manifest, delta: Delta) -> None:
    """Write the changes into a new directory, which no other process has open."""
    if delta:
        log = ChangeLog(manifest.home(path) / DELTA, manifest.identity)
        with log.transaction():
            log.write(delta.changes())
        log.close()


def to_bytes(manifest: Manifest, base: StoredKB | None, delta: Delta) -> bytes:
    """RETURNS (bytes): msgpack of the manifest, the files' contents and the changes."""
    files = {name: (base.path / name).read_bytes() for name in manifest.files} if base else {}
    state = {"manifest": manifest.to_json(), "files": files, "changes": list(delta.changes())}
    return srsly.msgpack_dumps(state)


def unpack(data: bytes, directory: Path) -> None:
    """Write the output of `to_bytes` into an empty directory, to be opened with `FaissKB.open`."""
    try:
        state = srsly.msgpack_loads(data)
        text, files = state["manifest"], state["files"]
        changes = [Change(*change) for change in state["changes"]]
        manifest = Manifest.from_json(text, directory)
        home = manifest.home(directory)
        home.mkdir(exist_ok=True)
        for name in manifest.files:  # `from_json` refuses names outside of the directory
            (home / name).write_bytes(files[name])
    except (ValueError, KeyError, TypeError) as err:
        raise ElqError(Errors.ELQ221.format(reason=err)) from None
    manifest.write(directory)
    _write_delta(directory, manifest, Delta.of(manifest.width, manifest.entities, changes))
