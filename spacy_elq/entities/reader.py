"""Entity files: JSON lines, tables, or ELQ's own format; `id` and `title` are required."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ..errors import ElqError, Errors
from ..files import OPENERS, Record, check_file, read_jsonl
from ..types import Entity
from .elq import read_elq_entities
from .records import entity_from_dict
from .tables import read_parquet, read_text_table

ELQ = "elq"
READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    "jsonl": read_jsonl,
    "csv": partial(read_text_table, dialect="csv"),
    "tsv": partial(read_text_table, dialect="tsv"),
    "parquet": read_parquet,
}


def read_entities(path: str | Path, format: str = "") -> Iterator[Entity]:
    """Stream the entities of a file.

    path (str | Path): UTF-8; decompressed if its name ends in .gz, .bz2 or .xz.
    format (str): "jsonl", "csv", "tsv", "parquet", or "elq" for ELQ's `entity.jsonl`. If empty,
        the suffix of the file decides.
    YIELDS (Entity): The entities; unknown fields are kept in `extra`.
    RAISES (ElqError): On the first bad record, with its file and line.
    """
    path = Path(path)
    check_file(path, "entities file")
    known = ", ".join((*READERS, ELQ))
    if not format and (format := _suffix(path)) not in READERS:
        raise ElqError(Errors.ELQ312.format(path=path, known=f"--from {known}"))
    if format == ELQ:
        yield from read_elq_entities(path)
    elif format in READERS:
        for where, record in READERS[format](path):
            yield entity_from_dict(record, where)
    else:
        raise ElqError(Errors.ELQ311.format(name=format, known=known))


def is_jsonl(path: Path) -> bool:
    """RETURNS (bool): Whether JSON lines may be written to a path: to a file with such a name, to a
    device or to a pipe."""
    return _suffix(path) == "jsonl" or (path.exists() and not path.is_file())


def _suffix(path: Path) -> str:
    name = path.with_suffix("") if path.suffix in OPENERS else path
    return {".json": "jsonl", ".ndjson": "jsonl"}.get(name.suffix, name.suffix[1:])
