"""Gold links on reference documents, and the other data that evaluation reads from documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spacy.tokens import Doc, Span, SpanGroup
from spacy.util import filter_spans

from .types import Triple

# Key in `user_data` of predicted documents: for each gold mention, the rank of its entity among the
# candidates of the same span (1 is the best), or None. The component writes it when it scores with
# `rank_gold`; `evaluation.scorer` reads it.
RANKS_KEY = "elq_gold_ranks"
# Span group of all gold mentions, since `doc.ents` cannot hold overlapping ones. `set_gold` writes
# it; `gold_spans` reads it.
GOLD_KEY = "elq_gold"
# Span group of a text that is annotated in part: spans of which nobody knows whether they are
# mentions. Its attrs hold the field COMPLETE. `set_partial` writes it.
UNKNOWN_KEY = "elq_unknown"
# Span group of mentions of no entity that any knowledge base has. `set_partial` writes it.
NIL_KEY = "elq_nil"
# Key in `user_data` of reference documents: other fields of the input text. `set_gold` writes it;
# `gold_fields` reads it.
FIELDS_KEY = "elq"
# Key in `user_data` of reference documents whose gold entities were swapped. `training.augment`
# writes it; the component reads it, to tell the entities of the training data.
AUGMENTED_KEY = "elq_augmented"
# Fields of a text in an evaluation set: [start, end) of the part whose links count, and spans that
# may be linked or not.
EVALUATION_SPAN, OPTIONAL = "evaluation_span", "optional"
# Fields of a text: whether all of its mentions are annotated, spans that may be mentions, and
# mentions of no entity.
COMPLETE, UNKNOWN, NIL = "complete", "unknown", "nil"
# Field of a text in a set that names the one entity that each text is about: its id.
TOPIC = "topic_id"
# Key of the span group's attrs that holds one dictionary of other fields per gold span.
SPAN_FIELDS = "fields"


def gold_spans(doc: Doc) -> list[Span]:
    """The gold mentions of a reference document, each with its `kb_id_`.

    doc (Doc): A reference document.
    RETURNS (list[Span]): The span group "elq_gold" if the document has one (spans may overlap),
        otherwise its linked entities.
    """
    if GOLD_KEY in doc.spans:
        return list(doc.spans[GOLD_KEY])
    return [ent for ent in doc.ents if ent.kb_id_]


def nil_spans(doc: Doc) -> list[Span]:
    """RETURNS (list[Span]): The mentions of a reference document that are known to be of no entity,
    other than those at the bounds of a gold mention."""
    gold = {(span.start, span.end) for span in gold_spans(doc)}
    return [span for span in doc.spans.get(NIL_KEY, ()) if (span.start, span.end) not in gold]


def unknown_spans(doc: Doc) -> list[Span]:
    """RETURNS (list[Span]): The spans of a reference document that may be mentions or not."""
    return list(doc.spans.get(UNKNOWN_KEY, ()))


def is_complete(doc: Doc) -> bool:
    """RETURNS (bool): Whether all mentions of a reference document are annotated."""
    return UNKNOWN_KEY not in doc.spans or doc.spans[UNKNOWN_KEY].attrs.get(COMPLETE, True)


def gold_fields(doc: Doc) -> Mapping[str, Any]:
    """RETURNS (Mapping[str, Any]): The other fields of the text that the document came from."""
    return doc.user_data.get(FIELDS_KEY) or {}


def is_countable(span: Span, reference: Doc) -> bool:
    """RETURNS (bool): Whether an evaluation set counts a link: it is inside the annotated part (the
    field "evaluation_span"), and not at a mention that may be linked or not ("optional")."""
    fields, place = gold_fields(reference), (span.start_char, span.end_char)
    start, end = fields.get(EVALUATION_SPAN) or (0, len(reference.text))
    optional = fields.get(OPTIONAL) or ()
    return (
        start <= place[0]
        and place[1] <= end
        and not any(place == (other["start"], other["end"]) for other in optional)
    )


def set_gold(
    doc: Doc,
    spans: Sequence[Span],
    *,
    fields: Mapping[str, Any] | None = None,
    span_fields: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write gold mentions on a reference document: all of them as a span group, and the longest
    that do not overlap as `doc.ents`, which spaCy's own components read.

    doc (Doc): The document, changed in place.
    spans (Sequence[Span]): Its mentions, each with a label and a `kb_id_`.
    fields (Mapping[str, Any] | None): Other fields of the text; msgpack must be able to hold them.
    span_fields (Sequence[Mapping[str, Any]]): Other fields of each span; empty if none has any.
    """
    _set_group(doc, GOLD_KEY, spans, span_fields)
    doc.set_ents(filter_spans(spans))
    if fields:
        doc.user_data[FIELDS_KEY] = dict(fields)


def set_partial(
    doc: Doc,
    *,
    complete: bool | None = None,
    unknown: Sequence[Span] = (),
    unknown_fields: Sequence[Mapping[str, Any]] = (),
    nil: Sequence[Span] = (),
    nil_fields: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write on a reference document what of it is not annotated, and which mentions have no entity;
    a group is left out if it would say nothing.

    doc (Doc): The document, changed in place.
    complete (bool | None): Whether all of its mentions are annotated; None, not said, counts as
        True.
    unknown (Sequence[Span]): Spans that may be mentions or not.
    nil (Sequence[Span]): Mentions of no entity.
    unknown_fields, nil_fields (Sequence[Mapping[str, Any]]): Other fields of each span.
    """
    if unknown or complete is not None:
        attrs = {} if complete is None else {COMPLETE: complete}
        _set_group(doc, UNKNOWN_KEY, unknown, unknown_fields, **attrs)
    if nil:
        _set_group(doc, NIL_KEY, nil, nil_fields)


def _set_group(
    doc: Doc, key: str, spans: Sequence[Span], fields: Sequence[Mapping[str, Any]], **attrs: Any
) -> None:
    if any(fields):
        attrs[SPAN_FIELDS] = [dict(extra) for extra in fields]
    doc.spans[key] = SpanGroup(doc, name=key, spans=list(spans), attrs=attrs)


def triples(spans: Iterable[Span]) -> list[Triple]:
    """RETURNS (list[Triple]): (entity id, start, end) of each span, character offsets."""
    return [(span.kb_id_, span.start_char, span.end_char) for span in spans]
