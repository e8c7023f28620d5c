"""Entities in tables: CSV, TSV and Parquet files, one entity per row."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import ElqError, Errors, Warnings
from ..files import Record, read_table
from .records import ALIAS_FIELDS, FIELDS
from .umls import typed

# Between the aliases in a cell.
SEPARATOR = "|"
# Columns of tables of concepts, as biomedical tools have them → fields of entities. They are read
# so in tables with a "name", no "title", and one of the others.
OBSOLETE, TYPES = "is obsolete", "all types"
CONCEPTS = {
    "id": "id",
    "name": "title",
    "synonyms": "aliases",
    "definition": "description",
    "types": TYPES,
    "obsolete": OBSOLETE,
}
YES = ("1", "true", "yes", "y", "t", "obsolete")
# Rows of a Parquet file that are in memory at once.
ROWS_AT_ONCE = 4096
# Of spaCy's entity-linking tutorial.
ADVICE = " If that line is an entity, name the columns: --columns id,title,description"


def read_text_table(path: Path, dialect: str, columns: Sequence[str] = ()) -> Iterator[Record]:
    """Read a table one row at a time. Aliases are separated by "|"; empty cells are left out.

    dialect (str): "csv" or "tsv".
    columns (Sequence[str]): The columns of a table whose first line does not name them.
    YIELDS (tuple[str, dict]): "file:line", for messages, and the row as an object.
    """
    advice = "" if columns else ADVICE
    concepts = _ConceptColumns()
    rows = read_table(
        path, ("id", "title"), dialect, columns=columns, rename=concepts.rename, advice=advice
    )
    for i, (where, row) in enumerate(rows):
        if i == 0:
            _warn_of_misspellings(row, "--columns" if columns else f"{path}:1")
        record = concepts.entity({name: cell for name, cell in row.items() if cell})
        if record is not None:
            yield where, _with_alias_list(record)


class _ConceptColumns:
    """Columns of a table of concepts, which is told by its header."""

    def __init__(self) -> None:
        self.are_there = False

    def rename(self, names: list[str]) -> list[str]:
        """RETURNS (list[str]): The columns, those of concepts as fields of entities."""
        known = [CONCEPTS.get(name.lower(), name) for name in names]
        self.are_there = (
            "title" not in names and "title" in known and len({*known} - {*names, "id"}) > 1
        )
        return known if self.are_there else names

    def entity(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """RETURNS (dict | None): The entity of a row; None if it is obsolete."""
        if not self.are_there:
            return row
        if row.pop(OBSOLETE, "").strip().lower() in YES:
            return None
        types = [each.strip() for each in row.pop(TYPES, "").split(SEPARATOR)]
        return row | typed([each for each in types if each])


def _warn_of_misspellings(names: Iterable[str], where: str) -> None:
    missing = [field for field in FIELDS if field not in names]
    for name in names:
        known = get_close_matches(name.lower(), missing, n=1, cutoff=0.75)
        if known and name not in FIELDS:
            message = Warnings.ELQ455.format(where=where, found=name, known=known[0])
            warnings.warn(message, stacklevel=2)


def _with_alias_list(record: Mapping[str, Any]) -> dict[str, Any]:
    """Split aliases that are one string; of those that are objects, as a column of Parquet may have
    them all, leave what is known."""
    aliases = record.get("aliases")
    if isinstance(aliases, str):
        names = (alias.strip() for alias in aliases.split(SEPARATOR))
        return {**record, "aliases": [name for name in names if name]}
    if isinstance(aliases, list):
        return {**record, "aliases": [_without_missing(alias) for alias in aliases]}
    return dict(record)


def _without_missing(alias: Any) -> Any:
    if not isinstance(alias, dict) or "name" not in alias:
        return alias
    present = {key: value for key, value in alias.items() if value is not None}
    return present if present.keys() & set(ALIAS_FIELDS) else alias["name"]


def read_parquet(path: Path) -> Iterator[Record]:
    """Read a Parquet file in batches of rows. Aliases are a list, or one string as in a table.

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
                    present = {name: _plain(v) for name, v in row.items() if v is not None}
                    number += 1
                    yield f"{path}:{number}", _with_alias_list(present)
    except (ArrowException, OSError, UnicodeDecodeError) as err:
        raise ElqError(Errors.ELQ301.format(where=f"{path}:{number + 1}", reason=err)) from None


def _plain(value: Any) -> Any:
    """Convert a value to what JSON can express: dates, decimals and the like become text."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, bytes):
        return value.decode("utf8")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    return str(value)
