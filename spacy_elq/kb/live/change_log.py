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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

from ...errors import ElqError, Errors
from ..files.database import CREATING, WRITING, check_schema, open_database
from ..files.manifest import DELTA_MADE
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
        vectors BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
)
CHECKSUM = ",\n        checksum INTEGER NOT NULL"
# As made before there were checksums; such a file stays as it is.
FIRST_SCHEMA = tuple(statement.replace(CHECKSUM, "") for statement in SCHEMA)
COLUMNS = "id, base_row, record, names, vectors"
INSERT = f"INSERT OR REPLACE INTO changes ({COLUMNS}, checksum) VALUES (?, ?, ?, ?, ?, ?)"
FIRST_INSERT = f"INSERT OR REPLACE INTO changes ({COLUMNS}) VALUES (?, ?, ?, ?, ?)"


class ChangeLog:
    """Changes on top of one generation of a knowledge base's files. Not thread-safe.

    path (Path): The SQLite file; the first change makes it, and beside it an empty file that says
        so: without its changes, a knowledge base would be another one, and nobody would know.
    identity (str): Identity of the generation (`Manifest.identity`).
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self.identity = identity
        self.last = 0
        self._connection: sqlite3.Connection | None = None
        self._inherited: list[sqlite3.Connection] = []
        self._pid = 0
        self._wrote = False
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
        if self._connection is None and not self.path.exists():
            return False
        with self._reporting():
            db = self._open()
            return db is not None and self._version(db) != self._seen

    def read(self) -> list[Change]:
        """RETURNS (list[Change]): The unread changes, in order."""
        with self._reporting():
            made = self._mark.exists()  # before the file: the first change makes it after the file
            db = self._open()
            if db is not None:
                # Before the rows: a change between the two is read again instead of lost.
                self._seen = self._version(db)
            if db is None or not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                if made:
                    raise ElqError(Errors.ELQ282.format(path=self.path, mark=self._mark.name))
                return []
            self._check(db)
            if not self.last:
                self._check_pages(db)
            return self._unread(db)

    def _unread(self, db: sqlite3.Connection) -> list[Change]:
        checksum = "checksum" if _has_checksums(db) else "NULL"
        query = f"SELECT number, {checksum}, {COLUMNS} FROM changes"
        rows = db.execute(f"{query} WHERE number > ? ORDER BY number", (self.last,)).fetchall()
        changes = [Change(*row[2:]) for row in rows]
        for (number, expected, *_), change in zip(rows, changes, strict=True):
            if expected not in (None, checksum_of(change)):
                raise self._unreadable(f"the checksum of change {number} is wrong")
        if rows:
            self.last = rows[-1][0]
        return changes

    @property
    def _mark(self) -> Path:
        return self.path.with_name(DELTA_MADE)

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
            if self._wrote:
                with suppress(OSError):  # the change is safe
                    self._mark.touch()
        except BaseException:
            self.last = last
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def write(self, changes: Iterable[Change]) -> None:
        """Add changes within a transaction. They count as read."""
        with self._reporting(writing=True):
            db = self._prepared()
            has_checksums = _has_checksums(db)
            for change in changes:
                if has_checksums:
                    done = db.execute(INSERT, (*change, checksum_of(change)))
                else:
                    done = db.execute(FIRST_INSERT, change)
                self.last, self._wrote = done.lastrowid or 0, True

    def clear(self) -> None:
        """Remove all changes within a transaction. Readers must start over after this."""
        with self._reporting(writing=True):
            self._prepared().execute("DELETE FROM changes")

    def _prepared(self) -> sqlite3.Connection:
        db = self._open() or self._connect(CREATING)
        for statement in SCHEMA:
            db.execute(statement)
        check_schema(db, SCHEMA, FIRST_SCHEMA)
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
        check_schema(db, SCHEMA, FIRST_SCHEMA)
        if db.execute("SELECT identity FROM meta").fetchall() != [(self.identity,)]:
            raise self._unreadable("they belong to another knowledge base")

    def _check_pages(self, db: sqlite3.Connection) -> None:
        found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise self._unreadable(" ".join(str(found).split()))

    def _unreadable(self, reason: object) -> ElqError:
        return ElqError(Errors.ELQ216.format(path=self.path, reason=reason))

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
                raise self._unreadable(err) from None
            raise ElqError(message) from None


def checksum_of(change: Change) -> int:
    """RETURNS (int): A checksum of a change, 32 bits; without the names, which another release may
    make anew from the record."""
    total = 0
    for value in change._replace(names=b""):
        content = value if isinstance(value, bytes) else repr(value).encode("utf8", "replace")
        total = crc32(content, crc32(b"%d " % len(content), total))
    return total


def _has_checksums(db: sqlite3.Connection) -> bool:
    return any(row[1] == "checksum" for row in db.execute("PRAGMA table_info(changes)"))
