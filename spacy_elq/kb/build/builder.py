"""Entities → catalogue → vectors → names and index: a knowledge base directory, resumable."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from ...entities.records import map_popularity
from ...errors import ElqError, Errors, Warnings
from ...files import naming
from ...pace import AdaptiveChunkSize
from ...types import Entity
from ..files.catalogue import Catalogue
from ..files.manifest import AUTO, EXACT, Manifest
from ..files.names import NameIndex
from ..files.popularity import scale_of, write_popularity
from ..search.file_vectors import check_size, check_vectors
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
from .vector_writers import OwnedVectorWriter, reserve_store

DTYPES = (AUTO, "float32", "float16")
# Entities in the first batch, before it is known how long a batch takes.
FIRST_BATCH = 64

# The vectors of a batch of entities (V, h), float32, and the position in the batch of each
# vector's owner (V,), int, ascending, each position at least once.
OwnedVectors = tuple[np.ndarray, np.ndarray]


class EncodesEntities(Protocol):
    """Turns entities into vectors.

    width (int): Width h of the vectors.
    fingerprint (str): Identifies the weights and the way of encoding; vectors of encoders with
        different fingerprints cannot be compared.
    normalized (bool): Whether the vectors have length 1.
    """

    @property
    def width(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def normalized(self) -> bool: ...

    def encode(self, entities: Sequence[Entity]) -> OwnedVectors:
        """Encode entities.

        RETURNS (tuple[ndarray, ndarray]): Vectors (V, h), float32, and the position in `entities`
            of each vector's owner (V,), int, ascending, each at least once.
        """
        ...


class VectorRows(Protocol):
    """A matrix that may be larger than memory: an array, or a file that is read by rows."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, rows: slice) -> np.ndarray: ...


@dataclass(frozen=True)
class VectorSource:
    """The vectors of the entities that a knowledge base is built from, batch by batch.

    batch (Callable): `batch(entities, start)` returns the vectors of consecutive entities, the
        first of which is number `start`, as `EncodesEntities.encode` does. An interrupted build
        resumes with a batch in the middle.
    width, fingerprint, normalized: As for `EncodesEntities`.
    dtype (str): Type of the stored vectors if the build does not set one; "auto" to decide by
        their number.
    entities (int | None): Number of entities that there are vectors of, if known.
    identity (str): Distinguishes these vectors from others with the same fingerprint: an unfinished
        build with other vectors starts over.
    inference (str): How the vectors are computed, see `Manifest`.
    """

    batch: Callable[[Sequence[Entity], int], OwnedVectors]
    width: int
    fingerprint: str
    normalized: bool = False
    dtype: str = AUTO
    entities: int | None = None
    identity: str = ""
    inference: str = ""

    @classmethod
    def from_encoder(cls, encoder: EncodesEntities) -> VectorSource:
        """RETURNS (VectorSource): The vectors that an encoder makes."""
        return cls(
            lambda entities, start: encoder.encode(entities),
            encoder.width,
            encoder.fingerprint,
            encoder.normalized,
            inference=getattr(encoder, "inference_name", ""),
        )

    @classmethod
    def from_matrix(
        cls,
        vectors: VectorRows,
        fingerprint: str,
        *,
        normalized: bool = False,
        identity: str = "",
    ) -> VectorSource:
        """RETURNS (VectorSource): One vector for each entity, in their order; read batch by
        batch."""
        count, width = vectors.shape
        return cls(
            lambda entities, start: (
                vectors[start : start + len(entities)],
                np.arange(len(entities)),
            ),
            width,
            fingerprint,
            normalized,
            dtype="float16" if vectors.dtype == np.float16 else "float32",
            entities=count,
            identity=identity,
        )


def build_kb(
    entities: Iterable[Entity],
    out: str | Path,
    vectors: EncodesEntities | VectorSource,
    *,
    index: str = AUTO,
    index_file: Path | None = None,
    options: IndexOptions | None = None,
    batch_size: int = 2048,
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
    batch_size (int): Maximum number of entities that are embedded and saved at once. Batches are
        smaller if embedding is slow, because an interruption loses the current one.
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
        digested = DigestedEntities(map_popularity(entities, popularity_field))
        catalogue = write_catalogue(work, digested, expected=vectors.entities)
        if popularity_field and scale_of(np.array(digested.popularity)) is None:
            warnings.warn(Warnings.ELQ284.format(name=popularity_field), stacklevel=2)
        manifest = Manifest(
            entities=digested.count,
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
        state = resume(work, manifest, vectors.identity, show=progress)
        manifest = reserve_store(work, manifest, state.vectors)
        count = _write_vectors(work, catalogue, vectors, manifest, state, batch_size, show=progress)
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
    batch_size: int,
    *,
    show: bool,
) -> int:
    """Write the vectors that are still missing. RETURNS (int): The number of all vectors."""
    writer = OwnedVectorWriter(work, manifest, state.vectors)
    bar = tqdm(total=manifest.entities, initial=state.entities, unit=" entities", disable=not show)
    with closing(writer), closing(bar):
        done = state.entities
        rest = catalogue.iterate(done)
        pace = AdaptiveChunkSize(FIRST_BATCH, batch_size)
        while chunk := list(islice(rest, pace.size)):
            began = time.perf_counter()
            ids = [entity.id for entity in chunk]
            found, local = check_vectors(ids, *vectors.batch(chunk, done), vectors.width)
            check_size(ids, found, local, manifest.dtype)
            writer.write(found, local + done)
            done += len(chunk)
            state.advanced_to(done, writer.rows).write(work / PROGRESS)
            bar.update(len(chunk))
            pace.record(len(chunk), time.perf_counter() - began)
    return writer.rows
