"""What has been read of a dump: a shard for so many of its pages, in files that are written whole.

A shard is a file of facts, one line for each page, and a file of texts, one line for each article.
It is there once its facts are: those are written last.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO, cast

from ..files import atomic_file
from .page_facts import read_page
from .page_kinds import ARTICLE, MALFORMED
from .site import Site
from .xml_pages import MalformedPage, parse_page

# Rows of a shard: the first one is its number times this.
ROWS = 1 << 20
# Fast, and still a third of the size.
_COMPRESSION = 1


# Text, and start, end and title of each link.
StoredParagraph = tuple[str, list[tuple[int, int, str]]]


class StoredArticle(NamedTuple):
    """row (int): Its place among all pages of the dump."""

    row: int
    title: str
    paragraphs: list[StoredParagraph]


@dataclass(frozen=True)
class Shards:
    """directory (Path): Of the files."""

    directory: Path

    def has(self, number: int) -> bool:
        """RETURNS (bool): Whether a shard is there."""
        return self._path("facts", number).exists()

    def write(self, number: int, pages: Iterable[bytes], site: Site) -> None:
        """Read pages, as `PageReader` yields them, and write the shard."""
        with self._write("facts", number) as facts, self._write("texts", number) as texts:
            for row, stretch in enumerate(pages, number * ROWS):
                try:
                    page = parse_page(stretch)
                except MalformedPage as err:
                    _write_line(facts, {"kind": MALFORMED, "problem": str(err)})
                    continue
                found, paragraphs = read_page(page, site)
                _write_line(facts, {**found.as_dict(), "timestamp": page.timestamp})
                if found.kind == ARTICLE:
                    _write_line(texts, [row, found.title, [(p.text, p.links) for p in paragraphs]])

    def facts(self, number: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """YIELDS (tuple): The row of each page of a shard, and what is known about it: the fields
        of `PageFacts` that are not empty."""
        return enumerate(self._lines("facts", number), number * ROWS)

    def articles(self, number: int) -> Iterator[StoredArticle]:
        """YIELDS (StoredArticle): Those of a shard."""
        return (StoredArticle(*line) for line in self._lines("texts", number))

    def _path(self, what: str, number: int) -> Path:
        return self.directory / f"{what}-{number:05d}.jsonl.gz"

    @contextmanager
    def _write(self, what: str, number: int) -> Iterator[TextIO]:
        with (
            atomic_file(self._path(what, number)) as partial,
            gzip.open(partial, "wt", _COMPRESSION, encoding="utf8") as file,
        ):
            yield cast(TextIO, file)

    def _lines(self, what: str, number: int) -> Iterator[Any]:
        with gzip.open(self._path(what, number), "rt", encoding="utf8") as file:
            yield from map(json.loads, file)


def _write_line(file: TextIO, value: Any) -> None:
    file.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
