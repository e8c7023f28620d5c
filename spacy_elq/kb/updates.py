"""Fields of entities that are to change → the entities as they are to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..corpora.entities import entity_from_dict, entity_to_dict
from ..errors import ElqError, Errors
from ..types import Entity
from .view import View


def as_entities(records: Iterable[Entity | Mapping[str, Any]]) -> list[Entity]:
    """RETURNS (list[Entity]): Entities, made of dicts where they are not."""
    return [e if isinstance(e, Entity) else entity_from_dict(e) for e in records]


def current(view: View, records: Sequence[Entity | Mapping[str, Any]]) -> list[Entity]:
    """RETURNS (list[Entity]): The entities with these ids, as they are.
    RAISES (ElqError): If one of them is not there."""
    ids = [r.id if isinstance(r, Entity) else str(r.get("id", "")) for r in records]
    rows = view.rows(ids)
    unknown = [id_ for id_, row in zip(ids, rows, strict=True) if row is None]
    if unknown:
        raise ElqError(Errors.ELQ242.format(ids=", ".join(unknown)))
    return view.records([row for row in rows if row is not None])


def updated(
    entities: Sequence[Entity], records: Sequence[Entity | Mapping[str, Any]]
) -> list[Entity]:
    """Change the fields that are given; the others stay.

    records (Sequence): One for each: `Entity` records, which replace all fields, or dicts.
    RETURNS (list[Entity]): The entities with the changes.
    """
    return as_entities(
        new if isinstance(new, Entity) else {**entity_to_dict(entity), **new}
        for entity, new in zip(entities, records, strict=True)
    )
