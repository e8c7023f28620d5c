"""Entities added, changed and removed since a knowledge base was built, as they are searched."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ...entities.records import entity_from_dict, entity_to_dict
from ...types import Entity
from ..files.names import ENTRY, name_entries
from ..search.file_vectors import FileVectorStore
from ..search.vector_store import SearchResult
from .growing import GrowingArray

# A name of an added entity: its loose key, and `ENTRY` with a row that does not count.
NAME = np.dtype([("key", "<u8"), ("entry", ENTRY)])
# Dead rows that are kept, however few the living are.
MANY = 1024
# When an entity is removed that is not.
NEVER = np.iinfo(np.int64).max


class Change(NamedTuple):
    """What became of one entity.

    id (str): The entity.
    base_row (int | None): Its row in the files, None if they do not have it.
    record (str | None): The entity as JSON, None if it was removed.
    names (bytes): Of type `NAME`.
    vectors (bytes): (n, h), little-endian float32.
    """

    id: str
    base_row: int | None
    record: str | None
    names: bytes = b""
    vectors: bytes = b""

    @classmethod
    def of(cls, entity: Entity, base_row: int | None, vectors: np.ndarray) -> Change:
        """RETURNS (Change): An entity that is added, or takes the place of an old one."""
        record = json.dumps(entity_to_dict(entity), ensure_ascii=False)
        names = np.array(list(name_entries(0, entity)), dtype=NAME)
        return cls(entity.id, base_row, record, names.tobytes(), vectors.astype("<f4").tobytes())


class _Rows:
    """The entities that were ever added, which deltas that follow each other share.

    Rows are added at the end and stay; that one was removed is noted with the moment, counted in
    changes. So what a delta sees, of its rows and its moment, is not touched by those after it.

    moment (int): Of the last change.
    """

    def __init__(self, width: int) -> None:
        self.moment = 0
        self.ids: list[str] = []
        self.records: list[str | Entity] = []
        self.names: dict[int, list[tuple[int, int, int, int]]] = {}
        self.stored_names: list[bytes] = []
        self.vectors = GrowingArray((width,), "float32")
        self.owners = GrowingArray((), "int64")
        self.removed = GrowingArray((), "int64")
        self._latest: dict[str, int] = {}
        self._before: list[int] = []  # the row that the same id had until then, or -1
        self._shadowed: dict[str, tuple[int, int]] = {}

    def row(self, id_: str, end: int) -> int:
        """RETURNS (int): The last row before `end` that an id had, -1 if it had none."""
        row = self._latest.get(id_, -1)
        while row >= end:
            row = self._before[row]
        return row

    def shadowed(self, id_: str, moment: int) -> int | None:
        """RETURNS (int | None): The row in the files of an entity that, at that moment, had been
        removed there or replaced."""
        row, since = self._shadowed.get(id_, (None, NEVER))
        return row if since <= moment else None

    def all_shadowed(self) -> list[str]:
        """RETURNS (list[str]): The ids of all that were removed in the files or replaced."""
        return list(self._shadowed)

    def add(self, changes: Sequence[Change], first_row: int) -> None:
        """Add entities; no delta sees them yet.

        first_row (int): What the row numbers of added entities begin with.
        """
        first, width = len(self.records), self.vectors.array.shape[1]
        vectors = np.frombuffer(b"".join(c.vectors for c in changes), "<f4")
        counts = [len(change.vectors) // (4 * width) for change in changes]
        self.vectors.append(vectors.reshape(-1, width))
        self.owners.append(np.repeat(np.arange(first, first + len(changes)), counts))
        self.removed.append(np.full(len(changes), NEVER))
        for row, change in enumerate(changes, first):
            self.ids.append(change.id)
            self.records.append(change.record or "")
            self.stored_names.append(change.names)
            self._before.append(self._latest.get(change.id, -1))
            self._latest[change.id] = row
            for key, entry in np.frombuffer(change.names, NAME).tolist():
                self.names.setdefault(key, []).append((first_row + row, *entry[1:]))

    def retire(self, change: Change, end: int) -> bool:
        """Note that what an entity was before row `end` is gone from this moment on.

        RETURNS (bool): Whether it was an added one.
        """
        if change.base_row is not None:
            self._shadowed.setdefault(change.id, (change.base_row, self.moment))
        row = self.row(change.id, end)
        if row < 0 or self.removed.array[row] != NEVER:
            return False
        self.removed.array[row] = self.moment
        return True


@dataclass(frozen=True, eq=False)
class Delta:
    """Live changes on top of a base of N rows at one moment, in memory. A change makes another
    delta, which costs the same however many there are; this one stays as it is.

    Added entities have the rows N, N+1, ... in the order they came; a row is not used again.

    width (int): Width h of the vectors.
    base_rows (int): N.
    alive (ndarray | None): Which base rows are left (N,) bool, None if all of them. The same array
        as long as it is true.
    n_shadowed (int): How many base entities were removed or replaced.
    """

    width: int
    base_rows: int
    alive: np.ndarray | None
    n_shadowed: int
    _rows: _Rows
    _table: FileVectorStore
    _moment: int = 0
    _living: int = 0

    @classmethod
    def of(cls, width: int, base_rows: int, changes: Iterable[Change] = ()) -> Delta:
        """RETURNS (Delta): These changes on top of a base."""
        rows = _Rows(width)
        table = FileVectorStore(rows.vectors.array, rows.owners.array, 0)
        return cls(width, base_rows, None, 0, rows, table).apply(list(changes))

    def __len__(self) -> int:
        """RETURNS (int): The number of added entities."""
        return self._living

    def __bool__(self) -> bool:
        return bool(self._living or self.n_shadowed)

    @property
    def _end(self) -> int:
        """RETURNS (int): How many rows were ever added."""
        return self._table.entities

    @property
    def next_row(self) -> int:
        """RETURNS (int): The row of the next entity that is added."""
        return self.base_rows + self._end

    @cached_property
    def added_alive(self) -> np.ndarray | None:
        """RETURNS (ndarray | None): Which of the added entities are left, bool, in the order of
        their rows; None if all of them."""
        return None if self._living == self._end else self._is_living(slice(0, self._end))

    def _is_living(self, local: slice | np.ndarray) -> np.ndarray:
        return self._rows.removed.array[local] > self._moment

    # Entities

    def row(self, id_: str) -> int | None:
        """RETURNS (int | None): The row of an added entity."""
        local = self._rows.row(id_, self._end)
        living = local >= 0 and self._rows.removed.array[local] > self._moment
        return self.base_rows + local if living else None

    def is_shadowed(self, id_: str) -> bool:
        """RETURNS (bool): Whether the base's entity of this id was removed or replaced."""
        return self._rows.shadowed(id_, self._moment) is not None

    def record(self, row: int) -> Entity:
        """RETURNS (Entity): An entity that was added, of a row that this delta has."""
        local = row - self.base_rows
        record = self._rows.records[local]
        if isinstance(record, str):  # read when it is asked for: opening stays fast
            record = self._rows.records[local] = entity_from_dict(json.loads(record))
        return record

    def __iter__(self) -> Iterator[Entity]:
        return map(self.record, self.live_rows().tolist())

    def find_names(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Names of added entities, as `NameIndex.find`."""
        names, first, end = self._rows.names, self.base_rows, self.next_row
        removed, moment = self._rows.removed.array, self._moment
        found = [
            (place, entry)
            for place, key in enumerate(keys.tolist() if names else ())
            if key in names
            for entry in names[key]
            if entry[0] < end and removed[entry[0] - first] > moment
        ]
        places = np.array([place for place, _ in found], dtype=np.int64)
        return places, np.array([entry for _, entry in found], dtype=ENTRY)

    # Vectors

    def search(self, queries: np.ndarray, k: int, alive: np.ndarray | None = None) -> SearchResult:
        """Find the k best of the added entities of each query; see `FileVectorStore.search`.

        alive (ndarray): Which of them may be found, in the order of their rows; the living ones
            where None.
        """
        found = self._table.search(queries, k, self.added_alive if alive is None else alive)
        return SearchResult(np.where(found.rows < 0, -1, found.rows + self.base_rows), found.scores)

    def scores(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Exact scores of added entities, -inf for all other rows; see `FileVectorStore.scores`."""
        return self._table.scores(queries, self._local(rows))

    def vectors_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[ndarray, ndarray]): As `FileVectorStore.vectors_of`, of added entities."""
        return self._table.vectors_of(self._local(rows))

    def matrix(self) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[ndarray, ndarray]): All vectors of living added entities (V, h), and the
        row of each one's owner (V,), ascending."""
        vectors, owners = self._table.matrix(self.added_alive)
        return vectors, owners + self.base_rows

    def live_rows(self) -> np.ndarray:
        """RETURNS (ndarray): The rows of the living added entities, int64, ascending."""
        return self.base_rows + np.flatnonzero(self._is_living(slice(0, self._end)))

    def _local(self, rows: np.ndarray) -> np.ndarray:
        """Rows counted from the first that was added; -1 for what is not alive here."""
        local = np.asarray(rows, dtype=np.int64) - self.base_rows
        inside = (local >= 0) & (local < self._end)
        inside[inside] = self._is_living(local[inside])
        return np.where(inside, local, -1)

    # Changes

    def apply(self, changes: Sequence[Change]) -> Delta:
        """RETURNS (Delta): This one with changes, in their order, to entities that are all
        different."""
        if not changes:
            return self
        rows = self._rows
        if rows.moment != self._moment:  # another change followed this delta, or broke off
            return Delta.of(self.width, self.base_rows, self.changes()).apply(changes)
        rows.moment += 1
        alive, shadowed = self._without(changes)
        added = [change for change in changes if change.record is not None]
        rows.add(added, self.base_rows)
        retired = sum(rows.retire(change, self._end) for change in changes)
        return replace(
            self,
            alive=alive,
            n_shadowed=self.n_shadowed + shadowed,
            _table=FileVectorStore(rows.vectors.array, rows.owners.array, len(rows.records)),
            _moment=rows.moment,
            _living=self._living + len(added) - retired,
        )

    def _without(self, changes: Sequence[Change]) -> tuple[np.ndarray | None, int]:
        """The mask of the base rows that are left, and how many go."""
        gone = [c.base_row for c in changes if c.base_row is not None]
        gone = [row for row in gone if self.alive is None or self.alive[row]]
        if not gone:
            return self.alive, 0
        alive = np.ones(self.base_rows, bool) if self.alive is None else self.alive.copy()
        alive[gone] = False
        return alive, len(gone)

    def changes(self) -> Iterator[Change]:
        """YIELDS (Change): What leads from the base to the entities as they are now."""
        rows, moment = self._rows, self._moment
        for id_ in rows.all_shadowed():
            base_row = rows.shadowed(id_, moment)
            if base_row is not None and self.row(id_) is None:
                yield Change(id_, base_row, None)
        for row in self.live_rows().tolist():
            local = row - self.base_rows
            id_, record, names = rows.ids[local], rows.records[local], rows.stored_names[local]
            if not isinstance(record, str):
                record = json.dumps(entity_to_dict(record), ensure_ascii=False)
            vectors, _ = self._table.vectors_of(np.array([local]))
            base_row = rows.shadowed(id_, moment)
            yield Change(id_, base_row, record, names, vectors.astype("<f4").tobytes())

    def renewed(self) -> Delta:
        """RETURNS (Delta): This one, or where most of what it holds is removed by now, one without
        that, whose rows are others."""
        if self._end - self._living <= max(MANY, self._living):
            return self
        return Delta.of(self.width, self.base_rows, self.changes())
