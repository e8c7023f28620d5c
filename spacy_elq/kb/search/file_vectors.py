"""Search vectors in files for the entities that own them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

from ...errors import ElqError, Errors
from ...types import Entity
from ..files.manifest import Manifest
from .faiss_index import FaissIndex
from .flat_index import FlatIndex, best
from .vector_store import SearchResult

# (query, vector) pairs scored at once: some 12 MB, and faster than more.
PAIRS_AT_ONCE = 1 << 12
# Vectors fetched beyond k, so that another search is rarely needed.
SLACK = 8
# Factor by which a search widens if it fetched too few vectors to know the k best entities.
WIDEN = 4
# If a mask admits at most this many vectors, each query is compared with a copy of them (40 MB at
# width 1024), which is as fast as an index.
FEW = 10_000
# Vectors read at once to check them.
CHECKED_AT_ONCE = 1 << 14
# Two ways to sum a score may differ by this share of it, and so order close scores differently.
TOLERANCE = 1e-5


class FileVectorStore:
    """Vectors (V, h) of N entities. Each entity owns one or more consecutive vectors.

    vectors (ndarray): (V, h), float32 or float16; may be memory-mapped.
    owners (ndarray): Entity row of each vector, (V,), ascending.
    entities (int): Number N of entities.
    index (FaissIndex | None): Finds the vectors whose entities get exact scores. None to compare
        each query with every vector.
    rerank (int): Minimum number of vectors to fetch from the index; 0 to fetch hardly more than the
        number of entities wanted.
    """

    def __init__(
        self,
        vectors: np.ndarray,
        owners: np.ndarray,
        entities: int,
        index: FaissIndex | None = None,
        rerank: int = 0,
    ) -> None:
        self.vectors = vectors
        self.owners = owners
        self.entities = entities
        self.index = index
        self.rerank = rerank
        self._last_live: LiveVectors | None = None

    @property
    def is_exact(self) -> bool:
        """RETURNS (bool): Whether every vector is compared with every query."""
        return self.index is None

    @cached_property
    def _exact(self) -> FlatIndex:
        return FlatIndex(self.vectors)

    def search(self, queries: np.ndarray, k: int, alive: np.ndarray | None = None) -> SearchResult:
        """Find the k best entities of each query, with exact scores.

        queries (ndarray): (M, h), float32.
        alive (ndarray | None): Mask of the entity rows that may be found; None for all.
        RETURNS (SearchResult): (M, k).
        """
        live = self._live(alive)
        if live is not None and live.few is not None:
            return live.few.search(queries, k)
        if self.index is None:
            return self._search_exactly(queries, k, live)
        return self._search_index(self.index, queries, k, live)

    def use_gpu(self, device: int) -> None:
        """Search a copy of the index on a GPU, or of the vectors if there is no index.

        device (int): Its number.
        """
        self.index = (self.index or FaissIndex.flat(self.vectors)).on_gpu(device)

    def _live(self, alive: np.ndarray | None) -> LiveVectors | None:
        """RETURNS (LiveVectors | None): The vectors that a mask admits; cached, because searches
        repeat the same mask."""
        if alive is None:
            return None
        live = self._last_live
        if live is None or live.alive is not alive:
            live = self._last_live = LiveVectors(alive, self.owners, self.vectors)
        return live

    def _search_index(
        self, index: FaissIndex, queries: np.ndarray, k: int, live: LiveVectors | None
    ) -> SearchResult:
        """Search with growing effort until each query has k entities, or all there are."""
        fetched = max(self.rerank, 2 * k) if self.rerank else k + SLACK
        effort = index.effort
        bits, wanted, most = None, min(k, self.entities), len(self.vectors)
        if live is not None:
            # Compare as many vectors as without the mask.
            bits, effort = live.bits, min(index.max_effort, int(effort / live.share))
            wanted = min(k, live.entities)
            most = live.count if index.takes_masks else most
        while True:
            _, vector_rows = index.search(queries, min(fetched, most), bits, effort)
            rows = self.owners_of(vector_rows)
            scores, rows = best(self.scores(queries, rows), rows, k)
            whole = fetched >= most and effort >= index.max_effort
            if whole or not wanted or np.isfinite(scores[:, :wanted]).all():
                return SearchResult(rows, scores)
            fetched, effort = WIDEN * fetched, min(WIDEN * effort, index.max_effort)

    def owners_of(self, vector_rows: np.ndarray) -> np.ndarray:
        """RETURNS (ndarray): Entity rows (M, n) of vectors, with -1 for repeats within a query."""
        rows = np.where(vector_rows >= 0, self.owners[vector_rows], -1).astype(np.int64)
        if len(self.vectors) == self.entities:
            return rows
        rows.sort(axis=1)
        rows[:, 1:][rows[:, 1:] == rows[:, :-1]] = -1
        return rows

    def _search_exactly(
        self, queries: np.ndarray, k: int, live: LiveVectors | None
    ) -> SearchResult:
        keep = k + SLACK
        mask = None if live is None else live.mask
        found, is_open = self._try(queries, k, keep, mask)
        while is_open.any():
            keep *= WIDEN
            places = np.flatnonzero(is_open)
            again, is_open[places] = self._try(queries[places], k, keep, mask)
            found.rows[places], found.scores[places] = again
        return found

    def _try(
        self, queries: np.ndarray, k: int, keep: int, mask: np.ndarray | None
    ) -> tuple[SearchResult, np.ndarray]:
        """Search with `keep` entities per query in view.

        RETURNS (tuple[SearchResult, ndarray]): The entities found, and a mask (M,) of the queries
            for which a wider search might find others. These have no entities yet.
        """
        per_entity = -(-len(self.vectors) // max(1, self.entities))
        wanted = min(keep * per_entity, len(self.vectors))
        scores, vector_rows = self._exact.search(queries, wanted, mask)
        rows = np.where(vector_rows >= 0, self.owners[vector_rows], -1).astype(np.int64)
        last = scores[:, -1:]
        scores, rows = best_vector_per_entity(scores, rows)
        kth = _kth_largest(scores, k)
        is_open = np.zeros(len(queries), dtype=bool)
        if wanted < len(self.vectors):
            is_open = ~topk_is_final(last, kth)
        is_near = scores >= kth - TOLERANCE * np.abs(kth)  # only these can be in the top k
        near = np.where(is_near & ~is_open[:, None], rows, -1)
        scores, rows = best(self.scores(queries, near), near, k)
        return SearchResult(rows, scores), is_open

    def scores(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Score given entities exactly, by the inner product with their best vector.

        A pair of query and entity gets the same score in every batch, bit for bit.

        queries (ndarray): (M, h), float32.
        rows (ndarray): Entity rows (M, C), -1 for none.
        RETURNS (ndarray): (M, C), float32; -inf for rows that are -1 or have no vector.
        """
        owners = rows.ravel()
        result = np.full(len(owners), -np.inf, dtype=np.float32)
        wanted = np.flatnonzero(owners >= 0)
        starts, counts = self._ranges(owners[wanted])
        if not counts.all():
            has_vectors = counts > 0
            wanted, starts, counts = wanted[has_vectors], starts[has_vectors], counts[has_vectors]
        for part in _parts(counts):
            vectors = self._gather(starts[part], counts[part])
            of_query = np.repeat(wanted[part] // rows.shape[1], counts[part])
            dots = np.einsum("ph,ph->p", vectors, queries[of_query])
            first = counts[part].cumsum() - counts[part]
            result[wanted[part]] = np.maximum.reduceat(dots, first)
        return result.reshape(rows.shape)

    def vectors_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[ndarray, ndarray]): The vectors of these entities (V, h), float32, and for
        each the index in `rows` of its owner (V,), int64, ascending."""
        starts, counts = self._ranges(rows)
        owners = np.repeat(np.arange(len(rows)), counts)
        return self._gather(starts, counts), owners

    def matrix(self, alive: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[ndarray, ndarray]): All vectors (V, h), float32, and the entity row of
        each (V,), int64, ascending. Without `alive`, float32 vectors are the mapped file."""
        keep = slice(None) if alive is None else alive[self.owners]
        vectors = np.asarray(self.vectors[keep], dtype=np.float32)
        return vectors, self.owners[keep].astype(np.int64)

    def problems(self, manifest: Manifest) -> Iterator[str]:
        """YIELDS (str): Contradictions between vectors, owners and manifest."""
        if self.vectors.shape != (manifest.vectors, manifest.width):
            yield f"the vectors have shape {self.vectors.shape}"
        if self.owners.shape != self.vectors.shape[:1]:
            yield f"there are {len(self.owners)} owners for {len(self.vectors)} vectors"
        if not np.array_equal(np.unique(self.owners), np.arange(self.entities)):
            yield "an entity has no vector, or a vector no entity"
        if (np.diff(self.owners) < 0).any():
            yield "the vectors of an entity are not consecutive"
        starts = range(0, len(self.vectors), CHECKED_AT_ONCE)
        if not all(np.isfinite(self.vectors[at : at + CHECKED_AT_ONCE]).all() for at in starts):
            yield "a vector is not finite"

    def _ranges(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[ndarray, ndarray]): First vector and number of vectors of each entity."""
        rows = rows.astype(self.owners.dtype)  # otherwise searchsorted converts all owners
        starts = np.searchsorted(self.owners, rows)
        return starts, np.searchsorted(self.owners, rows, side="right") - starts

    def _gather(self, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """RETURNS (ndarray): The vectors of these ranges, one after another, float32."""
        places = np.repeat(starts + counts - counts.cumsum(), counts)
        places += np.arange(len(places))
        # `take` is faster than indexing.
        return np.asarray(self.vectors.take(places, axis=0), dtype=np.float32)


def merge(
    one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Merge two sorted lists. Among equal keys, those of the first list come first.

    one, other (tuple[ndarray, ndarray]): Keys (n,), ascending, and values (n, ...).
    RETURNS (tuple[ndarray, ndarray]): Keys and values of both.
    """
    if not len(other[0]):
        return one
    places = np.concatenate([one[0], other[0]])
    order = np.argsort(places, kind="stable")
    return places[order], np.concatenate([one[1], other[1]])[order]


