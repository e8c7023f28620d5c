"""Entities → catalogue → vectors → names and index: a knowledge base directory, resumable."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from itertools import tee
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...entities.records import map_popularity
from ...errors import ElqError, Errors, Warnings
from ...files import naming
from ...types import Entity
from ..files.catalogue import Catalogue
from ..files.manifest import AUTO, EXACT, Manifest
from ..files.names import NameIndex
from ..files.popularity import scale_of, write_popularity
from ..search.vector_store import find_backend
from .build_state import (
    PROGRESS,
    BuildProgress,
    DigestedEntities,
    finish,
    locked_build,
    resume,
    write_catalogue,
)
from .choose_index import EXACT_UP_TO
from .index_stage import IndexOptions, copy_index, make_index, validate_index
from .vector_source import EncodesEntities, VectorSource, batches
from .vector_writers import OwnedVectorWriter, reserve_store

DTYPES = (AUTO, "float32", "float16")


def build_kb(
    entities: Iterable[Entity],
    out: str | Path,
    vectors: EncodesEntities | VectorSource,
    *,
    index: str = AUTO,
    index_file: Path | None = None,
    options: IndexOptions | None = None,
    batch_size: int | None = None,
    dtype: str = AUTO,
    progress: bool = True,
    source: str = "",
    snapshot: str = "",
    popularity_field: str = "",
    overwrite: bool = False,
) -> Manifest:
    """Build a knowledge base directory.

    The work is done in a directory beside `out` whose name ends in ".building". If the build is
    interrupted, that directory stays, and the next build of the same entities with the same vectors
    resumes from it.

    entities (Iterable[Entity]): Read once.
    out (str | Path): The directory to create.
    vectors (EncodesEntities | VectorSource): An encoder that embeds the entities, or a source of
        vectors that exist already.
    index (str): "auto", "exact", a FAISS factory string such as "HNSW32", or the address of a
        vector store such as "milvus:URI#NAME"; see `VectorBackend`.
    index_file (Path): A FAISS index of the vectors, to be copied; `index` is its factory string.
    options (IndexOptions): Limits of the index that is built.
    batch_size (int): Entities that are embedded and saved at once; an interruption loses the
        current batch, and a resumed build keeps its size. By default what the encoder prefers.
    dtype (str): Type of the stored vectors: "float32", "float16", or "auto" for float16 if there
        are too many for exact search.
    progress (bool): Whether to show a progress bar on stderr.
    source, snapshot (str): Origin and date of the entities; kept in the manifest.
    popularity_field (str): A field of records that becomes their popularity, here and in entities
        that are added later, such as "pagerank". "" for `Entity.popularity` alone.
    overwrite (bool): Whether a knowledge base at `out` may be replaced.
    RETURNS (Manifest): Describes what was built.
    RAISES (ElqError): If the entities, their vectors or a setting can't be used.
    """
    if dtype not in DTYPES:
        raise ElqError(Errors.ELQ110.format(name="dtype", value=dtype, of=", ".join(DTYPES)))
    if not isinstance(vectors, VectorSource):
        vectors = VectorSource.from_encoder(vectors)
    if index_file is None:
        index = validate_index(index, vectors.width, dtype)
    out = Path(out).absolute()
    with naming(out), locked_build(out, overwrite) as work:
        digested = DigestedEntities(map_popularity(entities, popularity_field), vectors.count)
        catalogue = write_catalogue(work, digested, vectors.entities, vectors.digest)
        if popularity_field and scale_of(np.array(digested.popularity)) is None:
            warnings.warn(Warnings.ELQ284.format(name=popularity_field), stacklevel=2)
        manifest = Manifest(
            entities=digested.count,
            vectors=digested.vectors,
            width=vectors.width,
            dtype=_stored_dtype(dtype, vectors, index, digested.count),
            index=index,
            fingerprint=vectors.fingerprint,
            normalized=vectors.normalized,
            inference=vectors.inference,
            source=source,
            snapshot=snapshot,
            digest=digested.hex,
            popularity_field=popularity_field,
        )
        state = resume(
            work, manifest, vectors.identity, batch_size or vectors.batch_size, show=progress
        )
        manifest = reserve_store(work, manifest, state.vectors)
        count = _write_vectors(work, catalogue, vectors, manifest, state, show=progress)
        manifest = replace(manifest, vectors=count)
        NameIndex.build(work, enumerate(catalogue))
        manifest = replace(manifest, popularity=write_popularity(work, digested.popularity))
        if index_file is not None:
            copy_index(work, index_file)
        else:
            manifest = make_index(work, manifest, options or IndexOptions(), progress=progress)
        return finish(manifest, work, out)


def _stored_dtype(dtype: str, vectors: VectorSource, index: str, entities: int) -> str:
    backend = find_backend(index)
    if dtype != AUTO:
        return dtype
    if backend is not None:
        return backend.dtypes[0]
    if vectors.dtype != AUTO:
        return vectors.dtype
    return "float16" if entities > EXACT_UP_TO and index != EXACT else "float32"


def _write_vectors(
    work: Path,
    catalogue: Catalogue,
    vectors: VectorSource,
    manifest: Manifest,
    state: BuildProgress,
    *,
    show: bool,
) -> int:
    """Write the vectors that are still missing. RETURNS (int): The number of all vectors."""
    writer = OwnedVectorWriter(work, manifest, state.vectors)
    bar = tqdm(total=manifest.entities, initial=state.entities, unit=" entities", disable=not show)
    with closing(writer), closing(bar):
        rest = catalogue.iterate(state.entities)
        here, ahead = tee(batches(rest, state.batch_size, state.entities))
        for batch, made in zip(here, vectors.of(ahead), strict=True):
            writer.add(batch, made)
            done = batch[1] + len(batch[0])
            state.advanced_to(done, writer.rows).write(work / PROGRESS)
            bar.update(len(batch[0]))
    return writer.rows
