"""Prodigy's JSON lines: tasks with `spans`, whose `kb_id` is the entity; or one task for each
mention, whose `options` are entities, one of them accepted. Offsets count characters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from ..errors import ElqError, Errors
from ..files import read_jsonl, write_jsonl
from ..gold import COMPLETE
from .field_checks import objects_of, wrong_type
from .offsets import Utf16
from .spans_jsonl import ConversionStats, LinkedSpan, LinkedText
from .tasks import LABEL, MEMORY, NO_ENTITY, mentions_of, task_fields, text_of_task

ENTITY = "kb_id"
ACCEPT = "accept"
# Options of spaCy's tutorial project for mentions that have an entity, but none of the others.
NO_OPTION = (NO_ENTITY, "NIL_otherLink")
UNDECIDED = "NIL_"
# Field of a task for one mention: the number of its text.
NUMBER = "elq_text"
RESERVED = ("text", "spans", "tokens", "options", ACCEPT, "answer", "config", "html", NUMBER)
SPAN_RESERVED = ("start", "end", "text", ENTITY, "token_start", "token_end", "input_hash")


def read_prodigy(path: Path, stats: ConversionStats) -> Iterator[LinkedText]:
    """Read tasks, annotated or not; all of them are in memory, because those for mentions of one
    text become one text.

    stats (ConversionStats): Counts tasks that were rejected or ignored, which are left out, and
        spans that differ from the text.
    YIELDS (LinkedText): In the order of their first tasks. A mention whose task was rejected or
        ignored, or has no entity yet, is one of the field "unknown"; texts of such tasks are
        annotated in part.
    """
    texts: dict[Any, tuple[str, dict[str, Any], list[dict[str, Any]]]] = {}
    for number, (where, task) in enumerate(read_jsonl(path)):
        options = objects_of(task, "options", where)
        if not options and task.get("answer", ACCEPT) != ACCEPT:
            stats.rejected += 1
            continue
        key = (task.get("text"), task.get(NUMBER)) if options else number
        units = Utf16(str(task.get("text")))
        spans = [_span(span, units, stats) for span in objects_of(task, "spans", where)]
        if options:
            spans = _chosen(spans, task, options, where)
            task = {COMPLETE: False, **task}
        texts.setdefault(str(key), (where, dict(task), []))[2].extend(spans)
    for where, task, spans in texts.values():
        fields = {name: value for name, value in task.items() if not name.startswith("_")}
        yield text_of_task(task.get("text"), spans, fields, where, RESERVED)


def write_prodigy(texts: Iterable[LinkedText], path: Path) -> None:
    """Write one task for each text, replacing the file as a whole."""
    write_jsonl(path, map(_task, texts))


def write_choices(texts: Iterable[LinkedText], path: Path) -> None:
    """Write one task for each mention, its candidates as options, replacing the file as a whole; a
    text without mentions is one task without options."""
    tasks = (each for linked, number in zip(texts, count(), strict=False)
             for each in _choice_tasks(linked, number))  # fmt: skip
    write_jsonl(path, tasks)


def _span(span: Mapping[str, Any], units: Utf16, stats: ConversionStats) -> dict[str, Any]:
    start, end = span.get("start"), span.get("end")
    stats.displaced += units.differs(start, end, span.get("text"))
    others = {name: value for name, value in span.items() if name not in SPAN_RESERVED}
    entity = span.get(ENTITY) or span.get("id")
    return {**others, "start": start, "end": end} | ({"id": entity} if entity else {})


def _chosen(
    spans: Sequence[dict[str, Any]],
    task: Mapping[str, Any],
    options: Sequence[Mapping[str, Any]],
    where: str,
) -> list[dict[str, Any]]:
    """RETURNS (list[dict]): The mention, once for each entity that was accepted."""
    if len(spans) != 1:
        raise ElqError(Errors.ELQ372.format(where=where, found=len(spans)))
    span = {name: value for name, value in spans[0].items() if name != "id"}
    accepted = task.get(ACCEPT, [spans[0]["id"]] if "id" in spans[0] else [])
    if not isinstance(accepted, list):
        raise wrong_type(where, ACCEPT, "a list of ids", accepted)
    known = {str(option.get("id")) for option in options}
    for entity in accepted:
        if str(entity) not in known:
            raise ElqError(Errors.ELQ373.format(where=where, id=entity))
    if task.get("answer", ACCEPT) != ACCEPT:
        accepted = []
    ids = [NO_ENTITY if each in NO_OPTION else str(each) for each in accepted]
    ids = [each for each in ids if not each.startswith(UNDECIDED)]
    return [{**span, "id": each} for each in ids] or [span]


def _task(linked: LinkedText) -> dict[str, Any]:
    spans = [
        {**_bare(span, linked.text), ENTITY: span.id, **_others(span)}
        for span in mentions_of(linked)
    ]
    return {"text": linked.text, **_fields(linked), "spans": spans}


def _choice_tasks(linked: LinkedText, number: int) -> Iterator[dict[str, Any]]:
    task = {"text": linked.text, **_fields(linked)}
    mentions = mentions_of(linked)
    for span in mentions:
        yield {
            **task,
            "spans": [{**_bare(span, linked.text), **_others(span)}],
            "options": _options(span),
            ACCEPT: [span.id],
            NUMBER: number,
        }
    if not mentions:
        yield {**task, "spans": []}


def _fields(linked: LinkedText) -> dict[str, Any]:
    """Other fields; those that Prodigy would read otherwise are remembered. Spans hold theirs."""
    hidden = [name for name in linked.fields if name.startswith("_")]
    span_fields = {name for span in mentions_of(linked) for name in span.fields}
    return task_fields(linked, (*RESERVED, *hidden), span_fields - {*SPAN_RESERVED, "id"} | {LABEL})


def _bare(span: LinkedSpan, text: str) -> dict[str, Any]:
    surface = text[span.start : span.end]
    return {"start": span.start, "end": span.end, "text": surface, LABEL: span.label}


def _others(span: LinkedSpan) -> dict[str, Any]:
    names = (*SPAN_RESERVED, LABEL, "id", MEMORY)
    return {name: value for name, value in span.fields.items() if name not in names}


def _options(span: LinkedSpan) -> list[dict[str, str]]:
    titles = {span.id: str(span.fields.get("title") or "")}
    for each in span.fields.get("candidates") or ():
        titles.setdefault(each["id"], str(each.get("title") or ""))
    titles.pop(NO_ENTITY, None)
    named = [
        {"id": id_, "text": f"{title} ({id_})" if title else id_} for id_, title in titles.items()
    ]
    return [*named, {"id": NO_ENTITY, "text": "none of these, or no entity"}]
