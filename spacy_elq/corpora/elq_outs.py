"""ELQ's output, `biencoder_outs.jsonl`: predicted links, best first, beside the gold links.

A line has `id`, `text`, `tokens` (wordpieces without special tokens), and for each link a number in
`scores`, `[line of the entity, first wordpiece, last + 1]` in `pred_triples` and `[title, mention]`
in `pred_tuples_string`; if the gold links are known, also `gold_triples` and `gold_tuples_string`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ElqError, Errors
from .elq_format import (
    TITLE,
    TextReader,
    TextWriter,
    chars_of,
    check_count,
    name_entities,
    piece_range,
)
from .field_checks import wrong_type
from .predictions import GOLD_FIELD
from .spans_jsonl import LinkedSpan, LinkedText, text_from_dict
from .wordpieces import Pieces

PREDICTED, GOLD = "pred", "gold"
TOKENS = "tokens"
NAMES = ("triples", "tuples_string")
FIELDS = ("text", "scores", TOKENS, *(f"{of}_{name}" for of in (PREDICTED, GOLD) for name in NAMES))


class OutsReader(TextReader):
    """Reads ELQ's output: its links become spans with `score` and `title`, the gold links become
    the field "gold"."""

    def parse(self, record: Mapping[str, Any], where: str) -> LinkedText:
        text = str(record.get("text"))
        pieces = self.wordpieces.encode(text)
        if not _holds(pieces.ids, _list(record, TOKENS, where)):
            raise ElqError(Errors.ELQ325.format(where=where, name=TOKENS))
        spans = self._spans(record, PREDICTED, pieces, where)
        scores = _list(record, "scores", where)
        check_count(scores, len(spans), "scores", where)
        fields = {name: value for name, value in record.items() if name not in FIELDS}
        if f"{GOLD}_triples" in record:
            fields[GOLD_FIELD] = self._spans(record, GOLD, pieces, where)
        scored = [{**span, "score": score} for span, score in zip(spans, scores, strict=True)]
        return text_from_dict({**fields, "text": record.get("text"), "spans": scored}, where)

    def _spans(
        self, record: Mapping[str, Any], of: str, pieces: Pieces, where: str
    ) -> list[dict[str, Any]]:
        triples, titles = (_list(record, f"{of}_{name}", where) for name in NAMES)
        try:
            numbers = [(int(line), int(first), int(last)) for line, first, last in triples]
        except (TypeError, ValueError):
            expected = "triples of a line number and two places"
            raise wrong_type(where, f"{of}_triples", expected, triples) from None
        ids = self._ids([line for line, _, _ in numbers], where)
        places = [chars_of(pieces, first, last, where) for _, first, last in numbers]
        known = [{TITLE: title} for title in _titles(titles, f"{of}_{NAMES[1]}", where)]
        known = known or [{} for _ in ids]
        check_count(known, len(ids), f"{of}_{NAMES[1]}", where)
        return [
            {"start": start, "end": end, "id": id_, **fields}
            for (start, end), id_, fields in zip(places, ids, known, strict=True)
        ]

    def _ids(self, lines: Sequence[int], where: str) -> list[str]:
        if not lines:
            return []
        if self.entities is None:
            raise ElqError(Errors.ELQ331.format(where=where))
        return self.entities.ids(lines, where)


class OutsWriter(TextWriter):
    """Writes predicted spans as ELQ's output, links by descending score."""

    def record(self, linked: LinkedText, number: int) -> dict[str, Any]:
        where = f"text {number}"
        pieces = self.wordpieces.encode(linked.text)
        spans = sorted(linked.spans, key=_score, reverse=True)
        record = {
            "id": linked.fields.get("id", number),
            "text": linked.text,
            "scores": [_score(span) for span in spans],
            **self._links(spans, PREDICTED, pieces, where),
            TOKENS: pieces.ids,
        }
        if GOLD_FIELD in linked.fields:
            gold = {"text": linked.text, "spans": linked.fields[GOLD_FIELD]}
            record |= self._links(text_from_dict(gold, where).spans, GOLD, pieces, where)
        return record

    def _links(
        self, spans: Sequence[LinkedSpan], of: str, pieces: Pieces, where: str
    ) -> dict[str, list[Any]]:
        named = name_entities(spans, self.entities, where)
        ranges = [piece_range(pieces, span, where) for span in spans]
        return {
            f"{of}_tuples_string": [
                [title, self.wordpieces.decode(pieces.ids[first:last])]
                for (_, title, _), (first, last) in zip(named, ranges, strict=True)
            ],
            f"{of}_triples": [
                [str(line), first, last]
                for (line, _, _), (first, last) in zip(named, ranges, strict=True)
            ],
        }


def _score(span: LinkedSpan) -> float:
    return float(span.fields.get("score") or 0.0)


def _list(record: Mapping[str, Any], name: str, where: str) -> list[Any]:
    """A list of a line, empty if it is missing or null."""
    value = record.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong_type(where, name, "a list", value)
    return value


def _titles(tuples: Sequence[Any], name: str, where: str) -> list[str]:
    for pair in tuples:
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise wrong_type(where, name, "pairs of a title and a mention", pair)
    return [title for title, _ in tuples]


def _holds(ids: Sequence[int], window: Sequence[int]) -> bool:
    """Whether a text's wordpieces contain those of a window, to which a long text was cut."""
    width = len(window)
    return any(list(ids[i : i + width]) == window for i in range(len(ids) - width + 1))
