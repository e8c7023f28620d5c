"""Restrict searches to some entities: those of given types, or with given ids."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ...errors import ElqError, Errors
from ...settings import as_list

if TYPE_CHECKING:
    from ..search.stored_kb import StoredKB
    from .delta import Delta

# Types named in the message about an unknown one.
SHOWN = 10


class Masks(NamedTuple):
    """The entities that searches may find.

    base (ndarray | None): Mask (N,) of the rows of the files; None for all of them.
    added (ndarray | None): Mask of the added entities in row order; None for all live ones.
    """

    base: np.ndarray | None
    added: np.ndarray | None


class Restriction:
    """The entities that have one of the types or one of the ids; without either, all entities.

    types, ids (Iterable[str]): Not checked here, see `check`.
    """

    def __init__(self, types: Iterable[str] = (), ids: Iterable[str] = ()) -> None:
        self.types = tuple(dict.fromkeys(types))
        self.ids = tuple(dict.fromkeys(ids))
        self._last: tuple[StoredKB | None, Delta, Masks] | None = None

    @classmethod
    def from_lists(cls, types: Iterable[str] | None, ids: Iterable[str] | None) -> Restriction:
        """RETURNS (Restriction): The restriction that a caller asks for; none if both are None.
        RAISES (ElqError): For a string in place of a list, or empty lists: a computed empty list
            means "no entity", not "no restriction"."""
        types = None if types is None else as_list(types, "types")
        ids = None if ids is None else as_list(ids, "ids")
        if not types and not ids and (types is not None or ids is not None):
            raise ElqError(Errors.ELQ271)
        return cls(types or (), ids or ())

    def __reduce__(self) -> tuple[type[Restriction], tuple[tuple[str, ...], tuple[str, ...]]]:
        return Restriction, (self.types, self.ids)  # without the masks

    def __bool__(self) -> bool:
        return bool(self.types or self.ids)

    def check(self, base: StoredKB | None, delta: Delta) -> None:
        """Raise an ElqError if no entity has one of the types, or an id is unknown."""
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
            raise ElqError(Errors.ELQ210.format(ids=", ".join(map(str, missing[:SHOWN]))))

    def masks(self, base: StoredKB | None, delta: Delta) -> Masks:
        """RETURNS (Masks): The entities to find; the same arrays until something changes."""
        if not self:
            return Masks(delta.alive, None)
        last = self._last
        if last is None or last[0] is not base or last[1] is not delta:
            # One tuple, because another thread may ask for the masks of another view.
            last = self._last = base, delta, self._make(base, delta)
        return last[2]

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


class RestrictionScope:
    """The restriction of one object, a knowledge base or a component. Each thread, and each task of
    asyncio, has its own: a `with` block restricts what runs in it, and nothing else.

    default (Restriction | None): What holds where none was set.
    """

    def __init__(self, default: Restriction | None = None) -> None:
        self._default = default or Restriction()

    def __reduce__(self) -> tuple[type[RestrictionScope], tuple[Restriction]]:
        return RestrictionScope, (self.present,)  # worker processes restrict as their parent does

    @property
    def present(self) -> Restriction:
        """RETURNS (Restriction): What holds here, in this thread or task."""
        return self._levels[-1].restriction

    def set(self, restriction: Restriction) -> Restricted:
        """Let a restriction hold here from now on, until the end of the `with` block around it, or
        until another is set.

        RETURNS (Restricted): In a `with` statement, lets it hold in that block alone.
        """
        before = self.present
        self._levels = (*self._levels[:-1], Level(self._levels[-1].block, restriction))
        return Restricted(self, restriction, before)

    def begin(self, block: Restricted) -> None:
        """Enter a block."""
        outer = Level(self._levels[-1].block, block.before)
        self._levels = (*self._levels[:-1], outer, Level(block, block.restriction))

    def end(self, block: Restricted) -> None:
        """Leave a block, which need not be the innermost one."""
        self._levels = tuple(level for level in self._levels if level.block is not block)

    @property
    def _levels(self) -> tuple[Level, ...]:
        everywhere = _LEVELS.get()
        own = everywhere.get(self) if everywhere is not None else None
        return own or (Level(None, self._default),)

    @_levels.setter
    def _levels(self, levels: tuple[Level, ...]) -> None:
        changed = WeakKeyDictionary(_LEVELS.get() or {})  # other tasks go on with the old one
        changed[self] = levels
        _LEVELS.set(changed)


class Restricted:
    """A restriction that holds from now on; entered as a context manager, until the block ends.

    before (Restriction): What held before.
    """

    def __init__(
        self, scope: RestrictionScope, restriction: Restriction, before: Restriction
    ) -> None:
        self.scope = scope
        self.restriction = restriction
        self.before = before

    def __enter__(self) -> None:
        self.scope.begin(self)

    def __exit__(self, *error: object) -> None:
        self.scope.end(self)


class Level(NamedTuple):
    """What holds in a block; outside of all blocks if it is None."""

    block: Restricted | None
    restriction: Restriction


_LEVELS: ContextVar[WeakKeyDictionary[RestrictionScope, tuple[Level, ...]] | None] = ContextVar(
    "spacy_elq_restrictions", default=None
)
