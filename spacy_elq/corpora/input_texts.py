"""Texts to link, as rows: from JSONL, plain text, tables and standard input, one at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any

from ..entities.tables import LONGEST_CELL
from ..errors import ElqError, Errors
from ..files import parse_object, read_jsonl
from .predictions import GOLD_FIELD
from .spans_jsonl import LinkedText, text_from_dict

# Suffix of a table → how `csv` reads it: as tables of entities are.
DIALECTS: dict[str, dict[str, Any]] = {
    ".csv": {"delimiter": ",", "strict": True},
    ".tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
}


def read_texts(path: Path) -> Iterator[LinkedText]:
    """Stream the texts of a file.

    path (Path): JSONL with "text", gzipped or not; .txt, a text a line, empty lines too; .csv or
        .tsv with a column "text". Quotes are characters like others in a .tsv.
    RETURNS (Iterator[LinkedText]): A row for each text with the other fields. "spans" that come
        with a text become the field "gold".
    RAISES (ElqError): If the name has another suffix; while reading, on the first bad line.
    """
    name = path.name.removesuffix(".gz")
    if name.endswith(".jsonl"):
        return (_row(record, where) for where, record in read_jsonl(path))
    if path.suffix == ".txt":
        return _from_texts(_lines_of(path))
    if path.suffix in DIALECTS:
        return _from_table(path, DIALECTS[path.suffix])
    raise ElqError(Errors.ELQ420.format(path=path))


def read_stdin(stream: IO[bytes]) -> Iterator[LinkedText]:
    """Stream the texts of standard input: JSONL if its first line is an object, else a text a line.

    stream (IO[bytes]): Standard input.
    YIELDS (LinkedText): A row for each text.
    """
    lines = _lines(stream, "standard input")
    first = next(lines, None)
    if first is None:
        return
    lines = chain([first], lines)
    if first[1].lstrip().startswith("{"):
        for where, line in lines:
            if line.strip():
                yield _row(parse_object(line, where), where)
    else:
        yield from _from_texts(lines)


def _row(record: dict, where: str) -> LinkedText:
    if "spans" in record:
        gold = record.pop("spans")
        record.setdefault(GOLD_FIELD, gold)
    return text_from_dict(record, where)


def _from_texts(lines: Iterable[tuple[str, str]]) -> Iterator[LinkedText]:
    return (LinkedText(line) for _, line in lines)


def _from_table(path: Path, dialect: dict[str, Any]) -> Iterator[LinkedText]:
    csv.field_size_limit(LONGEST_CELL)
    with path.open("rb") as stream:
        # A cell may hold line breaks, so the reader gets them as they are.
        rows = csv.DictReader((line for _, line in _decoded(stream, str(path))), **dialect)
        try:
            _check_names(path, rows.fieldnames or ())
            for row in rows:
                where = f"{path}:{rows.line_num}"
                if None in row or None in row.values():
                    reason = f"it must have {len(rows.fieldnames or ())} cells, as the header"
                    raise ElqError(Errors.ELQ422.format(where=where, reason=reason))
                yield text_from_dict(row, where)
        except csv.Error as err:
            where = f"{path}:{rows.line_num + 1}"  # the line after the last row that was read
            raise ElqError(Errors.ELQ422.format(where=where, reason=err)) from None


def _check_names(path: Path, names: Sequence[str]) -> None:
    if "text" not in names:
        raise ElqError(Errors.ELQ421.format(path=path))
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ElqError(Errors.ELQ454.format(path=path, name=name))


def _lines_of(path: Path) -> Iterator[tuple[str, str]]:
    with path.open("rb") as stream:
        yield from _lines(stream, str(path))


def _lines(stream: Iterable[bytes], name: str) -> Iterator[tuple[str, str]]:
    """YIELDS (tuple[str, str]): "file:line", for messages, and the line without its end."""
    for where, line in _decoded(stream, name):
        yield where, line.removesuffix("\n").removesuffix("\r")


def _decoded(stream: Iterable[bytes], name: str) -> Iterator[tuple[str, str]]:
    """YIELDS (tuple[str, str]): "file:line", for messages, and the line with its end."""
    for number, line in enumerate(stream, start=1):
        where = f"{name}:{number}"
        try:
            # The first line may begin with the byte order mark that some editors write.
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as err:
            raise ElqError(Errors.ELQ301.format(where=where, reason=err)) from None
        yield where, text
