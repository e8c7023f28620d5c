"""What a Wikipedia knows of the entities of Wikidata: by which names its articles are linked."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ..entities.reader import read_entities
from ..entities.records import alias_list
from ..errors import ElqError, Errors
from .items import wiki_of
from .parts import ENTITIES, DumpManifest


class ArticleNames(AbstractContextManager["ArticleNames"]):
    """The articles of a Wikipedia, by title.

    source (Path): The output of `elq wikipedia`.
    path (Path): A file to keep them in, made anew.
    RAISES (ElqError): If the output is not finished, or is of another kind.
    """

    def __init__(self, source: Path, path: Path) -> None:
        manifest = DumpManifest.read(source)
        if manifest.kind != "wikipedia":
            raise ElqError(Errors.ELQ362.format(path=source, reason=f"it is of {manifest.kind}"))
        self.wiki = wiki_of(manifest.languages[0])
        path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path)
        # It is made anew in any case: no need to wait for the disk.
        self._db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        self._db.execute("CREATE TABLE article (title TEXT PRIMARY KEY, known TEXT) WITHOUT ROWID")
        self._db.executemany("INSERT OR IGNORE INTO article VALUES (?, ?)", _articles(source))
        self._db.commit()

    def add_to(self, record: dict[str, Any]) -> bool:
        """Add the names of its article to the record of an entity, with all that is known of them;
        and, if it has no description, the first paragraph.

        RETURNS (bool): Whether there is an article.
        """
        query = "SELECT known FROM article WHERE title = ?"
        found = self._db.execute(query, (record.get(self.wiki),)).fetchone()
        if not found:
            return False
        aliases, description = json.loads(found[0])
        counted = {each["name"]: each for each in aliases if not isinstance(each, str)}
        names = dict.fromkeys((*_names(record.get("aliases", [])), *_names(aliases)))
        if record["title"] not in counted:  # which has a count as an alias only
            names.pop(record["title"], None)
        record["aliases"] = [counted.get(name, name) for name in names]
        if description and not record.get("description"):
            record["description"] = description
        return True

    def close(self) -> None:
        self._db.close()

    def __exit__(self, *error: object) -> None:
        self.close()


def _articles(source: Path) -> Iterator[tuple[str, str]]:
    for entity in read_entities(source / ENTITIES):
        yield entity.title, json.dumps([alias_list(entity), entity.description])


def _names(aliases: list[Any]) -> Iterator[str]:
    for alias in aliases:
        yield alias if isinstance(alias, str) else alias["name"]