class LiveVectors:
    """The vectors of a store that a mask of entities admits.

    alive (ndarray): Mask of the entities that may be found.
    owners, vectors (ndarray): Those of the store.
    """

    def __init__(self, alive: np.ndarray, owners: np.ndarray, vectors: np.ndarray) -> None:
        self.alive = alive
        self.mask = alive[owners]
        self.count = int(np.count_nonzero(self.mask))
        self.entities = int(np.count_nonzero(np.diff(owners[self.mask], prepend=-1)))
        self.share = max(self.count, 1) / max(1, len(owners))
        self.few = None
        if self.count <= min(FEW, len(owners) // 2):
            places = np.flatnonzero(self.mask)
            self.few = FileVectorStore(vectors[places], owners[places], self.entities)

    @cached_property
    def bits(self) -> np.ndarray:
        """RETURNS (ndarray): The mask with one bit per vector, uint8, little-endian."""
        return np.packbits(self.mask, bitorder="little")


def topk_is_final(last: np.ndarray, kth: np.ndarray) -> np.ndarray:
    """Check whether entities that were left out might still be among the best k.

    last (ndarray): Upper bound of their scores, (M, 1).
    kth (ndarray): Score of the k-th entity found, (M, 1). Unless it is clearly above the bound,
        an equal entity with a smaller row might be missing.
    RETURNS (ndarray): Mask (M,) of the queries whose top k is final.
    """
    with np.errstate(invalid="ignore"):
        above = kth > last + TOLERANCE * np.abs(last)
    return (above | np.isneginf(last))[:, 0]


def best_vector_per_entity(scores: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the best score of each entity.

    scores, rows (ndarray): (M, n), by descending score.
    RETURNS (tuple[ndarray, ndarray]): Scores and rows in their places; what is left out is -inf and
        -1.
    """
    query = np.arange(len(rows))[:, None]
    order = rows.argsort(axis=1, kind="stable")
    ascending = rows[query, order]
    drop = np.empty(rows.shape, dtype=bool)
    drop[query, order[:, 1:]] = ascending[:, 1:] == ascending[:, :-1]
    drop[query, order[:, :1]] = False
    drop |= rows < 0
    return np.where(drop, np.float32(-np.inf), scores), np.where(drop, -1, rows)


def _kth_largest(scores: np.ndarray, k: int) -> np.ndarray:
    """RETURNS (ndarray): (M, 1); -inf for fewer than k scores."""
    if scores.shape[1] < k:
        return np.full((len(scores), 1), -np.inf, dtype=np.float32)
    return np.partition(scores, -k, axis=1)[:, -k, None]


def _parts(counts: np.ndarray) -> list[slice]:
    """Divide entities into parts with about `PAIRS_AT_ONCE` vectors.

    counts (ndarray): Number of vectors of each entity, (n,).
    """
    ends = counts.cumsum()
    if not len(ends) or ends[-1] <= PAIRS_AT_ONCE:
        return [slice(None)] * bool(len(ends))
    cuts = np.flatnonzero(np.diff(ends // PAIRS_AT_ONCE)) + 1
    return [slice(*cut) for cut in pairwise([0, *cuts.tolist(), len(ends)])]


def check_queries(queries: np.ndarray, width: int) -> np.ndarray:
    """RETURNS (ndarray): The queries as contiguous float32.
    RAISES (ElqError): If they are not of shape (M, h)."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != width:
        raise ElqError(Errors.ELQ219.format(found=queries.shape, expected=width))
    return queries


def check_unique_ids(entities: Iterable[Entity]) -> Iterator[Entity]:
    """YIELDS (Entity): The same entities.
    RAISES (ElqError): For an id that occurs twice."""
    seen: dict[str, int] = {}
    for place, entity in enumerate(entities, 1):
        first = seen.setdefault(entity.id, place)
        if first != place:
            raise ElqError(Errors.ELQ207.format(id=entity.id, first=first, second=place))
        yield entity


def check_vectors(
    ids: Sequence[str], vectors: np.ndarray, owners: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Check the vectors that an encoder made.

    ids (Sequence[str]): The ids of the entities.
    vectors (ndarray): (V, h).
    owners (ndarray): (V,): index of each vector's entity, 0..len(ids)-1, ascending, each at least
        once.
    RETURNS (tuple[ndarray, ndarray]): The vectors as float32 and the owners as int64.
    """
    vectors, owners = np.asarray(vectors, dtype=np.float32), np.asarray(owners, dtype=np.int64)
    problem = ""
    if vectors.ndim != 2 or vectors.shape[1] != width:
        problem = f"their shape is {vectors.shape}, it must be (number of vectors, {width})"
    elif owners.shape != vectors.shape[:1]:
        problem = f"there are {len(vectors)} vectors, but owners of shape {owners.shape}"
    elif not np.array_equal(np.unique(owners), np.arange(len(ids))):
        problem = f"the owners must name each of the {len(ids)} entities, and nothing else"
    elif (np.diff(owners) < 0).any():
        problem = "the owners must be in ascending order"
    if problem:
        raise ElqError(Errors.ELQ209.format(problem=problem))
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise ElqError(Errors.ELQ208.format(id=ids[owners[broken[0]]]))
    return vectors, owners


def check_size(ids: Sequence[str], vectors: np.ndarray, owners: np.ndarray, dtype: str) -> None:
    """Raise an ElqError for a vector that is too large for the type of stored vectors.

    ids, vectors, owners: See `check_vectors`.
    """
    too_large = np.abs(vectors).max(axis=1, initial=0) > np.finfo(dtype).max
    if too_large.any():
        raise ElqError(Errors.ELQ229.format(id=ids[owners[too_large.argmax()]]))
