"""What keeps the vectors of a knowledge base's immutable entities, and how packages add a store."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...errors import ElqError, Errors
from ..files.manifest import Manifest

GROUP = "spacy_elq_vector_stores"


class SearchResult(NamedTuple):
    """Entities found for M queries.

    rows (ndarray): (M, K), int64, distinct within a query; padded with -1.
    scores (ndarray): (M, K), float32, descending, equal scores by row; padded with -inf.
    """

    rows: np.ndarray
    scores: np.ndarray


class VectorStore(Protocol):
    """The vectors of N entities, one or more for each: in files (`FileVectorStore`), or wherever a
    `VectorBackend` keeps them.

    Entities are the rows 0..N-1 of the catalogue. A score is the exact inner product with an
    entity's best vector, whatever index finds the entities. `alive`, if given, is a bool mask (N,):
    False for entities that were removed or that a filter excludes. As long as nothing changes, the
    same array object is passed, so what is computed from it can be cached.

    entities (int): The number N.
    is_exact (bool): Whether searches always find the best entities; else `kb check` measures how
        many of them they find.
    """

    entities: int

    @property
    def is_exact(self) -> bool: ...

    def search(self, queries: np.ndarray, k: int, alive: np.ndarray | None = None) -> SearchResult:
        """Find the k best entities of each query, or all of them if fewer are alive.

        queries (ndarray): (M, h), float32.
        RETURNS (SearchResult): (M, k).
        """
        ...

    def scores(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Score given entities exactly as `search` does.

        rows (ndarray): Entity rows (M, C), -1 for none.
        RETURNS (ndarray): (M, C), float32; -inf where the row is -1.
        """
        ...

    def vectors_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All vectors of some entities.

        rows (ndarray): Entity rows (n,), -1 for none.
        RETURNS (tuple[ndarray, ndarray]): Vectors (V, h), float32, those of one entity in the order
            in which they were added, and the position in `rows` of the owner of each (V,), int64,
            ascending.
        """
        ...

    def matrix(self, alive: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[ndarray, ndarray]): All vectors (V, h), float32, and the entity row of
        each (V,), int64, ascending."""
        ...

    def problems(self, manifest: Manifest) -> Iterator[str]:
        """YIELDS (str): How the vectors contradict the manifest, for `kb check`; may read them
        all."""
        ...


class VectorWriter(Protocol):
    """Takes the vectors of a build in the order of their entities."""

    def write(self, vectors: np.ndarray, owners: np.ndarray) -> None:
        """Add vectors (n, h), float32, and the entity row of each (n,), ascending."""
        ...

    def flush(self) -> None:
        """Wait until everything written is safe: an interrupted build resumes after it."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


class VectorBackend(Protocol):
    """A kind of vector store outside the knowledge base directory, such as Milvus.

    A package registers a class without arguments as an entry point; its key is the prefix of the
    store's addresses:

        [project.entry-points.spacy_elq_vector_stores]
        milvus = "spacy_elq.kb.milvus.backend:MilvusBackend"

    `build_kb(..., index="milvus:http://host:19530")` then keeps the vectors there. Records, names
    and the owners of the vectors stay in the directory, and its manifest says where the vectors
    are: `Manifest.index` is the address, `Manifest.search` is what `reserve` returned.

    A build calls `check`, `reserve`, `writer` and `finish`. Each build fills a collection of its
    own, because others may still search the one of an earlier build. If a build is interrupted, the
    next one either resumes, with `exists` and `writer`, or calls `discard`.

    dtypes (tuple[str, ...]): NumPy types that the store keeps vectors as, the default first.
    """

    dtypes: tuple[str, ...]

    def check(self, index: str) -> str:
        """Check an address that the user named, and that the store answers, before hours are spent
        on the vectors.

        RETURNS (str): The complete address, for the manifest.
        """
        ...

    def reserve(self, manifest: Manifest) -> dict[str, Any]:
        """Choose where a build will put its vectors. Creates nothing yet: the choice is written
        down first, so that `discard` can undo a build that is interrupted at any moment.

        RETURNS (dict): Becomes `Manifest.search`; JSON values.
        """
        ...

    def writer(self, manifest: Manifest, rows: int) -> VectorWriter:
        """Open the store of a build for writing.

        rows (int): Number of vectors that an interrupted build left safely, 0 to create the store.
            It may hold some of the next ones too: they are written again.
        """
        ...

    def exists(self, manifest: Manifest) -> bool:
        """RETURNS (bool): Whether the store of an interrupted build is still there. Connects, if
        the user named the store, or if that gives nothing away."""
        ...

    def finish(self, manifest: Manifest) -> None:
        """Make the vectors searchable, and check that all `manifest.vectors` of them are there."""
        ...

    def discard(self, manifest: Manifest) -> None:
        """Remove what an interrupted build left, if there is anything.

        manifest (Manifest): Only `index` and `search` are set.
        """
        ...

    def open(self, manifest: Manifest, owners: np.ndarray) -> VectorStore:
        """Open a finished store. Connects when vectors are first needed, not before.

        owners (ndarray): Entity row of each vector, (V,), ascending.
        """
        ...


def find_backend(index: str) -> VectorBackend | None:
    """RETURNS (VectorBackend | None): What keeps the vectors of a knowledge base with this index;
    None if they are files of its directory.
    RAISES (ElqError): If no installed package registers the prefix of the address."""
    prefix, colon, _ = index.partition(":")
    return _load(prefix) if colon else None


@cache
def _load(prefix: str) -> VectorBackend:
    for entry in entry_points(group=GROUP, name=prefix):
        backend: VectorBackend = entry.load()()
        return backend
    raise ElqError(Errors.ELQ274.format(name=prefix, group=GROUP))
