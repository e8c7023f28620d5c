"""All pages and links of a wiki, on disk: where titles lead, and which names articles have.

It is one SQLite file. Sorting and joining millions of rows takes as much memory as its cache.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from .page_items import PageItem
from .page_kinds import base_title

# Redirects that lead to each other are followed so far. MediaWiki follows one.
MAX_REDIRECTS = 20
_TABLES = """
PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536;
CREATE TABLE IF NOT EXISTS stage (name TEXT PRIMARY KEY, counts TEXT);
CREATE TABLE IF NOT EXISTS page (
    row INTEGER PRIMARY KEY, title TEXT, id INTEGER, kind TEXT, redirect TEXT, changed TEXT
);
CREATE TABLE IF NOT EXISTS anchor (target TEXT, name TEXT, count INTEGER);
CREATE TABLE IF NOT EXISTS problem (message TEXT);
CREATE TABLE IF NOT EXISTS said (
    page INTEGER, title TEXT, item TEXT, description TEXT, redirect TEXT, kind TEXT
);
"""
_RESOLVE = """
CREATE INDEX said_of_page ON said (page);
CREATE INDEX said_of_title ON said (title);
UPDATE page SET kind = 'disambiguation' WHERE kind IN ('article', 'list')
    AND id IN (SELECT page FROM said WHERE kind = 'disambiguation');
CREATE TABLE target (title TEXT PRIMARY KEY, row INTEGER, kind TEXT) WITHOUT ROWID;
INSERT OR IGNORE INTO target SELECT title, row, kind FROM page
    WHERE kind != 'redirect' ORDER BY title, row;
CREATE TABLE pending AS SELECT title, redirect FROM page WHERE kind = 'redirect'
    UNION SELECT page.title, said.redirect FROM said JOIN page ON page.id = said.page
        WHERE said.redirect IS NOT NULL AND page.kind = 'redirect'
    UNION SELECT named.title, said.redirect FROM said JOIN said AS named ON named.page = said.page
        WHERE said.redirect IS NOT NULL AND named.title IS NOT NULL;
CREATE INDEX pending_of_title ON pending (title);
"""
_FOLLOW = """
INSERT OR IGNORE INTO target SELECT pending.title, target.row, target.kind
    FROM pending JOIN target ON target.title = pending.redirect
"""
_TARGETS = """
SELECT target.title, target.row, target.kind, article.entity
    FROM json_each(?) CROSS JOIN target ON target.title = value LEFT JOIN article USING (row)
"""
# Titles that redirect, or have an item.
_SAID = """
SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM pending WHERE pending.title = value)
    OR EXISTS (SELECT 1 FROM said WHERE said.title = value)
"""
# Titles that each title redirects to, where the last one has no page: the last one first, then
# back to the title itself.
_ON_THE_WAY = """
WITH RECURSIVE way (begin, title, step) AS (
    SELECT value, value, 0 FROM json_each(?)
    UNION SELECT begin, redirect, step + 1 FROM way CROSS JOIN pending USING (title) WHERE step < ?
)
SELECT begin, title, (SELECT MIN(item) FROM said WHERE said.title = way.title) FROM way
    ORDER BY step DESC, title
"""
_ARTICLES = """
CREATE TABLE article (row INTEGER PRIMARY KEY, title TEXT, entity TEXT, description TEXT);
INSERT INTO article SELECT page.row, page.title, COALESCE(
    (SELECT item FROM said WHERE said.page = page.id AND item IS NOT NULL),
    (SELECT item FROM said WHERE said.title = page.title AND item IS NOT NULL),
    (SELECT said.item FROM said AS named JOIN said ON said.page = named.page
        WHERE named.title = page.title AND said.item IS NOT NULL),
    page.title
), (SELECT description FROM said WHERE said.title = page.title AND description IS NOT NULL)
    FROM page JOIN target ON target.title = page.title AND target.row = page.row
    WHERE page.kind = 'article' ORDER BY 1;
UPDATE article SET entity = title
    WHERE row NOT IN (SELECT MIN(row) FROM article GROUP BY entity);
"""
_NAMES = """
CREATE TABLE name (row INTEGER, name TEXT, count INTEGER, PRIMARY KEY (row, name)) WITHOUT ROWID;
INSERT INTO name SELECT article.row, anchor.name, SUM(anchor.count)
    FROM anchor JOIN target ON target.title = anchor.target JOIN article USING (row)
    GROUP BY 1, 2 ORDER BY 1, 2;
INSERT OR IGNORE INTO name SELECT article.row, base_title(target.title), 0
    FROM target JOIN article USING (row) ORDER BY 1, 2;
