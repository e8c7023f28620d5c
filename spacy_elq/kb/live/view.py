"""The entities of a knowledge base at one moment: its files with the changes on top."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ...errors import ElqError, Errors
from ...types import Entity
from ..files.manifest import PopularityScale
from ..files.names import filter_live, rows_of_names
from ..files.popularity import standardise
from ..search.file_vectors import check_queries, merge
from ..search.flat_index import best
from ..search.stored_kb import StoredKB
from ..search.vector_store import SearchResult
from .delta import Delta
from .restriction import Restriction

# Entities whose titles show how the others are written.
TITLES_SHOWN = 100


@dataclass(frozen=True, eq=False)
class View:
    """Entities with one or more vectors each, found by vector, by name and by id.

    Entities have rows: those of the files 0..N-1, live additions N, N+1, ... A view never changes:
    a change of the knowledge base makes another view, and the rows of this one stay valid.

    base (StoredKB | None): The immutable files, if there are any.
    delta (Delta): The changes on top.
    restriction (Restriction): Which entities searches find.
    """

    base: StoredKB | None
    delta: Delta
    restriction: Restriction = field(default_factory=Restriction)

    def restricted(self, restriction: Restriction) -> View:
        """RETURNS (View): The same entities under another restriction."""
        return replace(self, restriction=restriction) if restriction else self

    @property
    def entity_vector_length(self) -> int:
        """RETURNS (int): Width h of the vectors."""
        return self.delta.width

    @property
    def n_rows(self) -> int:
        """RETURNS (int): Number of rows, including those of removed entities."""
        return self.delta.next_row

    @property
    def n_removed(self) -> int:
        """RETURNS (int): Number of entities of the files that were removed or replaced."""
        return self.delta.n_shadowed

    def __len__(self) -> int:
        return self.delta.base_rows - self.delta.n_shadowed + len(self.delta)

    def __contains__(self, id_: object) -> bool:
        """RETURNS (bool): Whether there is a live entity with this id."""
        return isinstance(id_, str) and self.row(id_) is not None

    def __iter__(self) -> Iterator[Entity]:
        """YIELDS (Entity): The live entities in row order."""
        alive = self.delta.alive
        if self.base:
            for row, entity in enumerate(self.base.catalogue):
                if alive is None or alive[row]:
                    yield entity
        yield from self.delta

    # Search

    def search(self, vectors: np.ndarray, k: int) -> SearchResult:
        """Find the k entities with the largest inner products. An entity's score is that of its
        best vector.

        vectors (ndarray): Queries (M, h), float32.
        k (int): Number of entities per query.
        RETURNS (SearchResult): Rows and exact scores, (M, k) each.
        """
        base, delta = self.base, self.delta
        queries = check_queries(vectors, delta.width)
        parts, masks = [], self.restriction.masks(base, delta)
        if len(delta) or not base:
            parts.append(delta.search(queries, k, masks.added))
        if base:
            parts.append(base.vectors.search(queries, k, masks.base))
        if len(parts) == 1:
            return parts[0]
        scores = np.concatenate([part.scores for part in parts], axis=1)
        rows = np.concatenate([part.rows for part in parts], axis=1)
        scores, rows = best(scores, rows, k)
        return SearchResult(rows, scores)

    def scores(self, vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Score given entities, exactly as `search` does.

        vectors (ndarray): Queries (M, h), float32.
        rows (ndarray): Entity rows (M, C), int64, -1 for none.
        RETURNS (ndarray): (M, C), float32; -inf if the row is -1 or the entity was removed.
        """
        base, delta = self.base, self.delta
        queries = check_queries(vectors, delta.width)
        rows = np.asarray(rows, dtype=np.int64)
        if not base:
            return delta.scores(queries, rows)
        scores = base.vectors.scores(queries, _of_base(delta, rows))
        if not len(delta):
            return scores
        return np.maximum(scores, delta.scores(queries, rows))

    def vector_matrix(self) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[ndarray, ndarray]): All vectors of live entities (V, h) float32, and the
        entity row of each (V,) int64, ascending. If nothing changed, the vectors are the mapped
        file."""
        base, delta = self.base, self.delta
        vectors, owners = delta.matrix()
        if not base:
            return vectors, owners
        base_vectors, base_owners = base.vectors.matrix(delta.alive)
        if not len(owners):
            return base_vectors, base_owners
        return np.concatenate([base_vectors, vectors]), np.concatenate([base_owners, owners])

    def searched_rows(self) -> np.ndarray | None:
        """RETURNS (ndarray | None): Mask (n_rows,) of the rows that searches find; None if they
        find all live entities."""
        if not self.restriction:
            return None
        masks = self.restriction.masks(self.base, self.delta)
        # A restriction makes both masks.
        return np.concatenate([mask for mask in masks if mask is not None])

    def vectors_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Get all vectors of some entities.

        rows (ndarray): Rows of live entities, (n,).
        RETURNS (tuple[ndarray, ndarray]): Vectors (V, h), float32, and for each the index in
            `rows` of its owner (V,), int64, ascending.
        """
        base, delta = self.base, self.delta
        rows = np.asarray(rows, dtype=np.int64)
        of_delta = delta.vectors_of(rows)
        if not base:
            return of_delta
        of_base = base.vectors.vectors_of(_of_base(delta, rows))
        owners, vectors = merge(of_base[::-1], of_delta[::-1])
        return vectors, owners

    def live_rows(self) -> np.ndarray:
        """RETURNS (ndarray): The rows of the live entities, int64, ascending."""
        delta = self.delta
        rows = np.arange(delta.base_rows)
        of_base = rows if delta.alive is None else rows[delta.alive]
        return np.concatenate([of_base, delta.live_rows()])

    # Names

    def find_names(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the names of live entities that have these keys.

        keys (ndarray): `loose_key` of each name, (M,), uint64.
        RETURNS (tuple[ndarray, ndarray]): For each name found the index of its key (n,), int64,
            ascending, and the names, of type `names.ENTRY` (n,).
        """
        base, delta = self.base, self.delta
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
        """RETURNS (list[ndarray]): For each name, the rows of the live entities that have it,
        int32, ascending. Names are equal if `names.fold` makes them equal."""
        return rows_of_names(names, self.find_names)

    def named(self, name: str) -> list[Entity]:
        """RETURNS (list[Entity]): The live entities that have a name."""
        return self.records(self.lookup([name])[0])

    # Popularity

    @property
    def popularity_scale(self) -> PopularityScale | None:
        """RETURNS (PopularityScale | None): Mean and standard deviation of the logarithms: those of
        the files, or of added entities if the files have none; None if it is unknown of all."""
        of_base = self.base.manifest.popularity if self.base else None
        return of_base or self.delta.popularity_scale

    def popularity(self, rows: np.ndarray) -> np.ndarray:
        """Get the log popularity of entities in standard deviations from the mean, at most 3.

        rows (ndarray): Entity rows, any shape, int64, -1 for none.
        RETURNS (ndarray): float32, the same shape; NaN if it is unknown.
        """
        base, delta, scale = self.base, self.delta, self.popularity_scale
        logs = np.full(rows.shape, np.nan, dtype=np.float32)
        if scale is None:
            return logs
        if base and base.popularity is not None:
            in_base = (rows >= 0) & (rows < delta.base_rows)
            logs[in_base] = base.popularity[rows[in_base]]
        if len(delta):
            added = rows >= delta.base_rows
            logs[added] = delta.log_popularity(rows[added])
        return standardise(logs, scale)

    # Records

    @cached_property
    def capitalises_names(self) -> bool:
        """RETURNS (bool): Whether most titles have a capital, so that one without is no name."""
        shown = np.linspace(0, self.n_rows - 1, min(self.n_rows, TITLES_SHOWN)).astype(np.int64)
        small = [entity.title.islower() for entity in self.records(shown)]
        return 2 * sum(small) < len(small)

    def records(self, rows: Sequence[int] | np.ndarray) -> list[Entity]:
        """RETURNS (list[Entity]): The records of these rows, in their order."""
        base, delta = self.base, self.delta
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
        """RETURNS (list[int | None]): The rows of entities, None for an id that is not live."""
        delta = self.delta
        return [
            new if (new := delta.row(id_)) is not None else None if delta.is_shadowed(id_) else old
            for id_, old in zip(ids, self.base_rows(ids), strict=True)
        ]

    def base_rows(self, ids: Sequence[str]) -> list[int | None]:
        """RETURNS (list[int | None]): The rows of many entities in the files, live or not."""
        return self.base.catalogue.rows(ids) if self.base else [None] * len(ids)

    def row(self, id_: str) -> int | None:
        """RETURNS (int | None): The row of an entity, None for an id that is not live."""
        return self.rows([id_])[0]

    def entity(self, id_: str) -> Entity | None:
        """RETURNS (Entity | None): The record of an entity, None for an id that is not live."""
        row = self.row(id_)
        return None if row is None else self.records([row])[0]


def _of_base(delta: Delta, rows: np.ndarray) -> np.ndarray:
    """RETURNS (ndarray): The rows, with -1 in place of those that are not live in the files."""
    in_base = (rows >= 0) & (rows < delta.base_rows)
    if delta.alive is not None:
        in_base[in_base] = delta.alive[rows[in_base]]
    return np.where(in_base, rows, -1)
