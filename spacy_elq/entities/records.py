"""Entity records as JSON objects, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf
from typing import Any

from ..errors import ElqError, Errors
from ..types import Entity

FIELDS = ("id", "title", "description", "aliases", "type", "popularity")
# What may be known of an alias.
COUNT, LINK_PROBABILITY = ALIAS_FIELDS = "count", "link_probability"
# Names, and the count and link probability of those that have one.
Aliases = tuple[tuple[str, ...], dict[str, int], dict[str, float]]


def entity_from_dict(record: Any, where: str = "entity") -> Entity:
    """Make an entity from a parsed JSON value.

    where (str): Names its place in messages.
    RAISES (ElqError): If it is not an object, or a field is missing or of a wrong type.
    """
    if not isinstance(record, Mapping):
        raise ElqError(Errors.ELQ231.format(where=where))
    aliases, counts, link_probabilities = _aliases(record, where)
    id_ = _required(record, "id", where)
    if "\0" in id_:  # SQLite's functions end strings there
        raise ElqError(Errors.ELQ256.format(where=where, id=id_))
    return Entity(
        id=id_,
        title=_required(record, "title", where),
        description=_text(record, "description", where),
        aliases=aliases,
        type=_text(record, "type", where),
        extra={name: value for name, value in record.items() if name not in FIELDS},
        counts=counts,
        popularity=read_popularity(record.get("popularity"), where),
        link_probabilities=link_probabilities,
    )


def entity_to_dict(entity: Entity) -> dict[str, Any]:
    """RETURNS (dict): The JSON object from which `entity_from_dict` makes this entity."""
    record: dict[str, Any] = {"id": entity.id, "title": entity.title}
    if entity.description:
        record["description"] = entity.description
    if entity.aliases:
        record["aliases"] = alias_list(entity)
    if entity.type:
        record["type"] = entity.type
    if entity.popularity is not None:
        record["popularity"] = entity.popularity
    # The entity's own fields win over extra fields of the same name.
    return record | {name: value for name, value in entity.extra.items() if name not in FIELDS}


def read_popularity(value: Any, where: str, name: str = "popularity") -> float | None:
    """RETURNS (float | None): A number of 0 or more, which a table holds as a string; None if it is
    missing."""
    if value is None or value != value:  # NaN
        return None
    try:
        number = float(value) if isinstance(value, str) else value
        if type(number) not in (int, float) or not 0 <= float(number) < inf:
            raise ValueError
    except (ValueError, OverflowError):
        raise _wrong_type(where, name, "a number, 0 or more", value) from None
    return number


def with_popularity(entity: Entity, name: str) -> Entity:
    """RETURNS (Entity): The entity with one of its other fields as its popularity. The field is
    renamed: a copy would keep its value when the popularity changes."""
    if name not in entity.extra:
        return entity
    extra = {key: value for key, value in entity.extra.items() if key != name}
    popularity = read_popularity(entity.extra[name], f"entity {entity.id!r}", name)
    return replace(entity, extra=extra, popularity=popularity)


def map_popularity(entities: Iterable[Entity], name: str) -> Iterable[Entity]:
    """RETURNS (Iterable[Entity]): The entities, a named field as their popularity."""
    return (with_popularity(entity, name) for entity in entities) if name else entities


def _required(record: Mapping[str, Any], name: str, where: str) -> str:
    value = _text(record, name, where)
    if not value.strip():
        raise ElqError(Errors.ELQ232.format(where=where, name=name))
    return value


def _text(record: Mapping[str, Any], name: str, where: str) -> str:
    value = record.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong_type(where, name, "a string", value)
    return value


def alias_list(entity: Entity) -> list[str | dict[str, Any]]:
    """RETURNS (list): The aliases as strings, or as objects if they have a count or a link
    probability."""
    known = {COUNT: entity.counts, LINK_PROBABILITY: entity.link_probabilities}
    found = (
        (name, {field: of[name] for field, of in known.items() if name in of})
        for name in entity.aliases
    )
    return [{"name": name, **fields} if fields else name for name, fields in found]


def parse_aliases(values: Any) -> Aliases:
    """Parse a list as `alias_list` returns it, a tuple, or another collection.

    RETURNS (tuple): The aliases, without blank ones, their known counts and link probabilities.
    RAISES (TypeError, KeyError): If it is malformed.
    """
    values = _as_list(values)
    counts: dict[str, int] = {}
    probabilities: dict[str, float] = {}
    for value in values:
        if isinstance(value, Mapping):
            if LINK_PROBABILITY in value:
                probabilities[value["name"]] = value[LINK_PROBABILITY]
            if COUNT in value or LINK_PROBABILITY not in value:
                counts[value["name"]] = value[COUNT]
    names = tuple(value["name"] if isinstance(value, Mapping) else value for value in values)
    if not all(isinstance(name, str) for name in names):
        raise TypeError
    if not all(type(count) is int and count >= 0 for count in counts.values()):
        raise TypeError
    if not all(type(p) in (int, float) and 0 <= p <= 1 for p in probabilities.values()):
        raise TypeError
    return tuple(name for name in names if name.strip()), counts, probabilities


def _as_list(values: Any) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise TypeError
    # The order of a set differs from run to run.
    return sorted(values) if isinstance(values, (set, frozenset)) else list(values)


def _aliases(record: Mapping[str, Any], where: str) -> Aliases:
    value = record.get("aliases")
    if value is None:
        return (), {}, {}
    try:
        value = _as_list(value)
    except TypeError:
        raise _wrong_type(where, "aliases", "a list", value) from None
    try:
        return parse_aliases(value)
    except (TypeError, KeyError):
        i = next(i for i in range(len(value)) if not _is_alias(value[i]))
        expected = 'a string, or an object {"name", "count", "link_probability"}'
        raise _wrong_type(where, f"aliases[{i}]", expected, value[i]) from None


def _is_alias(value: Any) -> bool:
    try:
        parse_aliases([value])
    except (TypeError, KeyError):
        return False
    return True


def _wrong_type(where: str, name: str, expected: str, value: Any) -> ElqError:
    found = json.dumps(value, default=repr)
    return ElqError(Errors.ELQ323.format(where=where, name=name, expected=expected, found=found))
