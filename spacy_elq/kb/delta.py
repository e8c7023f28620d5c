"""Entities added, changed and removed since a knowledge base was built."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..corpora.entities import entity_from_dict, entity_to_dict
from ..errors import ElqError, Errors
from ..types import Entity
from .names import ENTRY, name_entries
from .store import atomic_file
from .vectors import VectorTable

SCHEMA = """
CREATE TABLE meta (width INTEGER NOT NULL, base_rows INTEGER NOT NULL);
CREATE TABLE removed (row INTEGER PRIMARY KEY);
CREATE TABLE entities (row INTEGER PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE vectors (place INTEGER PRIMARY KEY, owner INTEGER NOT NULL, vector BLOB NOT NULL);
"""


class Delta:
    """Live changes on top of a base of N rows, all in memory.

    Added entities have the rows N, N+1, ... in the order they came; the row of one that is removed
    or replaced is not used again until the delta is saved and loaded.

    width (int): Width h of the vectors.
    base_rows (int): N.
    removed (set[int]): Base rows that were removed or replaced.
    entities (dict[int, Entity]): Row → added entity.
    """

    def __init__(self, width: int, base_rows: int) -> None:
        self.width = width
        self.base_rows = base_rows
        self.next_row = base_rows
        self.removed: set[int] = set()
        self.entities: dict[int, Entity] = {}
        self._rows: dict[str, int] = {}
        self._names: dict[int, list[tuple[int, int, int, int]]] = {}
        self._vectors = np.zeros((0, width), dtype=np.float32)
        self._owners = np.zeros(0, dtype=np.int64)

    def __bool__(self) -> bool:
        return bool(self.removed or self.entities)

    def row(self, id_: str) -> int | None:
        """RETURNS (int | None): The row of an added entity."""
        return self._rows.get(id_)

    def find_names(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Names of added entities, as `NameIndex.find`."""
        if not self.entities:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=ENTRY)
        known = np.fromiter(self._names, dtype=np.uint64, count=len(self._names))
        hits = np.flatnonzero(np.isin(keys, known))
        found = [self._names[key] for key in keys[hits].tolist()]
        entries = np.array([entry for names in found for entry in names], dtype=ENTRY)
        return np.repeat(hits, [len(names) for names in found]), entries

    @cached_property
    def table(self) -> VectorTable:
        """RETURNS (VectorTable): The added vectors; owners are rows, not counted from N."""
        return VectorTable(self._vectors, self._owners, len(self.entities))

    @cached_property
    def alive(self) -> np.ndarray | None:
        """RETURNS (ndarray | None): Which base rows are left (N,) bool, None if all of them."""
        if not self.removed:
            return None
        alive = np.ones(self.base_rows, dtype=bool)
        alive[list(self.removed)] = False
        return alive

    def add(self, entities: Sequence[Entity], vectors: np.ndarray, owners: np.ndarray) -> None:
        """Add entities whose ids are not among the added ones.

        vectors (ndarray): (V, h), float32.
        owners (ndarray): Index into `entities` of each vector, (V,), ascending.
        """
        for row, entity in enumerate(entities, self.next_row):
            self.entities[row] = entity
            self._rows[entity.id] = row
            for key, entry in name_entries(row, entity):
                self._names.setdefault(key, []).append(entry)
        # New arrays, not grown in place: a search under way in another thread keeps its own.
        self._vectors = np.concatenate([self._vectors, vectors])
        self._owners = np.concatenate([self._owners, owners + self.next_row])
        self.next_row += len(entities)
        self._changed()

    def remove(self, rows: Sequence[int]) -> None:
        """Remove entities, whether of the base or added."""
        self.removed.update(row for row in rows if row < self.base_rows)
        added = [row for row in rows if row >= self.base_rows]
        for row in added:
            entity = self.entities.pop(row)
            del self._rows[entity.id]
            for key, entry in name_entries(row, entity):
                self._forget(key, entry)
        keep = ~np.isin(self._owners, added)
        self._vectors, self._owners = self._vectors[keep], self._owners[keep]
        self._changed()

    def _forget(self, key: int, entry: tuple[int, int, int, int]) -> None:
        self._names[key].remove(entry)
        if not self._names[key]:
            del self._names[key]

    def _changed(self) -> None:
        self.__dict__.pop("table", None)
        self.__dict__.pop("alive", None)

    def to_state(self) -> dict[str, Any]:
        """RETURNS (dict): Everything as plain values, arrays as little-endian bytes."""
        places = {row: place for place, row in enumerate(self.entities)}
        return {
            "width": self.width,
            "base_rows": self.base_rows,
            "removed": sorted(self.removed),
            "records": [entity_to_dict(entity) for entity in self.entities.values()],
            "owners": [places[owner] for owner in self._owners.tolist()],
            "vectors": self._vectors.astype("<f4").tobytes(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Delta:
        """Read what `to_state` returned; rows are numbered anew."""
        delta = cls(state["width"], state["base_rows"])
        vectors = np.frombuffer(state["vectors"], dtype="<f4").astype(np.float32)
        entities = [entity_from_dict(record) for record in state["records"]]
        owners = np.asarray(state["owners"], dtype=np.int64)
        delta.add(entities, vectors.reshape(len(owners), delta.width), owners)
        delta.removed.update(state["removed"])
        return delta

    def save(self, path: Path) -> None:
        """Write everything as one SQLite file, which appears only when it is whole."""
        with atomic_file(path) as work:
            _write(work, self.to_state())

    @classmethod
    def load(cls, path: Path, width: int, base_rows: int) -> Delta:
        """Read what `save` wrote.

        width, base_rows (int): Of the knowledge base that the changes must belong to.
        """
        try:
            state = _read(path)
        except (sqlite3.Error, TypeError, ValueError, KeyError) as err:
            raise ElqError(Errors.ELQ216.format(path=path, reason=err)) from None
        if (state["width"], state["base_rows"]) != (width, base_rows):
            reason = "they belong to another knowledge base"
            raise ElqError(Errors.ELQ216.format(path=path, reason=reason))
        return cls.from_state(state)


def _write(path: Path, state: dict[str, Any]) -> None:
    db = sqlite3.connect(path)
    try:
        db.executescript(SCHEMA)
        db.execute("INSERT INTO meta VALUES (?, ?)", (state["width"], state["base_rows"]))
        db.executemany("INSERT INTO removed VALUES (?)", ((row,) for row in state["removed"]))
        records = (json.dumps(record, ensure_ascii=False) for record in state["records"])
        db.executemany("INSERT INTO entities VALUES (?, ?)", enumerate(records))
        db.executemany("INSERT INTO vectors VALUES (?, ?, ?)", _vector_rows(state))
        db.commit()
    finally:
        db.close()


def _vector_rows(state: dict[str, Any]) -> Iterator[tuple[int, int, bytes]]:
    size = 4 * state["width"]
    for place, owner in enumerate(state["owners"]):
        yield place, owner, state["vectors"][place * size : (place + 1) * size]


def _read(path: Path) -> dict[str, Any]:
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        width, base_rows = db.execute("SELECT width, base_rows FROM meta").fetchone()
        records = db.execute("SELECT record FROM entities ORDER BY row")
        vectors = db.execute("SELECT owner, vector FROM vectors ORDER BY place").fetchall()
        return {
            "width": width,
            "base_rows": base_rows,
            "removed": [row for (row,) in db.execute("SELECT row FROM removed")],
            "records": [json.loads(record) for (record,) in records],
            "owners": [owner for owner, _ in vectors],
            "vectors": b"".join(vector for _, vector in vectors),
        }
    finally:
        db.close()
