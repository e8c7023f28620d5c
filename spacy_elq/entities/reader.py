"""Entity files: JSON lines, tables, or ELQ's own format; `id` and `title` are required. What is
read may be several files, the parts of one catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ..errors import ElqError, Errors
from ..files import Record, read_jsonl
from ..types import Entity
from .elq import read_elq_entities
from .parts import format_of, part_files
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
    """Stream the entities of a file, or of the parts of a catalogue in the order of their names.

    path (str | Path): A file, a directory of files, or a pattern; see `part_files`. UTF-8;
        decompressed if a name ends in .gz, .bz2 or .xz.
    format (str): "jsonl", "csv", "tsv", "parquet", or "elq" for ELQ's `entity.jsonl`. If empty,
        the suffix of each file decides.
    YIELDS (Entity): The entities; unknown fields are kept in `extra`.
    RAISES (ElqError): On the first bad record, with its file and line.
    """
    for file in list_entity_files(path, format):
        yield from _read_file(file, format or format_of(file))


def list_entity_files(path: str | Path, format: str = "") -> list[Path]:
    """RETURNS (list[Path]): The files that `read_entities` reads, in that order.
    RAISES (ElqError): If there is none, or the format of one is unknown."""
    files = part_files(Path(path))
    known = ", ".join((*READERS, ELQ))
    if format and format not in (*READERS, ELQ):
        raise ElqError(Errors.ELQ311.format(name=format, known=known))
    for file in files:
        if not format and format_of(file) not in READERS:
            raise ElqError(Errors.ELQ312.format(path=file, known=f"--from {known}"))
    return files


def _read_file(path: Path, format: str) -> Iterator[Entity]:
    if format == ELQ:
        return read_elq_entities(path)
    return (entity_from_dict(record, where) for where, record in READERS[format](path))


def is_jsonl(path: Path) -> bool:
    """RETURNS (bool): Whether JSON lines may be written to a path: to a file with such a name, to a
    device or to a pipe."""
    return format_of(path) == "jsonl" or (path.exists() and not path.is_file())
