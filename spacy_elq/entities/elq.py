"""ELQ's entity catalogue, `entity.jsonl`: `title`, `text`, `idx`, `entity`, `kb_idx` on each
line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ElqError, Errors
from ..files import check_file, read_jsonl
from ..types import Entity

# Field of `Entity.extra`: the number of the entity's line, counted from 0, by which ELQ names it.
LINE_FIELD = "line"
FIELDS = ("title", "text", "entity", "kb_idx")


class UniqueIds:
    """Makes the ids of ELQ's entities unique."""

    def __init__(self) -> None:
        # Hashes: six million ids in a third of the memory. A collision only costs a suffix.
        self._seen: set[int] = set()

    def __call__(self, id_: str, line: int) -> str:
        """RETURNS (str): The id, or the line number if it is empty; "#" and the line number are
        appended if an earlier entity has the same id."""
        id_ = id_ or str(line)
        if hash(id_) in self._seen:
            id_ = f"{id_}#{line}"
        self._seen.add(hash(id_))
        return id_


def read_elq_entities(path: str | Path) -> Iterator[Entity]:
    """Stream ELQ's entity catalogue.

    An entity's id is its `kb_idx` (Wikidata), else its `idx`, else its line number; see
    `UniqueIds` for repeated ones.

    path (str | Path): JSONL, decompressed if its name ends in .gz, .bz2 or .xz.
    YIELDS (Entity): One per line, so that rows of a knowledge base are line numbers.
    RAISES (ElqError): If the file does not exist, or a line has no title.
    """
    path = Path(path)
    check_file(path, "entity catalogue")
    unique = UniqueIds()
    for line, (where, record) in enumerate(read_jsonl(path)):
        id_ = unique(str(record.get("kb_idx") or record.get("idx") or ""), line)
        yield _entity(record, id_, line, where)


def _entity(record: Mapping[str, Any], id_: str, line: int, where: str) -> Entity:
    title = record.get("title") or record.get("entity")
    if not isinstance(title, str) or not title.strip():
        raise ElqError(Errors.ELQ232.format(where=where, name="title"))
    extra = {name: value for name, value in record.items() if name not in FIELDS}
    return Entity(id_, title, str(record.get("text") or ""), extra={**extra, LINE_FIELD: line})
