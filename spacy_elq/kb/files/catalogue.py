"""Entity records in SQLite: read-only after the build, and never all in memory."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ...entities.records import alias_list, parse_aliases, read_popularity
from ...errors import ElqError, Errors
from ...types import Entity
from .database import CREATING, IMMUTABLE, check_schema, open_database

BATCH = 10_000
# Number of records that `records` caches, some 10 MB.
RECENT = 10_000
# `sqlite3.threadsafety` of a library whose connections threads may share.
SERIALIZED = 3
COLUMNS = "id, title, description, aliases, type, extra"
SCHEMA = """
CREATE TABLE entities (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    aliases TEXT NOT NULL,
    type TEXT NOT NULL,
    extra TEXT NOT NULL
)
"""
UNIQUE_IDS = "CREATE UNIQUE INDEX entities_id ON entities (id)"
# Finds the rows of a type without reading the records.
BY_TYPE = "CREATE INDEX entities_type ON entities (type)"


def _to_columns(row: int, entity: Entity) -> tuple[Any, ...]:
    aliases = json.dumps(alias_list(entity), ensure_ascii=False) if entity.aliases else ""
    fields = dict(entity.extra)
    if entity.popularity is not None:
        fields["popularity"] = entity.popularity  # no column: that of earlier releases stays
    extra = json.dumps(fields, ensure_ascii=False) if fields else ""
    return row, entity.id, entity.title, entity.description, aliases, entity.type, extra


def _to_entity(columns: Sequence[Any]) -> Entity:
    if not all(isinstance(column, str) for column in columns):
        raise TypeError("a value is not a string")
    id_, title, description, aliases, type_, extra = columns
    names, counts, linked = parse_aliases(json.loads(aliases) if aliases else ())
    fields = dict(json.loads(extra)) if extra else {}
    popularity = _number(fields.pop("popularity", None))
    return Entity(id_, title, description, names, type_, fields, counts, popularity, linked)


def _number(value: Any) -> float | None:
    try:
        return read_popularity(value, "")
    except ElqError:  # of an earlier release, for which it was any field
        return None


class Catalogue:
    """The records of a knowledge base by row (0..N-1) and by id.

    Threads may share it, and it survives a fork and a pickle: each thread of each process opens a
    connection on first use. Once the file is replaced or gone, threads that come later share the
    connection of the first.

    path (Path): The SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._file = _identity(self.path)
        self._local = threading.local()
        self._recent: dict[int, Entity] = {}
        # Open now, so that replacing the file later can't switch it.
        self._first = self._local.db = self._open()
        self._pid = self._local.pid = os.getpid()

    @classmethod
    def build(cls, path: Path, entities: Iterable[Entity]) -> Catalogue:
        """Write a new catalogue. Entities get their rows in the order given.

        path (Path): A file that does not exist yet.
        """
        db = open_database(path, CREATING)
        try:
            # Both off, because an interrupted build starts over anyway.
            db.execute("PRAGMA journal_mode=OFF")
            db.execute("PRAGMA synchronous=OFF")
            db.execute(SCHEMA)
            numbered = (_to_columns(row, entity) for row, entity in enumerate(entities))
            while batch := list(islice(numbered, BATCH)):
                db.executemany("INSERT INTO entities VALUES (?, ?, ?, ?, ?, ?, ?)", batch)
            _index_ids(db)
            db.execute(BY_TYPE)
            db.commit()
        finally:
            db.close()
        return cls(path)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    @property
    def _db(self) -> sqlite3.Connection:
        # A forked process must not use its parent's SQLite connection.
        if getattr(self._local, "pid", None) != os.getpid():
            self._local.db, self._local.pid = self._connection(), os.getpid()
        return self._local.db

    def _connection(self) -> sqlite3.Connection:
        """RETURNS (Connection): One for this thread, or that of the first thread: SQLite lets its
        callers take turns."""
        try:
            return self._open()
        except ElqError:
            if self._pid != os.getpid() or sqlite3.threadsafety != SERIALIZED:
                raise
            return self._first

    def _open(self) -> sqlite3.Connection:
        self._check_file()
        try:
            db = open_database(self.path.resolve(), IMMUTABLE, check_same_thread=False)
            check_schema(db, (SCHEMA, UNIQUE_IDS, BY_TYPE))
        except sqlite3.DatabaseError as err:
            raise self._damaged(err) from None
        self._check_file()  # it may have been replaced meanwhile
        return db

    def _check_file(self) -> None:
        try:
            found = _identity(self.path)
        except OSError as err:
            raise ElqError(Errors.ELQ272.format(path=self.path, reason=err.strerror)) from None
        if found != self._file:
            # In another file, the same rows are other entities.
            raise ElqError(Errors.ELQ222.format(path=self.path))

    def __len__(self) -> int:
        # Rows are 0..N-1 without gaps. COUNT(*) would read the whole table.
        (last,) = self._one("SELECT MAX(row) FROM entities") or (None,)
        return 0 if last is None else last + 1

    def __iter__(self) -> Iterator[Entity]:
        return self.iterate()

    def iterate(self, start: int = 0) -> Iterator[Entity]:
        """YIELDS (Entity): The records from row `start` on, in row order."""
        query = f"SELECT {COLUMNS} FROM entities WHERE row >= ? ORDER BY row"
        return map(self._entity, self._all(query, (start,)))

    def records(self, rows: Sequence[int]) -> list[Entity]:
        """RETURNS (list[Entity]): The records of these rows, in the order given, with repeats."""
        wanted = {int(row) for row in rows}
        found = {row: entity for row in wanted if (entity := self._recent.get(row))}
        read = self._select(COLUMNS, wanted - found.keys()) if len(found) < len(wanted) else ()
        found.update((row, self._entity(columns)) for row, *columns in read)
        self._remember(found)
        return [found[row] for row in self._known(rows, found)]

    def ids(self, rows: Sequence[int]) -> list[str]:
        """RETURNS (list[str]): The ids of these rows, in the order given, with repeats."""
        found = dict(self._select("id", rows))
        return [found[row] for row in self._known(rows, found)]

    def _entity(self, columns: Sequence[Any]) -> Entity:
        try:
            return _to_entity(columns)
        except (ValueError, TypeError, KeyError, RecursionError) as err:
            raise self._damaged(err) from None

    def _damaged(self, reason: object) -> ElqError:
        problem = f"{self.path.name} is damaged ({reason})"
        return ElqError(Errors.ELQ223.format(path=self.path.parent, problem=problem))

    def _known(self, rows: Sequence[int], found: dict[int, Any]) -> Iterator[int]:
        for row in map(int, rows):
            if row not in found:
                raise ElqError(Errors.ELQ220.format(row=row, last=len(self) - 1))
            yield row

    def _remember(self, found: dict[int, Entity]) -> None:
        # The same few entities are candidates again and again.
        if len(self._recent) + len(found) > RECENT:
            self._recent = {}
        self._recent.update(found)

    def _select(self, columns: str, rows: Iterable[int]) -> Iterator[Any]:
        # A JSON array as parameter: any number of rows, and one cached statement.
        wanted = json.dumps(sorted(set(map(int, rows))))
        query = f"SELECT row, {columns} FROM entities WHERE row IN (SELECT value FROM json_each(?))"
        return self._all(query, (wanted,))

    def row(self, id_: str) -> int | None:
        """RETURNS (int | None): The row of an entity, None for an unknown id."""
        found = self._one("SELECT row FROM entities WHERE id = ?", (id_,))
        return found[0] if found else None

    def rows(self, ids: Sequence[str]) -> list[int | None]:
        """RETURNS (list[int | None]): The rows of many entities, None for an unknown id."""
        query = "SELECT id, row FROM entities WHERE id IN (SELECT value FROM json_each(?))"
        found = dict(self._all(query, (json.dumps(list(ids)),)))
        return [found.get(id_) for id_ in ids]

    def rows_of_types(self, types: Sequence[str]) -> np.ndarray:
        """RETURNS (ndarray): The rows of the entities that have one of the types, int64."""
        # As one string: a million rows would take a second as Python integers.
        query = "SELECT group_concat(row) FROM entities WHERE type = ?"
        texts = (text for type_ in types for (text,) in self._all(query, (type_,)))
        found = [np.fromstring(text, dtype=np.int64, sep=",") for text in texts if text]
        return np.concatenate([np.zeros(0, np.int64), *found])

    def types(self) -> list[str]:
        """RETURNS (list[str]): The types of entities, the most frequent first."""
        query = "SELECT type FROM entities GROUP BY type ORDER BY COUNT(*) DESC, type"
        return [type_ for (type_,) in self._all(query)]

    def problems(self) -> Iterator[str]:
        """YIELDS (str): What is wrong with the file, for `kb check`; reads all of it."""
        (found,) = self._one("PRAGMA integrity_check(1)") or ("",)
        if found != "ok":
            yield f"{self.path.name}: {' '.join(str(found).split())}"
        for _ in self:  # each record can be read
            pass

    def _all(self, query: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(query, parameters)
        except sqlite3.DatabaseError as err:
            raise self._damaged(err) from None

    def _one(self, query: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        return next(self._all(query, parameters), None)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _index_ids(db: sqlite3.Connection) -> None:
    try:
        db.execute(UNIQUE_IDS)
    except sqlite3.IntegrityError:
        first, second, id_ = db.execute(
            "SELECT a.row, b.row, a.id FROM (SELECT id, MIN(row) AS row FROM entities GROUP BY id "
            "HAVING COUNT(*) > 1) AS a JOIN entities AS b ON b.id = a.id AND b.row > a.row "
            "ORDER BY b.row LIMIT 1"
        ).fetchone()
        raise ElqError(Errors.ELQ207.format(id=id_, first=first + 1, second=second + 1)) from None
