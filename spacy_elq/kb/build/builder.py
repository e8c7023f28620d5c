"""Entities → catalogue → vectors → names and index: a knowledge base directory, resumable."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from ...errors import ElqError, Errors
from ...pace import AdaptiveChunkSize
from ...types import Entity
from ..files.catalogue import Catalogue
from ..files.names import NameIndex
from ..files.store import AUTO, EXACT, Manifest
from ..milvus.server import is_milvus
from ..search.file_vectors import check_size, check_vectors
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
from .index_stage import IndexOptions, check_index, make_index, take_index
from .vector_writers import open_writer

DTYPES = (AUTO, "float32", "float16")

# Entities that are embedded and kept at first, before it is known how long that takes.
FIRST_BATCH = 64


class EntityEncoder(Protocol):
    """What turns entities into vectors.

    width (int): Width h of the vectors.
    fingerprint (str): Names the weights and the way of encoding; vectors of encoders with
        different fingerprints cannot be compared.
    normalized (bool): Whether the vectors have length 1.
    """

    @property
    def width(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def normalized(self) -> bool: ...

    def encode(self, entities: Sequence[Entity]) -> tuple[np.ndarray, np.ndarray]:
        """Encode entities.

        RETURNS (tuple[ndarray, ndarray]): Vectors (V, h), float32, and the place in `entities` of
            each vector's owner (V,), int, ascending, each at least once.
        """
        ...


class VectorRows(Protocol):
    """A matrix that may be larger than memory: an array, or a file that is read by rows."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, rows: slice) -> np.ndarray: ...


@dataclass
class _GivenVectors:
    """Hands out vectors in the order in which entities are asked for, from `place` on."""

    vectors: VectorRows
    place: int
    fingerprint: str
    normalized: bool

    @property
    def width(self) -> int:
        return self.vectors.shape[1]

    def encode(self, entities: Sequence[Entity]) -> tuple[np.ndarray, np.ndarray]:
        start, self.place = self.place, self.place + len(entities)
        return self.vectors[start : self.place], np.arange(len(entities))


def build_kb(
    entities: Iterable[Entity],
    out: str | Path,
    encoder: EntityEncoder,
    *,
    index: str = AUTO,
    options: IndexOptions | None = None,
    batch_size: int = 2048,
    dtype: str = AUTO,
    progress: bool = True,
    source: str = "",
    snapshot: str = "",
    overwrite: bool = False,
) -> Manifest:
    """Build a knowledge base directory.

    The work is done in a directory beside `out` whose name ends in ".building". It stays there if
    the build is broken off, and the next build of the same entities with the same encoder goes on
    from it.

    entities (Iterable[Entity]): Read once.
    out (str | Path): The directory to make.
    encoder (EntityEncoder): Makes the vectors.
    index (str): "auto", "exact", a FAISS factory string such as "HNSW32", or "milvus:URI#NAME" for
        vectors that a Milvus server keeps; see `MilvusAddress`.
    options (IndexOptions): What the index may take and must find.
    batch_size (int): Entities given to the encoder at once, and kept at once, at most: fewer where
        that takes long, since an interrupt loses them.
    dtype (str): How vectors are stored: "float32", "float16", or "auto" for float16 where there are
        too many for exact search.
    progress (bool): Whether to show a progress bar on stderr.
    source, snapshot (str): Where the entities come from and of which date; kept in the manifest.
    overwrite (bool): Whether a knowledge base at `out` may be replaced.
    RETURNS (Manifest): What was built.
    """
    if dtype not in DTYPES:
        raise ElqError(Errors.ELQ110.format(name="dtype", value=dtype, of=", ".join(DTYPES)))
    index = check_index(index, encoder.width, dtype)
    with locked_build(Path(out).absolute(), overwrite) as work:
        digest = DigestedEntities(entities)
        catalogue = write_catalogue(work, digest)
        manifest = Manifest(
            entities=digest.count,
            width=encoder.width,
            dtype=_dtype(dtype, index, digest.count),
            index=index,
            fingerprint=encoder.fingerprint,
            normalized=encoder.normalized,
            source=source,
            snapshot=snapshot,
            digest=digest.hex,
        )
        state = resume(work, manifest, show=progress)
        vectors = _embed(work, catalogue, encoder, manifest, state, batch_size, show=progress)
        NameIndex.build(work, enumerate(catalogue))
        manifest = replace(manifest, vectors=vectors)
        manifest = make_index(work, manifest, options or IndexOptions(), progress=progress)
        return finish(manifest, work, Path(out).absolute())


