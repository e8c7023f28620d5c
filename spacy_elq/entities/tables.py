"""Entities in tables: CSV, TSV and Parquet files, a row an entity."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import ElqError, Errors, Warnings
from ..files import UNREADABLE, broken_line, open_text
from .records import FIELDS

# Characters of a cell; `csv` has a limit of 131,072 of its own.
LONGEST_CELL = 2**31 - 1
# Between the aliases in a cell.
SEPARATOR = "|"
# Rows of a Parquet file that are in memory at once.
ROWS_AT_ONCE = 4096
Record = tuple[str, dict[str, Any]]


def read_csv(path: Path) -> Iterator[Record]:
    """Read a table with a header, with commas between the cells and quotes where they are needed;
    see `read_table`."""
    return read_table(path, delimiter=",", quoting=csv.QUOTE_MINIMAL, strict=True)


def read_tsv(path: Path) -> Iterator[Record]:
    """Read a table with a header and tabs between the cells; quotes are characters like others."""
    return read_table(path, delimiter="\t", quoting=csv.QUOTE_NONE)


def read_table(path: Path, **dialect: Any) -> Iterator[Record]:
    """Read a table a row at a time. Aliases are separated by "|", empty cells are left out.

    **dialect: For `csv.reader`.
    YIELDS (tuple[str, dict]): "file:line", for messages, and the row as an object.
    """
    end = 0
    csv.field_size_limit(LONGEST_CELL)
    with open_text(path, newline="") as file:
        rows = csv.reader(file, **dialect)
        try:
            header = _check_header(next(rows, []), f"{path}:1")
            end = rows.line_num
            for row in rows:
                where, end = f"{path}:{end + 1}", rows.line_num
                if row:
                    yield where, _record(header, row, where)
        except (csv.Error, *UNREADABLE) as err:
            where = broken_line(path, err) or f"{path}:{end + 1}"
            raise ElqError(Errors.ELQ235.format(where=where, reason=err)) from None


def _check_header(header: Sequence[str], where: str) -> list[str]:
    names = [name.strip() for name in header]
    if not {"id", "title"} <= set(names) or len(set(names)) < len(names):
        raise ElqError(Errors.ELQ245.format(where=where, found=", ".join(names) or "nothing"))
    missing = [name for name in FIELDS if name not in names]
    for name in names:
        known = get_close_matches(name.lower(), missing, n=1, cutoff=0.75)
        if known and name not in FIELDS:
            message = Warnings.ELQ455.format(where=where, found=name, known=known[0])
            warnings.warn(message, stacklevel=2)
    return names


def _record(header: Sequence[str], row: Sequence[str], where: str) -> dict[str, Any]:
    if len(row) != len(header):
        raise ElqError(Errors.ELQ247.format(where=where, found=len(row), expected=len(header)))
    record: dict[str, Any] = {name: cell for name, cell in zip(header, row, strict=True) if cell}
    return _with_aliases(record)


def _with_aliases(record: Mapping[str, Any]) -> dict[str, Any]:
    """Aliases in one string become a list."""
    aliases = record.get("aliases")
    if not isinstance(aliases, str):
        return dict(record)
    names = (alias.strip() for alias in aliases.split(SEPARATOR))
    return {**record, "aliases": [name for name in names if name]}


def read_parquet(path: Path) -> Iterator[Record]:
    """Read a Parquet file, some rows at a time. Aliases are a list or one string, as in a table.

    YIELDS (tuple[str, dict]): "file:row", rows counted from 1, and the row as an object without
        its nulls.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ElqError(Errors.ELQ248.format(path=path)) from None
    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    known = {name: _plain(v) for name, v in row.items() if v is not None}
                    number += 1
                    yield f"{path}:{number}", _with_aliases(known)
    except (ArrowException, OSError, UnicodeDecodeError) as err:
        raise ElqError(Errors.ELQ235.format(where=f"{path}:{number + 1}", reason=err)) from None


def _plain(value: Any) -> Any:
    """A value that JSON can express: dates, decimals and the like as text, bytes as UTF-8."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, bytes):
        return value.decode("utf8")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    return str(value)
