"""Which items of Wikidata the pages of a wiki are about: from the wiki's tables, from a file of
titles, from a JSON dump of Wikidata, or from what `elq wikidata` made of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..entities.reader import read_entities
from ..errors import ElqError, Errors
from ..files import parse_objects, read_lines
from .compressed import DumpFile
from .items import parse_line
from .line_blocks import line_blocks
from .page_kinds import DISAMBIGUATION
from .parts import ENTITIES
from .sql_tables import read_rows, table_of

# Characters of a file from which its kind is seen.
_START = 1 << 16
_ITEM = re.compile(r"Q[1-9]\d*")


class PageItem(NamedTuple):
    """What a file says about a page, which it names by its number, its title, or both.

    item (str): The id of its item, such as "Q42".
    description (str): The item's short description.
    redirect (str): The title that the page redirects to.
    kind (str): `DISAMBIGUATION` if it is that.
    """

    page: int | None = None
    title: str | None = None
    item: str | None = None
    description: str | None = None
    redirect: str | None = None
    kind: str | None = None


def read_page_items(path: Path, wiki: str, language: str) -> Iterator[PageItem]:
    """Read a file of any of the kinds.

    wiki (str): Name of the wiki in Wikidata, such as "enwiki".
    language (str): Of the descriptions.
    RAISES (ElqError): If it says nothing about pages.
    """
    items = _reader(path)(path, wiki, language)
    if (first := next(items, None)) is None:
        raise ElqError(Errors.ELQ349.format(path=path, wiki=wiki))
    yield first
    yield from items


def _reader(path: Path) -> Callable[[Path, str, str], Iterator[PageItem]]:
    if path.is_dir():
        return _of_entities
    with DumpFile(path) as dump:
        start = dump.stream.read1(_START).decode("utf8", "replace")  # type: ignore[attr-defined]
    if table_of(start):
        return _of_table
    if '"sitelinks"' in start or start.lstrip()[:1] == "[":
        return _of_wikidata
    return _of_objects if start.lstrip()[:1] == "{" else _of_lines


def _of_table(path: Path, wiki: str, language: str) -> Iterator[PageItem]:
    with DumpFile(path) as dump:
        for row in read_rows(dump):
            found = _of_row(row)
            if found is not None:
                yield found


def _of_row(row: dict[str, str]) -> PageItem | None:
    """RETURNS (PageItem | None): What a row of a table says about a page of the main namespace."""
    if row.get("pp_propname") == "wikibase_item":
        return PageItem(int(row["pp_page"]), item=row["pp_value"])
    if row.get("pp_propname") == "disambiguation":
        return PageItem(int(row["pp_page"]), kind=DISAMBIGUATION)
    if row.get("page_namespace") == "0":
        return PageItem(int(row["page_id"]), title=_spaced(row["page_title"]))
    if row.get("rd_namespace") == "0" and row.get("rd_title"):
        return PageItem(int(row["rd_from"]), redirect=_spaced(row["rd_title"]))
    return None


def _of_entities(path: Path, wiki: str, language: str) -> Iterator[PageItem]:
    entities = path / ENTITIES if (path / ENTITIES).is_dir() else path
    for entity in read_entities(entities):
        if title := entity.extra.get(wiki):
            yield PageItem(title=title, item=entity.id, description=entity.description or None)


def _of_wikidata(path: Path, wiki: str, language: str) -> Iterator[PageItem]:
    name = f'"{wiki}"'.encode()
    with DumpFile(path) as dump:
        for block in line_blocks(dump):
            if block.cut:
                raise ElqError(Errors.ELQ301.format(where=path, reason=block.cut))
            # Most items have no page in the wiki: their lines are not parsed.
            for line in filter(lambda line: name in line, block.text.splitlines()):
                yield from _of_item(line, wiki, language)


def _of_item(line: bytes, wiki: str, language: str) -> Iterator[PageItem]:
    with suppress(ValueError, RecursionError, TypeError, KeyError, AttributeError):
        for value in parse_line(line):
            if value["type"] == "item" and wiki in value["sitelinks"]:
                said = (value.get("descriptions") or {}).get(language) or {}
                title = value["sitelinks"][wiki]["title"]
                yield PageItem(title=title, item=value["id"], description=said.get("value"))


def _of_objects(path: Path, wiki: str, language: str) -> Iterator[PageItem]:
    """YIELDS (PageItem): Of lines {"title": …, "id": …}, or of one object of titles and ids."""
    for _, record in parse_objects(read_lines(path)):
        if "title" in record:
            yield from _pairs({str(record["title"]): _first_item(record.values())}, record)
        else:
            yield from _pairs(record, {})


def _pairs(items: dict[str, Any], record: dict[str, Any]) -> Iterator[PageItem]:
    description = record.get("description")
    for title, item in items.items():
        if isinstance(item, str) and _ITEM.fullmatch(item):
            yield PageItem(title=_spaced(title), item=item, description=description)


def _of_lines(path: Path, wiki: str, language: str) -> Iterator[PageItem]:
    """YIELDS (PageItem): Of lines with a title and an id, in any order; a header has none."""
    for _, line in read_lines(path):
        line = line.strip()
        separator = "\t" if "\t" in line else ","
        first, _, rest = line.partition(separator)
        front, _, last = line.rpartition(separator)
        if _ITEM.fullmatch(last.strip()):
            yield PageItem(title=_spaced(front.strip(' "')), item=last.strip())
        elif _ITEM.fullmatch(first.strip()):
            yield PageItem(title=_spaced(rest.strip(' "')), item=first.strip())


def _first_item(values: Any) -> str | None:
    return next((v for v in values if isinstance(v, str) and _ITEM.fullmatch(v)), None)


def _spaced(title: str) -> str:
    return title.replace("_", " ")
