"""ELQ's training and evaluation files, `tokenized/*.jsonl`, and its raw files for inference.

A labelled line has `text`, `mentions` (character offsets), `tokenized_text_ids` (wordpieces without
special tokens), `tokenized_mention_idxs` (ranges of them), and for each mention `label_id` (line of
the entity in `entity.jsonl`, -1 for none), `wikidata_id`, `entity` (its title) and `label` (its
description). A raw line has only `id` and `text`.
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
from .field_checks import is_int, is_range, wrong_type
from .spans_jsonl import ConversionStats, LinkedSpan, LinkedText, text_from_dict
from .wordpieces import Pieces, Wordpieces

PIECES, PLACES = "tokenized_text_ids", "tokenized_mention_idxs"
# Lists with one value per mention.
LISTS = ("mentions", PLACES, "label_id", "wikidata_id", "entity", "label")
FIELDS = ("text", PIECES, *LISTS)
# Span fields that keep what an ELQ line says about the entity, and ELQ's names of them.
LINE, TITLE, DESCRIPTION = "label_id", "title", "description"
ENTITY_FIELDS = {LINE: LINE, TITLE: "entity", DESCRIPTION: "label"}
NO_ENTITY = -1

Range = tuple[int, int]


class TextReader(ABC):
    """Reads texts from lines that count wordpieces and name entities by line number."""

    def __init__(
        self,
        wordpieces: Wordpieces,
        entities: EntityLines | None = None,
        stats: ConversionStats | None = None,
    ) -> None:
        """
        wordpieces (Wordpieces): The tokenizer of the model that the file belongs to.
        entities (EntityLines): Maps line numbers to entities.
        stats (ConversionStats): Counts mentions without an entity.
        """
        self.wordpieces = wordpieces
        self.entities = entities
        self.stats = ConversionStats() if stats is None else stats

    @abstractmethod
    def parse(self, record: Mapping[str, Any], where: str) -> LinkedText:
        """Parse one line; `where` names it in messages."""

    def read(self, path: Path) -> Iterator[LinkedText]:
        """Stream a file, gzipped or not.

        YIELDS (LinkedText): One text per line.
        RAISES (ElqError): On the first bad line, with its file and number.
        """
        for where, record in read_jsonl(path):
            yield self.parse(record, where)


class TextWriter(ABC):
    """Writes texts as lines that count wordpieces and name entities by line number."""

    def __init__(self, wordpieces: Wordpieces, entities: EntityLines | None = None) -> None:
        """
        wordpieces (Wordpieces): The tokenizer of the model that the file is for.
        entities (EntityLines): Line numbers, titles and descriptions. Without it, spans must have
            `label_id`, as spans read from ELQ's files do.
        """
        self.wordpieces = wordpieces
        self.entities = entities

    @abstractmethod
    def record(self, linked: LinkedText, number: int) -> dict[str, Any]:
        """Make one line; `number`, counted from 0, is the id of a text that has none."""

    def write(self, texts: Iterable[LinkedText], path: Path) -> None:
        """Write texts one by one, replacing the file as a whole."""
        write_jsonl(path, map(self.record, texts, count()))


class ElqReader(TextReader):
    """Reads ELQ's labelled and raw lines; labelled lines need `entities` or `wikidata_id`."""

    def parse(self, record: Mapping[str, Any], where: str) -> LinkedText:
        """Parse one line. Mentions without an entity are counted and left out.

        RETURNS (LinkedText): Its spans keep `label_id`, `title` and `description`; the text keeps
            `id` and all fields that are not ELQ's. Wordpieces are dropped.
        """
        rest = {name: value for name, value in record.items() if name not in FIELDS}
        columns = _columns(record, where)
        places = self._places(record, columns, where) if columns else []
        linked = [i for i in range(len(places)) if _has_entity(columns, i)]
        self.stats.unlinked += len(places) - len(linked)
        ids = self._ids(columns, linked, where)
        spans = [
            {"start": places[i][0], "end": places[i][1], "id": id_, **_entity_fields(columns, i)}
            for i, id_ in zip(linked, ids, strict=True)
        ]
        return text_from_dict({**rest, "text": record.get("text"), "spans": spans}, where)

    def _places(
        self, record: Mapping[str, Any], columns: Mapping[str, list[Any]], where: str
    ) -> list[Range]:
        """The characters of each mention, from its wordpieces if the line has no offsets."""
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
        self, columns: Mapping[str, list[Any]], linked: Sequence[int], where: str
    ) -> list[str]:
        lines, ids = columns.get(LINE), columns.get("wikidata_id")
        if self.entities is not None and lines is not None:
            return self.entities.ids([_line(lines[i], where) for i in linked], where)
        if linked and (ids is None or not all(ids[i] for i in linked)):
            raise ElqError(Errors.ELQ331.format(where=where))
        return [ids[i] for i in linked] if ids else []


