"""The fields of texts and spans that have a meaning here, and the types their values must have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ElqError, Errors
from ..gold import COMPLETE, EVALUATION_SPAN, NIL, OPTIONAL, TOPIC, UNKNOWN

# A test of a value, and the expected type as messages name it.
Check = tuple[Callable[[Any], bool], str]


def is_int(value: object) -> bool:
    """RETURNS (bool): Whether a JSON value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_text(value: object) -> bool:
    """RETURNS (bool): Whether a value is a string that UTF-8 can encode, as spaCy requires. Half a
    surrogate pair, which can come from a JSON escape or from the command line, can't be encoded."""
    if not isinstance(value, str):
        return False
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def is_range(value: object) -> bool:
    """RETURNS (bool): Whether a value is a pair of whole numbers."""
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(is_int, value))


def are_objects(value: object) -> bool:
    """RETURNS (bool): Whether a value is a list of JSON objects."""
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def objects_of(record: Mapping[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    """RETURNS (list[dict]): The objects in a field; none if it is missing or null.
    RAISES (ElqError): If it holds something else."""
    values = record.get(name)
    if values is not None and not are_objects(values):
        raise wrong_type(where, name, "a list of objects", values)
    return values or []


def wrong_type(where: str, name: str, expected: str, found: Any) -> ElqError:
    """RETURNS (ElqError): The error to raise for a field of a wrong type."""
    found = repr(found)[:60]
    return ElqError(Errors.ELQ323.format(where=where, name=name, expected=expected, found=found))


def check_fields(fields: Mapping[str, Any], checks: Mapping[str, Check], where: str) -> None:
    """Raise an ElqError for a field of a wrong type. Null counts as a missing field.

    checks (Mapping[str, Check]): `TEXT_CHECKS` or `SPAN_CHECKS`.
    where (str): Names the text or the span in messages.
    """
    for name, (is_right, expected) in checks.items():
        value = fields.get(name)
        if value is not None and not is_right(value):
            raise wrong_type(where, name, expected, value)


def _is_number(value: Any) -> bool:
    return is_int(value) or isinstance(value, float)


def _are_places(value: Any) -> bool:
    return are_objects(value) and all(is_range((v.get("start"), v.get("end"))) for v in value)


def _are_candidates(value: Any) -> bool:
    return are_objects(value) and all(is_text(each.get("id")) for each in value)


TEXT_CHECKS: dict[str, Check] = {
    EVALUATION_SPAN: (is_range, "[start, end]"),
    OPTIONAL: (_are_places, 'a list of objects {"start", "end", "id"}'),
    TOPIC: (is_text, "an entity id"),
    COMPLETE: (lambda value: isinstance(value, bool), "true or false"),
    UNKNOWN: (are_objects, 'a list of objects {"start", "end"}'),
    NIL: (are_objects, 'a list of objects {"start", "end"}'),
}
SPAN_CHECKS: dict[str, Check] = {
    "candidates": (_are_candidates, 'a list of objects {"id"}'),
    **dict.fromkeys(("score", "prob", "confidence"), (_is_number, "a number")),
}
