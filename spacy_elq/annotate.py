"""How links stand on a `Doc`, and how they are read back from a `Span`.

Links are kept as plain values in the attributes of a span group, so that they survive `DocBin`,
`to_bytes` and worker processes; `span._.elq` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import starmap
from typing import Any

from spacy.tokens import Doc, Span, SpanGroup
from spacy.util import filter_spans

from .types import Candidate, Link

EXTENSION = "elq"
# Of a span group's attrs: the links of its spans. Other components' groups may have "links".
LINKS_ATTR = "elq_links"


def install_extension() -> None:
    """Make `span._.elq` available; an extension of that name that is there already is kept."""
    if not Span.has_extension(EXTENSION):
        Span.set_extension(EXTENSION, getter=read_link)


def read_link(span: Span) -> Link | None:
    """RETURNS (Optional[Link]): The link of exactly this span, None where there is none."""
    for group in span.doc.spans.values():
        for stored in group.attrs.get(LINKS_ATTR, ()):
            if stored["start"] == span.start_char and stored["end"] == span.end_char:
                return _from_dict(stored)
    return None


def read_links(groups: Iterable[SpanGroup]) -> dict[tuple[int, int], Link]:
    """Read many links at once, where `read_link` would search for each.

    groups (Iterable[SpanGroup]): Those of a document that may hold links.
    RETURNS (dict[tuple[int, int], Link]): By their characters, end exclusive; of several groups
        the first counts.
    """
    links: dict[tuple[int, int], Link] = {}
    for group in groups:
        for stored in group.attrs.get(LINKS_ATTR, ()):
            links.setdefault((stored["start"], stored["end"]), _from_dict(stored))
    return links


def align_to_tokens(doc: Doc, links: Iterable[Link]) -> list[tuple[Span, Link]]:
    """Widen links to whole tokens. Of links that become the same span the best is kept.

    RETURNS (list[tuple[Span, Link]]): By descending score; each link has its span's offsets.
    """
    best: dict[tuple[int, int], tuple[Span, Link]] = {}
    for link in sorted(links, key=lambda link: -link.score):
        span = doc.char_span(
            link.start, link.end, label=link.label, kb_id=link.id, alignment_mode="expand"
        )
        if span is not None and (span.start, span.end) not in best:
            if (span.start_char, span.end_char) != (link.start, link.end):
                link = replace(link, start=span.start_char, end=span.end_char)
            best[span.start, span.end] = (span, link)
    return list(best.values())


def set_span_group(doc: Doc, key: str, linked: Sequence[tuple[Span, Link]]) -> None:
    """Write all links, overlapping ones too, to `doc.spans[key]`."""
    doc.spans[key] = SpanGroup(
        doc,
        name=key,
        spans=[span for span, _ in linked],
        attrs={
            "scores": [link.score for _, link in linked],
            LINKS_ATTR: [_to_dict(link) for _, link in linked],
        },
    )


def _to_dict(link: Link) -> dict[str, Any]:
    # Candidates by columns: a few long lists cost less than many small dicts, here and in DocBin.
    columns = zip(*link.candidates, strict=True)
    return {**vars(link), "candidates": [list(column) for column in columns]}


def _from_dict(stored: Mapping[str, Any]) -> Link:
    candidates = tuple(starmap(Candidate, zip(*stored["candidates"], strict=True)))
    return Link(**{**stored, "candidates": candidates})


def best_spans(linked: Sequence[tuple[Span, Link]]) -> list[Span]:
    """linked (Sequence): By descending score.
    RETURNS (list[Span]): Spans without overlaps, the best first."""
    kept: list[Span] = []
    occupied: set[int] = set()
    # They are sorted already: `decoding.without_overlaps` would make arrays of one or two to sort.
    for span, _ in linked:
        tokens = range(span.start, span.end)
        if occupied.isdisjoint(tokens):
            kept.append(span)
            occupied.update(tokens)
    return kept


def merge_into_ents(
    doc: Doc, spans: Sequence[Span], stale: Sequence[Span], *, overwrite: bool
) -> None:
    """Write spans to `doc.ents` beside the entities that are there.

    spans (Sequence[Span]): Without overlaps among them.
    stale (Sequence[Span]): What an earlier call wrote; not kept.
    overwrite (bool): Where a span overlaps an entity that is there, the span wins.
    """
    gone = {(span.start, span.end, span.kb_id) for span in stale}
    kept = [ent for ent in doc.ents if (ent.start, ent.end, ent.kb_id) not in gone]
    taken = spans if overwrite else kept
    occupied = {i for span in taken for i in range(span.start, span.end)}
    others = kept if overwrite else spans
    free = [s for s in others if occupied.isdisjoint(range(s.start, s.end))]
    had_ents = bool(doc.ents)
    doc.set_ents(filter_spans([*taken, *free]))
    if had_ents:
        _clear_ids_outside(doc)


def set_kb_ids(doc: Doc, spans: Sequence[Span]) -> None:
    """Give the entities in `doc.ents` the ids of the links of the same tokens; their labels stay,
    and an entity without a link has no id."""
    ids = {(span.start, span.end): span.kb_id for span in spans}
    doc.set_ents(
        [
            Span(doc, e.start, e.end, label=e.label, kb_id=ids.get((e.start, e.end), 0))
            for e in doc.ents
        ]
    )


def _clear_ids_outside(doc: Doc) -> None:
    """spaCy leaves the KB id on tokens whose entity is gone."""
    for token in doc:
        if token.ent_kb_id and not token.ent_type:
            token.ent_kb_id = 0
