"""Linked texts, and spans JSONL, the format of training, evaluation and output:
`{"text": …, "spans": [{"start": 0, "end": 5, "id": "Q90"}], …}`, character offsets."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span

from ..errors import ElqError, Errors, Warnings
from ..files import read_jsonl, write_jsonl
from ..gold import (
    COMPLETE,
    GOLD_KEY,
    NIL,
    NIL_KEY,
    SPAN_FIELDS,
    UNKNOWN,
    UNKNOWN_KEY,
    MarkedSpan,
    gold_fields,
    gold_spans,
    gold_triples,
    set_gold,
    set_partial,
    span_bounds,
)
from ..types import DEFAULT_LABEL
from .field_checks import (
    SPAN_CHECKS,
    TEXT_CHECKS,
    are_objects,
    check_fields,
    is_int,
    is_text,
    wrong_type,
)

# What other formats call the field with the links.
OTHER_NAMES = ("ents", "entities", "mentions")
# Field of a text → the span group that holds it on a document.
_PARTIAL_GROUPS = {UNKNOWN: UNKNOWN_KEY, NIL: NIL_KEY}
_PARTIAL = (COMPLETE, *_PARTIAL_GROUPS)


@dataclass(frozen=True)
class LinkedSpan:
    """One linked mention of a text.

    start, end (int): Character offsets, end exclusive.
    id (str): The entity.
    fields (Mapping[str, Any]): All other fields of the span.
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

    fields (Mapping[str, Any]): All other fields of the text, unchanged.
    """

    text: str
    spans: tuple[LinkedSpan, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class ConversionStats:
    """Counts of what was read, changed and left out.

    misaligned (int): Spans that began or ended inside a token and were widened to whole tokens.
    blank (int): Spans of white space only, left out because no token carries them.
    unlinked (int): Mentions without an entity, left out.
    displaced (int): Mentions whose surface differs from the text at their offsets.
    overlapping (int): Mentions within or across longer ones, left out where none can be.
    rejected (int): Texts that nobody annotated, or that were rejected, left out.
    """

    texts: int = 0
    spans: int = 0
    misaligned: int = 0
    blank: int = 0
    unlinked: int = 0
    displaced: int = 0
    overlapping: int = 0
    rejected: int = 0

    def warn(self) -> None:
        """Warn, once for each kind, about spans that were changed or left out."""
        for count, message in (
            (self.misaligned, Warnings.ELQ351),
            (self.blank, Warnings.ELQ352),
            (self.unlinked, Warnings.ELQ353),
            (self.displaced, Warnings.ELQ354),
            (self.rejected, Warnings.ELQ382),
        ):
            if count:
                warnings.warn(message.format(count=count, spans=self.spans), stacklevel=2)


def read_spans_jsonl(path: Path) -> Iterator[LinkedText]:
    """Stream the texts of a spans JSONL file, gzipped or not.

    YIELDS (LinkedText): One text per line, without spans if the line has no "spans".
    RAISES (ElqError): On the first bad line, with its file and number.
    """
    warned = False
    for where, record in read_jsonl(path):
        if not warned and "spans" not in record:
            warned = warn_of_other_names(record, where)
        yield text_from_dict(record, where)


def warn_of_other_names(record: Mapping[str, Any], where: str) -> bool:
    """RETURNS (bool): Whether a field of another name seems to hold the links."""
    for name in OTHER_NAMES:
        if record.get(name):
            warnings.warn(Warnings.ELQ456.format(where=where, found=name), stacklevel=2)
            return True
    return False


def write_spans_jsonl(texts: Iterable[LinkedText], path: Path) -> None:
    """Write texts as spans JSONL, replacing the file as a whole."""
    write_jsonl(path, map(text_to_dict, texts))


def text_from_dict(record: Mapping[str, Any], where: str) -> LinkedText:
    """Check one parsed line.

    where (str): Names the line in messages: "file:line".
    RAISES (ElqError): If a field is missing, of a wrong type, or outside the text.
    """
    fields = dict(record)
    text = fields.pop("text", None)
    if not is_text(text):
        raise ElqError(Errors.ELQ304.format(where=where))
    spans = fields.pop("spans", [])
    if not are_objects(spans):
        raise wrong_type(where, "spans", 'a list of objects {"start", "end", "id"}', spans)
    checked = tuple(
        _span_from_dict(span, text, f"{where}, span {i}") for i, span in enumerate(spans)
    )
    check_fields(fields, TEXT_CHECKS, where)
    for name in (UNKNOWN, NIL):
        for i, place in enumerate(fields.get(name) or ()):
            _pop_bounds(dict(place), text, f'{where}, "{name}" {i}')
    return LinkedText(text, checked, fields)


def check_text(text: str, max_length: int) -> None:
    """Raise an ElqError for a text that a pipeline can't read.

    max_length (int): Maximum number of characters, as in `nlp.max_length`.
    """
    if len(text) > max_length:
        raise ElqError(Errors.ELQ424.format(begin=text[:40], length=len(text), most=max_length))
    if not is_text(text):
        raise ElqError(Errors.ELQ432.format(text=text[:60]))


def text_to_dict(linked: LinkedText) -> dict[str, Any]:
    """RETURNS (dict[str, Any]): The text as one line of spans JSONL."""
    spans = [{"start": s.start, "end": s.end, "id": s.id, **s.fields} for s in linked.spans]
    return {"text": linked.text, "spans": spans, **linked.fields}


def jsonl_line(linked: LinkedText) -> bytes:
    """RETURNS (bytes): A linked text as a line of spans JSONL."""
    return json.dumps(text_to_dict(linked), ensure_ascii=False).encode() + b"\n"


def text_from_doc(doc: Doc) -> LinkedText:
    """RETURNS (LinkedText): A reference document's text, gold mentions and other fields."""
    fields = _span_fields(doc, GOLD_KEY) or [_label_field(span) for span in gold_spans(doc)]
    return LinkedText(
        doc.text,
        tuple(
            LinkedSpan(start, end, entity, extra)
            for (entity, start, end), extra in zip(gold_triples(doc), fields, strict=True)
        ),
        {**gold_fields(doc), **partial_fields(doc)},
    )


