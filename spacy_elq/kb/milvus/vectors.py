"""Searches the vectors of a knowledge base in a Milvus collection."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from ..files.manifest import Manifest
from ..search.file_vectors import SLACK, FileVectorStore, best_vector_per_entity, topk_is_final
from ..search.flat_index import best
from ..search.vector_store import SearchResult
from .server import FLAT, MilvusCollection

# Minimum number of vectors to fetch from an approximate index; all of them get exact scores.
MIN_RERANK = 100
# Maximum number of hits that a server returns for a query.
MAX_HITS = 1 << 14
# Maximum number of entities that a filter lists.
MAX_LISTED = 10_000


class MilvusVectorStore:
    """A `VectorStore`: vectors (V, h) of N entities, each of which owns one or more.

    The server finds vectors; they are then fetched and scored here, with the same arithmetic as
    vectors in files. The owners of the vectors are kept here.

    collection (MilvusCollection): Holds the vectors.
    owners (ndarray): Entity row of each vector, (V,), ascending.
    entities (int): Number N of entities that own a vector.
    width (int): Width h.
    """

    def __init__(
        self, collection: MilvusCollection, owners: np.ndarray, entities: int, width: int
    ) -> None:
        self.entities = entities
        self.is_exact = collection.address.kind == FLAT
        self._unchecked = collection
        self._owners = owners
        self._width = width
        self._last_filter: Filter | None = None

    @cached_property
    def _collection(self) -> MilvusCollection:
        """The collection, checked when it is first used."""
        self._unchecked.check(self._width, len(self._owners))
        return self._unchecked

    def search(self, queries: np.ndarray, k: int, alive: np.ndarray | None = None) -> SearchResult:
        """Find the k best entities of each query, with exact scores; see `VectorStore.search`."""
        where = self._filter(alive)
        per_entity = -(-len(self._owners) // max(1, self.entities))
        limit = min((k + SLACK) * per_entity, len(self._owners), MAX_HITS)
        if not self.is_exact:
            limit = min(max(limit, MIN_RERANK), len(self._owners), MAX_HITS)
        last, rows = self._find(queries, limit, where)
        scores, rows = best(self.scores(queries, rows), rows, max(k, rows.shape[1]))
        for query in np.flatnonzero(~_complete(last, scores, k, where.entities)):
            one = slice(query, query + 1)
            more = self._find_all(queries[one], k, limit, rows[one], where)
            scores[one, :k], rows[one, :k] = more.scores, more.rows
        return SearchResult(rows[:, :k], scores[:, :k])

    def _find_all(
        self, query: np.ndarray, k: int, limit: int, rows: np.ndarray, where: Filter
    ) -> SearchResult:
        """Keep searching among the entities not found yet, until none of them can be among the best
        k. Needed if the many vectors of one entity fill the places of others."""
        while True:
            limit = min(2 * limit, MAX_HITS)
            found = rows[rows >= 0]
            last, new = self._find(query, limit, where, found)
            rows = np.concatenate([found[None], new[new >= 0][None]], axis=1)
            scores, rows = best(self.scores(query, rows), rows, max(k, rows.shape[1]))
            if not (new >= 0).any() or _complete(last, scores, k, where.entities).all():
                return SearchResult(rows[:, :k], scores[:, :k])

    def _find(
        self, queries: np.ndarray, limit: int, where: Filter, but: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Search on the server among the entities that a filter admits.

        but (ndarray): Rows of entities to exclude.
        RETURNS (tuple[ndarray, ndarray]): The highest score that a vector not found can have, (M,
            1), -inf if all were found; and the distinct rows of the entities found, (M, n).
        """
        scores = np.full((len(queries), limit), -np.inf, dtype=np.float32)
        numbers = np.full((len(queries), limit), -1, dtype=np.int64)
        for expression in where.expressions:
            if but is not None and len(but):
                expression = _all_of(expression, f"entity not in {but.tolist()}")
            found, others = self._collection.search(queries, limit, expression)
            scores, numbers = best(np.hstack([scores, found]), np.hstack([numbers, others]), limit)
        rows = np.where(numbers >= 0, self._owners[numbers], -1).astype(np.int64)
        return scores[:, -1:], best_vector_per_entity(scores, rows)[1]

    def _filter(self, alive: np.ndarray | None) -> Filter:
        """The filter of a mask; cached, because searches pass the same mask again."""
        kept = self._last_filter
        if kept is None or kept.alive is not alive:
            kept = self._last_filter = Filter(alive, self.entities)
        return kept

    def scores(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Exact scores of given entities; see `VectorStore.scores`."""
        table, places = self._fetch(rows)
        return table.scores(queries, places)

    def vectors_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All vectors of some entities; see `VectorStore.vectors_of`."""
        table, places = self._fetch(rows)
        return table.vectors_of(places)

    def _fetch(self, rows: np.ndarray) -> tuple[FileVectorStore, np.ndarray]:
        """Fetch the vectors of each entity once.

        RETURNS (tuple[FileVectorStore, ndarray]): The vectors, and the row in that store of each of
            the given rows; -1 for none.
        """
        distinct, places = np.unique(rows, return_inverse=True)
        wanted = distinct[distinct >= 0].astype(self._owners.dtype)
        starts = np.searchsorted(self._owners, wanted)
        counts = np.searchsorted(self._owners, wanted, side="right") - starts
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        vectors = self._collection.vectors(np.repeat(starts, counts) + within, self._width)
        table = FileVectorStore(vectors, np.repeat(np.arange(len(wanted)), counts), len(wanted))
        return table, places.reshape(rows.shape) - (len(distinct) - len(wanted))

    def matrix(self, alive: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """All vectors, fetched, and the entity row of each; see `VectorStore.matrix`."""
        owners = self._owners.astype(np.int64)
        numbers = np.arange(len(owners)) if alive is None else np.flatnonzero(alive[owners])
        return self._collection.vectors(numbers, self._width), owners[numbers]

    def problems(self, manifest: Manifest) -> Iterator[str]:
        """YIELDS (str): How the collection contradicts the manifest or the owners file."""
        if len(self._owners) != manifest.vectors:
            yield f"there are {len(self._owners)} owners for {manifest.vectors} vectors"
            return
        start = 0
        for rows in self._collection.entities(len(self._owners)):
            if not np.array_equal(rows, self._owners[start : start + len(rows)]):
                yield f"some vector after number {start} has another entity in the collection"
                return
            start += len(rows)


class Filter:
    """Filter expressions that admit the entities of a mask.

    alive (ndarray): Bool mask over the entities; None admits all of them.
    entities (int): Number of all entities; then of those admitted.
    """

    def __init__(self, alive: np.ndarray | None, entities: int) -> None:
        self.alive = alive
        self.entities = entities if alive is None else int(np.count_nonzero(alive))
        self.expressions = [""] if alive is None else list(expressions(alive))


def expressions(alive: np.ndarray, max_listed: int = MAX_LISTED) -> Iterator[str]:
    """Filters that together admit the entities of a mask, each of them once: a single filter,
    unless it would list too many entities.

    alive (ndarray): (N,), bool.
    max_listed (int): Maximum number of entities that one filter lists.
    YIELDS (str): Expressions over `entity`.
    """
    todo = [(0, len(alive))]
    while todo:
        start, stop = todo.pop()
        part = alive[start:stop]
        live = int(np.count_nonzero(part))
        if not live:
            continue
        few = 2 * live <= len(part)
        listed = np.flatnonzero(part == few)
        if len(listed) > max_listed:
            middle = (start + stop) // 2
            todo += [(middle, stop), (start, middle)]
        elif few:
            yield f"entity in {(listed + start).tolist()}"
        else:
            but = f"entity not in {(listed + start).tolist()}" if len(listed) else ""
            whole = len(part) == len(alive)
            yield _all_of("" if whole else f"entity >= {start} and entity < {stop}", but)


def _all_of(*parts: str) -> str:
    return " and ".join(filter(None, parts))


def _complete(last: np.ndarray, scores: np.ndarray, k: int, entities: int) -> np.ndarray:
    """RETURNS (ndarray): Whether the k best of sorted scores (M, n) are the best of all entities,
    (M,): there are k of them, and no vector that was not found, which scores `last` (M, 1) at most,
    can change them."""
    enough = np.isfinite(scores[:, : min(k, entities)]).all(axis=1)
    return enough & topk_is_final(last, scores[:, k - 1 : k])
