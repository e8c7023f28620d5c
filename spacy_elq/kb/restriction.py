"""Linking to some entities alone: those of given types, or with given ids."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import ElqError, Errors

if TYPE_CHECKING:
    from .base import Base
    from .delta import Delta
    from .table import EntityTable

# Types named in the message about an unknown one.
SHOWN = 10


class Masks(NamedTuple):
    """Which entities may be found.

    base (ndarray): Rows 0..N-1 of the base, bool (N,); None if all of them.
    added (ndarray): The same for all rows there are, the added ones at the end; None if all of the
        live ones.
    """

    base: np.ndarray | None
    added: np.ndarray | None


class Restriction:
    """The entities that have one of the types or one of the ids; with neither, all of them.

    types, ids (Iterable[str]): Whether they are there is for `check` to say.
    """

    def __init__(self, types: Iterable[str] = (), ids: Iterable[str] = ()) -> None:
        self.types = tuple(dict.fromkeys(types))
        self.ids = tuple(dict.fromkeys(ids))
        self._masks = Masks(None, None)
        self._seen: tuple[Base | None, np.ndarray | None, EntityTable | None] = (None, None, None)

    def __reduce__(self) -> tuple[type[Restriction], tuple[tuple[str, ...], tuple[str, ...]]]:
        return Restriction, (self.types, self.ids)  # masks are made anew

    def __bool__(self) -> bool:
        return bool(self.types or self.ids)

    def check(self, base: Base | None, delta: Delta) -> None:
        """Raise an ElqError for a type that no entity has, or an id that is not there."""
        added = {entity.type for entity in delta.entities.values()}
        known = dict.fromkeys([*(base.catalogue.types() if base else ()), *added])
        unknown = [type_ for type_ in self.types if type_ not in known]
        if unknown:
            shown = ", ".join(filter(None, list(known)[:SHOWN])) or "none"
            raise ElqError(Errors.ELQ237.format(types=", ".join(unknown), known=shown))
        rows = base.catalogue.rows(self.ids) if base else [None] * len(self.ids)
        missing = [
            id_
            for id_, row in zip(self.ids, rows, strict=True)
            if delta.row(id_) is None and (row is None or row in delta.removed)
        ]
        if missing:
            raise ElqError(Errors.ELQ238.format(ids=", ".join(missing[:SHOWN])))

    def masks(self, base: Base | None, delta: Delta) -> Masks:
        """RETURNS (Masks): What may be found; the same arrays until something changes."""
        if not self:
            return Masks(delta.alive, None)
        # Whatever changes the delta makes its arrays anew.
        seen = (base, delta.alive, delta.table)
        if any(new is not old for new, old in zip(seen, self._seen, strict=True)):
            self._masks, self._seen = self._make(base, delta), seen
        return self._masks

    def _make(self, base: Base | None, delta: Delta) -> Masks:
        mask = np.zeros(delta.next_row, dtype=bool)
        of_base = mask[: delta.base_rows]
        if base:
            of_base[base.catalogue.rows_of_types(self.types)] = True
            of_base[[row for row in base.catalogue.rows(self.ids) if row is not None]] = True
            if delta.alive is not None:
                of_base &= delta.alive
        for row, entity in delta.entities.items():
            mask[row] = entity.type in self.types or entity.id in self.ids
        return Masks(of_base, mask)
