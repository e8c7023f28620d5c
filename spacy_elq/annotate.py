"""Write links to a `Doc` and read them back from its spans.

The attributes of a span group hold the links as plain values, so that they survive `DocBin`,
`to_bytes` and worker processes; `span._.elq` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import repeat, starmap
from typing import Any

from spacy.tokens import Doc, Span, SpanGroup
from spacy.util import filter_spans

from .types import Candidate, Link

EXTENSION = "elq"
# Key in a span group's attrs: the links of its spans. `set_span_group` writes it; `read_link` and
# `read_links` read it. Not "links", which groups of other components may have.
LINKS_ATTR = "elq_links"
# What a stored link has besides the fields of `Link`: the characters of its span.
PLACE = "place"
# Another one: the name of the component that wrote each span. Several may write to one group.
WRITERS_ATTR = "elq_writers"


def install_extension() -> None:
    """Register `span._.elq`, unless an extension with that name exists."""
    if not Span.has_extension(EXTENSION):
        Span.set_extension(EXTENSION, getter=read_link)


def read_link(span: Span) -> Link | None:
    """RETURNS (Link | None): The link of exactly this span, if it has one. If there are several,
    as from several components, the one with the span's id, or else the first."""
    place = span.start_char, span.end_char
    found = [
        stored
        for group in span.doc.spans.values()
        for stored in group.attrs.get(LINKS_ATTR, ())
        if _place(stored) == place
    ]
    found.sort(key=lambda stored: stored["id"] != span.kb_id_)
    return _from_dict(found[0]) if found else None


def all_links(groups: Iterable[SpanGroup]) -> Iterator[tuple[tuple[int, int], Link]]:
    """YIELDS (tuple[tuple[int, int], Link]): The characters of each span in these groups of a
    document, and its link."""
    for group in groups:
        for stored in group.attrs.get(LINKS_ATTR, ()):
            yield _place(stored), _from_dict(stored)


def read_links(groups: Iterable[SpanGroup]) -> dict[tuple[int, int], Link]:
    """Read all links at once; `read_link` searches the groups for every span.

    groups (Iterable[SpanGroup]): Span groups of one document.
    RETURNS (dict[tuple[int, int], Link]): (start, end) characters of a span → its link. If there
        are several, that of the first group, and the best, wins.
    """
    links: dict[tuple[int, int], Link] = {}
    for place, link in all_links(groups):
        links.setdefault(place, link)
    return links


def align_to_tokens(doc: Doc, links: Iterable[Link]) -> list[tuple[Span, Link]]:
    """Find the tokens of links: those that they cover or touch, if a token is wider than a name, as
    in "Jordan🏀". Of links with the same tokens, those are left out that overlap a better one. A
    link gets the stop that its last token has, as in "Calif.".

    RETURNS (list[tuple[Span, Link]]): Sorted by descending score.
    """
    result: list[tuple[Span, Link]] = []
    taken: dict[tuple[int, int], list[Link]] = {}
    for link in sorted(links, key=lambda link: -link.score):
        span = doc.char_span(
            link.start, link.end, label=link.label, kb_id=link.id, alignment_mode="expand"
        )
        if span is not None:
            others = taken.setdefault((span.start, span.end), [])
            if all(link.end <= other.start or other.end <= link.start for other in others):
                others.append(link)
                result.append((span, _with_stop(link, span)))
    return result


def _with_stop(link: Link, span: Span) -> Link:
    last = span[-1].text
    # "Pius X." at the end of a sentence is one token, too.
    is_abbreviated = span.end_char == link.end + 1 and last.endswith(".") and len(last) > 2
    return replace(link, end=span.end_char) if is_abbreviated else link


def set_span_group(
    doc: Doc, key: str, linked: Iterable[tuple[Span, Link]], writer: str = EXTENSION
) -> None:
    """Write all links, including overlapping ones, to `doc.spans[key]`.

    writer (str): Name of the component. Its earlier links in the group are replaced, those of
        other components stay.
    """
    rows = _rows_of_others(doc, key, writer)
    rows += [(span, link.score, _to_dict(span, link), writer) for span, link in linked]
    spans, scores, links, writers = map(list, zip(*rows, strict=True)) if rows else ([],) * 4
    attrs = {"scores": scores, LINKS_ATTR: links, WRITERS_ATTR: writers}
    doc.spans[key] = SpanGroup(doc, name=key, spans=spans, attrs=attrs)


