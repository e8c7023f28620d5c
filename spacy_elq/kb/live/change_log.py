"""The changes of a knowledge base on disk: one SQLite file that several processes share.

It has one row per changed entity, with a rising number: a reader reads the rows above the last
number that it knows. A transaction is on disk as a whole when it ends, or not at all; if a process
dies, the next one repairs the file from the journal. SQLite's lock makes writers take turns, while
readers only wait for a commit to end. (WAL mode would need shared memory in a writable directory,
and would keep changes in a second file, which a copy of the first would lack.)
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import ElqError, Errors
from ..files.database import CREATING, WRITING, check_schema, open_database
from .delta import Change

# Seconds to wait for another writer.
WAIT = 5.0
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta (identity TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS changes (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        base_row INTEGER,
        record TEXT,
        names BLOB NOT NULL,
        vectors BLOB NOT NULL
    )""",
)
INSERT = """
INSERT OR REPLACE INTO changes (id, base_row, record, names, vectors) VALUES (?, ?, ?, ?, ?)
"""


class ChangeLog:
    """Changes on top of one generation of a knowledge base's files. Not thread-safe.

    path (Path): The SQLite file; the first change makes it.
    identity (str): Identity of the generation (`Manifest.identity`).
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self.identity = identity
        self.last = 0
        self._connection: sqlite3.Connection | None = None
        self._inherited: list[sqlite3.Connection] = []
        self._pid = 0
        self._seen: int | None = None

    def _open(self) -> sqlite3.Connection | None:
        if self._connection is not None and self._pid != os.getpid():
            # A forked process must neither use nor close it: that might end a transaction of its
            # parent.
            self._inherited.append(self._connection)
            self._connection = None
        if self._connection is None:
            # Repairs an interrupted transaction; opens a write-protected file read-only.
            return self._connect(WRITING) if self.path.exists() else None
        return self._connection

    def _connect(self, access: str) -> sqlite3.Connection:
        options: dict[str, Any] = {"isolation_level": None, "check_same_thread": False}
        self._connection = open_database(self.path, access, timeout=WAIT, **options)
        self._pid = os.getpid()
        self._seen = None  # versions belong to one connection
        # Sync the directory after a transaction too; otherwise a power failure might bring back
        # the journal, and undo the transaction.
        self._connection.execute("PRAGMA synchronous=EXTRA")
        return self._connection

    def is_new(self) -> bool:
        """RETURNS (bool): Whether there may be unread changes. Takes microseconds."""
        with self._reporting():
            db = self._open()
            return db is not None and self._version(db) != self._seen

    def read(self) -> list[Change]:
        """RETURNS (list[Change]): The unread changes, in order."""
        with self._reporting():
            db = self._open()
            if db is None:
                return []
            # Before the rows: a change between the two is read again instead of lost.
            self._seen = self._version(db)
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                return []
            check_schema(db, SCHEMA)
            self._check(db)
            query = "SELECT number, id, base_row, record, names, vectors FROM changes"
            rows = db.execute(f"{query} WHERE number > ? ORDER BY number", (self.last,)).fetchall()
            if rows:
                self.last = rows[-1][0]
            return [Change(*row[1:]) for row in rows]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep other writers out. What the block writes is on disk when it ends; an exception
        undoes all of it."""
        with self._reporting(writing=True):
            db = self._open() or self._connect(CREATING)
            db.execute("BEGIN IMMEDIATE")
        last = self.last
        try:
            yield
            with self._reporting(writing=True):
                db.execute("COMMIT")
        except BaseException:
            self.last = last
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def write(self, changes: Iterable[Change]) -> None:
        """Add changes within a transaction. They count as read."""
        with self._reporting(writing=True):
            db = self._prepared()
            for change in changes:
                self.last = db.execute(INSERT, change).lastrowid or 0

    def clear(self) -> None:
        """Remove all changes within a transaction. Readers must start over after this."""
        with self._reporting(writing=True):
            self._prepared().execute("DELETE FROM changes")

    def _prepared(self) -> sqlite3.Connection:
        db = self._open() or self._connect(CREATING)
        for statement in SCHEMA:
            db.execute(statement)
        check_schema(db, SCHEMA)  # before a view is read in place of a table
        if not db.execute("SELECT 1 FROM meta").fetchone():
            db.execute("INSERT INTO meta VALUES (?)", (self.identity,))
        self._check(db)
        return db

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None and self._pid == os.getpid():
            self._connection.close()
        self._connection = None

    def _version(self, db: sqlite3.Connection) -> int:
        return int(db.execute("PRAGMA data_version").fetchone()[0])

    def _check(self, db: sqlite3.Connection) -> None:
        (identity,) = db.execute("SELECT identity FROM meta").fetchone()
        if identity != self.identity:
            reason = "they belong to another knowledge base"
            raise ElqError(Errors.ELQ216.format(path=self.path, reason=reason))

    @contextmanager
    def _reporting(self, *, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as err:
            if "locked" in str(err):
                message = Errors.ELQ240.format(path=self.path.parent)
            elif writing and isinstance(err, sqlite3.OperationalError):
                message = Errors.ELQ241.format(path=self.path, reason=err)
            else:
                message = Errors.ELQ216.format(path=self.path, reason=err)
            raise ElqError(message) from None
