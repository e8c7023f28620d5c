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
# Key in `user_data` of reference documents: other fields of the input text. `set_gold` writes it;
# `gold_fields` reads it.
FIELDS_KEY = "elq"
# Key in `user_data` of reference documents whose gold entities were swapped. `training.augment`
# writes it; the component reads it, to tell the entities of the training data.
AUGMENTED_KEY = "elq_augmented"
# Fields of a text in an evaluation set: [start, end) of the part whose links count, and spans that
# may be linked or not.
EVALUATION_SPAN, OPTIONAL = "evaluation_span", "optional"
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
    attrs = {SPAN_FIELDS: [dict(extra) for extra in span_fields]} if any(span_fields) else {}
    doc.spans[GOLD_KEY] = SpanGroup(doc, name=GOLD_KEY, spans=list(spans), attrs=attrs)
    doc.set_ents(filter_spans(spans))
    if fields:
        doc.user_data[FIELDS_KEY] = dict(fields)


def triples(spans: Iterable[Span]) -> list[Triple]:
    """RETURNS (list[Triple]): (entity id, start, end) of each span, character offsets."""
    return [(span.kb_id_, span.start_char, span.end_char) for span in spans]
