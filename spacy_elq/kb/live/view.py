"""The entities of a knowledge base at one moment: its files with the changes on top."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np

from ...errors import ElqError, Errors
from ...types import Entity
from ..files.names import filter_live, rows_of_names
from ..search.exact_index import best
from ..search.file_vectors import check_queries, merge
from ..search.stored_kb import StoredKB
from ..search.vector_store import SearchResult
from .delta import Delta
from .restriction import Restriction


class View:
    """Entities with one or more vectors each, found by vector, by name and by id.

    Entities have rows: those of the files 0..N-1, live additions N, N+1, ... A view stays as it is,
    whatever is added or removed while it lives.

    base (StoredKB | None): The immutable files, if there are any.
    delta (Delta): The changes on top.
    restriction (Restriction): Which of the entities searches find; all of them where None.
    """

    def __init__(
        self, base: StoredKB | None, delta: Delta, restriction: Restriction | None = None
    ) -> None:
        self._now = (base, delta)
        self.restriction = restriction or Restriction()

    @property
    def base(self) -> StoredKB | None:
        """RETURNS (StoredKB | None): The files without the live changes, if there are any."""
        return self._now[0]

    @property
    def entity_vector_length(self) -> int:
        """RETURNS (int): Width h of the vectors."""
        return self._now[1].width

    @property
    def n_rows(self) -> int:
        """RETURNS (int): The end of the row numbers, rows of removed entities counted."""
        return self._now[1].next_row

    @property
    def n_removed(self) -> int:
        """RETURNS (int): How many entities of the files were removed or replaced."""
        return self._now[1].n_shadowed

    def __len__(self) -> int:
        delta = self._now[1]
        return delta.base_rows - delta.n_shadowed + len(delta)

    def __contains__(self, id_: object) -> bool:
        """RETURNS (bool): Whether there is a live entity with this id."""
        return isinstance(id_, str) and self.row(id_) is not None

    def __iter__(self) -> Iterator[Entity]:
        """YIELDS (Entity): The live entities in row order."""
        base, delta = self._now
        if base:
            for row, entity in enumerate(base.catalogue):
                if delta.alive is None or delta.alive[row]:
                    yield entity
        yield from delta

    # Search

    def restrict(
        self, types: Iterable[str] | None = None, ids: Iterable[str] | None = None
    ) -> AbstractContextManager[Any]:
        """Let searches by vector and by name find only entities that have one of the types or one
        of the ids, from now on; all of them again where neither is given.

        types (Iterable[str] | None): Types of entities, at least one of each.
        ids (Iterable[str] | None): Ids of entities.
        RETURNS (ContextManager): May be used in a `with` statement, which ends with what held
            before.
        RAISES (ElqError): If there is no entity of a type, or with an id, or if nothing is in what
            is given. Nothing changes then.
        """
        new, old = Restriction.asked(types, ids), self.restriction
        new.check(*self._now)
        self.restriction = new
        undo = ExitStack()
        undo.callback(setattr, self, "restriction", old)
        return undo

    def search(self, vectors: np.ndarray, k: int) -> SearchResult:
        """Find the k entities with the largest inner products; an entity counts by its best vector.

        vectors (ndarray): Queries (M, h), float32.
        k (int): Number K of entities for each.
        RETURNS (SearchResult): Rows (M, K) and exact scores (M, K).
        """
        base, delta = self._now
        queries = check_queries(vectors, delta.width)
        parts, masks = [], self.restriction.masks(base, delta)
        if len(delta) or not base:
            parts.append(delta.search(queries, k, masks.added))
        if base:
            parts.append(base.table.search(queries, k, masks.base))
        if len(parts) == 1:
            return parts[0]
        scores = np.concatenate([part.scores for part in parts], axis=1)
        rows = np.concatenate([part.rows for part in parts], axis=1)
        scores, rows = best(scores, rows, k)
        return SearchResult(rows, scores)

    def scores(self, vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Score given entities exactly as `search` does.

        vectors (ndarray): Queries (M, h), float32.
        rows (ndarray): Entity rows (M, C), int64, -1 for none.
        RETURNS (ndarray): (M, C), float32; -inf where the row is -1 or the entity was removed.
        """
        base, delta = self._now
        queries = check_queries(vectors, delta.width)
        rows = np.asarray(rows, dtype=np.int64)
        if not base:
            return delta.scores(queries, rows)
        scores = base.table.scores(queries, _of_base(delta, rows))
        if not len(delta):
            return scores
        return np.maximum(scores, delta.scores(queries, rows))

    def vector_matrix(self) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[ndarray, ndarray]): All vectors of live entities (V, h) float32, and the
        entity row of each (V,) int64, ascending. Without changes the vectors are the mapped file.
        """
        base, delta = self._now
        vectors, owners = delta.matrix()
        if not base:
            return vectors, owners
        base_vectors, base_owners = base.table.matrix(delta.alive)
        if not len(owners):
            return base_vectors, base_owners
        return np.concatenate([base_vectors, vectors]), np.concatenate([base_owners, owners])

    def searched_rows(self) -> np.ndarray | None:
        """RETURNS (ndarray | None): Which of the rows searches find, bool (n_rows,); None if those
        of all live entities."""
        if not self.restriction:
            return None
        masks = self.restriction.masks(*self._now)
        return np.concatenate([mask for mask in masks if mask is not None])  # under one both are

    def vectors_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All vectors of some entities.

        rows (ndarray): Rows of live entities, (n,).
        RETURNS (tuple[ndarray, ndarray]): Vectors (V, h), float32, and the place in `rows` of each
            one's owner (V,), int64, ascending.
        """
        base, delta = self._now
        rows = np.asarray(rows, dtype=np.int64)
        of_delta = delta.vectors_of(rows)
        if not base:
            return of_delta
        of_base = base.table.vectors_of(_of_base(delta, rows))
        owners, vectors = merge(of_base[::-1], of_delta[::-1])
        return vectors, owners

    def live_rows(self) -> np.ndarray:
        """RETURNS (ndarray): The rows of the live entities, int64, ascending."""
        delta = self._now[1]
        rows = np.arange(delta.base_rows)
        of_base = rows if delta.alive is None else rows[delta.alive]
        return np.concatenate([of_base, delta.live_rows()])

    # Names

    def find_names(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the names that have these keys, and whose they are.

        keys (ndarray): `loose_key` of each name, (M,), uint64.
        RETURNS (tuple[ndarray, ndarray]): Which of the keys each name of a live entity has (n,),
            int64, ascending, and those names, of type `names.ENTRY` (n,).
        """
        base, delta = self._now
        keys = np.asarray(keys, dtype=np.uint64)
        masks = self.restriction.masks(base, delta)
        if not base:
            return filter_live(masks.added, *delta.find_names(keys), first=delta.base_rows)
        found = filter_live(masks.base, *base.names.find(keys))
        if not len(delta):
            return found
        added = filter_live(masks.added, *delta.find_names(keys), first=delta.base_rows)
        return merge(found, added)

    def lookup(self, names: Sequence[str]) -> list[np.ndarray]:
        """RETURNS (list[ndarray]): For each name the rows of the live entities that have it, int32,
        ascending. Names are the same if `names.fold` makes them the same."""
        return rows_of_names(names, self.find_names)

    def named(self, name: str) -> list[Entity]:
        """RETURNS (list[Entity]): The entities that have a name."""
        return self.records(self.lookup([name])[0])

    # Records

    def records(self, rows: Sequence[int] | np.ndarray) -> list[Entity]:
        """RETURNS (list[Entity]): The records of these rows, in their order."""
        base, delta = self._now
        rows = [int(row) for row in rows]
        in_base = [row for row in rows if 0 <= row < delta.base_rows]
        found: dict[int, Entity] = {}
        if in_base and base:
            found.update(zip(in_base, base.catalogue.records(in_base), strict=True))
        for row in rows:
            if delta.base_rows <= row < delta.next_row:
                found[row] = delta.record(row)
            elif row not in found:
                raise ElqError(Errors.ELQ220.format(row=row, last=delta.next_row - 1))
        return [found[row] for row in rows]

    def rows(self, ids: Sequence[str]) -> list[int | None]:
        """RETURNS (list[int | None]): The rows of many live entities, None for an unknown id."""
        delta = self._now[1]
        return [
            new if (new := delta.row(id_)) is not None else None if delta.is_shadowed(id_) else old
            for id_, old in zip(ids, self._base_rows(ids), strict=True)
        ]

    def _base_rows(self, ids: Sequence[str]) -> list[int | None]:
        """Rows that the files have for these ids, whether they are live or not."""
        base = self._now[0]
        return base.catalogue.rows(ids) if base else [None] * len(ids)

    def row(self, id_: str) -> int | None:
        """RETURNS (int | None): The row of a live entity, None for an unknown id."""
        return self.rows([id_])[0]

    def entity(self, id_: str) -> Entity | None:
        """RETURNS (Entity | None): The record of a live entity, None for an unknown id."""
        row = self.row(id_)
        return None if row is None else self.records([row])[0]


def _of_base(delta: Delta, rows: np.ndarray) -> np.ndarray:
    """The rows of live entities of the files, -1 in the place of others."""
    in_base = (rows >= 0) & (rows < delta.base_rows)
    if delta.alive is not None:
        in_base[in_base] = delta.alive[rows[in_base]]
    return np.where(in_base, rows, -1)
