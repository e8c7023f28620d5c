"""A newer knowledge base that takes the vectors of unchanged entities from an older one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
    changed (int): Entities of both that are embedded again.
    added, removed (int): Entities of only the newer, only the older one.
    """

    reused: int = 0
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
            known = sum(row is not None for row in self._rows(batch))
            reused = len(self._unchanged(batch))
            self.counts.reused += reused
            self.counts.changed += known - reused
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
        rows = self._unchanged(entities)
        vectors, owners = self._view.vectors_of(np.fromiter(rows.values(), np.int64))
        owners = np.fromiter(rows, np.int64)[owners]
        if others := [i for i in range(len(entities)) if i not in rows]:
            made, places = self._encoder.encode([entities[i] for i in others])
            vectors = np.concatenate([vectors, made])
            owners = np.concatenate([owners, np.array(others)[places]])
        order = np.argsort(owners, kind="stable")
        return vectors[order], owners[order]

    def _unchanged(self, entities: Sequence[Entity]) -> dict[int, int]:
        """RETURNS (dict): Position of each entity that has the text it had → its old row."""
        rows = {i: row for i, row in enumerate(self._rows(entities)) if row is not None}
        records = self._view.records(list(rows.values()))
        pairs = zip(rows.items(), records, strict=True)
        return {i: row for (i, row), old in pairs if _text(old) == _text(entities[i])}

    def _rows(self, entities: Sequence[Entity]) -> list[int | None]:
        return self._view.rows([entity.id for entity in entities])


def _text(entity: Entity) -> tuple[object, ...]:
    """RETURNS (tuple): All that an encoder reads of an entity."""
    return entity.title, entity.description, entity.names
