"""ELEVANT's articles: benchmarks, `*.benchmark.jsonl`, and links to evaluate,
`*.linked_articles.jsonl`.

An article has `id`, `title`, `text`, `evaluation_span` (the part whose links count), `labels`
(gold) and `entity_mentions` (predicted); offsets are characters, ends exclusive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from ..files import read_jsonl, write_jsonl
from ..gold import ALTERNATIVE, EVALUATION_SPAN, NIL, OPTIONAL, UNMAPPED
from .field_checks import are_objects, is_int, wrong_type
from .predictions import GOLD_FIELD
from .spans_jsonl import ConversionStats, LinkedSpan, LinkedText, text_from_dict

LABELS, MENTIONS = "labels", "entity_mentions"
SYSTEM = "spacy-elq"
# Entity ids of mentions whose entity is not in Wikidata, or could not be mapped to it.
UNKNOWN_ENTITY, NO_MAPPING = "Unknown", "NO_MAPPING"
NO_ENTITY = re.compile(rf"<?({UNKNOWN_ENTITY}|{NO_MAPPING}|NIL)[_\d]*>?")
# Fields of a text that hold labels which a linker need not find.
LABEL_FIELDS = (OPTIONAL, ALTERNATIVE, NIL, UNMAPPED)
# Types whose labels ELEVANT treats as optional.
LITERALS = ("QUANTITY", "DATETIME")
# Recomputed when labels are written.
NUMBERING = ("id", "parent", "children")


def read_benchmark(path: Path, stats: ConversionStats) -> Iterator[LinkedText]:
    """Stream a benchmark.

    stats (ConversionStats): Not changed: nothing is left out.
    YIELDS (LinkedText): Labels become spans with `title` and `type`. Those that need not be found
        become the fields "optional", "alt" (labels inside another one), "nil" (no entity) and
        "unmapped" (an entity of another knowledge base); all other fields stay as they are.
    """
    for where, record in read_jsonl(path):
        kinds: dict[str, list[dict[str, Any]]] = {"spans": []}
        for label in _objects(record, LABELS, where):
            kinds.setdefault(_kind(label), []).append(_from_label(label, where))
        yield text_from_dict({**_other_fields(record), "text": record.get("text"), **kinds}, where)


def read_linked(path: Path, stats: ConversionStats) -> Iterator[LinkedText]:
    """Stream linked articles.

    YIELDS (LinkedText): Mentions become spans; labels, if any, become the field "gold".
    """
    for where, record in read_jsonl(path):
        fields = _other_fields(record)
        if LABELS in record:
            fields[GOLD_FIELD] = _from_labels(_objects(record, LABELS, where), where, stats)
        all_mentions = _objects(record, MENTIONS, where)
        mentions = [mention for mention in all_mentions if mention.get("id")]
        stats.unlinked += len(all_mentions) - len(mentions)
        spans = [_from_mention(mention, where) for mention in mentions]
        yield text_from_dict({**fields, "text": record.get("text"), "spans": spans}, where)


def write_benchmark(texts: Iterable[LinkedText], path: Path) -> None:
    """Write texts as a benchmark, spans as labels, replacing the file as a whole."""
    write_jsonl(path, map(_benchmark_record, texts, count()))


def write_linked(texts: Iterable[LinkedText], path: Path) -> None:
    """Write texts as linked articles, spans as mentions and the field "gold" as labels, replacing
    the file as a whole."""
    write_jsonl(path, map(_linked_record, texts, count()))


def _other_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in ("text", LABELS, MENTIONS)}


def _objects(record: Mapping[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    values = record.get(name) or []
    if not are_objects(values):
        raise wrong_type(where, name, "a list of objects", values)
    return values


def _bounds(record: Mapping[str, Any], where: str) -> dict[str, Any]:
    span = record.get("span")
    if not isinstance(span, list) or len(span) != 2:
        raise wrong_type(where, "span", "[start, end]", span)
    return {"start": span[0], "end": span[1]}


def _kind(label: Mapping[str, Any]) -> str:
    """RETURNS (str): The field of a text that holds a label."""
    if label.get("optional") or label.get("type") in LITERALS:
        return OPTIONAL
    if label.get("parent") is not None:
        return ALTERNATIVE
    if _has_entity(label):
        return "spans"
    return UNMAPPED if str(label.get("entity_id")) in (NO_MAPPING, f"<{NO_MAPPING}>") else NIL


def _has_entity(label: Mapping[str, Any]) -> bool:
    entity = label.get("entity_id")
    return bool(entity) and not NO_ENTITY.fullmatch(str(entity))


def _from_labels(
    labels: Sequence[Mapping[str, Any]], where: str, stats: ConversionStats
) -> list[dict[str, Any]]:
    known = [label for label in labels if _has_entity(label)]
    stats.unlinked += len(labels) - len(known)
    return [_from_label(label, where) for label in known]


def _from_label(label: Mapping[str, Any], where: str) -> dict[str, Any]:
    ours = ("span", "entity_id", "name", "optional", *NUMBERING)
    span = {**_bounds(label, where), "id": label.get("entity_id") or UNKNOWN_ENTITY}
    if label.get("name"):
        span["title"] = label["name"]
    return {**span, **{name: value for name, value in label.items() if name not in ours}}


def _from_mention(mention: Mapping[str, Any], where: str) -> dict[str, Any]:
    span = {**_bounds(mention, where), "id": mention["id"]}
    rest = {name: value for name, value in mention.items() if name not in ("span", "id")}
    if isinstance(rest.get("candidates"), list):
        rest["candidates"] = [{"id": entity} for entity in rest["candidates"]]
    return {**span, **rest}


def _benchmark_record(linked: LinkedText, number: int) -> dict[str, Any]:
    spans = [(span, False) for span in linked.spans]
    for name in LABEL_FIELDS:
        spans += [(span, name == OPTIONAL) for span in _field_spans(linked, name)]
    return {**_article(linked, number), LABELS: _labels(spans)}


def _linked_record(linked: LinkedText, number: int) -> dict[str, Any]:
    record = {**_article(linked, number), MENTIONS: [_mention(span) for span in linked.spans]}
    if GOLD_FIELD in linked.fields:
        record[LABELS] = _labels([(span, False) for span in _field_spans(linked, GOLD_FIELD)])
    return record


def _article(linked: LinkedText, number: int) -> dict[str, Any]:
    """The fields that both kinds of files share. ELEVANT's ids are whole numbers."""
    id_ = linked.fields.get("id")
    is_number = is_int(id_)
    named = "" if id_ is None or is_number else str(id_)
    rest = {k: v for k, v in linked.fields.items() if k not in (GOLD_FIELD, *LABEL_FIELDS)}
    return {
        **rest,
        "id": id_ if is_number else number,
        "title": linked.fields.get("title", named),
        "text": linked.text,
        EVALUATION_SPAN: linked.fields.get(EVALUATION_SPAN) or [0, len(linked.text)],
    }


