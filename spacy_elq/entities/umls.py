"""Concepts as biomedical tools have them: UMLS's own files (RRF), and scispaCy's JSON lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from ..errors import ElqError, Errors
from ..files import Record, read_jsonl, read_lines

NAMES, DEFINITIONS, TYPES = "MRCONSO", "MRDEF", "MRSTY"
ENGLISH = "ENG"
# Values of SUPPRESS: obsolete, or suppressed by an editor or by its source.
SUPPRESSED = ("O", "E", "Y")
# Columns of MRCONSO: language, status and type of the string, source, text, SUPPRESS.
LAT, TS, STT, IS_PREFERRED, SAB, STR, SUPPRESS = 1, 2, 4, 6, 11, 14, 16
# Columns of MRDEF and MRSTY.
DEF, DEF_SUPPRESS, STY = 5, 6, 3
# scispaCy's name of each field.
SCISPACY = {
    "concept_id": "id",
    "canonical_name": "title",
    "definition": "description",
    "aliases": "aliases",
}

# "file:line" and the columns of a row.
Row = tuple[str, list[str]]


def read_rrf(path: Path) -> Iterator[Record]:
    """Stream the concepts of MRCONSO.RRF, in English, with the definitions and semantic types of
    MRDEF.RRF and MRSTY.RRF if they lie beside it. Suppressed and obsolete names are left out, and
    concepts that have no others.

    YIELDS (tuple[str, dict]): "file:line" of the concept's first name, and the entity as an object.
    RAISES (ElqError): If a row is too short, or concepts are not in the order of their ids.
    """
    if NAMES not in path.name:
        raise ElqError(Errors.ELQ384.format(path=path))
    definitions, types = (
        _Beside(path.with_name(path.name.replace(NAMES, name)), least)
        for name, least in ((DEFINITIONS, DEF_SUPPRESS), (TYPES, STY))
    )
    for id_, group in groupby(_rows(path, SUPPRESS), key=lambda row: row[1][0]):
        rows = [
            row for row in group if row[1][LAT] == ENGLISH and row[1][SUPPRESS] not in SUPPRESSED
        ]
        kept = [row[DEF] for row in definitions.of(id_) if row[DEF_SUPPRESS] not in SUPPRESSED]
        kinds = [row[STY] for row in types.of(id_)]
        if rows:
            yield rows[0][0], _record(id_, [cells for _, cells in rows], kept, kinds)


def _record(
    id_: str, rows: list[list[str]], definitions: list[str], types: list[str]
) -> dict[str, Any]:
    def is_preferred(row: list[str]) -> bool:
        return (row[TS], row[STT], row[IS_PREFERRED]) == ("P", "PF", "Y")

    title = next(filter(is_preferred, rows), rows[0])[STR]
    names = dict.fromkeys(row[STR] for row in rows)
    names.pop(title)
    record = {
        "id": id_,
        "title": title,
        "aliases": [*names],
        "description": definitions[0] if definitions else "",
        "sources": sorted({row[SAB] for row in rows}),
    }
    return record | typed(types)


def typed(types: list[str]) -> dict[str, Any]:
    """RETURNS (dict): The first of several types as the type of an entity; all of them as a field
    of their own."""
    if not types:
        return {}
    return {"type": types[0]} | ({"types": types} if len(types) > 1 else {})


def _rows(path: Path, least: int) -> Iterator[Row]:
    before = ""
    for where, line in read_lines(path):
        cells = line.rstrip("\r\n").split("|")
        if len(cells) <= least or cells[0] < before:
            raise ElqError(Errors.ELQ385.format(where=where))
        before = cells[0]
        yield where, cells


class _Beside:
    """Rows of another file, in the order of the same ids; none if there is no file."""

    def __init__(self, path: Path, least: int) -> None:
        rows: Iterable[Row] = _rows(path, least) if path.exists() else ()
        self._groups = groupby((cells for _, cells in rows), key=lambda cells: cells[0])
        self._next: tuple[str, list[list[str]]] | None = None

    def of(self, id_: str) -> list[list[str]]:
        """RETURNS (list): The rows of an id, which is greater than those that were asked for."""
        while self._next is None or self._next[0] < id_:
            found = next(self._groups, None)
            if found is None:
                return []
            self._next = found[0], list(found[1])
        return self._next[1] if self._next[0] == id_ else []


def read_scispacy(path: Path) -> Iterator[Record]:
    """Stream the concepts of a knowledge base of scispaCy's entity linker, JSON lines.

    YIELDS (tuple[str, dict]): "file:line", for messages, and the entity as an object.
    """
    for where, concept in read_jsonl(path):
        others = {k: v for k, v in concept.items() if k not in SCISPACY and k != "types"}
        record = {SCISPACY[k]: v for k, v in concept.items() if k in SCISPACY}
        types = concept.get("types")
        yield where, others | record | typed(types if isinstance(types, list) else [])
