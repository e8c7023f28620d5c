"""spaCy's KnowledgeBase over a directory of immutable files and a delta of live changes."""

from __future__ import annotations

import copy
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from enum import Enum, auto
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from spacy.kb import Candidate, KnowledgeBase
from spacy.tokens import Span
from spacy.vocab import Vocab

from ..concurrency import Mutex
from ..entities.records import map_popularity
from ..errors import ElqError, Errors, Warnings
from ..settings import as_list
from ..types import Entity
from . import serialize
from .files.manifest import Manifest
from .files.names import fold
from .live.delta import Change, Delta
from .live.directory import KBDirectory
from .live.restriction import Restriction, RestrictionScope
from .live.view import View
from .search.file_vectors import check_size, check_unique_ids, check_vectors
from .updates import validate

P = ParamSpec("P")
R = TypeVar("R")


class KBMode(Enum):
    """Where the changes of a knowledge base go.

    A new object starts IN_MEMORY; an opened directory starts IN_PLACE, or READ_ONLY if
    `in_place=False`. The transitions:

    - IN_PLACE → READ_ONLY: before a change, if the directory can't be written (with a warning);
      and in `keep_temporary`, because a temporary directory ends with its object.
    - READ_ONLY → IN_MEMORY: with the first change.
    - IN_MEMORY → READ_ONLY: with saving to the directory that the changes are based on.
    """

    IN_PLACE = auto()
    """The directory holds everything: changes are written to it, and naming it to another process
    is enough. `refresh` follows the changes that others make in it."""
    READ_ONLY = auto()
    """The directory holds everything so far, and `refresh` follows it, but it is not written."""
    IN_MEMORY = auto()
    """No directory holds everything. The directory, if there is one, is no longer followed."""


def _of_view(method: Callable[Concatenate[View, P], R]) -> Callable[Concatenate[FaissKB, P], R]:
    """RETURNS (Callable): The method as one of the knowledge base, applied to its present view."""

    @wraps(method)
    def call(kb: FaissKB, *args: P.args, **kwargs: P.kwargs) -> R:
        return method(kb.view, *args, **kwargs)

    return call


