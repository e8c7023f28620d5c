"""A knowledge base as a directory, and as bytes."""

from __future__ import annotations

from pathlib import Path

import srsly

from ..errors import ElqError, Errors
from .base import Base
from .delta import Delta
from .store import DELTA, MANIFEST, Manifest, atomic_directory, check_replaceable


def write_directory(path: Path, manifest: Manifest, base: Base | None, delta: Delta) -> None:
    """Write a knowledge base; see `FaissKB.to_disk`."""
    check_replaceable(path)
    if base and _has_same_files(path, manifest):
        _write_delta(path, delta)
        return
    with atomic_directory(path) as work:
        if base:
            base.copy_to(work)
        else:
            manifest.write(work)
        _write_delta(work, delta)


def _has_same_files(path: Path, manifest: Manifest) -> bool:
    try:
        return Manifest.read(path) == manifest
    except ElqError:  # nothing there, or a broken one: both get written anew
        return False


def _write_delta(path: Path, delta: Delta) -> None:
    if delta:
        delta.save(path / DELTA)
    else:
        (path / DELTA).unlink(missing_ok=True)


def to_bytes(manifest: Manifest, base: Base | None, delta: Delta) -> bytes:
    """RETURNS (bytes): msgpack of the manifest, the files' contents and the changes."""
    files = {name: (base.path / name).read_bytes() for name in manifest.files} if base else {}
    state = {"manifest": manifest.to_json(), "files": files, "delta": delta.to_state()}
    return srsly.msgpack_dumps(state)


def unpack(data: bytes, directory: Path) -> None:
    """Write what `to_bytes` returned into an empty directory that `FaissKB.open` can read."""
    try:
        state = srsly.msgpack_loads(data)
        text, files, changes = state["manifest"], state["files"], state["delta"]
    except (ValueError, KeyError, TypeError) as err:
        raise ElqError(Errors.ELQ221.format(reason=err)) from None
    manifest = Manifest.from_json(text, directory)
    for name in manifest.files:  # these names are checked: none leads out of the directory
        (directory / name).write_bytes(files[name])
    (directory / MANIFEST).write_text(text, encoding="utf8")
    _write_delta(directory, Delta.from_state(changes))
