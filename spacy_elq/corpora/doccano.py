"""doccano's JSON lines for sequence labeling: the label of a span is its entity, or "NIL". Offsets
count UTF-16 units, unless the project counts grapheme clusters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..files import read_jsonl, write_jsonl
from .field_checks import wrong_type
from .offsets import Utf16
from .spans_jsonl import LinkedText
from .tasks import mentions_of, task_fields, text_of_task

LABELS = ("label", "labels", "entities")
EXPECTED = 'a list of [start, end, label], or of {"start_offset", "end_offset", "label"}'
RESERVED = ("text", *LABELS)


def read_doccano(path: Path) -> Iterator[LinkedText]:
    """Stream an export ("JSONL", with or without relations)."""
    for where, record in read_jsonl(path):
        text = record.get("text")
        units = Utf16(text if isinstance(text, str) else "")
        spans = [
            _span(each, units, f"{where}, {name} {i}", name)
            for name in LABELS
            for i, each in enumerate(_list(record, name, where))
        ]
        yield text_of_task(text, spans, record, where, RESERVED)


def write_doccano(texts: Iterable[LinkedText], path: Path) -> None:
    """Write texts to be imported with labels, replacing the file as a whole."""
    write_jsonl(path, map(_record, texts))


def _list(record: Mapping[str, Any], name: str, where: str) -> list[Any]:
    values = record.get(name) or []
    if not isinstance(values, list):
        raise wrong_type(where, name, EXPECTED, values)
    return values


def _span(value: Any, units: Utf16, where: str, name: str) -> dict[str, Any]:
    if isinstance(value, dict):
        value = [value.get(key) for key in ("start_offset", "end_offset", "label")]
    if not isinstance(value, list) or len(value) != 3 or not isinstance(value[2], str):
        raise wrong_type(where, name, EXPECTED, value)
    start, end = units.place(value[0], value[1], None, where)
    return {"start": start, "end": end, "id": value[2]}


def _record(linked: LinkedText) -> dict[str, Any]:
    units = Utf16(linked.text)
    labels = [[units.units(s.start), units.units(s.end), s.id] for s in mentions_of(linked)]
    return {"text": linked.text, **task_fields(linked, RESERVED, ()), "label": labels}
