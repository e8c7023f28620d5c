"""What files of annotation tools share: mentions without an entity, and a memory of what the tool
has no place for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from ..gold import NIL, UNKNOWN
from ..types import DEFAULT_LABEL
from .field_checks import are_objects, wrong_type
from .spans_jsonl import LinkedSpan, LinkedText, text_from_dict

# The choice, or the id, of mentions that have no entity.
NO_ENTITY = "NIL"
# Field of a task: what of a text the tool has no place for.
MEMORY = "elq"
LABEL = "label"


def mentions_of(linked: LinkedText) -> list[LinkedSpan]:
    """RETURNS (list[LinkedSpan]): The links of a text and its mentions of no entity, whose id is
    `NO_ENTITY`, in the order of the text."""
    without = (
        LinkedSpan(place["start"], place["end"], NO_ENTITY, _without(place, ("start", "end")))
        for place in linked.fields.get(NIL) or ()
    )
    return sorted((*linked.spans, *without), key=lambda span: (span.start, -span.end))


def task_fields(
    linked: LinkedText, reserved: Collection[str] = (), span_fields: Collection[str] = (LABEL,)
) -> dict[str, Any]:
    """The other fields of a text, as fields of a task.

    reserved (Collection[str]): Fields that mean something to the tool: what a text has there is
        kept in `MEMORY`.
    span_fields (Collection[str]): Fields of spans that the task has a place for.
    """
    others = _without(linked.fields, (NIL,))
    memory = {
        "fields": {name: value for name, value in others.items() if name in (*reserved, MEMORY)},
        "spans": list(_remembered(linked, span_fields)),
    }
    memory = {name: value for name, value in memory.items() if value}
    return _without(others, reserved) | ({MEMORY: memory} if memory else {})


def _remembered(linked: LinkedText, span_fields: Collection[str]) -> Iterator[dict[str, Any]]:
    for span in mentions_of(linked):
        if fields := _without(span.fields, span_fields):
            yield {"start": span.start, "end": span.end, "id": span.id, "fields": fields}


def text_of_task(
    text: Any,
    spans: Iterable[Mapping[str, Any]],
    task: Mapping[str, Any],
    where: str,
    reserved: Collection[str] = (),
) -> LinkedText:
    """Make a text of a task.

    spans (Iterable[Mapping]): Objects with "start", "end" and other fields. The "id" `NO_ENTITY`
        says that there is none; without an "id" the entity is not known, and the span becomes one
        of the field "unknown".
    task (Mapping[str, Any]): Its fields, with what `task_fields` made.
    where (str): Names the task in messages.
    RAISES (ElqError): If a field is missing, of a wrong type, or outside the text.
    """
    memory = _objects_of(task, where)
    fields = _without(task, (*reserved, MEMORY)) | memory.get("fields", {})
    known = {_place(each): each.get("fields", {}) for each in memory.get("spans", [])}
    record: dict[str, Any] = {**fields, "text": text, "spans": []}
    for span in spans:
        whole = {**known.get(_place(span), {}), **_named_label(span)}
        if (entity := span.get("id")) == NO_ENTITY:
            inner = known.get(_place(span), {}).get("id")
            whole = _without(whole, ("id",)) | ({} if inner is None else {"id": inner})
        name = "spans" if entity and entity != NO_ENTITY else NIL if entity else UNKNOWN
        record[name] = [*(record.get(name) or ()), whole]
    return text_from_dict(record, where)


def _objects_of(task: Mapping[str, Any], where: str) -> dict[str, Any]:
    memory = task.get(MEMORY, {})
    is_whole = (
        isinstance(memory, dict)
        and isinstance(memory.get("fields", {}), dict)
        and are_objects(memory.get("spans", []))
        and all(isinstance(each.get("fields", {}), dict) for each in memory.get("spans", []))
    )
    if not is_whole:
        raise wrong_type(where, MEMORY, "as it was written", memory)
    return memory


def _place(span: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(span.get(name)) for name in ("start", "end", "id"))


def _named_label(span: Mapping[str, Any]) -> Mapping[str, Any]:
    """RETURNS (Mapping): The span, without the label of those that have none."""
    return _without(span, (LABEL,)) if span.get(LABEL) == DEFAULT_LABEL else span


def _without(record: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}