class FaissKB(KnowledgeBase):
    """Entities with one or more vectors each, found by vector, by name and by id.

    If it is opened from a directory that can be written, each change is one durable transaction
    there, and whoever opens the directory later or calls `refresh` sees it. Otherwise changes stay
    in memory until `to_disk`.

    Its methods answer for the present moment; rows are valid until the next change or refresh. To
    ask more than one question about one moment, take the `view`. Keep ids, not rows, for longer.
    Threads may share a knowledge base.

    vocab (Vocab): The shared vocabulary.
    entity_vector_length (int): Width h of the vectors.
    fingerprint (str): Fingerprint of the entity encoder whose vectors will be added.
    normalized (bool): Whether these vectors have length 1.

    scope (RestrictionScope): Holds the `restriction` of each thread.
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
        self._view = View(None, Delta.of(entity_vector_length, 0))  # without a restriction
        self.scope = RestrictionScope()
        self._mode = KBMode.IN_MEMORY
        self._manifest = Manifest(
            width=entity_vector_length, fingerprint=fingerprint, normalized=normalized
        )
        self._directory: KBDirectory | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._lock = Mutex()  # held while entities change
        self._swapping = Mutex()  # held while the view is replaced

    @classmethod
    def open(
        cls, path: str | Path, vocab: Vocab, *, in_place: bool = True, device: int = -1
    ) -> FaissKB:
        """Open a directory. The files are mapped; nothing large is read.

        path (str | Path): A directory that `build_kb` or `to_disk` wrote.
        vocab (Vocab): The shared vocabulary.
        in_place (bool): Write changes to the directory. Otherwise they stay in memory.
        device (int): GPU to search on, if FAISS supports it; -1 for the CPU.
        """
        mode = KBMode.IN_PLACE if in_place else KBMode.READ_ONLY
        return cls(vocab, 0)._use(KBDirectory(Path(path), device), mode)

    def _use(self, directory: KBDirectory, mode: KBMode) -> FaissKB:
        width = directory.manifest.width
        if width != self.entity_vector_length:
            # The attribute is read-only in Python; the constructor of the Cython class sets it.
            super().__init__(self.vocab, width)
        self._directory, self._mode, self._temporary = directory, mode, None
        self._follow(directory)
        return self

    @property
    def view(self) -> View:
        """RETURNS (View): The entities as they are now. It never changes, and its rows stay
        valid."""
        return self._view.restricted(self.scope.present)

    @property
    def mode(self) -> KBMode:
        """RETURNS (KBMode): Where changes go."""
        return self._mode

    @property
    def is_in_place(self) -> bool:
        """RETURNS (bool): Whether its directory, named to another process, is all of it."""
        return self._mode is KBMode.IN_PLACE

    @property
    def is_writable(self) -> bool:
        """RETURNS (bool): Whether changes can be written to its directory."""
        directory = self._directory
        return self.is_in_place and directory is not None and directory.is_writable()

    @property
    def manifest(self) -> Manifest:
        """RETURNS (Manifest): The manifest of its directory."""
        return self._directory.manifest if self._directory else self._manifest

    @property
    def fingerprint(self) -> str:
        """RETURNS (str): Fingerprint of the entity encoder that made the vectors, or ""."""
        return self.manifest.fingerprint

    @property
    def path(self) -> Path | None:
        """RETURNS (Path | None): The open directory, if there is one."""
        return self._directory.path if self._directory else None

    def is_empty(self) -> bool:
        """RETURNS (bool): Whether there is no entity."""
        return len(self) == 0

    def refresh(self) -> bool:
        """Take over the changes that other processes made in the directory. Takes microseconds if
        there are none. A pipeline does this at each call; no other method does. Has no effect
        once there are changes in memory.

        RETURNS (bool): Whether something changed.
        """
        directory = self._directory
        if directory is None or self._mode is KBMode.IN_MEMORY:
            return False
        if not self._lock.acquire(blocking=False):
            return False  # another thread is changing or refreshing it
        try:
            changed = directory.refresh()
            self._follow(directory)
        finally:
            self._lock.release()
        return changed

    def _follow(self, directory: KBDirectory) -> None:
        """Show the entities of the directory from now on."""
        if self._view.delta is not directory.delta or self._view.base is not directory.base:
            self._replace_view(base=directory.base, delta=directory.delta)

    def _replace_view(self, **changes: Any) -> None:
        with self._swapping:
            self._view = replace(self._view, **changes)

    # Methods of the present view

    __len__ = _of_view(View.__len__)
    __iter__ = _of_view(View.__iter__)
    __contains__ = _of_view(View.__contains__)
    search = _of_view(View.search)
    scores = _of_view(View.scores)
    vectors_of = _of_view(View.vectors_of)
    vector_matrix = _of_view(View.vector_matrix)
    find_names = _of_view(View.find_names)
    popularity = _of_view(View.popularity)
    lookup = _of_view(View.lookup)
    named = _of_view(View.named)
    records = _of_view(View.records)
    rows = _of_view(View.rows)
    row = _of_view(View.row)
    entity = _of_view(View.entity)

    # Restriction

    @property
    def restriction(self) -> Restriction:
        """RETURNS (Restriction): Which entities searches of this thread find. Set it to replace it
        unchecked."""
        return self.scope.present

    @restriction.setter
    def restriction(self, restriction: Restriction) -> None:
        self.scope.set(restriction)

    def restrict(
        self, types: Iterable[str] | None = None, ids: Iterable[str] | None = None
    ) -> AbstractContextManager[Any]:
        """Let searches by vector and by name find only entities that have one of the types or one
        of the ids; without arguments, all entities again.

        In a `with` statement, this holds in that block. Otherwise it holds from now on, until the
        end of the block around it or the next `restrict`. Each thread has its own restriction, and
        so has each task of asyncio; a new thread has none.

        types (Iterable[str] | None): Types that entities have.
        ids (Iterable[str] | None): Ids of entities.
        RETURNS (ContextManager): For a `with` statement.
        RAISES (ElqError): If no entity has one of the types, an id is unknown, or the lists are
            empty. Nothing changes then.
        """
        new, view = Restriction.from_lists(types, ids), self._view
        new.check(view.base, view.delta)
        return self.scope.set(new)

    # Live changes

    def add(
        self,
        entities: Sequence[Entity],
        vectors: np.ndarray,
        owners: np.ndarray | None = None,
        *,
        replacing: Sequence[Entity] | None = None,
    ) -> bool:
        """Add entities, replacing those whose id is known. The next search sees them.

        vectors (ndarray): (V, h), float32, finite.
        owners (ndarray): For each vector the index of its entity in `entities`, (V,), ascending,
            each at least once; None if each entity has one vector.
        replacing (Sequence[Entity]): The present records as the caller knows them, one per entity.
            If they differ from the stored ones by now, nothing is done.
        RETURNS (bool): Whether they were added.
        """
        name = self.manifest.popularity_field
        entities = list(map_popularity(map(validate, entities), name))
        ids = [entity.id for entity in check_unique_ids(entities)]
        owners = np.arange(len(ids)) if owners is None else owners
        vectors, owners = check_vectors(ids, vectors, owners, self.entity_vector_length)
        check_size(ids, vectors, owners, self.manifest.dtype)
        of_each = np.split(vectors, np.searchsorted(owners, np.arange(1, len(ids))))
        with self._changing() as changes:
            if replacing is not None and self._stored(ids) != list(replacing):
                return False
            base_rows = self._view.base_rows(ids)
            for entity, row, own in zip(entities, base_rows, of_each, strict=False):
                changes.append(Change.of(entity, row, own))
        return True

    def _stored(self, ids: Sequence[str]) -> list[Entity]:
        return self.records([row for row in self.rows(ids) if row is not None])

    def remove(self, ids: Iterable[str]) -> int:
        """Remove entities. If one of them is unknown, raise an ElqError and remove nothing.

        RETURNS (int): How many were removed.
        """
        ids = list(dict.fromkeys(as_list(ids, "ids")))
        with self._changing() as changes:
            unknown = [id_ for id_, row in zip(ids, self.rows(ids), strict=True) if row is None]
            if unknown:
                raise ElqError(Errors.ELQ210.format(ids=", ".join(map(str, unknown))))
            rows = self._view.base_rows(ids)
            changes.extend(Change(id_, row, None) for id_, row in zip(ids, rows, strict=True))
        return len(ids)

    def compact(self, *, progress: bool = True) -> bool:
        """Fold the changes into new files, so that searches are as fast as after a build. Takes as
        much disk space again while it runs. Readers continue, in this process and others; writers
        are refused until it is done.

        progress (bool): Whether to show a progress bar on stderr.
        RETURNS (bool): Whether there were any changes.
        """
        from .live.compact import compact

        with self._lock:
            directory = self._directory_to_write()
            if directory is None:
                raise ElqError(Errors.ELQ246.format(path=self.path or ""))
            done = compact(directory, progress=progress)
            self._follow(directory)
            if done:
                directory.tidy()  # removes the old files, unless another process has them open
        return done

    def tidy(self) -> None:
        """Remove what interrupted compactions left in the directory, if it can be written."""
        with self._lock:
            if self._directory is not None and self.is_writable:
                self._directory.tidy()

    @contextmanager
    def _changing(self) -> Iterator[list[Change]]:
        """YIELDS (list[Change]): A list to fill; the changes are made when the block ends."""
        with self._lock:
            directory = self._directory_to_write()
            if directory is not None:
                with directory.writing() as changes:
                    self._follow(directory)
                    yield changes
                self._follow(directory)
                return
            changes = []
            yield changes
            if changes:
                self._mode = KBMode.IN_MEMORY
                self._replace_view(delta=self._view.delta.apply(changes).renewed())

    def _directory_to_write(self) -> KBDirectory | None:
        """RETURNS (KBDirectory | None): The directory that takes the changes, None if they stay in
        memory. A directory that can't be written is READ_ONLY from now on."""
        if self._mode is not KBMode.IN_PLACE:
            return None
        if not self.is_writable:
            warnings.warn(Warnings.ELQ252.format(path=self.path), stacklevel=5)
            self._mode = KBMode.READ_ONLY
            return None
        return self._directory

    # spaCy's own interface

    def get_candidates(self, mention: Span) -> list[Candidate]:
        """RETURNS (list[Candidate]): The entities that have the mention's text as a name. Counts of
        aliases give their prior probabilities."""
        return next(iter(self.get_candidates_batch([mention])))

    def get_candidates_batch(self, mentions: Iterable[Span]) -> list[list[Candidate]]:
        """RETURNS (list[list[Candidate]]): The candidates of each mention, see `get_candidates`."""
        mentions = list(mentions)
        view = self.view
        found = zip(mentions, view.lookup([span.text for span in mentions]), strict=True)
        return [self._candidates(view, span.text, rows) for span, rows in found]

    def _candidates(self, view: View, name: str, rows: np.ndarray) -> list[Candidate]:
        strings, entities = self.vocab.strings, view.records(rows)
        columns = zip(rows.tolist(), entities, priors(name, entities), strict=True)
        return [
            Candidate(
                self, strings.add(entity.id), 1.0, _vector(view, row), strings.add(name), prior
            )
            for row, entity, prior in columns
        ]

    def get_vector(self, entity: str) -> np.ndarray:
        """RETURNS (ndarray): The first vector (h,) of an entity, zeros for an unknown id."""
        view = self._view
        row = view.row(entity)
        unknown = np.zeros(self.entity_vector_length, dtype=np.float32)
        return unknown if row is None else _vector(view, row)

    # Files

    def to_disk(self, path: str | Path, exclude: Iterable[str] = ()) -> None:
        """Write everything into a directory. Its old content stays until the new one is complete.

        The immutable files are hard-linked if the file system allows it, else copied. Saving over
        the same knowledge base only writes the changes.

        path (str | Path): A new directory, or that of a knowledge base to replace.
        RAISES (ElqError): If there are changes in memory, and another process changed the
            directory that they are based on.
        """
        path = Path(os.path.abspath(path))  # noqa: PTH100 (a symlink is replaced, not followed)
        with self._lock:
            if self._directory is not None and _is_same(path, self._directory.path):
                self._save_in_place(self._directory)
            else:
                serialize.write_directory(path, self.manifest, self._view.base, self._view.delta)

    def _save_in_place(self, directory: KBDirectory) -> None:
        """Write the changes that the directory lacks."""
        if self._mode is KBMode.IN_MEMORY:
            directory.rewrite(self._view.delta.changes())
            self._follow(directory)
            self._mode = KBMode.READ_ONLY

    def from_disk(self, path: str | Path, exclude: Iterable[str] = ()) -> FaissKB:
        """Open a directory in place of the present content.

        RETURNS (FaissKB): This object.
        """
        return self._use(KBDirectory(Path(path)), KBMode.IN_PLACE)

    def to_bytes(self, **kwargs: Any) -> bytes:
        """RETURNS (bytes): Everything, including the contents of the files: for small ones."""
        with self._lock:
            return serialize.to_bytes(self.manifest, self._view.base, self._view.delta)

    def from_bytes(
        self,
        bytes_data: bytes,
        *,
        exclude: Iterable[str] = (),
    ) -> FaissKB:
        """Load what `to_bytes` returned; the files go to a temporary directory.

        RETURNS (FaissKB): This object.
        """
        temporary = tempfile.TemporaryDirectory(prefix="spacy-elq-kb-")
        serialize.unpack(bytes_data, Path(temporary.name))
        return self.from_disk(temporary.name).keep_temporary(temporary)

    def keep_temporary(self, directory: tempfile.TemporaryDirectory[str]) -> FaissKB:
        """Let a temporary directory live as long as this object uses its files. Changes are no
        longer written there.

        RETURNS (FaissKB): This object.
        """
        self._temporary = directory
        self._mode = KBMode.READ_ONLY
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> FaissKB:
        restore, arguments = self.__reduce__()
        copied = restore(*copy.deepcopy(arguments, memo))
        copied._temporary = self._temporary  # or else it would be removed with the original
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        # Files are named, not copied: worker processes map the same ones.
        with self._lock:
            changes = None if self.is_in_place else list(self._view.delta.changes())
            arguments = self.vocab, self.manifest, self.path, changes, self.scope
        return _restore, (type(self), *arguments)