def _rows_of_others(doc: Doc, key: str, writer: str) -> list[tuple[Span, float, Any, str]]:
    """RETURNS (list): Span, score, link and writer of what others wrote to a group."""
    if key not in doc.spans:
        return []
    group = doc.spans[key]
    columns = [group.attrs.get(name, ()) for name in ("scores", LINKS_ATTR, WRITERS_ATTR)]
    return [row for row in zip(group, *columns, strict=False) if row[-1] != writer]


def spans_of_writer(doc: Doc, key: str, writer: str) -> list[Span]:
    """RETURNS (list[Span]): What the component of that name wrote to a group."""
    group = doc.spans.get(key, ())
    writers = getattr(group, "attrs", {}).get(WRITERS_ATTR) or repeat(writer)
    return [span for span, name in zip(group, writers, strict=False) if name == writer]


def _to_dict(span: Span, link: Link) -> dict[str, Any]:
    # Columns: a few long lists of candidates cost less than many small dicts, here and in DocBin.
    columns = [list(column) for column in zip(*link.candidates, strict=True)]
    return {**vars(link), "candidates": columns, PLACE: [span.start_char, span.end_char]}


def _place(stored: Mapping[str, Any]) -> tuple[int, int]:
    start, end = stored.get(PLACE) or (stored["start"], stored["end"])
    return start, end


def _from_dict(stored: Mapping[str, Any]) -> Link:
    fields = {name: value for name, value in stored.items() if name != PLACE}
    candidates = tuple(starmap(Candidate, zip(*stored["candidates"], strict=True)))
    return Link(**{**fields, "candidates": candidates})


def overlapped(ranges: Iterable[tuple[int, int]]) -> list[int | None]:
    """Greedy: keep each range that overlaps no range kept before it.

    ranges (Iterable[tuple[int, int]]): Half-open ranges, the most preferred first.
    RETURNS (list[int | None]): For each range, the position of the first kept one that it overlaps;
        None if it is kept.
    """
    result: list[int | None] = []
    owner: dict[int, int] = {}
    for i, (start, end) in enumerate(ranges):
        places = range(start, end)
        result.append(min((owner[place] for place in places if place in owner), default=None))
        if result[-1] is None:
            owner.update(dict.fromkeys(places, i))
    return result


def without_overlaps(ranges: Iterable[tuple[int, int]]) -> list[int]:
    """RETURNS (list[int]): Positions of the ranges that `overlapped` keeps, ascending."""
    return [i for i, first in enumerate(overlapped(ranges)) if first is None]


def best_spans(linked: Sequence[tuple[Span, Link]]) -> list[Span]:
    """linked (Sequence[tuple[Span, Link]]): Sorted by descending score.
    RETURNS (list[Span]): The best spans that do not overlap, the best first."""
    kept = without_overlaps((span.start, span.end) for span, _ in linked)
    return [linked[i][0] for i in kept]


def merge_into_ents(
    doc: Doc, spans: Sequence[Span], stale: Sequence[Span], *, overwrite: bool
) -> None:
    """Add spans to `doc.ents`.

    spans (Sequence[Span]): Spans that do not overlap each other.
    stale (Sequence[Span]): Spans that an earlier call added; they are removed.
    overwrite (bool): If a span overlaps an existing entity, the span wins.
    """
    gone = {(span.start, span.end, span.kb_id) for span in stale}
    kept = [ent for ent in doc.ents if (ent.start, ent.end, ent.kb_id) not in gone]
    taken, others = (spans, kept) if overwrite else (kept, spans)
    occupied = {i for span in taken for i in range(span.start, span.end)}
    free = [s for s in others if occupied.isdisjoint(range(s.start, s.end))]
    had_ents = bool(doc.ents)
    doc.set_ents(filter_spans([*taken, *free]))
    if had_ents:
        _clear_ids_outside(doc)


def set_kb_ids(doc: Doc, spans: Sequence[Span]) -> None:
    """Give each entity in `doc.ents` the id of the linked span with the same tokens, or no id.
    Labels stay."""
    ids = {(span.start, span.end): span.kb_id for span in spans}
    doc.set_ents(
        [
            Span(doc, e.start, e.end, label=e.label, kb_id=ids.get((e.start, e.end), 0))
            for e in doc.ents
        ]
    )


def _clear_ids_outside(doc: Doc) -> None:
    """Clear the KB id of tokens outside of entities: `Doc.set_ents` leaves it there."""
    for token in doc:
        if token.ent_kb_id and not token.ent_type:
            token.ent_kb_id = 0
