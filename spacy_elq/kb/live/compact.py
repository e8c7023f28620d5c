"""Fold live changes into new files: the next generation of a knowledge base."""

from __future__ import annotations

from dataclasses import replace

from ...files import remove
from ..build.build_state import building_directory
from ..build.builder import build_kb
from ..build.choose_index import EXACT_UP_TO
from ..build.index_stage import IndexOptions, kept_queries
from ..build.vector_source import VectorSource
from ..build.vector_writers import discard_upload
from ..files.manifest import AUTO, EXACT, NAMES_VERSION, Manifest, generation_name, now
from ..search.faiss_index import is_learned
from ..search.vector_store import find_backend
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
        old = directory.manifest
        if not directory.delta and old.names_version == NAMES_VERSION:
            return False
        manifest = _build(directory, old, old.generation + 1, progress=progress)
        replace(manifest, generation=old.generation + 1).write(directory.path)
    directory.refresh()
    return True


def _build(directory: KBDirectory, old: Manifest, generation: int, *, progress: bool) -> Manifest:
    view = View(directory.base, directory.delta)
    out = directory.path / generation_name(generation)
    for left in (out, building_directory(out)):  # by an interrupted compaction
        discard_upload(left, old.index)
        remove(left)
    if not len(view):
        out.mkdir()
        return replace(
            old,
            entities=0,
            vectors=0,
            index=EXACT if find_backend(old.index) is None else old.index,
            search={},
            digest="",
            created=now(),
            files={},
            names_version=NAMES_VERSION,
            popularity=None,
        )
    queries = kept_queries(directory.base.path, old) if directory.base else None
    return build_kb(
        view,
        out,
        _vectors(view, old),
        index=_index(old, len(view)),
        options=IndexOptions(queries=None if queries is None else lambda: queries),
        dtype=old.dtype,
        progress=progress,
        source=old.source,
        snapshot=old.snapshot,
        popularity_field=old.popularity_field,
    )


def _vectors(view: View, manifest: Manifest) -> VectorSource:
    rows = view.live_rows()
    return VectorSource(
        lambda entities, start: view.vectors_of(rows[start : start + len(entities)]),
        manifest.width,
        manifest.fingerprint,
        manifest.normalized,
        inference=manifest.inference,
    )


def _index(old: Manifest, entities: int) -> str:
    backend = find_backend(old.index)
    if backend is not None:
        backend.exists(old)  # connects only to a server that the user named
    learned = backend is None and is_learned(old.index)
    # An index can't learn its lists from few entities.
    return AUTO if learned and entities <= EXACT_UP_TO else old.index