class ElqWriter(TextWriter):
    """Writes ELQ's labelled lines."""

    def record(self, linked: LinkedText, number: int) -> dict[str, Any]:
        where = f"text {number}"
        pieces = self.wordpieces.encode(linked.text)
        named = name_entities(linked.spans, self.entities, where)
        return {
            "id": number,
            **linked.fields,
            "text": linked.text,
            "mentions": [[span.start, span.end] for span in linked.spans],
            PIECES: pieces.ids,
            PLACES: [list(piece_range(pieces, span, where)) for span in linked.spans],
            LINE: [line for line, _, _ in named],
            "wikidata_id": [span.id for span in linked.spans],
            "entity": [title for _, title, _ in named],
            "label": [description for _, _, description in named],
        }


def write_raw(texts: Iterable[LinkedText], path: Path) -> None:
    """Write ids and texts only, ELQ's input for inference, replacing the file as a whole."""
    write_jsonl(
        path,
        ({"id": each.fields.get("id", i), "text": each.text} for i, each in enumerate(texts)),
    )


def name_entities(
    spans: Sequence[LinkedSpan], entities: EntityLines | None, where: str
) -> list[tuple[int, str, str]]:
    """RETURNS (list): Line number, title and description of each span's entity.
    RAISES (ElqError): If a line number is unknown."""
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
        raise ElqError(Errors.ELQ330.format(where=where, start=span.start, end=span.end))
    return found


def chars_of(pieces: Pieces, first: int, last: int, where: str) -> Range:
    """RETURNS (tuple[int, int]): The characters of the wordpieces [first, last).
    RAISES (ElqError): If there are no such wordpieces."""
    total = len(pieces.ids)
    if not 0 <= first < last <= total:
        raise ElqError(Errors.ELQ326.format(where=where, start=first, end=last, count=total))
    return pieces.chars_of(first, last)


def check_count(values: Sequence[Any], expected: int, name: str, where: str) -> None:
    """Raise an ElqError unless a list has one value per mention."""
    if len(values) != expected:
        counts = {"found": len(values), "expected": expected}
        raise ElqError(Errors.ELQ322.format(where=where, name=name, **counts))


def _columns(record: Mapping[str, Any], where: str) -> dict[str, list[Any]]:
    """The lists of a line that have one value per mention, checked to have the same length."""
    columns = {name: record[name] for name in LISTS if record.get(name) is not None}
    for name, values in columns.items():
        if not isinstance(values, list):
            raise wrong_type(where, name, "a list", values)
        check_count(values, len(next(iter(columns.values()))), name, where)
    return columns


def _has_entity(columns: Mapping[str, list[Any]], i: int) -> bool:
    if LINE in columns:
        return columns[LINE][i] not in (NO_ENTITY, None)
    return "wikidata_id" in columns and bool(columns["wikidata_id"][i])


def _entity_fields(columns: Mapping[str, list[Any]], i: int) -> dict[str, Any]:
    fields = {ours: columns[elqs][i] for ours, elqs in ENTITY_FIELDS.items() if elqs in columns}
    return {name: value for name, value in fields.items() if value not in (None, "")}


def _range(pair: Any, where: str, name: str) -> Range:
    if not is_range(pair):
        raise wrong_type(where, name, "pairs of whole numbers", pair)
    return pair[0], pair[1]


def _line(value: Any, where: str) -> int:
    if not is_int(value):
        raise wrong_type(where, LINE, "whole numbers", value)
    return value
