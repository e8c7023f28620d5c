"""Apply updates, given as dicts of changed fields, to the records and vectors of entities."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..entities.records import entity_from_dict, entity_to_dict
from ..errors import ElqError, Errors
from ..types import Entity
from .live.view import View
from .search.file_vectors import merge

if TYPE_CHECKING:
    from .build.vector_source import EncodesEntities


def as_entities(records: Iterable[Entity | Mapping[str, Any]]) -> list[Entity]:
    """RETURNS (list[Entity]): The records as valid entities."""
    return [validate(e if isinstance(e, Entity) else entity_from_dict(e)) for e in records]


def validate(entity: Entity) -> Entity:
    """RETURNS (Entity): The entity as it will be read from disk.
    RAISES (ElqError): If it could not be written or read."""
    try:
        if isinstance(entity.aliases, str):
            raise TypeError("its aliases are a string, not a list")
        text = json.dumps(entity_to_dict(entity), ensure_ascii=False)
        text.encode("utf8")
    except (TypeError, ValueError, AttributeError, RecursionError) as err:
        raise ElqError(Errors.ELQ269.format(id=entity.id, reason=err)) from None
    return entity_from_dict(json.loads(text), f"entity {entity.id!r}")


def lookup_entities(view: View, records: Sequence[Entity | Mapping[str, Any]]) -> list[Entity]:
    """RETURNS (list[Entity]): The present entities with the ids of these records.
    RAISES (ElqError): If an id is unknown."""
    ids = [_id_of(record) for record in records]
    rows = view.rows(ids)
    unknown = [id_ for id_, row in zip(ids, rows, strict=True) if row is None]
    if unknown:
        raise ElqError(Errors.ELQ210.format(ids=", ".join(unknown)))
    return view.records([row for row in rows if row is not None])


def embed_changed(
    encoder: EncodesEntities, view: View, new: Sequence[Entity], old: Sequence[Entity]
) -> tuple[np.ndarray, np.ndarray]:
    """Embed changed entities. Entities whose text stays the same keep their vectors, which is
    faster.

    view (View): Holds the vectors of the old entities.
    new, old (Sequence[Entity]): The same entities after and before the change.
    RETURNS (tuple[ndarray, ndarray]): Vectors and owners, as `EncodesEntities.encode` of the new
        entities.
    """
    same = np.array([_text(a) == _text(b) for a, b in zip(new, old, strict=True)], dtype=bool)
    if not same.any():
        return encoder.encode(new)
    kept, changed = np.flatnonzero(same), np.flatnonzero(~same)
    rows = view.rows([old[i].id for i in kept.tolist()])
    vectors, owners = view.vectors_of(np.array(rows, dtype=np.int64))
    owners = kept[owners]
    if len(changed):
        more, of = encoder.encode([new[i] for i in changed.tolist()])
        owners, vectors = merge((owners, vectors), (changed[of], more))
    return vectors, owners


def _text(entity: Entity) -> tuple[str, str, tuple[str, ...]]:
    """RETURNS (tuple): The fields that vectors are made of."""
    return entity.title, entity.description, entity.aliases


def _id_of(record: Entity | Mapping[str, Any]) -> str:
    if isinstance(record, Entity):
        return record.id
    if not isinstance(record, Mapping):
        raise ElqError(Errors.ELQ231.format(where="update"))
    if not record.get("id"):
        raise ElqError(Errors.ELQ232.format(where="update", name="id"))
    return str(record["id"])


def apply_updates(
    entities: Sequence[Entity], records: Sequence[Entity | Mapping[str, Any]]
) -> list[Entity]:
    """Change the given fields of entities and keep the others.

    records (Sequence): One record per entity: an `Entity` replaces all fields, a dict some.
    RETURNS (list[Entity]): The changed entities.
    """
    return as_entities(
        new if isinstance(new, Entity) else {**entity_to_dict(entity), **new}
        for entity, new in zip(entities, records, strict=True)
    )
