"""The tables of a wiki's database, as MediaWiki dumps them: `page.sql.gz` and the like."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import ElqError, Errors
from ..files import UNREADABLE
from .compressed import DumpFile

# The columns of older dumps, which all later ones begin with; the statements say what there are.
COLUMNS: dict[str, tuple[str, ...]] = {
    "page_props": ("pp_page", "pp_propname", "pp_value"),
    "page": ("page_id", "page_namespace", "page_title"),
    "redirect": ("rd_from", "rd_namespace", "rd_title"),
}
_INSERT = re.compile(r"INSERT INTO `(\w+)`[^(]*? VALUES ")
_CREATE = re.compile(r"CREATE TABLE `(\w+)`")
_COLUMN = re.compile(r"\s*`(\w+)`")
_ROW = re.compile(r"\(((?:[^'()]|'(?:[^'\\]|\\.|'')*')*)\)[,;]?")
_VALUE = re.compile(r"'((?:[^'\\]|\\.|'')*)'|([^,']+)")
_ESCAPE = re.compile(r"\\(.)|''", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}


def table_of(start: str) -> str:
    """RETURNS (str): The name of the table that a file begins to dump; "" if it is no such file."""
    found = _CREATE.search(start) or _INSERT.search(start)
    return found[1] if found else ""


def read_rows(dump: DumpFile) -> Iterator[dict[str, str]]:
    """YIELDS (dict): The rows of a table: numbers and strings as strings, without other columns
    than MediaWiki's first ones if the file does not name them.
    RAISES (ElqError): If the file is cut: entities would silently lack their items."""
    columns: list[str] = []
    is_header = False
    for line in _lines(dump):
        if _CREATE.match(line):
            is_header, columns = True, []
        elif is_header and (column := _COLUMN.match(line)):
            columns.append(column[1])
        elif insert := _INSERT.match(line):
            names = columns or COLUMNS.get(insert[1], ())
            for row in _ROW.finditer(line, insert.end()):
                yield dict(zip(names, _values(row[1]), strict=False))
        else:
            is_header = False


def _values(row: str) -> Iterator[str]:
    for match in _VALUE.finditer(row):
        quoted = match[1]
        if quoted is None:
            yield match[2].strip()
        else:
            yield _ESCAPE.sub(_unescape, quoted) if "\\" in quoted or "''" in quoted else quoted


def _unescape(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[1], match[1]) if match[1] else "'"


def _lines(dump: DumpFile) -> Iterator[str]:
    try:
        for line in dump.stream:
            yield line.decode("utf8", "replace")
    except UNREADABLE as err:
        raise ElqError(Errors.ELQ301.format(where=dump.path, reason=err)) from None
