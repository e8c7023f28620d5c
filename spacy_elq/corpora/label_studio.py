"""Label Studio's JSON: tasks with predictions to correct, and with annotations.

A mention is a region: results with one id, of a tag for labels and of one for choices (its entity;
or of a text area, for an id that is no choice). Offsets count UTF-16 units.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import read_jsonl, write_json_array
from .field_checks import objects_of, wrong_type
from .offsets import Utf16
from .spans_jsonl import ConversionStats, LinkedSpan, LinkedText
from .tasks import LABEL, NO_ENTITY, mentions_of, task_fields, text_of_task

SYSTEM = "spacy-elq"
# Names of tags in the labeling configuration; field of a task with the choices.
TEXT_TAG, LABEL_TAG, ENTITY_TAG, CHOICES = "text", "label", "entity", "choices"
# Kinds of results that name an entity, and the field of their value that does.
ENTITY_FIELDS = {"choices": "choices", "taxonomy": "taxonomy", "textarea": "text"}
RESERVED = ("text", CHOICES)


def read_label_studio(path: Path, stats: ConversionStats) -> Iterator[LinkedText]:
    """Stream an export ("JSON"), or the tasks that `write_label_studio` wrote.

    stats (ConversionStats): Counts tasks without annotations, or with cancelled ones only, which
        are left out, and spans that differ from the text.
    YIELDS (LinkedText): Of several annotations the ground truth, or else the last; without one,
        the predictions. Other data of the task are its fields.
    """
    for where, task in read_jsonl(path):
        data = task.get("data")
        if not isinstance(data, dict):
            raise wrong_type(where, "data", 'an object with "text"', data)
        results = _results(task, where)
        if results is None:
            stats.rejected += 1
            continue
        spans = list(_spans(results, data, where, stats)) if "text" in data else []
        yield text_of_task(data.get("text"), spans, data, where, RESERVED)


def write_label_studio(texts: Iterable[LinkedText], path: Path) -> None:
    """Write texts as tasks with predictions, replacing the file as a whole."""
    write_json_array(path, map(_task, texts))


def _results(task: Mapping[str, Any], where: str) -> list[dict[str, Any]] | None:
    annotations = objects_of(task, "annotations", where)
    kept = [each for each in annotations if not each.get("was_cancelled")]
    kept = [each for each in kept if each.get("ground_truth")] or kept
    if not annotations:
        kept = objects_of(task, "predictions", where)
    return objects_of(kept[-1], "result", where) if kept else None


def _spans(
    results: Sequence[Mapping[str, Any]],
    data: Mapping[str, Any],
    where: str,
    stats: ConversionStats,
) -> Iterator[dict[str, Any]]:
    units = Utf16(data["text"] if isinstance(data["text"], str) else "")
    shown = {each["value"]: each.get("alias") for each in objects_of(data, CHOICES, where)}
    for region in _regions(results).values():
        surface, named = region["surface"], f'{where}, region "{region["id"]}"'
        start, end = units.place(region["start"], region["end"], surface, named)
        stats.displaced += units.differs(start, end, surface)
        span = {"start": start, "end": end, LABEL: region["label"]}
        entities = [shown.get(name) or name for name in region["entities"]]
        yield from ({**span, "id": entity} for entity in entities)
        if not entities:
            yield span


def _regions(results: Iterable[Mapping[str, Any]]) -> dict[Any, dict[str, Any]]:
    """RETURNS (dict): Id → where the region is, what it says, and of what."""
    regions: dict[Any, dict[str, Any]] = {}
    for result in results:
        value = result.get("value")
        if not isinstance(value, dict) or "start" not in value or "end" not in value:
            continue  # a relation, or about the whole text
        place = value["start"], value["end"]
        id_ = str(result.get("id", place))
        region = regions.setdefault(id_, _region(id_, *place))
        kind = str(result.get("type"))
        if kind in ENTITY_FIELDS:
            region["entities"] = _names(value.get(ENTITY_FIELDS[kind])) or region["entities"]
        elif isinstance(surface := value.get("text"), str):
            region["surface"] = surface
        region["label"] = next(iter(_names(value.get("labels"))), region["label"])
    return regions


def _region(id_: str, start: Any, end: Any) -> dict[str, Any]:
    return {
        "id": id_, "start": start, "end": end, "surface": None, "label": None, "entities": [],
    }  # fmt: skip


def _names(value: Any) -> list[str]:
    """RETURNS (list[str]): What was chosen, or typed; of a path in a taxonomy its end."""
    values = value if isinstance(value, list) else [value]
    ends = [each[-1] if isinstance(each, list) and each else each for each in values]
    return [end.strip() for end in ends if isinstance(end, str) and end.strip()]


def _task(linked: LinkedText) -> dict[str, Any]:
    units, mentions = Utf16(linked.text), mentions_of(linked)
    results = [each for i, span in enumerate(mentions) for each in _result(f"m{i}", span, units)]
    data = {"text": linked.text, CHOICES: _choices(mentions)}
    return {
        "data": {**task_fields(linked, RESERVED), **data},
        "predictions": [{"model_version": SYSTEM, "result": results}],
    }


def _result(id_: str, span: LinkedSpan, units: Utf16) -> Iterator[dict[str, Any]]:
    value = {
        "start": units.units(span.start),
        "end": units.units(span.end),
        "text": units.text[span.start : span.end],
    }
    tags = (LABEL_TAG, "labels", span.label), (ENTITY_TAG, "choices", span.id)
    for tag, kind, name in tags:
        place = {"id": id_, "from_name": tag, "to_name": TEXT_TAG, "type": kind}
        yield {**place, "value": {**value, kind: [name]}}


def _choices(mentions: Iterable[LinkedSpan]) -> list[dict[str, str]]:
    """RETURNS (list[dict]): The candidates of all mentions, and "no entity"; `alias` is the id."""
    titles: dict[str, str] = {}
    for span in mentions:
        titles[span.id] = titles.get(span.id) or str(span.fields.get("title") or "")
        for each in span.fields.get("candidates") or ():
            titles[each["id"]] = titles.get(each["id"]) or str(each.get("title") or "")
    titles.pop(NO_ENTITY, None)
    named = [
        {"value": f"{title} ({id_})" if title else id_, "alias": id_}
        for id_, title in titles.items()
    ]
    return [*named, {"value": NO_ENTITY, "alias": NO_ENTITY}]
