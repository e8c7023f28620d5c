"""Entity files: JSON lines, tables, ontologies, and formats of other tools; `id` and `title` are
required. What is read may be several files, the parts of one catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from ..errors import ElqError, Errors
from ..files import DIALECTS, Record, read_jsonl
from ..types import Entity
from .elq import read_elq_entities
from .obo import read_obo
from .paths import format_of, part_files
from .rdf import read_rdf
from .records import entity_from_dict
from .tables import read_parquet, read_text_table
from .umls import read_rrf, read_scispacy

ELQ = "elq"
READERS: dict[str, Callable[..., Iterator[Record]]] = {
    "jsonl": read_jsonl,
    "csv": partial(read_text_table, dialect="csv"),
    "tsv": partial(read_text_table, dialect="tsv"),
    "parquet": read_parquet,
    "obo": read_obo,
    "rdf": read_rdf,
    "rrf": read_rrf,
    "scispacy": read_scispacy,
}


def read_entities(
    path: str | Path, format: str = "", columns: Sequence[str] = ()
) -> Iterator[Entity]:
    """Stream the entities of a file, or of the parts of a catalogue in the order of their names.

    path (str | Path): A file, a directory of files, or a pattern; see `part_files`. UTF-8;
        decompressed if a name ends in .gz, .bz2, .xz or .zst.
    format (str): A key of `READERS`, or "elq" for ELQ's `entity.jsonl`. If empty, the suffix of
        each file decides.
    columns (Sequence[str]): The columns of tables whose first line does not name them.
    YIELDS (Entity): The entities; unknown fields are kept in `extra`.
    RAISES (ElqError): On the first bad record, with its file and line.
    """
    for file in list_entity_files(path, format):
        yield from _read_file(file, format or format_of(file), columns)


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


def _read_file(path: Path, format: str, columns: Sequence[str]) -> Iterator[Entity]:
    if columns and format not in DIALECTS:
        raise ElqError(Errors.ELQ370.format(path=path, format=format))
    if format == ELQ:
        return read_elq_entities(path)
    read = partial(READERS[format], columns=columns) if columns else READERS[format]
    return (entity_from_dict(record, where) for where, record in read(path))


def is_jsonl(path: Path) -> bool:
    """RETURNS (bool): Whether JSON lines may be written to a path: to a file with such a name, to a
    device or to a pipe."""
    return format_of(path) == "jsonl" or (path.exists() and not path.is_file())
