"""The fields of rows and spans that mean something here, and what their values must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ElqError, Errors
from ..gold import EVALUATION_SPAN, OPTIONAL, TOPIC

# What a value must be: a test, and its name in messages.
Check = tuple[Callable[[Any], bool], str]


def is_int(value: object) -> bool:
    """RETURNS (bool): Whether a JSON value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_text(value: object) -> bool:
    """RETURNS (bool): Whether a value is a string that UTF-8 can hold, as all of spaCy's are: JSON
    escapes, and bytes of the command line that are no UTF-8, become half a surrogate pair."""
    if not isinstance(value, str):
        return False
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def check_fields(fields: Mapping[str, Any], checks: Mapping[str, Check], where: str) -> None:
    """Raise an ElqError for a field of a wrong type. Null is as good as no field.

    checks (Mapping[str, Check]): `TEXT_CHECKS` or `SPAN_CHECKS`.
    where (str): What messages call the row or the span.
    """
    for name, (is_right, expected) in checks.items():
        value = fields.get(name)
        if value is not None and not is_right(value):
            found = repr(value)[:60]
            raise ElqError(
                Errors.ELQ323.format(where=where, name=name, expected=expected, found=found)
            )


def _is_number(value: Any) -> bool:
    return is_int(value) or isinstance(value, float)


def _is_range(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(is_int, value))


def _are_places(value: Any) -> bool:
    return _are_objects(value) and all(_is_range((v.get("start"), v.get("end"))) for v in value)


def _are_candidates(value: Any) -> bool:
    return _are_objects(value) and all(is_text(each.get("id")) for each in value)


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


_NUMBER: Check = (_is_number, "a number")
TEXT_CHECKS: dict[str, Check] = {
    EVALUATION_SPAN: (_is_range, "[start, end]"),
    OPTIONAL: (_are_places, 'a list of objects {"start", "end", "id"}'),
    TOPIC: (is_text, "an entity id"),
}
SPAN_CHECKS: dict[str, Check] = {
    "candidates": (_are_candidates, 'a list of objects {"id"}'),
    **dict.fromkeys(("score", "prob", "confidence"), _NUMBER),
}
