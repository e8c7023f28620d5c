"""spaCy's KnowledgeBase over a directory of immutable files and a delta of live changes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from spacy.kb import Candidate, KnowledgeBase
from spacy.tokens import Span
from spacy.vocab import Vocab

from ..errors import ElqError, Errors
from ..types import Entity
from . import serialize
from .base import Base
from .delta import Delta
from .index import best
from .names import among, rows_of_names
from .restriction import Masks, Restriction
from .store import DELTA, Manifest
from .table import Candidates, EntityTable
from .vectors import check_queries, check_unique, check_vectors, merge


class FaissKB(KnowledgeBase):
    """Entities with one or more vectors each, found by vector, by name and by id.

    Entities have rows: those of the directory 0..N-1, live additions N, N+1, ... Rows are valid
    while the object lives; what is kept longer should be kept by id.

    vocab (Vocab): The shared vocabulary.
    entity_vector_length (int): Width h of the vectors.
    fingerprint (str): Of the entity encoder whose vectors will be added.
    normalized (bool): Whether these vectors have length 1.

    Its attribute `restriction` tells which entities searches find, see `restrict`.
    """

    def __init__(
        self,
        vocab: Vocab,
        entity_vector_length: int,
        *,
        fingerprint: str = "",
        normalized: bool = False,
    ) -> None:
        super().__init__(vocab, entity_vector_length)
        manifest = Manifest(
            width=entity_vector_length, fingerprint=fingerprint, normalized=normalized
        )
        self._set(manifest, None, Delta(entity_vector_length, 0))

    def _set(self, manifest: Manifest, base: Base | None, delta: Delta) -> None:
        if manifest.width != self.entity_vector_length:
            # The attribute is read-only in Python; the constructor of the Cython class sets it.
            super().__init__(self.vocab, manifest.width)
        self._manifest = manifest
        self._base = base
        self._delta = delta
        self.restriction = Restriction()
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def open(cls, path: str | Path, vocab: Vocab, *, device: int = -1) -> FaissKB:
        """Open a directory. Nothing large is read: the files are mapped.

        path (str | Path): A directory that `build_kb` or `to_disk` wrote.
        vocab (Vocab): The shared vocabulary.
        device (int): GPU to search on, where FAISS has it; -1 for the CPU.
        """
        kb = cls(vocab, 0).from_disk(path)
        if device >= 0 and kb.base:
            kb.base.use_gpu(device)
        return kb

    @property
    def manifest(self) -> Manifest:
        """RETURNS (Manifest): What the directory says about itself."""
        return self._manifest

    @property
    def fingerprint(self) -> str:
        """RETURNS (str): Fingerprint of the entity encoder that made the vectors, or ""."""
        return self._manifest.fingerprint

    @property
    def base(self) -> Base | None:
        """RETURNS (Base | None): The files without the live changes, if there are any."""
        return self._base

    @property
    def path(self) -> Path | None:
        """RETURNS (Path | None): The directory whose files are in use, None if there is none."""
        return self._base.path if self._base else None

    @property
    def n_rows(self) -> int:
        """RETURNS (int): The end of the row numbers, rows of removed entities counted."""
        return self._delta.next_row

    @property
    def n_removed(self) -> int:
        """RETURNS (int): How many entities of the directory were removed or replaced."""
        return len(self._delta.removed)

    def __len__(self) -> int:
        return self._delta.base_rows - len(self._delta.removed) + len(self._delta.entities)

    def is_empty(self) -> bool:
        """RETURNS (bool): Whether there is no entity."""
        return len(self) == 0

    def __iter__(self) -> Iterator[Entity]:
        """YIELDS (Entity): The live entities in row order."""
        if self._base:
            for row, entity in enumerate(self._base.catalogue):
                if row not in self._delta.removed:
                    yield entity
        yield from self._delta.entities.values()

    # Search

    def restrict(
        self, types: Iterable[str] = (), ids: Iterable[str] = ()
    ) -> AbstractContextManager[Any]:
        """Let searches by vector and by name find only entities that have one of the types or one
        of the ids, from now on; all of them again where neither is given.

        types (Iterable[str]): Types of entities, at least one of each.
        ids (Iterable[str]): Ids of entities.
        RETURNS (ContextManager): May be used in a `with` statement, which ends with what held
            before.
        RAISES (ElqError): If there is no entity of a type, or with an id. Nothing changes then.
        """
        new, old = Restriction(types, ids), self.restriction
        new.check(self._base, self._delta)
        self.restriction = new
        undo = ExitStack()
        undo.callback(setattr, self, "restriction", old)
        return undo

    @property
    def _masks(self) -> Masks:
        return self.restriction.masks(self._base, self._delta)

    def search(self, vectors: np.ndarray, k: int) -> Candidates:
        """Find the k entities with the largest inner products; an entity counts by its best vector.

        vectors (ndarray): Queries (M, h), float32.
        k (int): Number K of entities for each.
        RETURNS (Candidates): Rows (M, K) and exact scores (M, K).
        """
        queries = check_queries(vectors, self.entity_vector_length)
        parts, masks = [], self._masks
        if self._delta.entities or not self._base:
            parts.append(self._delta.table.search(queries, k, masks.added))
        if self._base:
            parts.append(self._base.table.search(queries, k, masks.base))
        if len(parts) == 1:
            return parts[0]
        scores = np.concatenate([part.scores for part in parts], axis=1)
        rows = np.concatenate([part.rows for part in parts], axis=1)
        scores, rows = best(scores, rows, k)
        return Candidates(rows, scores)

    def scores(self, vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Score given entities exactly as `search` does.

        vectors (ndarray): Queries (M, h), float32.
        rows (ndarray): Entity rows (M, C), int64, -1 for none.
        RETURNS (ndarray): (M, C), float32; -inf where the row is -1 or the entity was removed.
        """
        queries = check_queries(vectors, self.entity_vector_length)
        rows = np.asarray(rows, dtype=np.int64)
        if not self._base:
            return self._delta.table.scores(queries, rows)
        in_base = np.where(self._is_live_base(rows), rows, -1)
        scores = self._base.table.scores(queries, in_base)
        if not self._delta.entities:
            return scores
        return np.maximum(scores, self._delta.table.scores(queries, rows))

    def _is_live_base(self, rows: np.ndarray) -> np.ndarray:
        in_base = (rows >= 0) & (rows < self._delta.base_rows)
        if self._delta.alive is not None:
            in_base[in_base] = self._delta.alive[rows[in_base]]
        return in_base

    def log_partition(self, vectors: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """Log of the sum over all live entities of exp(scale * score): a softmax's denominator.

        vectors (ndarray): Queries (M, h), float32.
        RETURNS (ndarray): (M,), float32; -inf for an empty knowledge base.
        """
        queries = check_queries(vectors, self.entity_vector_length)
        masks = self._masks
        total = self._delta.table.log_partition(queries, scale, masks.added)
        if self._base:
            of_base = self._base.table.log_partition(queries, scale, masks.base)
            total = np.logaddexp(total, of_base)
        return total

    def vector_matrix(self) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[ndarray, ndarray]): All vectors of live entities (V, h) float32, and the
        entity row of each (V,) int64, ascending. Without changes the vectors are the mapped file.
        """
        vectors, owners = self._delta.table.matrix()
        if not self._base:
            return vectors, owners
        base_vectors, base_owners = self._base.table.matrix(self._delta.alive)
        if not len(owners):
            return base_vectors, base_owners
        return np.concatenate([base_vectors, vectors]), np.concatenate([base_owners, owners])

    def vectors_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All vectors of some entities.

        rows (ndarray): Rows of live entities, (n,).
        RETURNS (tuple[ndarray, ndarray]): Vectors (V, h), float32, and the place in `rows` of each
            one's owner (V,), int64, ascending.
        """
        rows = np.asarray(rows, dtype=np.int64)
        of_delta = self._delta.table.vectors_of(rows)
        if not self._base:
            return of_delta
        of_base = self._base.table.vectors_of(np.where(self._is_live_base(rows), rows, -1))
        owners, vectors = merge(of_base[::-1], of_delta[::-1])
        return vectors, owners

    # Names

    def find_names(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the names that have these keys, and whose they are.

        keys (ndarray): `loose_key` of each name, (M,), uint64.
        RETURNS (tuple[ndarray, ndarray]): Offsets (M + 1,), int64, and the names of live entities,
            of type `names.ENTRY`: those of key i are from offset i to offset i + 1.
        """
        keys = np.asarray(keys, dtype=np.uint64)
        masks = self._masks
        found = among(masks.added, *self._delta.find_names(keys))
        if self._base:
            found = merge(among(masks.base, *self._base.names.find(keys)), found)
        return np.searchsorted(found[0], np.arange(len(keys) + 1)), found[1]

    def lookup(self, names: Sequence[str]) -> list[np.ndarray]:
        """RETURNS (list[ndarray]): For each name the rows of the live entities that have it, int32,
        ascending. Names are the same if `names.fold` makes them the same."""
        return rows_of_names(names, self.find_names)

    def named(self, name: str) -> list[Entity]:
        """RETURNS (list[Entity]): The entities that have a name."""
        return self.records(self.lookup([name])[0])

    # Records

    def records(self, rows: Sequence[int] | np.ndarray) -> list[Entity]:
        """RETURNS (list[Entity]): The records of these rows, in their order."""
        rows = [int(row) for row in rows]
        in_base = [row for row in rows if 0 <= row < self._delta.base_rows]
        found = dict(self._delta.entities)
        if in_base and self._base:
            found.update(zip(in_base, self._base.catalogue.records(in_base), strict=True))
        for row in rows:
            if row not in found or row in self._delta.removed:
                raise ElqError(Errors.ELQ220.format(row=row, last=self.n_rows - 1))
        return [found[row] for row in rows]

    def rows(self, ids: Sequence[str]) -> list[int | None]:
        """RETURNS (list[int | None]): The rows of many live entities, None for an unknown id."""
        of_base = self._base.catalogue.rows(ids) if self._base else [None] * len(ids)
        added = (self._delta.row(id_) for id_ in ids)
        return [
            new if new is not None else None if old in self._delta.removed else old
            for new, old in zip(added, of_base, strict=True)
        ]

    def row(self, id_: str) -> int | None:
        """RETURNS (int | None): The row of a live entity, None for an unknown id."""
        return self.rows([id_])[0]

    def entity(self, id_: str) -> Entity | None:
        """RETURNS (Entity | None): The record of a live entity, None for an unknown id."""
        row = self.row(id_)
        return None if row is None else self.records([row])[0]

    # Live changes

    def add(
        self, entities: Sequence[Entity], vectors: np.ndarray, owners: np.ndarray | None = None
    ) -> None:
        """Add entities; one whose id is known takes the place of the old one. The next search
        sees them, `to_disk` keeps them.

        vectors (ndarray): (V, h), float32, finite.
        owners (ndarray): Index into `entities` of each vector, (V,), ascending, each at least
            once; one vector each where None.
        """
        ids = [entity.id for entity in entities]
        check_unique(ids)
        owners = np.arange(len(ids)) if owners is None else owners
        vectors, owners = check_vectors(ids, vectors, owners, self.entity_vector_length)
        self._delta.remove([row for row in self.rows(ids) if row is not None])
        self._delta.add(entities, vectors, owners)

    def remove(self, ids: Iterable[str]) -> int:
        """Remove entities; an ElqError, and nothing removed, if one of them is not there.

        RETURNS (int): How many were removed.
        """
        ids = list(dict.fromkeys(ids))
        rows = self.rows(ids)
        unknown = [id_ for id_, row in zip(ids, rows, strict=True) if row is None]
        if unknown:
            raise ElqError(Errors.ELQ210.format(ids=", ".join(unknown)))
        self._delta.remove([row for row in rows if row is not None])
        return len(ids)

    # spaCy's own interface

    def get_candidates(self, mention: Span) -> list[Candidate]:
        """RETURNS (list[Candidate]): The entities that have the mention's text as a name, all
        with the same prior probability."""
        return next(iter(self.get_candidates_batch([mention])))

    def get_candidates_batch(self, mentions: Iterable[Span]) -> list[list[Candidate]]:
        """RETURNS (list[list[Candidate]]): As `get_candidates`, for each mention."""
        mentions = list(mentions)
        found = zip(mentions, self.lookup([span.text for span in mentions]), strict=True)
        return [self._candidates(span.text, rows) for span, rows in found]

    def _candidates(self, name: str, rows: np.ndarray) -> list[Candidate]:
        strings = self.vocab.strings
        return [
            Candidate(
                self,
                strings.add(entity.id),
                1.0,
                self._vector(row),
                strings.add(name),
                1 / len(rows),
            )
            for row, entity in zip(rows.tolist(), self.records(rows), strict=True)
        ]

    def _vector(self, row: int) -> np.ndarray:
        base = self._base if row < self._delta.base_rows else None
        table: EntityTable = base.table if base else self._delta.table
        return table.vectors_of(np.array([row]))[0][0]

    def get_vector(self, entity: str) -> np.ndarray:
        """RETURNS (ndarray): The first vector (h,) of an entity, zeros for an unknown id."""
        row = self.row(entity)
        unknown = np.zeros(self.entity_vector_length, dtype=np.float32)
        return unknown if row is None else self._vector(row)

    def get_vectors(self, entities: Iterable[str]) -> list[np.ndarray]:
        """RETURNS (list[ndarray]): The first vector of each entity."""
        return [self.get_vector(entity) for entity in entities]

    # Files

    def to_disk(self, path: str | Path, exclude: Iterable[str] = ()) -> None:
        """Write everything into a directory. Until it is whole, what was there before stays.

        The immutable files are hard-linked where the file system allows, else copied. Saving
        over the same knowledge base writes the changes alone.

        path (str | Path): A new directory, or one that a knowledge base may be replaced in.
        """
        serialize.write_directory(Path(path), self._manifest, self._base, self._delta)

    def from_disk(self, path: str | Path, exclude: Iterable[str] = ()) -> FaissKB:
        """Open a directory in place of what this object holds.

        RETURNS (FaissKB): This object.
        """
        path = Path(path)
        manifest = Manifest.read(path)
        base = Base.open(path, manifest) if manifest.files else None
        delta = Delta(manifest.width, manifest.entities)
        if (path / DELTA).exists():
            delta = Delta.load(path / DELTA, manifest.width, manifest.entities)
        self._set(manifest, base, delta)
        return self

    def to_bytes(self, **kwargs: Any) -> bytes:
        """RETURNS (bytes): Everything, the files' contents included: for small ones."""
        return serialize.to_bytes(self._manifest, self._base, self._delta)

    def from_bytes(
        self,
        bytes_data: bytes,
        *,
        exclude: Iterable[str] = (),
    ) -> FaissKB:
        """Take over what `to_bytes` wrote; its files go to a temporary directory.

        RETURNS (FaissKB): This object.
        """
        directory = tempfile.TemporaryDirectory(prefix="spacy-elq-kb-")
        serialize.unpack(bytes_data, Path(directory.name))
        self.from_disk(directory.name)
        return self.keep(directory)

    def keep(self, directory: tempfile.TemporaryDirectory[str]) -> FaissKB:
        """Let a temporary directory live as long as this object uses its files.

        RETURNS (FaissKB): This object.
        """
        self._directory = directory
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Files are named, not copied: worker processes map the same ones.
        state = (self._manifest.to_json(), self.path, self._delta.to_state())
        return _restore, (type(self), self.vocab, *state, self.restriction)


def _restore(
    cls: type[FaissKB],
    vocab: Vocab,
    manifest: str,
    path: Path | None,
    delta: dict[str, Any],
    restriction: Restriction,
) -> FaissKB:
    kb = cls(vocab, delta["width"])
    wanted = Manifest.from_json(manifest, path or Path())
    if path is not None and kb.from_disk(path).manifest != wanted:
        raise ElqError(Errors.ELQ216.format(path=path, reason="another one took its place"))
    kb._set(wanted, kb._base, Delta.from_state(delta))
    kb.restriction = restriction
    return kb
