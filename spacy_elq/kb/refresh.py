"""A newer knowledge base that takes the vectors of unchanged entities from an older one."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from ..errors import ElqError, Errors
from ..types import Entity
from .build.vector_source import EncodesEntities, OwnedVectors, VectorSource
from .files.manifest import AUTO, Manifest
from .live.view import View

# Entities that are looked up at once.
BATCH = 1000


@dataclass
class RefreshCounts:
    """How two knowledge bases differ.

    reused (int): Entities of both whose names and descriptions are the same: so are their vectors.
    renamed (int): Entities of both with the same title and description but other aliases: the new
        ones are embedded.
    changed (int): Entities of both that are embedded again.
    added, removed (int): Entities of only the newer, only the older one.
    """

    reused: int = 0
    renamed: int = 0
    changed: int = 0
    added: int = 0
    removed: int = 0


class OldVectors:
    """The vectors of an older knowledge base.

    view (View): Its present entities, live changes included.
    manifest (Manifest): Says which encoder made them, and in which numbers.
    encoder (EncodesEntities): Makes the vectors that are missing.
    counts (RefreshCounts): Of the entities that were `counted`; all are removed until they come.
    RAISES (ElqError): If another encoder made them, or the same one in other numbers.
    """

    def __init__(self, view: View, manifest: Manifest, encoder: EncodesEntities) -> None:
        self._view, self._manifest, self._encoder = view, manifest, encoder
        self._made = VectorSource.from_encoder(encoder)
        self._embeds_names = getattr(encoder, "embeds_names", False)
        self.counts = RefreshCounts(removed=len(view))
        for old, new in (
            (manifest.fingerprint, self._made.fingerprint),
            (manifest.inference, self._made.inference),
        ):
            if old != new:
                raise ElqError(Errors.ELQ288.format(old=old or "unknown", new=new or "unknown"))

    def counted(self, entities: Iterable[Entity]) -> Iterator[Entity]:
        """YIELDS (Entity): The entities of the newer knowledge base, which are counted."""
        rest = iter(entities)
        while batch := list(islice(rest, BATCH)):
            old = self._old(batch)
            reused = sum(each.names == batch[i].names for i, (_, each) in old.items())
            renamed = len(old) - reused if self._embeds_names else 0
            known = sum(row is not None for row in self._rows(batch))
            self.counts.reused += reused
            self.counts.renamed += renamed
            self.counts.changed += known - reused - renamed
            self.counts.added += len(batch) - known
            self.counts.removed -= known
            yield from batch

    def source(self, dtype: str = AUTO) -> VectorSource:
        """Make the source for `build_kb`. Vectors of two bytes are not stored in four.

        dtype (str): Type of the vectors to be stored.
        """
        old, made = self._manifest, self._made
        if old.dtype == "float16" and dtype == "float32":
            raise ElqError(Errors.ELQ289)
        return VectorSource(
            self._batch,
            made.width,
            made.fingerprint,
            made.normalized,
            dtype=old.dtype if old.dtype == "float16" else AUTO,
            identity=f"reusing {old.identity}",
            inference=made.inference,
            batch_size=made.batch_size,
        )

    def _batch(self, entities: Sequence[Entity], start: int) -> OwnedVectors:
        done, named = self._copied(entities)
        parts = {i: _without(e, named.get(i, {})) for i, e in enumerate(entities) if i not in done}
        new = {i: part for i, part in parts.items() if i not in named or part.aliases}
        made = self._encoded(new)
        for i, known in named.items():
            vectors = dict(zip(parts[i].names, made.pop(i, ()), strict=False)) | known
            done[i] = np.stack([vectors[name] for name in entities[i].names])
        done |= made
        blocks = [done[i] for i in range(len(entities))]
        return np.concatenate(blocks), np.repeat(np.arange(len(blocks)), list(map(len, blocks)))

    def _copied(
        self, entities: Sequence[Entity]
    ) -> tuple[dict[int, np.ndarray], dict[int, dict[str, np.ndarray]]]:
        """RETURNS (tuple): By position, all vectors of the entities that have the names they had,
        and of those with other aliases the vector of each name they had."""
        old = self._old(entities)
        vectors, owners = self._view.vectors_of(np.array([row for row, _ in old.values()], int))
        limits = np.searchsorted(owners, np.arange(len(old) + 1))
        done, named = {}, {}
        for (i, (_, before)), start, end in zip(old.items(), limits, limits[1:], strict=False):
            if before.names == entities[i].names:
                done[i] = vectors[start:end]
            elif self._embeds_names and end - start == len(before.names):
                named[i] = dict(zip(before.names, vectors[start:end], strict=True))
        return done, named

    def _encoded(self, entities: dict[int, Entity]) -> dict[int, np.ndarray]:
        """RETURNS (dict): The vectors of each entity, by its position."""
        if not entities:
            return {}
        vectors, owners = self._encoder.encode(list(entities.values()))
        limits = np.searchsorted(owners, np.arange(1, len(entities)))
        return dict(zip(entities, np.split(vectors, limits), strict=True))

    def _old(self, entities: Sequence[Entity]) -> dict[int, tuple[int, Entity]]:
        """RETURNS (dict): Position of each entity with the title and description it had → its old
        row and record."""
        rows = {i: row for i, row in enumerate(self._rows(entities)) if row is not None}
        records = self._view.records(list(rows.values()))
        pairs = zip(rows.items(), records, strict=True)
        return {i: (row, old) for (i, row), old in pairs if _text(old) == _text(entities[i])}

    def _rows(self, entities: Sequence[Entity]) -> list[int | None]:
        return self._view.rows([entity.id for entity in entities])


def _text(entity: Entity) -> tuple[str, str]:
    return entity.title, entity.description


def _without(entity: Entity, named: Container[str]) -> Entity:
    """RETURNS (Entity): The entity without the aliases that have vectors."""
    return replace(entity, aliases=tuple(name for name in entity.aliases if name not in named))
