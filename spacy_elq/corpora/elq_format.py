"""ELQ's training and evaluation files, `tokenized/*.jsonl`, and its raw files for inference.

A labelled row has `text`, `mentions` (character offsets), `tokenized_text_ids` (wordpieces without
special tokens), `tokenized_mention_idxs` (ranges of them), and for each mention `label_id` (line of
the entity in `entity.jsonl`, -1 for none), `wikidata_id`, `entity` (its title) and `label` (its
description). A raw row has `id` and `text` alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from ..errors import ElqError, Errors
from ..files import read_jsonl, write_jsonl
from .entity_lines import EntityLines
from .field_checks import is_int
from .spans_jsonl import ConversionStats, LinkedSpan, LinkedText, text_from_dict
from .wordpieces import Pieces, Wordpieces

PIECES, PLACES = "tokenized_text_ids", "tokenized_mention_idxs"
# One value a mention.
LISTS = ("mentions", PLACES, "label_id", "wikidata_id", "entity", "label")
FIELDS = ("text", PIECES, *LISTS)
# Fields of a span that keep what an ELQ row knows of its entity.
LINE, TITLE, DESCRIPTION = "label_id", "title", "description"
NO_ENTITY = -1

Range = tuple[int, int]


class ElqReader:
    """ELQ's rows as rows with spans; see `row`."""

    def __init__(
        self,
        wordpieces: Wordpieces,
        entities: EntityLines | None = None,
        stats: ConversionStats | None = None,
    ) -> None:
        """
        wordpieces (Wordpieces): Places the mentions of rows without character offsets.
        entities (EntityLines): Which entity a line number is; without it, rows must have
            `wikidata_id`.
        stats (ConversionStats): Counts mentions without an entity.
        """
        self.wordpieces = wordpieces
        self.entities = entities
        self.stats = ConversionStats() if stats is None else stats

    def read(self, path: Path) -> Iterator[LinkedText]:
        """Stream a file, gzipped or not.

        YIELDS (LinkedText): One row a line; a raw one has no spans.
        RAISES (ElqError): On the first bad line, with its file and number.
        """
        for where, record in read_jsonl(path):
            yield self.row(record, where)

    def row(self, record: Mapping[str, Any], where: str) -> LinkedText:
        """One parsed line. Mentions without an entity are counted and left out.

        where (str): What messages call the line.
        RETURNS (LinkedText): Its spans keep `label_id`, `title` and `description` where the line
            has them; the row keeps `id` and whatever is not ELQ's. Wordpieces are not kept.
        """
        rest = {name: value for name, value in record.items() if name not in FIELDS}
        columns = _columns(record, where)
        if not columns:
            return text_from_dict({**rest, "text": record.get("text"), "spans": []}, where)
        places = self._places(record, columns, where)
        linked = [i for i in range(len(places)) if _has_entity(columns, i)]
        self.stats.unlinked += len(places) - len(linked)
        ids = self._ids(columns, linked, places, where)
        spans = [
            {"start": places[i][0], "end": places[i][1], "id": id_, **_known(columns, i)}
            for i, id_ in zip(linked, ids, strict=True)
        ]
        return text_from_dict({**rest, "text": record.get("text"), "spans": spans}, where)

    def _places(
        self, record: Mapping[str, Any], columns: Mapping[str, list[Any]], where: str
    ) -> list[Range]:
        """The characters of each mention; by its wordpieces, if the row has no offsets."""
        if "mentions" in columns:
            return [_range(pair, where, "mentions") for pair in columns["mentions"]]
        if PLACES not in columns or PIECES not in record:
            raise ElqError(Errors.ELQ324.format(where=where))
        pieces = self.wordpieces.encode(str(record.get("text")))
        if pieces.ids != record[PIECES]:
            raise ElqError(Errors.ELQ325.format(where=where, name=PIECES))
        ranges = [_range(pair, where, PLACES) for pair in columns[PLACES]]
        return [chars_of(pieces, first, last, where) for first, last in ranges]

    def _ids(
        self,
        columns: Mapping[str, list[Any]],
        linked: Sequence[int],
        places: Sequence[Range],
        where: str,
    ) -> list[str]:
        lines = columns.get(LINE)
        if self.entities is not None and lines is not None:
            return self.entities.ids([_line(lines[i], where) for i in linked], where)
        ids = columns.get("wikidata_id", [None] * len(places))
        for i in linked:
            if not ids[i]:
                start, end = places[i]
                raise ElqError(Errors.ELQ320.format(where=where, start=start, end=end))
        return [ids[i] for i in linked]


class TextWriter(ABC):
    """Writes rows as lines that count wordpieces and entities by number."""

    def __init__(self, wordpieces: Wordpieces, entities: EntityLines | None = None) -> None:
        """
        wordpieces (Wordpieces): The tokenizer of the model that the file is of or for.
        entities (EntityLines): Line numbers, titles and descriptions; without it, spans must have
            `label_id`, as those have that were read from an ELQ file.
        """
        self.wordpieces = wordpieces
        self.entities = entities

    @abstractmethod
    def record(self, row: LinkedText, number: int) -> dict[str, Any]:
        """One row.

        number (int): Its place in the file, from 0; its id, where it has none.
        RETURNS (dict[str, Any]): The line.
        """

    def write(self, rows: Iterable[LinkedText], path: Path) -> None:
        """Write rows as they come, replacing the file as a whole."""
        write_jsonl(path, map(self.record, rows, count()))


