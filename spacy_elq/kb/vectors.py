"""Entity scores from vectors that are grouped by the entity that owns them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import ElqError, Errors
from .index import ExactIndex, VectorIndex, best

# (query, vector) pairs scored at once: some 50 MB.
PAIRS_AT_ONCE = 1 << 14
# Vectors fetched beyond the k wanted before another search becomes needed.
SLACK = 8
# Scores closer than this share of their size may change places between two ways to sum them.
TOLERANCE = 1e-5


class Candidates(NamedTuple):
    """Entities found for M queries.

    rows (ndarray): (M, K), int64, distinct within a query; -1 where there are fewer than K.
    scores (ndarray): (M, K), float32, descending, equal scores by row; -inf where there are fewer.
    """

    rows: np.ndarray
    scores: np.ndarray


class VectorTable:
    """Vectors (V, h) of N entities, each of which owns one or more that lie together.

    vectors (ndarray): (V, h), float32 or float16; may be memory-mapped.
    owners (ndarray): Entity row of each vector, (V,), ascending.
    entities (int): Number N of entities that own a vector.
    index (VectorIndex): How neighbours are found; exactly where None.
    """

    def __init__(
        self,
        vectors: np.ndarray,
        owners: np.ndarray,
        entities: int,
        index: VectorIndex | None = None,
    ) -> None:
        self.vectors = vectors
        self.owners = owners
        self.entities = entities
        self.index = index or ExactIndex(vectors)

    def search(self, queries: np.ndarray, k: int, alive: np.ndarray | None = None) -> Candidates:
        """Find the k best entities of each query, with exact scores.

        queries (ndarray): (M, h), float32.
        alive (ndarray): Which entity rows may be found, bool; all where None.
        RETURNS (Candidates): (M, k).
        """
        keep = k + SLACK
        found = self._try(queries, k, keep, alive)
        while found is None:
            keep *= 2
            found = self._try(queries, k, keep, alive)
        return found

    def _try(
        self, queries: np.ndarray, k: int, keep: int, alive: np.ndarray | None
    ) -> Candidates | None:
        """Search with `keep` entities of each query in view; None if more may change the answer."""
        per_entity = -(-len(self.vectors) // max(1, self.entities))
        scores, vector_rows = self.index.search(queries, min(keep * per_entity, len(self.vectors)))
        rows = np.where(vector_rows >= 0, self.owners[vector_rows], -1).astype(np.int64)
        if alive is not None:
            rows[(rows >= 0) & ~alive[rows]] = -1
        last = scores[:, -1:]
        scores, rows = best(*_first_of_each(scores, rows), keep)
        top_scores, top_rows = best(self.scores(queries, rows), rows, k)
        if keep < self.entities and not self._settled(last, scores[:, -1:], top_scores[:, -1:]):
            return None
        return Candidates(top_rows, top_scores)

    def _settled(self, last_vector: np.ndarray, last_entity: np.ndarray, kth: np.ndarray) -> bool:
        if not self.index.exact:
            return bool(np.isfinite(kth).all())
        # What was left out scores no more than the last that was kept. Unless the k-th entity is
        # clearly above that, an equal one with a smaller row may be among them.
        bound = np.maximum(last_vector, last_entity)
        return bool((kth > bound + TOLERANCE * np.abs(bound)).all())

    def scores(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Exact scores of given entities: the inner product with their best vector.

        The same pair gets the same score in every batch, bit for bit.

        queries (ndarray): (M, h), float32.
        rows (ndarray): Entity rows (M, C), -1 for none.
        RETURNS (ndarray): (M, C), float32; -inf for rows that are -1 or own no vector.
        """
        starts, counts = self._ranges(rows.ravel())
        result = np.full(len(counts), -np.inf, dtype=np.float32)
        wanted = np.flatnonzero(counts)
        # Cut where the running number of vectors passes another multiple of the chunk size.
        chunk = np.cumsum(counts[wanted]) // PAIRS_AT_ONCE
        for part in np.split(wanted, np.flatnonzero(np.diff(chunk)) + 1) if len(wanted) else ():
            vectors = self._gather(starts[part], counts[part])
            of_query = np.repeat(part // rows.shape[1], counts[part])
            dots = np.einsum("ph,ph->p", vectors, queries[of_query])
            result[part] = np.maximum.reduceat(dots, np.cumsum(counts[part]) - counts[part])
        return result.reshape(rows.shape)

    def vectors_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[ndarray, ndarray]): The vectors of these entities (V, h), float32, and the
        place in `rows` of the owner of each (V,), int64, ascending."""
        starts, counts = self._ranges(rows)
        owners = np.repeat(np.arange(len(rows)), counts)
        return self._gather(starts, counts), owners

    def _ranges(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First vector and number of vectors of each entity."""
        rows = rows.astype(self.owners.dtype)  # or else searchsorted converts all owners
        starts = np.searchsorted(self.owners, rows)
        return starts, np.searchsorted(self.owners, rows, side="right") - starts

    def _gather(self, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The vectors of consecutive ranges, one after another, float32."""
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.asarray(self.vectors[np.repeat(starts, counts) + within], dtype=np.float32)


def merge(
    one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Merge two lists that are sorted by place, the first list first where places are equal.

    one, other (tuple[ndarray, ndarray]): Places (n,), ascending, and what is there (n, ...).
    RETURNS (tuple[ndarray, ndarray]): Both, as one such list.
    """
    if not len(other[0]):
        return one
    places = np.concatenate([one[0], other[0]])
    order = np.argsort(places, kind="stable")
    return places[order], np.concatenate([one[1], other[1]])[order]


def _first_of_each(scores: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the best of the scores that an entity has within a line of (M, n); the rest is -1."""
    order = np.arange(len(rows))[:, None], np.lexsort((-scores, rows), axis=1)
    scores, rows = scores[order], rows[order]
    repeat = np.zeros(rows.shape, dtype=bool)
    repeat[:, 1:] = rows[:, 1:] == rows[:, :-1]
    drop = repeat | (rows < 0)
    return np.where(drop, -np.inf, scores).astype(np.float32), np.where(drop, -1, rows)


def check_queries(queries: np.ndarray, width: int) -> np.ndarray:
    """RETURNS (ndarray): The queries as contiguous float32; an ElqError unless they are (M, h)."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != width:
        raise ElqError(Errors.ELQ219.format(found=queries.shape, expected=width))
    return queries


def check_unique(ids: Sequence[str]) -> None:
    """Raise an ElqError for an id that comes twice."""
    seen: dict[str, int] = {}
    for place, id_ in enumerate(ids, 1):
        if id_ in seen:
            raise ElqError(Errors.ELQ207.format(id=id_, first=seen[id_], second=place))
        seen[id_] = place


def check_vectors(
    ids: Sequence[str], vectors: np.ndarray, owners: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Check what an encoder made for some entities.

    ids (Sequence[str]): The ids of the entities.
    vectors (ndarray): (V, h).
    owners (ndarray): (V,): which of the entities each vector belongs to, 0..len(ids)-1, ascending,
        each at least once.
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
