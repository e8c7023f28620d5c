"""Entity files: one JSON object a line, `id` and `title` required."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from ..errors import ElqError, Errors
from ..types import Entity

FIELDS = ("id", "title", "description", "aliases", "type")


def read_entities(path: str | Path) -> Iterator[Entity]:
    """Read an entity file, a line at a time; blank lines are passed over.

    path (str | Path): JSONL, UTF-8; a name that ends in .gz is decompressed.
    YIELDS (Entity): The records; fields that are not an entity's own are in `extra`.
    """
    path = Path(path)
    if not path.is_file():
        raise ElqError(Errors.ELQ218.format(path=path, what="entities file"))
    with _open(path) as file:
        for number, line in _numbered(file, path):
            if line.strip():
                where = f"{path}:{number}"
                yield entity_from_dict(_parse(line, where), where)


def _open(path: Path) -> TextIO:
    # utf-8-sig: files that Windows programs wrote may start with a byte order mark.
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def _numbered(file: TextIO, path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        for number, line in enumerate(file, 1):
            yield number, line
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as err:
        where = f"{path}:{number + 1}"
        raise ElqError(Errors.ELQ235.format(where=where, reason=err)) from None


def _parse(line: str, where: str) -> Any:
    try:
        record = json.loads(line)
        if "\\ud" in line.lower():  # half of a surrogate pair can be read, but never written
            json.dumps(record, ensure_ascii=False).encode("utf8")
    except (ValueError, RecursionError) as err:
        raise ElqError(Errors.ELQ230.format(where=where, reason=err)) from None
    return record


def entity_from_dict(record: Any, where: str = "entity") -> Entity:
    """Make an entity of a JSON object.

    record (Any): The parsed JSON value.
    where (str): Its place, which error messages start with.
    """
    if not isinstance(record, Mapping):
        raise ElqError(Errors.ELQ231.format(where=where))
    return Entity(
        id=_required(record, "id", where),
        title=_required(record, "title", where),
        description=_text(record, "description", where),
        aliases=_texts(record, "aliases", where),
        type=_text(record, "type", where),
        extra={name: value for name, value in record.items() if name not in FIELDS},
    )


def entity_to_dict(entity: Entity) -> dict[str, Any]:
    """RETURNS (dict): The JSON object that `entity_from_dict` reads as this entity."""
    record: dict[str, Any] = {"id": entity.id, "title": entity.title}
    if entity.description:
        record["description"] = entity.description
    if entity.aliases:
        record["aliases"] = list(entity.aliases)
    if entity.type:
        record["type"] = entity.type
    return {**record, **entity.extra}


def _required(record: Mapping[str, Any], name: str, where: str) -> str:
    if record.get(name) is None:
        raise ElqError(Errors.ELQ232.format(where=where, name=name))
    value = _text(record, name, where)
    if not value.strip():
        raise ElqError(Errors.ELQ234.format(where=where, name=name))
    return value


def _text(record: Mapping[str, Any], name: str, where: str) -> str:
    value = record.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong_type(where, name, "a string", value)
    return value


def _texts(record: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    value = record.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong_type(where, name, "a list of strings", value)
    return tuple(value)


def _wrong_type(where: str, name: str, expected: str, value: Any) -> ElqError:
    found = json.dumps(value, default=repr)
    return ElqError(Errors.ELQ233.format(where=where, name=name, expected=expected, found=found))