def partial_fields(doc: Doc) -> dict[str, Any]:
    """RETURNS (dict[str, Any]): What a reference document says about mentions that are not
    annotated or have no entity: the fields "complete", "unknown" and "nil" of spans JSONL."""
    fields: dict[str, Any] = {}
    if UNKNOWN_KEY in doc.spans and COMPLETE in doc.spans[UNKNOWN_KEY].attrs:
        fields[COMPLETE] = doc.spans[UNKNOWN_KEY].attrs[COMPLETE]
    for name, key in _PARTIAL_GROUPS.items():
        bounds = span_bounds(doc, key)
        if bounds:
            extras = _span_fields(doc, key) or [{}] * len(bounds)
            fields[name] = [
                {"start": start, "end": end, **extra}
                for (start, end), extra in zip(bounds, extras, strict=True)
            ]
    return fields


def docs_from_texts(
    nlp: Language, texts: Iterable[LinkedText], stats: ConversionStats | None = None
) -> Iterator[Doc]:
    """Tokenize texts into reference documents with their gold mentions.

    nlp (Language): The pipeline whose tokenizer is used.
    stats (ConversionStats | None): Updated while documents are drawn, for callers that report it
        themselves. If None, a warning at the end says what was changed or left out.
    YIELDS (Doc): One document per text: `doc.spans["elq_gold"]`, `doc.ents`,
        `doc.user_data["elq"]`; `doc.spans["elq_unknown"]` and `doc.spans["elq_nil"]` for what the
        fields "complete", "unknown" and "nil" say.
    """
    counts = ConversionStats() if stats is None else stats
    for linked in texts:
        yield _doc_from_text(nlp, linked, counts)
    if stats is None:
        counts.warn()


def _doc_from_text(nlp: Language, linked: LinkedText, stats: ConversionStats) -> Doc:
    check_text(linked.text, nlp.max_length)
    doc = nlp.make_doc(linked.text)
    if doc.text != linked.text:
        raise ElqError(Errors.ELQ309.format(text=linked.text[:60]))
    stats.texts += 1
    fields = {name: value for name, value in linked.fields.items() if name not in _PARTIAL}
    set_gold(doc, _place_all(doc, linked.spans, stats), fields=fields)
    set_partial(
        doc,
        complete=linked.fields.get(COMPLETE),
        unknown=_place_all(doc, _field_spans(linked, UNKNOWN), stats),
        nil=_place_all(doc, _field_spans(linked, NIL), stats),
    )
    return doc


def _field_spans(linked: LinkedText, name: str) -> Iterator[LinkedSpan]:
    """The spans of a text that a field holds; they have no entity."""
    for place in linked.fields.get(name) or ():
        extra = {key: value for key, value in place.items() if key not in ("start", "end")}
        yield LinkedSpan(place["start"], place["end"], "", extra)


def _place_all(doc: Doc, spans: Iterable[LinkedSpan], stats: ConversionStats) -> list[MarkedSpan]:
    placed = [(_place(doc, span, stats), span) for span in spans]
    return [
        MarkedSpan(tokens, span.fields, (span.start, span.end))
        for tokens, span in placed
        if tokens is not None
    ]


def _place(doc: Doc, span: LinkedSpan, stats: ConversionStats) -> Span | None:
    """The tokens that a span covers or touches; None if it holds white space only."""
    stats.spans += 1
    surface = doc.text[span.start : span.end]
    if not surface.strip():
        stats.blank += 1
        return None
    # Outer white space is not part of a name, and may be a token of its own.
    start = span.start + len(surface) - len(surface.lstrip())
    end = span.end - len(surface) + len(surface.rstrip())
    placed = doc.char_span(start, end, label=span.label, kb_id=span.id, alignment_mode="expand")
    if placed is not None:
        stats.misaligned += (placed.start_char, placed.end_char) != (span.start, span.end)
    return placed


def _span_from_dict(record: Mapping[str, Any], text: str, where: str) -> LinkedSpan:
    fields = dict(record)
    start, end = _pop_bounds(fields, text, where)
    entity = fields.pop("id", None)
    if not is_text(entity) or not entity:
        raise ElqError(Errors.ELQ308.format(where=where))
    check_fields(fields, SPAN_CHECKS, where)
    return LinkedSpan(start, end, entity, fields)


def _pop_bounds(fields: dict[str, Any], text: str, where: str) -> tuple[int, int]:
    """Take the bounds of a span out of its fields.

    RAISES (ElqError): If they are no span of the text.
    """
    start, end = (fields.pop(name, None) for name in ("start", "end"))
    if not (is_int(start) and is_int(end)):
        raise ElqError(Errors.ELQ306.format(where=where, start=start, end=end))
    if not 0 <= start < end <= len(text):
        raise ElqError(Errors.ELQ307.format(where=where, start=start, end=end, length=len(text)))
    return start, end


def _span_fields(doc: Doc, key: str) -> list[dict[str, Any]] | None:
    """The other fields of each span of a group; None if none has any."""
    return doc.spans[key].attrs.get(SPAN_FIELDS) if key in doc.spans else None


def _label_field(span: Span) -> dict[str, str]:
    return {} if span.label_ in ("", DEFAULT_LABEL) else {"label": span.label_}
