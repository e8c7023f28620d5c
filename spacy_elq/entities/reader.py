"""Entity files: JSON lines, tables, or ELQ's own; `id` and `title` required."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import ElqError, Errors
from ..files import OPENERS, UNREADABLE, broken_line, check_file, open_text
from ..types import Entity
from .elq import read_elq_entities
from .records import entity_from_dict
from .tables import Record, read_csv, read_parquet, read_tsv

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
