"""ELQ's entity catalogue, `entity.jsonl`: `title`, `text`, `idx`, `entity`, `kb_idx` a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ElqError, Errors
from ..files import read_jsonl
from ..types import Entity

# Field of `Entity.extra`: the number of the entity's line, counted from 0, by which ELQ names it.
LINE_FIELD = "line"
FIELDS = ("title", "text", "entity", "kb_idx")


def read_elq_entities(path: str | Path) -> Iterator[Entity]:
    """Read ELQ's entity catalogue, a line at a time.

    An entity's id is its `kb_idx` (Wikidata), else its `idx`, else its line number; where an
    earlier line has the same one, "#" and the line number follow.

    path (str | Path): JSONL; a name that ends in .gz is decompressed.
    YIELDS (Entity): One for each line, so that rows of a knowledge base are line numbers.
    RAISES (ElqError): If there is no such file, or on a line that has no title.
    """
    path = Path(path)
    if not path.is_file():
        raise ElqError(Errors.ELQ218.format(path=path, what="entity catalogue"))
    # Hashes, for six million ids in a third of the memory; one that is shared costs a suffix.
    seen: set[int] = set()
    for line, (where, record) in enumerate(read_jsonl(path)):
        id_ = str(record.get("kb_idx") or record.get("idx") or line)
        if hash(id_) in seen:
            id_ = f"{id_}#{line}"
        seen.add(hash(id_))
        yield _entity(record, id_, line, where)


def _entity(record: Mapping[str, Any], id_: str, line: int, where: str) -> Entity:
    title = record.get("title") or record.get("entity")
    if not isinstance(title, str) or not title.strip():
        raise ElqError(Errors.ELQ329.format(where=where))
    extra = {name: value for name, value in record.items() if name not in FIELDS}
    return Entity(id_, title, str(record.get("text") or ""), extra={**extra, LINE_FIELD: line})
