"""Linking to some entities alone: those of given types, or with given ids."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...errors import ElqError, Errors
from ...settings import as_list

if TYPE_CHECKING:
    from ..search.stored_kb import StoredKB
    from .delta import Delta

# Types named in the message about an unknown one.
SHOWN = 10


class Masks(NamedTuple):
    """Which entities may be found.

    base (ndarray): Rows 0..N-1 of the base, bool (N,); None if all of them.
    added (ndarray): The same of the added entities, in the order of their rows; None if all of the
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
        self._kept: tuple[StoredKB | None, Delta, Masks] | None = None

    @classmethod
    def asked(cls, types: Iterable[str] | None, ids: Iterable[str] | None) -> Restriction:
        """RETURNS (Restriction): What a caller asks for; none where both are None.
        RAISES (ElqError): For one string in place of a list, and where nothing is in the lists: if
            they were computed, no entity is what was meant, not all of them."""
        types = None if types is None else as_list(types, "types")
        ids = None if ids is None else as_list(ids, "ids")
        if not types and not ids and (types is not None or ids is not None):
            raise ElqError(Errors.ELQ271)
        return cls(types or (), ids or ())

    def __reduce__(self) -> tuple[type[Restriction], tuple[tuple[str, ...], tuple[str, ...]]]:
        return Restriction, (self.types, self.ids)  # masks are made anew

    def __bool__(self) -> bool:
        return bool(self.types or self.ids)

    def check(self, base: StoredKB | None, delta: Delta) -> None:
        """Raise an ElqError for a type that no entity has, or an id that is not there."""
        added = {entity.type for entity in delta}
        known = dict.fromkeys([*(base.catalogue.types() if base else ()), *added])
        unknown = [type_ for type_ in self.types if type_ not in known]
        if unknown:
            shown = ", ".join(filter(None, list(known)[:SHOWN])) or "none"
            raise ElqError(Errors.ELQ237.format(types=", ".join(map(str, unknown)), known=shown))
        rows = base.catalogue.rows(self.ids) if base else [None] * len(self.ids)
        missing = [
            id_
            for id_, row in zip(self.ids, rows, strict=True)
            if delta.row(id_) is None and (row is None or delta.is_shadowed(id_))
        ]
        if missing:
            raise ElqError(Errors.ELQ238.format(ids=", ".join(map(str, missing[:SHOWN]))))

    def masks(self, base: StoredKB | None, delta: Delta) -> Masks:
        """RETURNS (Masks): What may be found; the same arrays until something changes."""
        if not self:
            return Masks(delta.alive, None)
        kept = self._kept
        if kept is None or kept[0] is not base or kept[1] is not delta:
            # One tuple: another thread may ask for the masks of another moment.
            kept = self._kept = base, delta, self._make(base, delta)
        return kept[2]

    def _make(self, base: StoredKB | None, delta: Delta) -> Masks:
        of_base = np.zeros(delta.base_rows, dtype=bool)
        if base:
            of_base[base.catalogue.rows_of_types(self.types)] = True
            of_base[[row for row in base.catalogue.rows(self.ids) if row is not None]] = True
            if delta.alive is not None:
                of_base &= delta.alive
        added = np.zeros(delta.next_row - delta.base_rows, dtype=bool)
        types, ids = set(self.types), set(self.ids)
        for row, entity in zip(delta.live_rows().tolist(), delta, strict=True):
            added[row - delta.base_rows] = entity.type in types or entity.id in ids
        return Masks(of_base, added)
