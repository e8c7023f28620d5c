"""Which files of a knowledge base directory are in use, and the removal of those that are not.

Compaction leaves the files of the generation before; an interrupted one leaves parts of the next.
Whoever has a generation open holds a shared lock on its directory, which ends with the process at
the latest: what can be locked exclusively is nobody's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ...errors import ElqError
from ..build.vector_writers import discard_upload
from ..files.locks import CAN_LOCK, hold
from ..files.store import DELTA, IMMUTABLE, MANIFEST, Manifest

JOURNAL = f"{DELTA}-journal"


def remove_unused_generations(path: Path, manifest: Manifest) -> list[str]:
    """Remove what no manifest names and nobody has open. The caller keeps other writers out.

    path (Path): Directory of a knowledge base.
    manifest (Manifest): The one it has now.
    RETURNS (list[str]): Names of the files and directories that were removed.
    """
    removed = []
    for item in _garbage(path, manifest):
        home = item if item.is_dir() else path
        handle = hold(home, exclusive=True)
        if handle is None and CAN_LOCK:
            continue  # somebody reads it; a later sweep removes it
        try:
            if item.is_dir():
                discard_upload(item)
                shutil.rmtree(item)
            else:
                item.unlink()
            removed.append(item.name)
        except (OSError, ElqError):  # open, on Windows; or its server does not answer
            continue
        finally:
            if handle is not None:
                os.close(handle)
    return removed


def _garbage(path: Path, manifest: Manifest) -> Iterator[Path]:
    current = manifest.home(path).name
    for item in sorted(path.iterdir()):
        if item.is_dir():
            if item.name.startswith("generation-") and item.name != current:
                yield item
        elif item.name.startswith((f".{MANIFEST}.", ".generation-")) or (
            manifest.generation and item.name in (*IMMUTABLE, DELTA, JOURNAL)
        ):
            yield item