class ElqWriter(TextWriter):
    """Rows with spans as ELQ's labelled rows."""

    def record(self, row: LinkedText, number: int) -> dict[str, Any]:
        """RETURNS (dict[str, Any]): The line of one row; `number` is its id if it has none."""
        where = f"text {number}"
        pieces = self.wordpieces.encode(row.text)
        named = name_entities(row.spans, self.entities, where)
        return {
            "id": number,
            **row.fields,
            "text": row.text,
            "mentions": [[span.start, span.end] for span in row.spans],
            PIECES: pieces.ids,
            PLACES: [list(piece_range(pieces, span, where)) for span in row.spans],
            LINE: [line for line, _, _ in named],
            "wikidata_id": [span.id for span in row.spans],
            "entity": [title for _, title, _ in named],
            "label": [description for _, _, description in named],
        }


def write_raw(rows: Iterable[LinkedText], path: Path) -> None:
    """Write ids and texts alone, ELQ's input for inference, replacing the file as a whole."""
    write_jsonl(
        path,
        ({"id": row.fields.get("id", i), "text": row.text} for i, row in enumerate(rows)),
    )


def name_entities(
    spans: Sequence[LinkedSpan], entities: EntityLines | None, where: str
) -> list[tuple[int, str, str]]:
    """RETURNS (list): Line number, title and description of the entity of each span.
    RAISES (ElqError): If a line number is not known."""
    found = entities.find([span.id for span in spans]) if entities else [None] * len(spans)
    named = []
    for span, entity in zip(spans, found, strict=True):
        if entity is not None:
            named.append((entity[0], entity[1].title, entity[1].description))
        elif entities is None and isinstance(span.fields.get(LINE), int):
            title, description = span.fields.get(TITLE, ""), span.fields.get(DESCRIPTION, "")
            named.append((span.fields[LINE], title, description))
        else:
            raise ElqError(Errors.ELQ327.format(where=where, id=span.id))
    return named


def piece_range(pieces: Pieces, span: LinkedSpan, where: str) -> Range:
    """RETURNS (tuple[int, int]): The wordpieces [first, last) of a span.
    RAISES (ElqError): If it has none, as a span of white space."""
    found = pieces.span_of(span.start, span.end)
    if found is None:
        place = {"start": span.start, "end": span.end}
        raise ElqError(Errors.ELQ330.format(where=where, **place))
    return found


def chars_of(pieces: Pieces, first: int, last: int, where: str) -> Range:
    """RETURNS (tuple[int, int]): The characters of the wordpieces [first, last), checked."""
    total = len(pieces.ids)
    if not 0 <= first < last <= total:
        raise ElqError(Errors.ELQ326.format(where=where, start=first, end=last, count=total))
    return pieces.chars_of(first, last)


def _columns(record: Mapping[str, Any], where: str) -> dict[str, list[Any]]:
    """The lists of a row that have one value a mention, checked to be as long as each other."""
    columns = {name: record[name] for name in LISTS if record.get(name) is not None}
    for name, values in columns.items():
        if not isinstance(values, list):
            raise wrong_field(where, name, "a list", values)
    counts = {name: len(values) for name, values in columns.items()}
    for name, found in counts.items():
        if found != (expected := next(iter(counts.values()))):
            raise ElqError(
                Errors.ELQ322.format(where=where, name=name, found=found, expected=expected)
            )
    return columns


def _has_entity(columns: Mapping[str, list[Any]], i: int) -> bool:
    if LINE in columns:
        return columns[LINE][i] not in (NO_ENTITY, None)
    return "wikidata_id" in columns and bool(columns["wikidata_id"][i])


def _known(columns: Mapping[str, list[Any]], i: int) -> dict[str, Any]:
    names = {LINE: LINE, TITLE: "entity", DESCRIPTION: "label"}
    known = {ours: columns[theirs][i] for ours, theirs in names.items() if theirs in columns}
    return {name: value for name, value in known.items() if value not in (None, "")}


def _range(pair: Any, where: str, name: str) -> Range:
    if not isinstance(pair, list) or len(pair) != 2 or not all(map(is_int, pair)):
        raise wrong_field(where, name, "pairs of whole numbers", pair)
    return pair[0], pair[1]


def _line(value: Any, where: str) -> int:
    if not is_int(value):
        raise wrong_field(where, LINE, "whole numbers", value)
    return value


def wrong_field(where: str, name: str, expected: str, found: Any) -> ElqError:
    """RETURNS (ElqError): To be raised for a field of a wrong type."""
    return ElqError(
        Errors.ELQ323.format(where=where, name=name, expected=expected, found=repr(found)[:60])
    )
