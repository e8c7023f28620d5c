"""Entity files: JSON lines, tables, or ELQ's own; `id` and `title` required."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ElqError, Errors
from ..types import Entity
from .elq_entities import read_elq_entities
from .entity_tables import FIELDS, Record, read_csv, read_parquet, read_tsv
from .files import OPENERS, UNREADABLE, broken_line, check_file, open_text

ELQ = "elq"


def read_entities(path: str | Path, format: str = "") -> Iterator[Entity]:
    """Read an entity file, an entity at a time.

    path (str | Path): UTF-8; a name that ends in .gz, .bz2 or .xz is decompressed.
    format (str): "jsonl", "csv", "tsv", "parquet", or "elq" for ELQ's `entity.jsonl`. What the
        name ends in, where empty.
    YIELDS (Entity): The records; fields that are not an entity's own are in `extra`.
    RAISES (ElqError): With the file and the line, where one can't be read.
    """
    path = Path(path)
    check_file(path, "entities file")
    format = format or _format_of(path)
    if format == ELQ:
        yield from read_elq_entities(path)
    elif format in READERS:
        for where, record in READERS[format](path):
            yield entity_from_dict(record, where)
    else:
        known = ", ".join((*READERS, ELQ))
        raise ElqError(Errors.ELQ311.format(name=format, known=known))


def is_jsonl(path: Path) -> bool:
    """RETURNS (bool): Whether what is written to a path may be JSON lines: a device or a pipe, or
    a file that is named so."""
    return _suffix(path) == "jsonl" or (path.exists() and not path.is_file())


def _suffix(path: Path) -> str:
    name = path.with_suffix("") if path.suffix in OPENERS else path
    return {".json": "jsonl", ".ndjson": "jsonl"}.get(name.suffix, name.suffix[1:])


def _format_of(path: Path) -> str:
    format = _suffix(path)
    if format not in READERS:
        known = ", ".join((*READERS, ELQ))
        raise ElqError(Errors.ELQ312.format(path=path, known=f"--from {known}"))
    return format


def read_lines(path: Path) -> Iterator[Record]:
    """Read JSON lines; blank ones are passed over.

    YIELDS (tuple[str, Any]): "file:line", for messages, and the value of that line.
    """
    number = 0
    with open_text(path, newline=None) as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    where = f"{path}:{number}"
                    yield where, _parse(line, where)
        except UNREADABLE as err:
            where = broken_line(path, err) or f"{path}:{number + 1}"
            raise ElqError(Errors.ELQ235.format(where=where, reason=err)) from None


READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    "jsonl": read_lines,
    "csv": read_csv,
    "tsv": read_tsv,
    "parquet": read_parquet,
}


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
    aliases, counts = _aliases(record, where)
    id_ = _required(record, "id", where)
    if "\0" in id_:  # SQLite's functions end a text there
        raise ElqError(Errors.ELQ256.format(where=where, id=id_))
    return Entity(
        id=id_,
        title=_required(record, "title", where),
        description=_text(record, "description", where),
        aliases=aliases,
        type=_text(record, "type", where),
        extra={name: value for name, value in record.items() if name not in FIELDS},
        counts=counts,
    )


def entity_to_dict(entity: Entity) -> dict[str, Any]:
    """RETURNS (dict): The JSON object that `entity_from_dict` reads as this entity."""
    record: dict[str, Any] = {"id": entity.id, "title": entity.title}
    if entity.description:
        record["description"] = entity.description
    if entity.aliases:
        record["aliases"] = alias_list(entity)
    if entity.type:
        record["type"] = entity.type
    # What the entity says itself counts, were a field of the same name among the others.
    return record | {name: value for name, value in entity.extra.items() if name not in FIELDS}


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


def alias_list(entity: Entity) -> list[str | dict[str, Any]]:
    """RETURNS (list): The aliases, as strings or, where there is a count, with it."""
    counts = entity.counts
    return [{"name": a, "count": counts[a]} if a in counts else a for a in entity.aliases]


def parse_aliases(values: Any) -> tuple[tuple[str, ...], dict[str, int]]:
    """Read what `alias_list` returned.

    RETURNS (tuple): The aliases that are not blank, and the counts of those that have one.
    RAISES (TypeError, KeyError): If it is something else.
    """
    if not isinstance(values, list):
        raise TypeError
    counts: dict[str, int] = {}
    for value in values:
        if isinstance(value, dict):
            counts[value["name"]] = value["count"]
    names = tuple(value["name"] if isinstance(value, dict) else value for value in values)
    if not all(isinstance(name, str) for name in names):
        raise TypeError
    if not all(type(count) is int and count >= 0 for count in counts.values()):
        raise TypeError
    return tuple(name for name in names if name.strip()), counts


def _aliases(record: Mapping[str, Any], where: str) -> tuple[tuple[str, ...], dict[str, int]]:
    value = record.get("aliases")
    if value is None:
        return (), {}
    try:
        return parse_aliases(value)
    except (TypeError, KeyError):
        if not isinstance(value, list):
            raise _wrong_type(where, "aliases", "a list", value) from None
        i = next(i for i in range(len(value)) if not _is_alias(value[i]))
        expected = 'a string, or an object {"name", "count"}'
        raise _wrong_type(where, f"aliases[{i}]", expected, value[i]) from None


def _is_alias(value: Any) -> bool:
    try:
        parse_aliases([value])
    except (TypeError, KeyError):
        return False
    return True


def _wrong_type(where: str, name: str, expected: str, value: Any) -> ElqError:
    found = json.dumps(value, default=repr)
    return ElqError(Errors.ELQ233.format(where=where, name=name, expected=expected, found=found))
