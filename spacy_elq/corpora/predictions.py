"""Links of a pipeline as linked texts: the output side of spans JSONL."""

from __future__ import annotations

from typing import Any

from spacy.tokens import Doc, Span

from ..annotate import all_links
from ..gold import gold_fields, gold_spans
from ..types import Link, Triple
from .spans_jsonl import LinkedSpan, LinkedText, partial_fields

# Field with the gold links of a text whose spans are predictions; objects as in "spans".
GOLD_FIELD = "gold"


def text_from_prediction(doc: Doc, reference: Doc | None = None) -> LinkedText:
    """The linked entities of a document, in the order of the text.

    doc (Doc): The document that the pipeline returned.
    reference (Doc | None): The gold document, whose links become the field "gold" and whose other
        fields are kept.
    RETURNS (LinkedText): Spans with `label`, `score` (joint log-score), `prob` (of a calibrated
        pipeline), `mention_score`, `title` and `candidates`, as far as they are known.
    """
    spans = linked_spans(doc)
    if reference is None:
        return LinkedText(doc.text, spans)
    gold = [
        {"start": span.start_char, "end": span.end_char, "id": span.kb_id_}
        for span in gold_spans(reference)
    ]
    return LinkedText(
        doc.text, spans, {**gold_fields(reference), **partial_fields(reference), GOLD_FIELD: gold}
    )


def linked_spans(doc: Doc) -> tuple[LinkedSpan, ...]:
    """RETURNS (tuple[LinkedSpan, ...]): The linked entities of a document, in text order,
    with their scores and candidates. Their offsets are those of the mentions, which may be narrower
    than tokens."""
    links: dict[Triple, Link] = {}
    for place, link in all_links(doc.spans.values()):
        links.setdefault((link.id, *place), link)
    triples = [(ent, (ent.kb_id_, ent.start_char, ent.end_char)) for ent in doc.ents if ent.kb_id_]
    return tuple(_linked_span(ent, triple, links.get(triple)) for ent, triple in triples)


def _linked_span(ent: Span, triple: Triple, link: Link | None) -> LinkedSpan:
    id_, *place = triple
    start, end = place if link is None else (link.start, link.end)
    return LinkedSpan(start, end, id_, _fields(ent, link))


def _fields(ent: Span, link: Link | None) -> dict[str, Any]:
    if link is None:
        return {"label": ent.label_}
    return {
        "label": ent.label_,
        "score": link.score,
        **({} if link.prob is None else {"prob": link.prob}),
        "mention_score": link.mention_score,
        "title": link.title,
        "candidates": [{"id": c.id, "title": c.title, "score": c.score} for c in link.candidates],
    }
