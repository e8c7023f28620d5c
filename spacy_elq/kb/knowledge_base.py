"""spaCy's KnowledgeBase over a directory of immutable files and a delta of live changes."""

from __future__ import annotations

import copy
import os
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from spacy.kb import Candidate, KnowledgeBase
from spacy.tokens import Span
from spacy.vocab import Vocab

from ..errors import ElqError, Errors, Warnings
from ..settings import as_list
from ..types import Entity
from .files.names import fold
from .files.store import Manifest
from .live import serialize
from .live.delta import Change, Delta
from .live.directory import KBDirectory
from .live.restriction import Restriction
from .live.view import View
from .search.file_vectors import check_size, check_unique_ids, check_vectors
from .updates import validate


class FaissKB(View, KnowledgeBase):
    """Entities with one or more vectors each, found by vector, by name and by id.

    Opened from a directory that can be written, its changes are written there, each in one
    durable transaction, and seen by whoever opens the directory later or calls `refresh`. In any
    other case they stay in memory until `to_disk`.

    Rows are valid until the next change or refresh; a `snapshot` keeps them. What is kept longer
    should be kept by id. Threads may share it.

    vocab (Vocab): The shared vocabulary.
    entity_vector_length (int): Width h of the vectors.
    fingerprint (str): Of the entity encoder whose vectors will be added.
    normalized (bool): Whether these vectors have length 1.
    """

    def __init__(
        self,
        vocab: Vocab,
        entity_vector_length: int,
        *,
        fingerprint: str = "",
        normalized: bool = False,
    ) -> None:
        KnowledgeBase.__init__(self, vocab, entity_vector_length)
        View.__init__(self, None, Delta.of(entity_vector_length, 0))
        self._manifest = Manifest(
            width=entity_vector_length, fingerprint=fingerprint, normalized=normalized
        )
        self._live: KBDirectory | None = None
        self._in_place = False
        self._unsaved = False
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.RLock()

    @classmethod
    def open(
        cls, path: str | Path, vocab: Vocab, *, in_place: bool = True, device: int = -1
    ) -> FaissKB:
        """Open a directory. Nothing large is read: the files are mapped.

        path (str | Path): A directory that `build_kb` or `to_disk` wrote.
        vocab (Vocab): The shared vocabulary.
        in_place (bool): Write changes to the directory. Otherwise they are kept in memory.
        device (int): GPU to search on, where FAISS has it; -1 for the CPU.
        """
        kb = cls(vocab, 0)._take(KBDirectory(Path(path), device))
        kb._in_place = in_place
        return kb

    @property
    def manifest(self) -> Manifest:
        """RETURNS (Manifest): What the directory says about itself."""
        return self._live.manifest if self._live else self._manifest

    @property
    def fingerprint(self) -> str:
        """RETURNS (str): Fingerprint of the entity encoder that made the vectors, or ""."""
        return self.manifest.fingerprint

    @property
    def path(self) -> Path | None:
        """RETURNS (Path | None): The directory that is open, None if there is none."""
        return self._live.path if self._live else None

    @property
    def is_shared(self) -> bool:
        """RETURNS (bool): Whether its directory, named to another process, is all of it."""
        return self._in_place and not self._unsaved

    @property
    def is_writable(self) -> bool:
        """RETURNS (bool): Whether changes are written to its directory."""
        return self._live is not None and self.is_shared and self._live.is_writable()

    def is_empty(self) -> bool:
        """RETURNS (bool): Whether there is no entity."""
        return len(self) == 0

    def snapshot(self) -> View:
        """RETURNS (View): The entities as they are now, whose rows stay valid."""
        return View(*self._now, self.restriction)

    def refresh(self) -> bool:
        """Take over what other processes changed in the directory since; some microseconds where
        there is nothing. Each call of a pipeline does; all else here tells what was known then.
        Has no effect once there are changes in memory alone.

        RETURNS (bool): Whether something changed.
        """
        if self._live is None or self._unsaved or not self._lock.acquire(blocking=False):
            return False  # another thread is at it
        try:
            changed = self._live.refresh()
            self._now = self._live.base, self._live.delta
        finally:
            self._lock.release()
        return changed

    # Live changes

    def add(
        self,
        entities: Sequence[Entity],
        vectors: np.ndarray,
        owners: np.ndarray | None = None,
        *,
        replacing: Sequence[Entity] | None = None,
    ) -> bool:
        """Add entities; one whose id is known takes the place of the old one. The next search
        sees them.

        vectors (ndarray): (V, h), float32, finite.
        owners (ndarray): Index into `entities` of each vector, (V,), ascending, each at least
            once; one vector each where None.
        replacing (Sequence[Entity]): What is there for each, as the caller knows it; if something
            else is there by now, nothing is done.
        RETURNS (bool): Whether they were added.
        """
        entities = [validate(entity) for entity in entities]
        ids = [entity.id for entity in check_unique_ids(entities)]
        owners = np.arange(len(ids)) if owners is None else owners
        vectors, owners = check_vectors(ids, vectors, owners, self.entity_vector_length)
        check_size(ids, vectors, owners, self.manifest.dtype)
        of_each = np.split(vectors, np.searchsorted(owners, np.arange(1, len(ids))))
        with self._changing() as changes:
            if replacing is not None and self._stored(ids) != list(replacing):
                return False
            for entity, row, own in zip(entities, self._base_rows(ids), of_each, strict=False):
                changes.append(Change.of(entity, row, own))
        return True

    def _stored(self, ids: Sequence[str]) -> list[Entity]:
        return self.records([row for row in self.rows(ids) if row is not None])

    def remove(self, ids: Iterable[str]) -> int:
        """Remove entities; an ElqError, and nothing removed, if one of them is not there.

        RETURNS (int): How many were removed.
        """
        ids = list(dict.fromkeys(as_list(ids, "ids")))
        with self._changing() as changes:
            unknown = [id_ for id_, row in zip(ids, self.rows(ids), strict=True) if row is None]
            if unknown:
                raise ElqError(Errors.ELQ210.format(ids=", ".join(map(str, unknown))))
            rows = self._base_rows(ids)
            changes.extend(Change(id_, row, None) for id_, row in zip(ids, rows, strict=True))
        return len(ids)

    def compact(self, *, progress: bool = True) -> bool:
        """Fold the changes into new files: searches are as fast as after a build. Needs the room
        of the knowledge base once more while it runs. Readers go on, in this process and others;
        writers are refused until it is done.

        progress (bool): Whether to show a progress bar on stderr.
        RETURNS (bool): Whether there were any changes.
        """
        from .live.compact import compact

        with self._lock:
            if self._live is None or not self._is_durable():
                raise ElqError(Errors.ELQ246.format(path=self.path or ""))
            done = compact(self._live, progress=progress)
            self._now = self._live.base, self._live.delta
            if done:
                self._live.tidy()  # the old files, unless somebody else has them open
        return done

    def tidy(self) -> None:
        """Remove what interrupted compactions left in the directory, if that can be written."""
        with self._lock:
            if self._live is not None and self.is_writable:
                self._live.tidy()

    @contextmanager
    def _changing(self) -> Iterator[list[Change]]:
        """YIELDS (list[Change]): To be filled; when the block ends they are made."""
        with self._lock:
            if self._live is not None and self._is_durable():
                with self._live.writing() as changes:
                    self._now = self._live.base, self._live.delta
                    yield changes
                self._now = self._live.base, self._live.delta
                return
            changes = []
            yield changes
            if changes:
                base, delta = self._now
                self._now = base, delta.apply(changes).renewed()
                self._unsaved = True

    def _is_durable(self) -> bool:
        if self._live is None or not self.is_shared:
            return False
        if not self._live.is_writable():
            warnings.warn(Warnings.ELQ252.format(path=self.path), stacklevel=5)
            self._in_place = False
        return self._in_place

    # spaCy's own interface

    def get_candidates(self, mention: Span) -> list[Candidate]:
        """RETURNS (list[Candidate]): The entities that have the mention's text as a name, with
        prior probabilities by the counts of aliases, if there are any."""
        return next(iter(self.get_candidates_batch([mention])))

    def get_candidates_batch(self, mentions: Iterable[Span]) -> list[list[Candidate]]:
        """RETURNS (list[list[Candidate]]): As `get_candidates`, for each mention."""
        mentions = list(mentions)
        found = zip(mentions, self.lookup([span.text for span in mentions]), strict=True)
        return [self._candidates(span.text, rows) for span, rows in found]

    def _candidates(self, name: str, rows: np.ndarray) -> list[Candidate]:
        strings, entities = self.vocab.strings, self.records(rows)
        columns = zip(rows.tolist(), entities, priors(name, entities), strict=True)
        return [
            Candidate(
                self, strings.add(entity.id), 1.0, self._vector(row), strings.add(name), prior
            )
            for row, entity, prior in columns
        ]

    def _vector(self, row: int) -> np.ndarray:
        vectors, _ = self.vectors_of(np.array([row]))
        return vectors[0]

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
        RAISES (ElqError): If there are changes in memory, and the directory they are based on was
            changed by another process.
        """
        path = Path(os.path.abspath(path))  # noqa: PTH100 (a symlink is replaced, not followed)
        with self._lock:
            if self._live is not None and _is_same(path, self._live.path):
                self._save_in_place(self._live)
            else:
                serialize.write_directory(path, self.manifest, *self._now)

    def _save_in_place(self, live: KBDirectory) -> None:
        """Write what its directory lacks: changes that are in memory alone."""
        if self._unsaved:
            live.rewrite(self._now[1].changes())
            self._now, self._unsaved = (live.base, live.delta), False

    def from_disk(self, path: str | Path, exclude: Iterable[str] = ()) -> FaissKB:
        """Open a directory in place of what this object holds.

        RETURNS (FaissKB): This object.
        """
        return self._take(KBDirectory(Path(path)))

    def _take(self, live: KBDirectory) -> FaissKB:
        if live.manifest.width != self.entity_vector_length:
            # The attribute is read-only in Python; the constructor of the Cython class sets it.
            KnowledgeBase.__init__(self, self.vocab, live.manifest.width)
        self._live, self._now = live, (live.base, live.delta)
        self._in_place, self._unsaved, self._directory = True, False, None
        return self

    def to_bytes(self, **kwargs: Any) -> bytes:
        """RETURNS (bytes): Everything, the files' contents included: for small ones."""
        return serialize.to_bytes(self.manifest, *self._now)

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
        return self.from_disk(directory.name).keep(directory)

    def keep(self, directory: tempfile.TemporaryDirectory[str]) -> FaissKB:
        """Let a temporary directory live as long as this object uses its files. Changes are no
        longer written there.

        RETURNS (FaissKB): This object.
        """
        self._directory = directory
        self._in_place = False
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> FaissKB:
        restore, arguments = self.__reduce__()
        copied = restore(*copy.deepcopy(arguments, memo))
        copied._directory = self._directory  # or else it would go with the original
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        # Files are named, not copied: worker processes map the same ones.
        changes = None if self.is_shared else list(self._now[1].changes())
        return _restore, (
            type(self),
            self.vocab,
            self.manifest,
            self.path,
            changes,
            self.restriction,
        )