"""


class Target(NamedTuple):
    """Where a title leads.

    kind (str): Of the page there, see `page_kinds`.
    entity (str | None): The id of an article's entity.
    """

    row: int
    kind: str
    entity: str | None


class LinkStore(AbstractContextManager["LinkStore"]):
    """path (Path): The file, made if it is missing."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path)
        self._db.create_function("base_title", 1, base_title, deterministic=True)
        self._db.executescript(_TABLES)

    def is_done(self, stage: str) -> bool:
        """RETURNS (bool): Whether a stage of the work is finished."""
        query = "SELECT 1 FROM stage WHERE name = ?"
        return self._db.execute(query, (stage,)).fetchone() is not None

    def finish(self, stage: str, counts: Mapping[str, int] = MappingProxyType({})) -> None:
        """Keep all that was added, and that a stage is finished.

        counts (Mapping): What it counted.
        """
        self._db.execute("INSERT INTO stage VALUES (?, ?)", (stage, json.dumps(dict(counts))))
        self._db.commit()

    def counts(self) -> Counter[str]:
        """RETURNS (Counter): What all stages counted, together."""
        total: Counter[str] = Counter()
        for (counts,) in self._db.execute("SELECT counts FROM stage ORDER BY rowid"):
            total.update(json.loads(counts))
        return total

    def add_page(self, row: int, facts: Mapping[str, Any]) -> None:
        """row (int): Its place in the dump.
        facts (Mapping): What is known about it, see `PageFacts`."""
        if "problem" in facts:
            self._db.execute("INSERT INTO problem VALUES (?)", (facts["problem"],))
            return
        values = (row, *map(facts.get, ("title", "id", "kind", "redirect", "timestamp")))
        self._db.execute("INSERT INTO page VALUES (?, ?, ?, ?, ?, ?)", values)
        anchors = facts.get("anchors", {})
        self._db.executemany(
            "INSERT INTO anchor VALUES (?, ?, ?)",
            ((target, *name) for target, names in anchors.items() for name in names.items()),
        )

    def add_items(self, items: Iterable[PageItem]) -> None:
        """Add what files say about pages, before titles are resolved."""
        self._db.executemany("INSERT INTO said VALUES (?, ?, ?, ?, ?, ?)", items)

    def resolve(self) -> None:
        """Find out where titles lead, once all pages are there."""
        self._run(_RESOLVE)
        for _ in range(MAX_REDIRECTS):
            if not self._db.execute(_FOLLOW).rowcount:
                break
            self._db.execute("DELETE FROM pending WHERE title IN (SELECT title FROM target)")
        self._run(_ARTICLES)

    def count_names(self) -> None:
        """Count by which names articles are linked, once titles are resolved."""
        self._run(_NAMES)

    def _run(self, statements: str) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN")  # `finish` keeps all of it or nothing
        for statement in statements.split(";"):  # `executescript` would commit
            self._db.execute(statement)

    def targets(self, titles: Iterable[str]) -> dict[str, Target]:
        """RETURNS (dict): Where titles lead; without those that have no page."""
        found = self._db.execute(_TARGETS, (json.dumps(list(titles)),))
        return {title: Target(*target) for title, *target in found}

    def ids_of_missing(self, titles: Iterable[str]) -> dict[str, str]:
        """RETURNS (dict): The ids of the entities of titles that the dump has no page of: the
        titles may redirect there."""
        ids = {title: title for title in titles}
        said = [title for (title,) in self._db.execute(_SAID, (json.dumps(list(ids)),))]
        way = self._db.execute(_ON_THE_WAY, (json.dumps(said), MAX_REDIRECTS)).fetchall()
        ids.update((begin, title) for begin, title, _ in reversed(way))
        ids.update((begin, item) for begin, _, item in reversed(way) if item)
        return ids

    def article(self, row: int) -> tuple[str, str | None] | None:
        """RETURNS (tuple | None): The id of an article's entity, and its item's short description;
        None if a page is no article, or not the first of its title."""
        query = "SELECT entity, description FROM article WHERE row = ?"
        return self._db.execute(query, (row,)).fetchone()

    def names(self, row: int) -> dict[str, int]:
        """RETURNS (dict): The names of an article with their counts, the most frequent first."""
        query = "SELECT name, count FROM name WHERE row = ? ORDER BY count DESC, name"
        return dict(self._db.execute(query, (row,)))

    def links_of_names(self) -> Iterator[tuple[str, int]]:
        """YIELDS (tuple): Each name, and how often it is a link to an article."""
        query = "SELECT name, SUM(count) FROM name GROUP BY name HAVING SUM(count)"
        yield from self._db.execute(query)

    def latest_change(self) -> str:
        """RETURNS (str): The day on which the page that was changed last was changed."""
        found = self._db.execute("SELECT MAX(changed) FROM page").fetchone()
        return (found[0] or "")[:10]

    def problems(self, most: int) -> list[str]:
        """RETURNS (list): Pages that could not be read, and why: the first of them."""
        return [said for (said,) in self._db.execute("SELECT * FROM problem LIMIT ?", (most,))]

    def __exit__(self, *error: object) -> None:
        self._db.close()
