"""Entities of the knowledge base: found, added, replaced, removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..entities.records import entity_to_dict
from ..errors import ElqError, Errors
from ..types import Entity
from .refusals import Refused

if TYPE_CHECKING:
    from ..kb.live.view import View


class EntityStore:
    """The knowledge base of a linker, as other processes have changed it.

    elq (ElqLinker): The linker.
    """

    def __init__(self, elq: Any) -> None:
        self.elq = elq

    def view(self) -> View:
        """RETURNS (View): The entities as they are now."""
        self.elq.linked_kb.refresh()
        return self.elq.kb.view

    @property
    def is_writable(self) -> bool:
        """RETURNS (bool): Whether a change is on disk when it was made."""
        return self.elq.kb.is_writable

    def get(self, id_: str) -> dict[str, Any]:
        """RETURNS (dict): The record of an entity.
        RAISES (ElqError): If there is none."""
        entity = self.view().entity(id_)
        if entity is None:
            raise Refused(404, Errors.ELQ568.format(id=id_[:200]))
        return entity_to_dict(entity)

    def named(self, name: str, limit: int) -> list[dict[str, Any]]:
        """RETURNS (list[dict]): The entities that have this name."""
        return [entity_to_dict(entity) for entity in self.view().named(name)[:limit]]

    def search(self, text: str, limit: int) -> list[dict[str, Any]]:
        """RETURNS (list[dict]): The entities that have this name, then the nearest by vector."""
        if not text.strip():
            raise ElqError(Errors.ELQ273)
        view = self.view()
        vectors, _ = self.elq.entity_encoder.encode([Entity("", text)])
        rows = view.search(vectors[:1], max(1, min(limit, len(view)))).rows[0]
        nearest = view.records(rows[rows >= 0])
        found = {entity.id: entity for entity in [*view.named(text), *nearest]}
        return [entity_to_dict(entity) for entity in list(found.values())[:limit]]

    def put(self, id_: str, record: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Add an entity, or replace the one with this id.

        RETURNS (tuple[dict, bool]): The record, and whether it is new.
        """
        if record.get("id", id_) != id_:
            message = Errors.ELQ578.format(found=str(record["id"])[:200], expected=id_[:200])
            raise ElqError(message)
        is_new = id_ not in self.view()
        self._check_writable()
        self.elq.add_entities([{**record, "id": id_}])
        self._check_writable()
        return self.get(id_), is_new

    def remove(self, id_: str) -> None:
        """Remove an entity."""
        self.get(id_)
        self._check_writable()
        self.elq.remove_entities([id_])
        self._check_writable()

    def _check_writable(self) -> None:
        if not self.is_writable:
            raise ElqError(Errors.ELQ249.format(path=self.elq.kb.path or ""))
