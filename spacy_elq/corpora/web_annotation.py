"""W3C Web Annotations in JSON-LD: a page (`AnnotationPage`) for each text, with the text as its
`source`, and an annotation for each mention, which identifies an entity.

Positions count characters, as the recommendation says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ElqError, Errors
from ..files import read_jsonl, write_json_array
from .field_checks import objects_of
from .nif import TEXTS, URI, EntityUris
from .offsets import Utf16
from .spans_jsonl import ConversionStats, LinkedSpan, LinkedText
from .tasks import LABEL, MEMORY, NO_ENTITY, mentions_of, task_fields, text_of_task

CONTEXT = "http://www.w3.org/ns/anno.jsonld"
PAGE, ANNOTATION = "AnnotationPage", "Annotation"
POSITION, QUOTE = "TextPositionSelector", "TextQuoteSelector"
# Purposes of bodies: the entity, and the label of the mention.
IDENTIFYING, TAGGING = "identifying", "tagging"
LINKING = (IDENTIFYING, "linking", "classifying")


def read_web_annotations(
    path: Path, entities: EntityUris, stats: ConversionStats
) -> Iterator[LinkedText]:
    """Stream the pages of a file: an array of them, or one on each line.

    entities (EntityUris): Maps addresses to entities.
    stats (ConversionStats): Counts mentions that differ from the text.
    YIELDS (LinkedText): With the address of the text as the field "uri", if it has one.
    RAISES (ElqError): If a page has no text, or a mention no position.
    """
    for where, page in read_jsonl(path):
        source = page.get("source")
        if not isinstance(source, dict) or not isinstance(source.get("value"), str):
            raise ElqError(Errors.ELQ380.format(where=where))
        text = source["value"]
        units = Utf16(text)
        spans = [
            span
            for i, item in enumerate(objects_of(page, "items", where))
            for span in _spans(item, units, entities, f"{where}, item {i}", stats)
        ]
        task = {MEMORY: page[MEMORY]} if MEMORY in page else {}
        address = str(source.get("id", ""))
        if address and not address.startswith(TEXTS):
            task[URI] = address
        yield text_of_task(text, spans, task, where)


def write_web_annotations(texts: Iterable[LinkedText], path: Path, entities: EntityUris) -> None:
    """Write texts as a JSON array of pages, replacing the file as a whole.

    entities (EntityUris): Maps entities to addresses.
    """
    write_json_array(path, (_page(text, i, entities) for i, text in enumerate(texts)))


def _page(linked: LinkedText, number: int, entities: EntityUris) -> dict[str, Any]:
    address = linked.fields.get(URI)
    is_kept = isinstance(address, str) and address and not address.startswith(TEXTS)
    source = str(address) if is_kept else f"{TEXTS}{number}"
    others = {name: value for name, value in linked.fields.items() if name != URI or not is_kept}
    fields = task_fields(LinkedText(linked.text, linked.spans, others), tuple(others))
    return {
        "@context": CONTEXT,
        "id": f"{source}#annotations",
        "type": PAGE,
        "source": {"id": source, "type": "Text", "format": "text/plain", "value": linked.text},
        "items": [
            _annotation(span, linked.text, f"{source}#annotation-{i}", source, entities)
            for i, span in enumerate(mentions_of(linked))
        ],
        **fields,
    }


def _annotation(
    span: LinkedSpan, text: str, id_: str, source: str, entities: EntityUris
) -> dict[str, Any]:
    entity: dict[str, str] = {"type": "TextualBody", "purpose": IDENTIFYING, "value": NO_ENTITY}
    if span.id != NO_ENTITY:
        address = entities.uri(span.id)
        entity = {"type": "SpecificResource", "purpose": IDENTIFYING, "source": address}
    label = {"type": "TextualBody", "purpose": TAGGING, "value": span.label}
    selectors = [
        {"type": POSITION, "start": span.start, "end": span.end},
        {"type": QUOTE, "exact": text[span.start : span.end]},
    ]
    return {
        "id": id_,
        "type": ANNOTATION,
        "motivation": IDENTIFYING,
        "body": [entity, label],
        "target": {"source": source, "selector": selectors},
    }


def _spans(
    item: Mapping[str, Any], units: Utf16, entities: EntityUris, where: str, stats: ConversionStats
) -> Iterator[dict[str, Any]]:
    """The spans of an annotation: one for each of its entities; one without an id if it names
    none."""
    target = next(iter(_objects(item.get("target"))), {})
    selectors = {each.get("type"): each for each in _objects(target.get("selector"))}
    position, quote = selectors.get(POSITION), selectors.get(QUOTE, {}).get("exact")
    if position is None:
        raise ElqError(Errors.ELQ381.format(where=where))
    place = position.get("start"), position.get("end")
    start, end = units.place(*place, quote, where, in_units=False)
    stats.displaced += units.differs(start, end, quote)
    bodies = _objects(item.get("body"))
    labels = [body.get("value") for body in bodies if body.get("purpose") == TAGGING]
    span = {"start": start, "end": end, **({LABEL: labels[0]} if labels else {})}
    ids = [id_ for body in bodies if (id_ := _entity(body, entities))]
    yield from ({**span, "id": id_} for id_ in ids)
    if not ids:
        yield span


def _objects(value: Any) -> list[dict[str, Any]]:
    """RETURNS (list[dict]): An object or a list of them, or addresses, as JSON-LD allows."""
    values = value if isinstance(value, list) else [value]
    whole = [{"source": each} if isinstance(each, str) else each for each in values]
    return [each for each in whole if isinstance(each, dict)]


def _entity(body: Mapping[str, Any], entities: EntityUris) -> str:
    """RETURNS (str): The entity that a body identifies, `NO_ENTITY`, or ""."""
    purpose, value = body.get("purpose", IDENTIFYING), body.get("value")
    if purpose not in LINKING:
        return ""
    if value == NO_ENTITY:
        return NO_ENTITY
    address = body.get("source") or body.get("id")
    return entities.id(address) or NO_ENTITY if isinstance(address, str) else ""