def _is_same(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)


def _restore(
    cls: type[FaissKB],
    vocab: Vocab,
    manifest: Manifest,
    path: Path | None,
    changes: list[Change] | None,
    restriction: Restriction,
) -> FaissKB:
    kb = cls(
        vocab, manifest.width, fingerprint=manifest.fingerprint, normalized=manifest.normalized
    )
    if path is not None:
        kb.from_disk(path)
        # A directory that is shared may have moved on; changes in memory are on top of one state.
        same = kb.manifest == manifest or (
            changes is None and kb.fingerprint == manifest.fingerprint
        )
        if not same:
            raise ElqError(Errors.ELQ222.format(path=path))
    if changes is not None:
        delta = Delta.of(manifest.width, manifest.entities, changes)
        kb._now, kb._in_place, kb._unsaved = (kb.base, delta), False, True
    kb.restriction = restriction
    return kb


def priors(name: str, entities: Sequence[Entity]) -> list[float]:
    """Prior probabilities from the counts that entities came with; a name without any counts once.

    name (str): The name, in any spelling that folds to the same.
    entities (Sequence[Entity]): All that have it.
    RETURNS (list[float]): One for each; their sum is 1.
    """
    folded = fold(name)
    counted = [
        [count for own, count in entity.counts.items() if fold(own) == folded]
        for entity in entities
    ]
    counts = [sum(known) if known else 1 for known in counted]
    total = sum(counts)
    return [count / total if total else 1 / len(entities) for count in counts]
