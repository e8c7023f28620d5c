"""Remove the files of a knowledge base directory that are not in use.

A compaction leaves the files of the previous generation behind; an interrupted one leaves parts of
the next. A process that has a generation open holds a shared lock on its directory, so a directory
that can be locked exclusively is not in use.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ...errors import ElqError
from ...files import remove
from ..build.vector_writers import discard_upload
from ..files.locks import CAN_LOCK, hold
from ..files.manifest import DELTA, DELTA_MADE, IMMUTABLE, MANIFEST, Manifest

JOURNAL = f"{DELTA}-journal"


def remove_unused_generations(path: Path, manifest: Manifest) -> list[str]:
    """Remove what neither the manifest names nor a process has open. The caller keeps other
    writers out.

    path (Path): Directory of a knowledge base.
    manifest (Manifest): Its present manifest.
    RETURNS (list[str]): Names of the removed files and directories.
    """
    removed = []
    for item in _unused(path, manifest):
        home = item if item.is_dir() and not item.is_symlink() else path
        handle = hold(home, exclusive=True)
        if handle is None and CAN_LOCK:
            continue  # in use; a later call removes it
        try:
            if home is item:
                discard_upload(item, manifest.index)
            remove(item)
            removed.append(item.name)
        except (OSError, ElqError):  # open (on Windows), or its server does not answer
            continue
        finally:
            if handle is not None:
                os.close(handle)
    return removed


def _unused(path: Path, manifest: Manifest) -> Iterator[Path]:
    current = manifest.home(path).name
    for item in sorted(path.iterdir()):
        if item.is_dir():
            if item.name.startswith("generation-") and item.name != current:
                yield item
        elif item.name.startswith((f".{MANIFEST}.", ".generation-")) or (
            manifest.generation and item.name in (*IMMUTABLE, DELTA, DELTA_MADE, JOURNAL)
        ):
            yield item
