"""Settings of the component: attributes that a caller may change between two calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ElqError, Errors
from .types import Entity

# Values of `mentions`; any other value is the key of a span group whose spans are the mentions.
FIND = "find"
ENTS = "ents"

# What annotations call a type → what its values are instances of, and what messages call those.
VALUE_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool, np.bool_), "true or false"),
    "int": ((int, np.integer), "a whole number"),
    "float": ((int, float, np.integer, np.floating), "a number"),
    "str": ((str,), "a string"),
}
NULLABLE = " | None"


def check_types(types: Mapping[str, str], values: Mapping[str, Any]) -> None:
    """Raise an ElqError for a setting of another type than it is annotated with, or that is NaN.

    types (Mapping[str, str]): Annotations; those that are none of `VALUE_TYPES` are passed over.
    values (Mapping[str, Any]): The settings.
    """
    for name, annotation in types.items():
        type_, value = annotation.removesuffix(NULLABLE), values[name]
        if type_ not in VALUE_TYPES or (value is None and type_ != annotation):
            continue
        wanted, expected = VALUE_TYPES[type_]
        is_other = not isinstance(value, wanted) or (isinstance(value, bool) and type_ != "bool")
        if is_other or value != value:
            raise ElqError(Errors.ELQ122.format(name=name, value=value, expected=expected))


def check_least(least: Mapping[str, float], values: Mapping[str, Any]) -> None:
    """Raise an ElqError for a setting that is less than it may be.

    least (Mapping[str, float]): Setting → its least value.
    values (Mapping[str, Any]): The settings.
    """
    for name, bound in least.items():
        if values[name] < bound:
            raise ElqError(Errors.ELQ112.format(name=name, value=values[name], least=bound))


def plain(value: Any) -> Any:
    """RETURNS (Any): A setting as a value that JSON can hold, without numpy's numbers and paths."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


class Setting:
    """An attribute kept in the component's `cfg`, as a value that JSON can hold. One that is not
    allowed is refused at once, and the old one stays."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, component: Any, owner: type | None = None) -> Any:
        return self if component is None else component.cfg[self.name]

    def __set__(self, component: Any, value: Any) -> None:
        checked = component.checked_settings({**component.cfg, self.name: value})
        component.cfg[self.name] = checked[self.name]


def changes(configured: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """RETURNS (dict): Of the settings that were changed since the component was made: the value
    that the config gave, and the value now."""
    return {
        name: [configured.get(name), value]
        for name, value in now.items()
        if configured.get(name) != value
    }


def restore(configured: Mapping[str, Any], stored: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Settings after loading: what was changed before saving, unless the config has another value
    than it had then, as when a caller overrides it in `spacy.load`.

    RETURNS (dict): All settings.
    """
    restored = dict(configured)
    for name, (then, value) in stored.items():
        if restored.get(name) == then:
            restored[name] = value
    return restored


def as_list(values: Iterable[Any], what: str) -> list[Any]:
    """RETURNS (list): The values, of which there may be one or none.
    RAISES (ElqError): If it is one value itself: the parts of a string or a dict are values too,
        but never those that were meant.

    what (str): What they are, for the message.
    """
    if isinstance(values, (str, bytes, Mapping, Entity)) or not isinstance(values, Iterable):
        raise ElqError(Errors.ELQ270.format(what=what, found=type(values).__name__))
    return list(values)