def _field_spans(linked: LinkedText, name: str) -> Sequence[LinkedSpan]:
    places = [{"id": UNKNOWN_ENTITY, **place} for place in linked.fields.get(name) or ()]
    record = {"text": linked.text, "spans": places}
    return text_from_dict(record, f'field "{name}"').spans


def _mention(span: LinkedSpan) -> dict[str, Any]:
    return {
        "recognized_by": SYSTEM,
        "linked_by": SYSTEM,
        **span.fields,
        "span": [span.start, span.end],
        "id": span.id,
        "candidates": [candidate["id"] for candidate in span.fields.get("candidates") or ()],
    }


def _labels(spans: Sequence[tuple[LinkedSpan, bool]]) -> list[dict[str, Any]]:
    """Labels of gold spans, each with its parent, its children and whether it is optional."""
    parents = [_parent(i, [span for span, _ in spans]) for i in range(len(spans))]
    return [
        {
            "type": "OTHER",
            **{name: value for name, value in span.fields.items() if name != "title"},
            "id": i,
            "span": [span.start, span.end],
            "entity_id": span.id,
            "name": span.fields.get("title", "Unknown"),
            "parent": parents[i],
            "children": [child for child, parent in enumerate(parents) if parent == i],
            "optional": optional,
        }
        for i, (span, optional) in enumerate(spans)
    ]


def _parent(i: int, spans: Sequence[LinkedSpan]) -> int | None:
    """The shortest of the longer spans that contain a span."""
    inner = spans[i]
    length = inner.end - inner.start
    holding = [
        (outer.end - outer.start, j)
        for j, outer in enumerate(spans)
        if outer.start <= inner.start and inner.end <= outer.end
        if outer.end - outer.start > length
    ]
    return min(holding)[1] if holding else None
