"""What has been read of a Wikidata dump, on disk until all classes are known: entities without
their types, the labels of all items, and which classes are subclasses of which.

It is one SQLite file, which also says how far the work is: a run that is killed loses what came
after the last `commit`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

TABLES = """
CREATE TABLE IF NOT EXISTS progress (state TEXT);
CREATE TABLE IF NOT EXISTS entity (row INTEGER PRIMARY KEY, record TEXT, classes TEXT);
CREATE TABLE IF NOT EXISTS label (item INTEGER, label TEXT);
CREATE TABLE IF NOT EXISTS subclass (class INTEGER, parent INTEGER);
"""
USED = "SELECT DISTINCT value FROM entity, json_each(classes)"
SUBCLASSES = """
WITH RECURSIVE known (id) AS (
    SELECT value FROM json_each(?) UNION SELECT class FROM subclass JOIN known ON parent = known.id
)
SELECT id FROM known
"""


@dataclass
class Progress:
    """How far a run is.

    reading (dict): The dump and the settings that determine what is stored.
    writing (dict): The settings that determine what is written of that.
    offset, lines (int): Decompressed bytes and lines of the dump that are in the store.
    is_dump (bool): Whether one of them was as Wikidata writes them.
    is_open (bool): Whether they are an array without its closing bracket.
    is_read (bool): Whether they are all of it.
    parts, row (int): Parts that are written, and the last row that they have.
    not_stored, not_written (dict): How many were left out, by reason.
    entities, joined (int): Number of entities in the parts, and of those with an article.
    problems (list): What is wrong with the dump.
    snapshot (str): When an item was changed last.
    """

    reading: dict[str, object] = field(default_factory=dict)
    writing: dict[str, object] = field(default_factory=dict)
    offset: int = 0
    lines: int = 0
    is_dump: bool = False
    is_open: bool = False
    is_read: bool = False
    parts: int = 0
    row: int = 0
    not_stored: dict[str, int] = field(default_factory=dict)
    not_written: dict[str, int] = field(default_factory=dict)
    entities: int = 0
    joined: int = 0
    problems: list[str] = field(default_factory=list)
    snapshot: str = ""

    def start_writing(self, settings: dict[str, object]) -> None:
        """Forget the parts."""
        self.writing, self.parts, self.row = settings, 0, 0
        self.not_written, self.entities, self.joined = {}, 0, 0


class StoredItems(NamedTuple):
    """Rows of the tables.

    entities (list): Record as JSON, and the numbers of its classes as a JSON array.
    labels (list): Number and label of each item that has one.
    subclasses (list): Number of a class, and of one of which it is a subclass.
    """

    entities: list[tuple[str, str]]
    labels: list[tuple[int, str]]
    subclasses: list[tuple[int, int]]


class ItemStore(AbstractContextManager["ItemStore"]):
    """path (Path): The file, made if it is missing."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path)
        # Rows are only added: a write-ahead log makes a commit cheap.
        self._db.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {TABLES}")
        found = self._db.execute("SELECT state FROM progress").fetchone()
        self.progress = Progress(**json.loads(found[0])) if found else Progress()

    def add(self, items: StoredItems) -> None:
        """Add rows, which the next `commit` keeps."""
        self._db.executemany("INSERT INTO entity (record, classes) VALUES (?, ?)", items.entities)
        self._db.executemany("INSERT INTO label VALUES (?, ?)", items.labels)
        self._db.executemany("INSERT INTO subclass VALUES (?, ?)", items.subclasses)

    def commit(self) -> None:
        """Keep what was added, and the progress."""
        self._db.execute("DELETE FROM progress")
        state = json.dumps(asdict(self.progress))
        self._db.execute("INSERT INTO progress VALUES (?)", (state,))
        self._db.commit()

    def class_labels(self) -> dict[int, str]:
        """RETURNS (dict): The labels of the classes of entities, as far as the dump has them."""
        return dict(self._db.execute(f"SELECT * FROM label WHERE item IN ({USED})"))

    def items_with_label(self, label: str) -> list[int]:
        """RETURNS (list): The numbers of the items with that label."""
        rows = self._db.execute("SELECT item FROM label WHERE label = ?", (label,))
        return [item for (item,) in rows]

    def subclasses(self, classes: Iterable[int]) -> set[int]:
        """RETURNS (set): Those of the classes and of their subclasses that entities are instances
        of."""
        self._db.execute("CREATE INDEX IF NOT EXISTS parents ON subclass (parent)")
        query = f"SELECT id FROM ({SUBCLASSES}) WHERE id IN ({USED})"
        return {found for (found,) in self._db.execute(query, (json.dumps([*classes]),))}

    def entities(self) -> Iterator[tuple[int, str, list[int]]]:
        """YIELDS (tuple): Row, record as JSON, and the numbers of the classes of the entities that
        no part has yet."""
        query = "SELECT row, record, classes FROM entity WHERE row > ? ORDER BY row"
        for row, record, classes in self._db.execute(query, (self.progress.row,)):
            yield row, record, json.loads(classes)

    def __exit__(self, *error: object) -> None:
        self._db.close()