def _dtype(dtype: str, index: str, entities: int) -> str:
    if dtype != AUTO:
        return dtype
    large = entities > EXACT_UP_TO and index != EXACT and not is_milvus(index)
    return "float16" if large else "float32"


def build_kb_from_vectors(
    entities: Iterable[Entity],
    out: str | Path,
    vectors: VectorRows,
    *,
    fingerprint: str,
    identity: str = "",
    normalized: bool = False,
    index: str = EXACT,
    options: IndexOptions | None = None,
    index_file: Path | None = None,
    batch_size: int = 8192,
    progress: bool = True,
    source: str = "",
    snapshot: str = "",
    overwrite: bool = False,
) -> Manifest:
    """Build a knowledge base directory of vectors that are there already. Resumes as `build_kb`.

    entities (Iterable[Entity]): Read once.
    out (str | Path): The directory to make.
    vectors (VectorRows): One for each entity, in their order; read block by block.
    fingerprint (str): Of the encoder that made the vectors.
    identity (str): Tells these vectors from others: an unfinished build of others starts over.
    normalized (bool): Whether the vectors have length 1.
    index (str): As in `build_kb`; with `index_file`, the FAISS factory string of that.
    options (IndexOptions): What an index that is built may take and must find.
    index_file (Path): An index of the vectors, to be copied.
    batch_size (int): Vectors kept at once.
    progress (bool): Whether to show a progress bar on stderr.
    source, snapshot (str): Where the entities come from and of which date; kept in the manifest.
    overwrite (bool): Whether a knowledge base at `out` may be replaced.
    RETURNS (Manifest): What was built.
    RAISES (ElqError): If there are more or fewer entities than vectors.
    """
    count, width = vectors.shape
    halves = vectors.dtype == np.float16 and not is_milvus(index)
    if index_file is None:
        index = check_index(index, width, AUTO)
    with locked_build(Path(out).absolute(), overwrite) as work:
        digest = DigestedEntities(entities)
        catalogue = write_catalogue(work, digest, expected=count)
        manifest = Manifest(
            entities=count,
            vectors=count,
            width=width,
            dtype="float16" if halves else "float32",
            index=index,
            fingerprint=fingerprint,
            normalized=normalized,
            source=source,
            snapshot=snapshot,
            digest=digest.hex,
        )
        state = resume(work, manifest, identity, show=progress)
        given = _GivenVectors(vectors, state.vectors, fingerprint, normalized)
        _embed(work, catalogue, given, manifest, state, batch_size, show=progress)
        NameIndex.build(work, enumerate(catalogue))
        if index_file is not None:
            take_index(work, index_file)
        else:
            manifest = make_index(work, manifest, options or IndexOptions(), progress=progress)
        return finish(manifest, work, Path(out).absolute())


def _embed(
    work: Path,
    catalogue: Catalogue,
    encoder: EntityEncoder,
    manifest: Manifest,
    state: BuildProgress,
    batch_size: int,
    *,
    show: bool,
) -> int:
    """Encode what is left to encode. RETURNS (int): The number of vectors."""
    sink = open_writer(work, manifest, state.vectors)
    bar = tqdm(total=manifest.entities, initial=state.entities, unit=" entities", disable=not show)
    with closing(sink), closing(bar):
        done = state.entities
        rest = catalogue.iterate(done)
        pace = AdaptiveChunkSize(FIRST_BATCH, batch_size)
        while chunk := list(islice(rest, pace.size)):
            began = time.perf_counter()
            ids = [entity.id for entity in chunk]
            found, local = check_vectors(ids, *encoder.encode(chunk), encoder.width)
            check_size(ids, found, local, manifest.dtype)
            sink.append(found, local + done)
            sink.flush()
            done += len(chunk)
            state.of(done, sink.rows).write(work / PROGRESS)
            bar.update(len(chunk))
            pace.record(len(chunk), time.perf_counter() - began)
    return sink.rows
