"""Texts to link, streamed from JSONL, plain text, tables or standard input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

from ..errors import ElqError, Errors
from ..files import DIALECTS, Record, decode_lines, parse_object, read_jsonl, read_lines, read_table
from .predictions import GOLD_FIELD
from .spans_jsonl import LinkedText, text_from_dict


def read_texts(path: Path) -> Iterator[LinkedText]:
    """Stream the texts of a file.

    path (Path): .jsonl or .jsonl.gz with "text"; .txt with one text per line, empty lines included;
        .csv or .tsv with a column "text". Quotes are ordinary characters in a .tsv.
    RETURNS (Iterator[LinkedText]): The texts with their other fields. "spans" of the input become
        the field "gold".
    RAISES (ElqError): If the suffix is another one; while reading, on the first bad line.
    """
    if path.name.removesuffix(".gz").endswith(".jsonl"):
        return _from_records(read_jsonl(path))
    if path.suffix == ".txt":
        return _from_lines(read_lines(path))
    if (dialect := path.suffix[1:]) in DIALECTS:
        return _from_records(read_table(path, ["text"], dialect))
    raise ElqError(Errors.ELQ420.format(path=path))


def read_stdin(stream: IO[bytes]) -> Iterator[LinkedText]:
    """Stream the texts of standard input, reading nothing ahead.

    YIELDS (LinkedText): One text per JSON line if the first line is an object, else one per line.
    """
    lines = decode_lines(stream, "standard input")
    first = next(lines, None)
    if first is None:
        return
    lines = chain([first], lines)
    if first[1].lstrip().startswith("{"):
        records = ((where, parse_object(line, where)) for where, line in lines if line.strip())
        yield from _from_records(records)
    else:
        yield from _from_lines(lines)


def _from_lines(lines: Iterable[tuple[str, str]]) -> Iterator[LinkedText]:
    return (LinkedText(line.removesuffix("\n").removesuffix("\r")) for _, line in lines)


def _from_records(records: Iterable[Record]) -> Iterator[LinkedText]:
    return (text_from_dict(_spans_as_gold(record), where) for where, record in records)


def _spans_as_gold(record: dict[str, Any]) -> dict[str, Any]:
    if "spans" in record:
        gold = record.pop("spans")
        record.setdefault(GOLD_FIELD, gold)
    return record
