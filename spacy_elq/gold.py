"""Gold links on reference documents, and the other data that evaluation reads from documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

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
# Fields of a text in an evaluation set: [start, end) of the part whose links count, and mentions
# that may be linked or not: optional ones, alternatives to gold mentions, other kinds (dates,
# quantities), and those whose entity could not be mapped to the knowledge base.
EVALUATION_SPAN = "evaluation_span"
OPTIONAL, ALTERNATIVE, OTHER, UNMAPPED = "optional", "alt", "other", "unmapped"
IGNORED = (OPTIONAL, ALTERNATIVE, OTHER, UNMAPPED)
# Fields of a text: whether all of its mentions are annotated, spans that may be mentions, and
# mentions of no entity.
COMPLETE, UNKNOWN, NIL = "complete", "unknown", "nil"
# Field of a text in a set that names the one entity that each text is about: its id.
TOPIC = "topic_id"
# Key of the span group's attrs that holds one dictionary of other fields per gold span.
SPAN_FIELDS = "fields"
# Key of its attrs for the characters of each span, where tokens are wider than one.
BOUNDS = "bounds"

Bounds = tuple[int, int]


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


def span_bounds(doc: Doc, key: str) -> list[Bounds]:
    """RETURNS (list[Bounds]): The characters of the spans of a group as they were annotated:
    tokens may be wider."""
    spans = doc.spans.get(key, ())
    exact = doc.spans[key].attrs.get(BOUNDS, ()) if key in doc.spans else ()
    if len(exact) == len(spans):
        return [(start, end) for start, end in exact]
    return [(span.start_char, span.end_char) for span in spans]


def gold_triples(doc: Doc) -> list[Triple]:
    """RETURNS (list[Triple]): The gold mentions of a reference document as they were annotated."""
    spans = gold_spans(doc)
    if GOLD_KEY not in doc.spans:
        return triples(spans)
    bounds = span_bounds(doc, GOLD_KEY)
    return [(span.kb_id_, *place) for span, place in zip(spans, bounds, strict=True)]


def ignored_bounds(doc: Doc) -> set[Bounds]:
    """RETURNS (set[Bounds]): The mentions of a reference document that may be linked or not: those
    in the fields `IGNORED`."""
    fields = gold_fields(doc)
    return {place for name in IGNORED for place in _places(fields.get(name))}


def countable(links: Sequence[Triple], reference: Doc) -> list[bool]:
    """RETURNS (list[bool]): Whether an evaluation set counts each link: it is inside the annotated
    part (the field "evaluation_span"), and right or not at a mention that may be linked or not (the
    fields `IGNORED`)."""
    fields = gold_fields(reference)
    first, last = fields.get(EVALUATION_SPAN) or (0, len(reference.text))
    ignored = ignored_bounds(reference)
    right = {*gold_triples(reference), *triples(gold_spans(reference))} if ignored else set()
    return [
        first <= link[1] and link[2] <= last and (link[1:] not in ignored or link in right)
        for link in links
    ]


def _places(value: Any) -> Iterator[Bounds]:
    """The bounds in a field, which may hold mentions that were not located, or be of another
    program."""
    for each in value if isinstance(value, list) else ():
        if isinstance(each, Mapping):
            start, end = each.get("start"), each.get("end")
            if isinstance(start, int) and isinstance(end, int) and 0 <= start < end:
                yield start, end


class MarkedSpan(NamedTuple):
    """A span of a reference document with what its tokens and ids don't say.

    fields (Mapping[str, Any]): Other fields of the span.
    bounds (Bounds | None): Its characters, if tokens may be wider.
    """

    span: Span
    fields: Mapping[str, Any] = MappingProxyType({})
    bounds: Bounds | None = None


def set_gold(
    doc: Doc, spans: Sequence[Span | MarkedSpan], *, fields: Mapping[str, Any] | None = None
) -> None:
    """Write gold mentions on a reference document: all of them as a span group, and the longest
    that do not overlap as `doc.ents`, which spaCy's own components read.

    doc (Doc): The document, changed in place.
    spans (Sequence[Span | MarkedSpan]): Its mentions, each with a label and a `kb_id_`.
    fields (Mapping[str, Any] | None): Other fields of the text; msgpack must be able to hold them.
    """
    _set_group(doc, GOLD_KEY, spans)
    doc.set_ents(filter_spans(list(doc.spans[GOLD_KEY])))
    if fields:
        doc.user_data[FIELDS_KEY] = dict(fields)


def set_partial(
    doc: Doc,
    *,
    complete: bool | None = None,
    unknown: Sequence[Span | MarkedSpan] = (),
    nil: Sequence[Span | MarkedSpan] = (),
) -> None:
    """Write on a reference document what of it is not annotated, and which mentions have no entity;
    a group is left out if it would say nothing.

    doc (Doc): The document, changed in place.
    complete (bool | None): Whether all of its mentions are annotated; None, not said, counts as
        True.
    unknown (Sequence[Span | MarkedSpan]): Spans that may be mentions or not.
    nil (Sequence[Span | MarkedSpan]): Mentions of no entity.
    """
    if unknown or complete is not None:
        _set_group(doc, UNKNOWN_KEY, unknown, **({} if complete is None else {COMPLETE: complete}))
    if nil:
        _set_group(doc, NIL_KEY, nil)


def _set_group(doc: Doc, key: str, spans: Sequence[Span | MarkedSpan], **attrs: Any) -> None:
    marked = [span if isinstance(span, MarkedSpan) else MarkedSpan(span) for span in spans]
    if any(each.fields for each in marked):
        attrs[SPAN_FIELDS] = [dict(each.fields) for each in marked]
    of_tokens = [(each.span.start_char, each.span.end_char) for each in marked]
    exact = [each.bounds or tokens for each, tokens in zip(marked, of_tokens, strict=True)]
    if exact != of_tokens:
        attrs[BOUNDS] = [list(bounds) for bounds in exact]
    doc.spans[key] = SpanGroup(doc, name=key, spans=[each.span for each in marked], attrs=attrs)


def triples(spans: Iterable[Span]) -> list[Triple]:
    """RETURNS (list[Triple]): (entity id, start, end) of each span, character offsets."""
    return [(span.kb_id_, span.start_char, span.end_char) for span in spans]
