"""Which item of Wikidata a page of a Wikipedia is about, by its title."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..entities.reader import read_entities
from ..errors import ElqError, Errors
from ..files import atomic_file
from .compressed import DumpFile
from .items import number_of, parse_line
from .line_blocks import LineBlock, line_blocks
from .parts import ENTITIES
from .processes import map_in_order

# Title of a page, and the number of its item.
Pairs = Iterable[tuple[str, int]]


class Sitelinks(AbstractContextManager["Sitelinks"]):
    """Titles of a wiki → ids of items, from a file that is mapped rather than read.

    path (Path): From `write_sitelinks`.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        self._db.execute(f"PRAGMA mmap_size = {path.stat().st_size}")

    def get(self, title: str) -> str | None:
        """RETURNS (str | None): The id of the item about a page; None if there is none."""
        query = "SELECT item FROM sitelink WHERE title = ?"
        found = self._db.execute(query, (title.replace("_", " "),)).fetchone()
        return f"Q{found[0]}" if found else None

    def __len__(self) -> int:
        return self._db.execute("SELECT COUNT(*) FROM sitelink").fetchone()[0]

    def __exit__(self, *error: object) -> None:
        self._db.close()


def write_sitelinks(source: Path, wiki: str, path: Path, workers: int = 1) -> None:
    """Write the file of a `Sitelinks`, as a whole.

    source (Path): A JSON dump of Wikidata, or the output of `elq wikidata` in a language of the
        wiki; that has only the entities that were kept.
    wiki (str): Its name, such as "enwiki".
    workers (int): Number of processes that parse a dump.
    RAISES (ElqError): If there are none.
    """
    read = _of_entities if source.is_dir() else partial(_of_dump, workers=workers)
    with atomic_file(path) as partial_path, closing(sqlite3.connect(partial_path)) as db:
        db.execute("CREATE TABLE sitelink (title TEXT PRIMARY KEY, item INTEGER) WITHOUT ROWID")
        db.executemany("INSERT OR REPLACE INTO sitelink VALUES (?, ?)", read(source, wiki))
        db.commit()
        if db.execute("SELECT 1 FROM sitelink").fetchone() is None:
            raise ElqError(Errors.ELQ358.format(path=source, wiki=wiki))


def _of_entities(source: Path, wiki: str) -> Iterator[tuple[str, int]]:
    entities = source / ENTITIES if (source / ENTITIES).is_dir() else source
    for entity in read_entities(entities):
        if title := entity.extra.get(wiki):
            yield title, number_of(entity.id)


def _of_dump(source: Path, wiki: str, workers: int) -> Iterator[tuple[str, int]]:
    with DumpFile(source) as dump:
        for _, pairs in map_in_order(_FindSitelinks(wiki), line_blocks(dump), workers):
            yield from pairs


@dataclass(frozen=True)
class _FindSitelinks:
    wiki: str

    def __call__(self, block: LineBlock) -> list[tuple[str, int]]:
        # Most items have no page in the wiki: their lines are not parsed.
        name = f'"{self.wiki}"'.encode()
        lines = (line for line in block.text.splitlines() if name in line)
        return [pair for line in lines for pair in self._of_line(line)]

    def _of_line(self, line: bytes) -> Iterator[tuple[str, int]]:
        with suppress(ValueError, RecursionError, TypeError, KeyError, AttributeError):
            for value in parse_line(line):
                if value["type"] == "item" and self.wiki in value["sitelinks"]:
                    yield value["sitelinks"][self.wiki]["title"], number_of(value["id"])
