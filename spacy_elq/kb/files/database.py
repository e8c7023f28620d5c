"""The one way to open SQLite files of a knowledge base, which somebody else may have made.

A schema can hold code that statements run: triggers, views, generated columns, virtual tables. So
it must be exactly the expected one. Nor is anything written through a symbolic link.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

READING, WRITING, CREATING = "mode=ro", "mode=rw", "mode=rwc"
# For a file that never changes: no locks.
IMMUTABLE = "mode=ro&immutable=1"
# See "Defense against the dark arts" in SQLite's documentation.
PRAGMAS = ("trusted_schema = OFF", "cell_size_check = ON")
JOURNAL = "-journal"
# Ends of the names of a database's files.
FILES = ("", JOURNAL, "-wal", "-shm")
# The end of a journal that names another one, which SQLite deletes, whatever it is. The journal
# of a single database has no such end.
NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")


def open_database(path: Path, access: str, **options: Any) -> sqlite3.Connection:
    """Open a file, for reading alone if it or its journal is a symbolic link.

    access (str): `READING`, `IMMUTABLE`, `WRITING`, which also repairs what an interrupted writer
        left, or `CREATING`.
    **options: Arguments of `sqlite3.connect`.
    RAISES (sqlite3.Error): If it can't be opened, or its journal names another file.
    """
    if access in (WRITING, CREATING):
        access = READING if has_links(path) else access
        _check_journal(path)
    db = sqlite3.connect(f"{path.absolute().as_uri()}?{access}", uri=True, **options)
    for pragma in (*PRAGMAS, *(["query_only = ON"] if access in (READING, IMMUTABLE) else [])):
        db.execute(f"PRAGMA {pragma}")
    if sys.version_info >= (3, 12):
        db.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
    return db


def has_links(path: Path) -> bool:
    """RETURNS (bool): Whether a database, or a file that SQLite writes beside it, is a symbolic
    link."""
    return any(path.with_name(f"{path.name}{end}").is_symlink() for end in FILES)


def check_schema(db: sqlite3.Connection, *versions: tuple[str, ...]) -> None:
    """Raise a `sqlite3.DatabaseError` unless a database has what the statements of one version
    create, and nothing else. To be called before any other statement."""
    found, known = _schema(db), [_created(statements) for statements in versions]
    if found not in known:
        kind, name, *_ = min(found ^ known[0], key=repr)
        raise sqlite3.DatabaseError(f"the {kind} {name!r} is missing, or not of a knowledge base")


@cache
def _created(statements: tuple[str, ...]) -> frozenset[tuple[str | None, ...]]:
    db = sqlite3.connect(":memory:")
    for statement in statements:
        db.execute(statement)
    return _schema(db)


def _schema(db: sqlite3.Connection) -> frozenset[tuple[str | None, ...]]:
    rows: Iterable[tuple[str | None, ...]]
    rows = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
    return frozenset(rows)


def _check_journal(path: Path) -> None:
    journal = path.with_name(f"{path.name}{JOURNAL}")
    if not journal.is_file():
        return
    # Another process's transaction may end meanwhile, and its journal with it.
    with suppress(FileNotFoundError), journal.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - len(NAMES_ANOTHER)))
        if file.read() == NAMES_ANOTHER:
            raise sqlite3.DatabaseError(f"{journal.name} names another file")
