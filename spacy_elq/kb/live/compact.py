"""Fold live changes into new files: the next generation of a knowledge base."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...types import Entity
from ..build.build_state import building_directory
from ..build.builder import build_kb
from ..build.choose_index import EXACT_UP_TO
from ..build.index_stage import IndexOptions, kept_queries
from ..build.vector_writers import discard_upload
from ..files.store import AUTO, EXACT, Manifest, generation_name, now
from ..milvus.server import is_milvus
from .directory import KBDirectory
from .view import View


def compact(directory: KBDirectory, *, progress: bool) -> bool:
    """Write the present entities into new files, then switch the manifest to them in one step.
    Processes that have the old files open keep using them.

    directory (KBDirectory): The open directory.
    progress (bool): Whether to show a progress bar on stderr.
    RETURNS (bool): Whether there was anything to do.
    """
    with directory.locked():
        if not directory.delta:
            return False
        old = directory.manifest
        manifest = _build(directory, old, old.generation + 1, progress=progress)
        replace(manifest, generation=old.generation + 1).write(directory.path)
    directory.refresh()
    return True


def _build(directory: KBDirectory, old: Manifest, generation: int, *, progress: bool) -> Manifest:
    view = View(directory.base, directory.delta)
    out = directory.path / generation_name(generation)
    for left in (out, building_directory(out)):  # by an interrupted compaction
        discard_upload(left)
        shutil.rmtree(left, ignore_errors=True)
    if not len(view):
        out.mkdir()
        return replace(
            old,
            entities=0,
            vectors=0,
            index=old.index if is_milvus(old.index) else EXACT,
            search={},
            digest="",
            created=now(),
            files={},
        )
    queries = kept_queries(directory.base.path, old) if directory.base else None
    return build_kb(
        view,
        out,
        _KnownVectors(view, old),
        index=_index(old, len(view)),
        options=IndexOptions(queries=None if queries is None else lambda: queries),
        dtype=old.dtype,
        progress=progress,
        source=old.source,
        snapshot=old.snapshot,
    )


def _index(old: Manifest, entities: int) -> str:
    learned = "IVF" in old.index and not is_milvus(old.index)
    # An index can't learn its lists from few entities.
    return AUTO if learned and entities <= EXACT_UP_TO else old.index


class _KnownVectors:
    """An `EntityEncoder` that knows the vectors of a view's entities, asked for in their order."""

    def __init__(self, view: View, manifest: Manifest) -> None:
        self.width = manifest.width
        self.fingerprint = manifest.fingerprint
        self.normalized = manifest.normalized
        self._view = view
        self._rows = view.live_rows()
        self._place = 0

    def encode(self, entities: Sequence[Entity]) -> tuple[np.ndarray, np.ndarray]:
        rows = self._rows[self._place : self._place + len(entities)]
        self._place += len(entities)
        return self._view.vectors_of(rows)
