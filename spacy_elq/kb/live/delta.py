"""The live changes of a knowledge base in memory, in a form that can be searched."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import nan
from typing import NamedTuple

import numpy as np

from ...entities.records import entity_from_dict, entity_to_dict
from ...errors import ElqError, Errors
from ...types import Entity
from ..files.manifest import PopularityScale
from ..files.names import ENTRY, Entry, name_entries
from ..files.popularity import log_popularity, scale_of
from ..search.file_vectors import FileVectorStore
from ..search.vector_store import SearchResult

# A name of an added entity: its loose key, and an `ENTRY` whose row is ignored.
NAME = np.dtype([("key", "<u8"), ("entry", ENTRY)])
# Number of dead rows above which a delta is renewed, if there are fewer living ones.
MANY = 1024
# The moment of removal of an entity that is not removed.
NEVER = np.iinfo(np.int64).max
FIRST_CAPACITY = 16


class GrowingArray:
    """An array to which rows are appended in amortised constant time.

    Arrays returned by `array` before never change, so searches in other threads can continue.

    row_shape (tuple[int, ...]): Shape of one row.
    dtype (str): For example "float32".
    """

    def __init__(self, row_shape: tuple[int, ...], dtype: str) -> None:
        self._buffer = np.empty((FIRST_CAPACITY, *row_shape), dtype=dtype)
        self._rows = 0

    @property
    def array(self) -> np.ndarray:
        """RETURNS (ndarray): The rows (n, *row_shape), without a copy."""
        return self._buffer[: self._rows]

    def append(self, block: np.ndarray) -> None:
        """Append rows (n, *row_shape)."""
        end = self._rows + len(block)
        if end > len(self._buffer):
            shape = (max(end, 2 * len(self._buffer)), *self._buffer.shape[1:])
            grown = np.empty(shape, self._buffer.dtype)
            grown[: self._rows] = self.array
            self._buffer = grown
        self._buffer[self._rows : end] = block
        self._rows = end


class Change(NamedTuple):
    """The addition, replacement or removal of one entity.

    id (str): Id of the entity.
    base_row (int | None): Its row in the files, None if they do not have it.
    record (str | None): The entity as JSON, None if it is removed.
    names (bytes): An array of type `NAME`.
    vectors (bytes): An array (n, h) of little-endian float32.
    """

    id: str
    base_row: int | None
    record: str | None
    names: bytes = b""
    vectors: bytes = b""

    @classmethod
    def of(cls, entity: Entity, base_row: int | None, vectors: np.ndarray) -> Change:
        """RETURNS (Change): The addition of an entity, or the replacement of an old one."""
        record = json.dumps(entity_to_dict(entity), ensure_ascii=False)
        names = _packed_names(entity)
        return cls(entity.id, base_row, record, names, vectors.astype("<f4").tobytes())

    def problem(self, width: int, base_rows: int) -> str:
        """RETURNS (str): Why this is no change of a knowledge base of this width with so many rows
        in its files; "" if it may be one."""
        row = self.base_row
        types = (str, int | None, str | None, bytes, bytes)
        if not all(map(isinstance, self, types)):
            return "has a value of a wrong type"
        if row is not None and not 0 <= row < base_rows:
            return f"replaces row {row}, which is not there"
        if len(self.names) % NAME.itemsize or len(self.vectors) % (4 * width or 1):
            return "has names or vectors that are cut"
        if self.record is not None and not self.vectors:
            return "has no vector"
        return ""

    def contradictions(self) -> Iterator[str]:
        """YIELDS (str): What in this change does not fit the rest of it."""
        if self.record is None:
            return
        try:
            entity = entity_from_dict(json.loads(self.record))
        except (ValueError, RecursionError):
            yield "has a record that can't be read"
            return
        if entity.id != self.id:
            yield f"has the record of {entity.id!r}"
        if self.names != _packed_names(entity):
            yield "has other names than its record"
        if not np.isfinite(np.frombuffer(self.vectors, "<f4")).all():
            yield "has vectors that are not finite"

    def with_new_names(self) -> Change:
        """RETURNS (Change): This change, with the names as this release computes them."""
        if self.record is None:
            return self
        return self._replace(names=_packed_names(_parse(self.record, self.id)))


def _parse(record: str, id_: str) -> Entity:
    try:
        return entity_from_dict(json.loads(record))
    except (ValueError, RecursionError) as err:
        reason = f"the record of {id_!r}: {err}"
        raise ElqError(Errors.ELQ216.format(path="delta.sqlite", reason=reason)) from None


def _log_popularity(change: Change) -> float:
    record = change.record or ""
    if '"popularity"' not in record:  # records are parsed on demand: opening stays fast
        return nan
    return log_popularity(_parse(record, change.id))


def _packed_names(entity: Entity) -> bytes:
    return np.array(list(name_entries(0, entity)), dtype=NAME).tobytes()


class _Rows:
    """All entities ever added, shared by successive deltas.

    Rows are appended and never removed; a removal is recorded with its moment, the number of the
    change. A delta only sees the rows and removals up to its own moment, so later changes do not
    affect it.

    moment (int): Moment of the last change.
    """

    def __init__(self, width: int) -> None:
        self.moment = 0
        self.ids: list[str] = []
        self.records: list[str | Entity] = []
        self.names: dict[int, list[Entry]] = {}
        self.stored_names: list[bytes] = []
        self.vectors = GrowingArray((width,), "float32")
        self.owners = GrowingArray((), "int64")
        self.popularity = GrowingArray((), "float32")
        self.removed = GrowingArray((), "int64")
        self._latest: dict[str, int] = {}
        self._before: list[int] = []  # the previous row of the same id, or -1
        self._shadowed: dict[str, tuple[int, int]] = {}

    def row(self, id_: str, end: int) -> int:
        """RETURNS (int): The last row before `end` with this id, -1 if there is none."""
        row = self._latest.get(id_, -1)
        while row >= end:
            row = self._before[row]
        return row

    def shadowed(self, id_: str, moment: int) -> int | None:
        """RETURNS (int | None): The row in the files of an entity that had been removed or replaced
        at that moment."""
        row, since = self._shadowed.get(id_, (None, NEVER))
        return row if since <= moment else None

    def all_shadowed(self) -> list[str]:
        """RETURNS (list[str]): The ids of all entities of the files ever removed or replaced."""
        return list(self._shadowed)

    def add(self, changes: Sequence[Change], first_row: int) -> None:
        """Add entities. No delta sees them yet.

        first_row (int): Row number of the first entity ever added.
        """
        first, width = len(self.records), self.vectors.array.shape[1]
        vectors = np.frombuffer(b"".join(c.vectors for c in changes), "<f4")
        counts = [len(change.vectors) // (4 * width) for change in changes]
        self.vectors.append(vectors.reshape(-1, width))
        self.owners.append(np.repeat(np.arange(first, first + len(changes)), counts))
        self.popularity.append(np.array([_log_popularity(change) for change in changes], "f4"))
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
        """Mark the version of an entity before row `end` as removed from this moment on.

        RETURNS (bool): Whether that version was an added one.
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
    """Live changes on top of a base of N rows, at one moment, in memory. A delta never changes:
    `apply` makes another one, at a cost that does not depend on the number of earlier changes.

    Added entities have the rows N, N+1, ... in the order of addition; no row is used twice.

    width (int): Width h of the vectors.
    base_rows (int): Number of rows N of the base.
    alive (ndarray | None): Mask (N,) of the remaining base rows, None if all remain. The same array
        object until it changes.
    n_shadowed (int): Number of base entities that were removed or replaced.
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
        """RETURNS (Delta): These changes on top of a base of `base_rows` rows."""
        rows = _Rows(width)
        table = FileVectorStore(rows.vectors.array, rows.owners.array, 0)
        return cls(width, base_rows, None, 0, rows, table).apply(list(changes))

    def __len__(self) -> int:
        """RETURNS (int): The number of living added entities."""
        return self._living

    def __bool__(self) -> bool:
        return bool(self._living or self.n_shadowed)

    @property
    def _end(self) -> int:
        """RETURNS (int): The number of entities ever added."""
        return self._table.entities

    @property
    def next_row(self) -> int:
        """RETURNS (int): The row of the next added entity."""
        return self.base_rows + self._end

    @cached_property
    def added_alive(self) -> np.ndarray | None:
        """RETURNS (ndarray | None): Mask of the remaining added entities in row order; None if all
        remain."""
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
        """RETURNS (Entity): The added entity in a row of this delta."""
        local = row - self.base_rows
        record = self._rows.records[local]
        if isinstance(record, str):  # parsed on demand: opening stays fast
            record = self._rows.records[local] = _parse(record, self._rows.ids[local])
        return record

    def __iter__(self) -> Iterator[Entity]:
        return map(self.record, self.live_rows().tolist())

    def find_names(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find names of added entities, see `NameIndex.find`."""
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

    # Popularity

    def log_popularity(self, rows: np.ndarray) -> np.ndarray:
        """RETURNS (ndarray): The log popularity of added entities, float32; NaN if unknown."""
        return self._rows.popularity.array[rows - self.base_rows]

    @cached_property
    def popularity_scale(self) -> PopularityScale | None:
        """RETURNS (PopularityScale | None): Of the living added entities."""
        return scale_of(self.log_popularity(self.live_rows()))

    # Vectors

    def search(self, queries: np.ndarray, k: int, alive: np.ndarray | None = None) -> SearchResult:
        """Find the k best added entities of each query, see `FileVectorStore.search`.

        alive (ndarray | None): Mask of the ones to find, in row order; None for the living.
        """
        found = self._table.search(queries, k, self.added_alive if alive is None else alive)
        return SearchResult(np.where(found.rows < 0, -1, found.rows + self.base_rows), found.scores)

    def scores(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Score added entities exactly, see `FileVectorStore.scores`; -inf for other rows."""
        return self._table.scores(queries, self._local(rows))

    def vectors_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Get all vectors of some added entities, see `FileVectorStore.vectors_of`."""
        return self._table.vectors_of(self._local(rows))

    def matrix(self) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[ndarray, ndarray]): All vectors of living added entities (V, h), and the
        entity row of each (V,), ascending."""
        vectors, owners = self._table.matrix(self.added_alive)
        return vectors, owners + self.base_rows

    def live_rows(self) -> np.ndarray:
        """RETURNS (ndarray): The rows of the living added entities, int64, ascending."""
        return self.base_rows + np.flatnonzero(self._is_living(slice(0, self._end)))

    def _local(self, rows: np.ndarray) -> np.ndarray:
        """RETURNS (ndarray): Rows counted from the first added one; -1 for those not alive here."""
        local = np.asarray(rows, dtype=np.int64) - self.base_rows
        inside = (local >= 0) & (local < self._end)
        inside[inside] = self._is_living(local[inside])
        return np.where(inside, local, -1)

    # Changes

    def apply(self, changes: Sequence[Change]) -> Delta:
        """RETURNS (Delta): This delta with further changes, each of another entity."""
        if not changes:
            return self
        rows = self._rows
        if rows.moment != self._moment:  # another change followed this delta, or was interrupted
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
        """RETURNS (tuple): The mask of the remaining base rows, and the number of rows removed."""
        gone = [c.base_row for c in changes if c.base_row is not None]
        gone = [row for row in gone if self.alive is None or self.alive[row]]
        if not gone:
            return self.alive, 0
        alive = np.ones(self.base_rows, bool) if self.alive is None else self.alive.copy()
        alive[gone] = False
        return alive, len(gone)

    def changes(self) -> Iterator[Change]:
        """YIELDS (Change): One change per entity that leads from the base to this delta."""
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
        """RETURNS (Delta): This delta; if most of its rows are dead, one without them, which
        renumbers its rows."""
        if self._end - self._living <= max(MANY, self._living):
            return self
        return Delta.of(self.width, self.base_rows, self.changes())