def _vector(view: View, row: int) -> np.ndarray:
    vectors, _ = view.vectors_of(np.array([row]))
    return vectors[0]


def _is_same(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)


def _restore(
    cls: type[FaissKB],
    vocab: Vocab,
    manifest: Manifest,
    path: Path | None,
    changes: list[Change] | None,
    scope: RestrictionScope,
) -> FaissKB:
    kb = cls(
        vocab, manifest.width, fingerprint=manifest.fingerprint, normalized=manifest.normalized
    )
    if path is not None:
        kb.from_disk(path)
        # Others may have changed a directory in place; changes in memory need the same files.
        same = kb.manifest == manifest or (
            changes is None and kb.fingerprint == manifest.fingerprint
        )
        if not same:
            raise ElqError(Errors.ELQ222.format(path=path))
    if changes is not None:
        kb._mode = KBMode.IN_MEMORY
        kb._replace_view(delta=Delta.of(manifest.width, manifest.entities, changes))
    kb.scope = scope
    return kb


def priors(name: str, entities: Sequence[Entity]) -> list[float]:
    """Compute prior probabilities from the counts of aliases. A name without a count gets 1.

    name (str): The name, in any spelling that folds to the same.
    entities (Sequence[Entity]): All entities that have it.
    RETURNS (list[float]): One probability per entity; they sum to 1.
    """
    folded = fold(name)
    counted = [
        [count for own, count in entity.counts.items() if fold(own) == folded]
        for entity in entities
    ]
    counts = [sum(known) if known else 1 for known in counted]
    total = sum(counts)
    return [count / total if total else 1 / len(entities) for count in counts]
