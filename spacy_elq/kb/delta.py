"""Entities added, changed and removed since a knowledge base was built, as they are searched."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..corpora.entities import entity_from_dict, entity_to_dict
from ..types import Entity
from .growing import GrowingArray
from .names import ENTRY, name_entries
from .table import Candidates
from .vectors import VectorTable

# A name of an added entity: its loose key, and `ENTRY` with a row that does not count.
NAME = np.dtype([("key", "<u8"), ("entry", ENTRY)])
# Dead rows that are kept, however few the living are.
MANY = 1024


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


class Delta:
    """Live changes on top of a base of N rows, in memory.

    Added entities have the rows N, N+1, ... in the order they came; a row is not used again. The
    records and vectors of removed ones stay, for calls in other threads that found them before.
    A change costs the same however many there are.

    width (int): Width h of the vectors.
    base_rows (int): N.
    alive (ndarray | None): Which base rows are left (N,) bool, None if all of them.
    added_alive (ndarray | None): The same of the added entities, in the order of their rows.
    """

    def __init__(self, width: int, base_rows: int) -> None:
        self.width = width
        self.base_rows = base_rows
        self.alive: np.ndarray | None = None
        self.added_alive: np.ndarray | None = None
        self._base_alive: np.ndarray | None = None
        self._shadowed: dict[str, int] = {}
        self._rows: dict[str, int] = {}
        self._records: list[str | Entity] = []
        self._names: dict[int, list[tuple[int, int, int, int]]] = {}
        self._stored_names: list[bytes] = []
        self._vectors = GrowingArray((width,), "float32")
        self._owners = GrowingArray((), "int64")
        self._living = GrowingArray((), "bool")
        self._set_table()

    def __len__(self) -> int:
        """RETURNS (int): The number of added entities."""
        return len(self._rows)

    def __bool__(self) -> bool:
        return bool(self._rows or self._shadowed)

    @property
    def next_row(self) -> int:
        """RETURNS (int): The row of the next entity that is added."""
        return self.base_rows + len(self._records)

    @property
    def n_shadowed(self) -> int:
        """RETURNS (int): How many base entities were removed or replaced."""
        return len(self._shadowed)

    # Entities

    def row(self, id_: str) -> int | None:
        """RETURNS (int | None): The row of an added entity."""
        local = self._rows.get(id_)
        return None if local is None else self.base_rows + local

    def is_shadowed(self, id_: str) -> bool:
        """RETURNS (bool): Whether the base's entity of this id was removed or replaced."""
        return id_ in self._shadowed

    def record(self, row: int) -> Entity:
        """RETURNS (Entity): An entity that was added, of a row that this delta has."""
        local = row - self.base_rows
        record = self._records[local]
        if isinstance(record, str):  # read when it is asked for: opening stays fast
            record = self._records[local] = entity_from_dict(json.loads(record))
        return record

    def __iter__(self) -> Iterator[Entity]:
        for local in sorted(self._rows.values()):
            yield self.record(self.base_rows + local)

    def find_names(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Names of added entities, as `NameIndex.find`."""
        names, living, first = self._names, self._living.array, self.base_rows
        found = [
            (place, entry)
            for place, key in enumerate(keys.tolist() if names else ())
            if key in names
            for entry in names[key]
            if first <= entry[0] < first + len(living)  # or added after the mask was taken
            and living[entry[0] - first]
        ]
        places = np.array([place for place, _ in found], dtype=np.int64)
        return places, np.array([entry for _, entry in found], dtype=ENTRY)

    # Vectors

    def search(self, queries: np.ndarray, k: int, alive: np.ndarray | None = None) -> Candidates:
        """Find the k best of the added entities of each query; see `VectorTable.search`.

        alive (ndarray): Which of them may be found, in the order of their rows; the living ones
            where None.
        """
        found = self._table.search(queries, k, self.added_alive if alive is None else alive)
        return Candidates(np.where(found.rows < 0, -1, found.rows + self.base_rows), found.scores)

    def scores(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Exact scores of added entities, -inf for all other rows; see `VectorTable.scores`."""
        return self._table.scores(queries, self._local(rows))

    def vectors_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[ndarray, ndarray]): As `VectorTable.vectors_of`, of added entities."""
        return self._table.vectors_of(self._local(rows))

    def matrix(self) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[ndarray, ndarray]): All vectors of living added entities (V, h), and the
        row of each one's owner (V,), ascending."""
        keep = self._living.array[self._owners.array]
        return self._vectors.array[keep], self._owners.array[keep] + self.base_rows

    def live_rows(self) -> np.ndarray:
        """RETURNS (ndarray): The rows of the living added entities, int64, ascending."""
        return self.base_rows + np.flatnonzero(self._living.array)

    def _local(self, rows: np.ndarray) -> np.ndarray:
        """Rows counted from the first that was added; -1 for what is not alive here."""
        local = np.asarray(rows, dtype=np.int64) - self.base_rows
        living = self._living.array
        inside = (local >= 0) & (local < len(living))
        inside[inside] = living[local[inside]]
        return np.where(inside, local, -1)

    def _set_table(self) -> None:
        vectors, owners = self._vectors.array, self._owners.array
        self._table = VectorTable(vectors, owners, len(self._records))

    # Changes

    def apply(self, changes: Sequence[Change]) -> None:
        """Make changes, in their order, to entities that are all different."""
        for change in changes:
            self._retire(change)
        # Other arrays: what is computed from a mask can be kept with it.
        if any(change.base_row is not None for change in changes) and self._base_alive is not None:
            self.alive = self._base_alive.copy()
        self._add([change for change in changes if change.record is not None])

    def _retire(self, change: Change) -> None:
        old = self._rows.pop(change.id, None)
        if old is not None:
            self._living.array[old] = False
        if change.base_row is not None:
            if self._base_alive is None:
                self._base_alive = np.ones(self.base_rows, dtype=bool)
            self._base_alive[change.base_row] = False
            self._shadowed[change.id] = change.base_row

    def _add(self, changes: Sequence[Change]) -> None:
        first = len(self._records)
        vectors = np.frombuffer(b"".join(c.vectors for c in changes), "<f4")
        counts = [len(change.vectors) // (4 * self.width) for change in changes]
        self._vectors.append(vectors.reshape(-1, self.width))
        self._owners.append(np.repeat(np.arange(first, first + len(changes)), counts))
        self._living.append(np.ones(len(changes), dtype=bool))
        self._records.extend(change.record or "" for change in changes)
        self._stored_names.extend(change.names for change in changes)
        if len(self._rows) + len(changes) < len(self._records):
            self.added_alive = self._living.array.copy()
        self._set_table()  # after the mask: another thread must not find it too short
        for local, change in enumerate(changes, first):
            self._rows[change.id] = local
            for key, entry in np.frombuffer(change.names, NAME).tolist():
                self._names.setdefault(key, []).append((self.base_rows + local, *entry[1:]))

    def changes(self) -> Iterator[Change]:
        """YIELDS (Change): What leads from the base to the entities as they are now."""
        for id_, shadowed in self._shadowed.items():
            if id_ not in self._rows:
                yield Change(id_, shadowed, None)
        by_row = {local: id_ for id_, local in self._rows.items()}
        for local in sorted(by_row):
            record = self._records[local]
            if not isinstance(record, str):
                record = json.dumps(entity_to_dict(record), ensure_ascii=False)
            vectors, _ = self._table.vectors_of(np.array([local]))
            base_row = self._shadowed.get(by_row[local])
            names = self._stored_names[local]
            yield Change(by_row[local], base_row, record, names, vectors.astype("<f4").tobytes())

    def renewed(self) -> Delta:
        """RETURNS (Delta): This one, or where most of what it holds is removed by now, one without
        that, whose rows are others."""
        if len(self._records) - len(self._rows) <= max(MANY, len(self._rows)):
            return self
        return Delta.of(self.width, self.base_rows, self.changes())

    @classmethod
    def of(cls, width: int, base_rows: int, changes: Iterable[Change]) -> Delta:
        """RETURNS (Delta): These changes on top of a base."""
        delta = cls(width, base_rows)
        delta.apply(list(changes))
        return delta
