"""Spans JSONL, the format of training, evaluation and output:
`{"text": …, "spans": [{"start": 0, "end": 5, "id": "Q90"}], …}`, character offsets."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span

from ..errors import ElqError, Errors, Warnings
from ..files import read_jsonl, write_jsonl
from ..gold import GOLD_KEY, SPAN_FIELDS, gold_fields, gold_spans, set_gold
from ..types import DEFAULT_LABEL
from .field_checks import SPAN_CHECKS, TEXT_CHECKS, check_fields, is_int, is_text

# How links are called in other formats.
OTHER_NAMES = ("ents", "entities", "mentions")


@dataclass(frozen=True)
class LinkedSpan:
    """One linked mention of a row.

    start, end (int): Character offsets, end exclusive.
    id (str): The entity.
    fields (Mapping[str, Any]): Whatever other fields the span had.
    """

    start: int
    end: int
    id: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """RETURNS (str): The span's field "label", never empty."""
        label = self.fields.get("label")
        return label if isinstance(label, str) and label else DEFAULT_LABEL


@dataclass(frozen=True)
class LinkedText:
    """One text with its linked mentions, as the file formats hold it.

    fields (Mapping[str, Any]): Whatever other fields the row had, kept as they came.
    """

    text: str
    spans: tuple[LinkedSpan, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class ConversionStats:
    """What has been read.

    misaligned (int): Spans that begin or end inside a token and were widened to whole tokens.
    blank (int): Spans of white space only, left out: no token carries them.
    unlinked (int): Mentions without an entity, left out.
    displaced (int): Mentions at whose place the text is not what their file says it is.
    """

    texts: int = 0
    spans: int = 0
    misaligned: int = 0
    blank: int = 0
    unlinked: int = 0
    displaced: int = 0

    def warn(self) -> None:
        """Warn, once for each kind, about spans that were changed or left out."""
        if self.misaligned:
            message = Warnings.ELQ351.format(count=self.misaligned, spans=self.spans)
            warnings.warn(message, stacklevel=2)
        if self.blank:
            message = Warnings.ELQ352.format(count=self.blank, spans=self.spans)
            warnings.warn(message, stacklevel=2)
        if self.unlinked:
            warnings.warn(Warnings.ELQ353.format(count=self.unlinked), stacklevel=2)
        if self.displaced:
            warnings.warn(Warnings.ELQ354.format(count=self.displaced), stacklevel=2)


def read_spans_jsonl(path: Path) -> Iterator[LinkedText]:
    """Stream the rows of a spans JSONL file, gzipped or not.

    path (Path): The file.
    YIELDS (LinkedText): One row a line. A row without "spans" has none.
    RAISES (ElqError): On the first bad line, with its file and number.
    """
    told = False
    for where, record in read_jsonl(path):
        if not told and "spans" not in record:
            told = _tell_other_names(record, where)
        yield text_from_dict(record, where)


def _tell_other_names(record: Mapping[str, Any], where: str) -> bool:
    """RETURNS (bool): Whether links may be in a field of another name; a warning says so."""
    for name in OTHER_NAMES:
        if record.get(name):
            warnings.warn(Warnings.ELQ456.format(where=where, found=name), stacklevel=2)
            return True
    return False


def write_spans_jsonl(rows: Iterable[LinkedText], path: Path) -> None:
    """Write rows as spans JSONL, replacing the file as a whole."""
    write_jsonl(path, map(text_to_dict, rows))


def text_from_dict(record: Mapping[str, Any], where: str) -> LinkedText:
    """Check one parsed line.

    record (Mapping[str, Any]): The line's object.
    where (str): What messages call it: "file:line".
    RETURNS (LinkedText): The row.
    RAISES (ElqError): If a field is missing, of a wrong type, or outside the text.
    """
    fields = dict(record)
    text = fields.pop("text", None)
    if not is_text(text):
        raise ElqError(Errors.ELQ304.format(where=where))
    spans = fields.pop("spans", [])
    if not isinstance(spans, list) or not all(isinstance(span, dict) for span in spans):
        raise ElqError(Errors.ELQ305.format(where=where))
    checked = tuple(
        _span_from_dict(span, text, f"{where}, span {i}") for i, span in enumerate(spans)
    )
    check_fields(fields, TEXT_CHECKS, where)
    return LinkedText(text, checked, fields)


def check_text(text: str, most: int) -> None:
    """Raise an ElqError for a text that a pipeline can't read.

    most (int): Characters that the pipeline takes.
    """
    if len(text) > most:
        raise ElqError(Errors.ELQ424.format(begin=text[:40], length=len(text), most=most))
    if not is_text(text):
        raise ElqError(Errors.ELQ432.format(text=text[:60]))


def text_to_dict(row: LinkedText) -> dict[str, Any]:
    """RETURNS (dict[str, Any]): The row as one line of spans JSONL."""
    spans = [{"start": s.start, "end": s.end, "id": s.id, **s.fields} for s in row.spans]
    return {"text": row.text, "spans": spans, **row.fields}


def text_from_doc(doc: Doc) -> LinkedText:
    """RETURNS (LinkedText): A reference document's text, its gold mentions and its other fields."""
    extras = doc.spans[GOLD_KEY].attrs.get(SPAN_FIELDS) if GOLD_KEY in doc.spans else None
    spans = gold_spans(doc)
    fields = extras or [_label_field(span) for span in spans]
    return LinkedText(
        doc.text,
        tuple(
            LinkedSpan(span.start_char, span.end_char, span.kb_id_, extra)
            for span, extra in zip(spans, fields, strict=True)
        ),
        gold_fields(doc),
    )


def docs_from_texts(
    nlp: Language, rows: Iterable[LinkedText], stats: ConversionStats | None = None
) -> Iterator[Doc]:
    """Tokenize rows into reference documents with their gold mentions.

    nlp (Language): Whose tokenizer is used.
    rows (Iterable[LinkedText]): The rows.
    stats (ConversionStats | None): Filled while documents are drawn, for callers that report it
        themselves. Without one, a warning at the end says what was changed or left out.
    YIELDS (Doc): One document a row: `doc.spans["elq_gold"]`, `doc.ents`, `doc.user_data["elq"]`.
    """
    counts = ConversionStats() if stats is None else stats
    for row in rows:
        yield _doc_from_row(nlp, row, counts)
    if stats is None:
        counts.warn()


def _doc_from_row(nlp: Language, row: LinkedText, stats: ConversionStats) -> Doc:
    check_text(row.text, nlp.max_length)
    doc = nlp.make_doc(row.text)
    if doc.text != row.text:
        raise ElqError(Errors.ELQ309.format(text=row.text[:60]))
    stats.texts += 1
    placed = [(_place(doc, span, stats), span.fields) for span in row.spans]
    kept = [(span, fields) for span, fields in placed if span is not None]
    set_gold(
        doc,
        [span for span, _ in kept],
        fields=row.fields,
        span_fields=[fields for _, fields in kept],
    )
    return doc


def _place(doc: Doc, span: LinkedSpan, stats: ConversionStats) -> Span | None:
    """The tokens that a span covers, or touches; None if it holds white space only."""
    stats.spans += 1
    surface = doc.text[span.start : span.end]
    if not surface.strip():
        stats.blank += 1
        return None
    # Outer white space is no part of a name, and may be a token of its own.
    start = span.start + len(surface) - len(surface.lstrip())
    end = span.end - len(surface) + len(surface.rstrip())
    placed = doc.char_span(start, end, label=span.label, kb_id=span.id, alignment_mode="expand")
    if placed is not None:
        stats.misaligned += (placed.start_char, placed.end_char) != (span.start, span.end)
    return placed


def _span_from_dict(record: Mapping[str, Any], text: str, where: str) -> LinkedSpan:
    fields = dict(record)
    start, end, entity = (fields.pop(name, None) for name in ("start", "end", "id"))
    if not (is_int(start) and is_int(end)):
        raise ElqError(Errors.ELQ306.format(where=where, start=start, end=end))
    if not 0 <= start < end <= len(text):
        raise ElqError(Errors.ELQ307.format(where=where, start=start, end=end, length=len(text)))
    if not is_text(entity) or not entity:
        raise ElqError(Errors.ELQ308.format(where=where))
    check_fields(fields, SPAN_CHECKS, where)
    return LinkedSpan(start, end, entity, fields)


def _label_field(span: Span) -> dict[str, str]:
    return {} if span.label_ in ("", DEFAULT_LABEL) else {"label": span.label_}
