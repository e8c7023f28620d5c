"""Texts to link, streamed from JSONL, plain text, tables or standard input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

from ..entities.tables import read_parquet
from ..errors import ElqError, Errors
from ..files import (
    DIALECTS,
    OnBadLine,
    Record,
    decode_lines,
    parse_each,
    parse_objects,
    read_jsonl,
    read_lines,
    read_table,
    stop,
)
from .predictions import GOLD_FIELD
from .spans_jsonl import LinkedText, text_from_dict


def read_texts(path: Path, on_bad: OnBadLine = stop) -> Iterator[LinkedText]:
    """Stream the texts of a file.

    path (Path): .jsonl or .json, either with .gz, of objects with "text"; .txt with one text per
        line, empty lines included; .csv, .tsv or .parquet with a column "text". Quotes are ordinary
        characters in a .tsv.
    on_bad (Callable): Called for each line that is not a text; by default it is an error.
    RETURNS (Iterator[LinkedText]): The texts with their other fields. "spans" of the input become
        the field "gold".
    RAISES (ElqError): If the suffix is another one.
    """
    if path.name.removesuffix(".gz").endswith((".jsonl", ".json")):
        return _from_records(read_jsonl(path, on_bad), on_bad)
    if path.suffix == ".txt":
        return _from_lines(read_lines(path, on_bad))
    if (dialect := path.suffix[1:]) in DIALECTS:
        return _from_records(read_table(path, ["text"], dialect, on_bad), on_bad)
    if path.suffix == ".parquet":
        return _from_records(read_parquet(path), on_bad)
    raise ElqError(Errors.ELQ420.format(path=path))


def read_stdin(stream: IO[bytes], on_bad: OnBadLine = stop) -> Iterator[LinkedText]:
    """Stream the texts of standard input, reading nothing ahead.

    on_bad (Callable): As for `read_texts`.
    YIELDS (LinkedText): One text per JSON line if the first line is an object, or begins an array
        of them; else one per line.
    """
    lines = decode_lines(stream, "standard input", on_bad)
    first = next(lines, None)
    if first is None:
        return
    lines = chain([first], lines)
    if first[1].strip().startswith(("{", "[{")) or first[1].strip() == "[":
        yield from _from_records(parse_objects(lines, on_bad), on_bad)
    else:
        yield from _from_lines(lines)


def _from_lines(lines: Iterable[tuple[str, str]]) -> Iterator[LinkedText]:
    return (LinkedText(line.removesuffix("\n").removesuffix("\r")) for _, line in lines)


def _from_records(records: Iterable[Record], on_bad: OnBadLine) -> Iterator[LinkedText]:
    return (text for _, text in parse_each(records, _text_to_link, on_bad))


def _text_to_link(record: dict[str, Any], where: str) -> LinkedText:
    if "spans" in record:
        gold = record.pop("spans")
        record.setdefault(GOLD_FIELD, gold)
    return text_from_dict(record, where)
