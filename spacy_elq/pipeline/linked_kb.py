"""The knowledge base that a component links to, and live changes of its entities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..concurrency import Mutex
from ..errors import ElqError, Errors
from ..kb.files.manifest import MANIFEST
from ..kb.live.restriction import RestrictionScope
from ..settings import as_list, plain
from ..types import Entity

if TYPE_CHECKING:
    from spacy.vocab import Vocab

    from ..encoders.entity import EntityEncoder
    from ..kb.knowledge_base import FaissKB
    from ..kb.live.view import View
    from ..kb.loaders import KBLoader
    from ..ml.model import ElqModel


class Linker(Protocol):
    """The component: asked each time, because spaCy renames components.

    model (Model): The vectors must fit its queries.
    name (str): For messages.
    """

    vocab: Vocab
    model: ElqModel
    name: str


class LinkedKB:
    """A knowledge base, the directory that the component refers to, and the entity encoder that
    embeds new entities. Threads may share it.

    entity_encoder (EntityEncoder): Must be the one that made the vectors.
    """

    def __init__(
        self,
        linker: Linker,
        entity_encoder: EntityEncoder,
        path: str | Path | None = None,
    ) -> None:
        """
        linker (Linker): The component that links to it.
        entity_encoder (EntityEncoder): Embeds entities.
        path (str | Path | None): The setting `kb_path`.
        """
        self.linker = linker
        self.entity_encoder = entity_encoder
        self.path = path
        self._kb: FaissKB | None = None
        self._is_stale = False
        self._scope = RestrictionScope()
        # Held while the knowledge base is changed or replaced; reading goes on meanwhile.
        self._changing = Mutex()

    @property
    def path(self) -> str | None:
        """RETURNS (str | None): The directory of a knowledge base that stays outside the pipeline,
        None if it is saved inside. A new value is opened at the next refresh."""
        return self._path

    @path.setter
    def path(self, path: str | Path | None) -> None:
        if path is not None and not isinstance(path, (str, Path)):
            raise ElqError(Errors.ELQ122.format(name="kb_path", value=path, expected="a path"))
        self._path: str | None = plain(path)

    @property
    def kb(self) -> FaissKB:
        """RETURNS (FaissKB): The knowledge base as of the last refresh or change.
        RAISES (ElqError): If there is none yet."""
        kb = self._kb
        if kb is None:
            raise ElqError(Errors.ELQ105.format(name=self.linker.name))
        return kb

    @property
    def view(self) -> View:
        """RETURNS (View): The entities that may be linked to, as of the last refresh or change."""
        return self.kb.view.restricted(self._scope.present)

    @property
    def is_set(self) -> bool:
        """RETURNS (bool): Whether there is a knowledge base."""
        return self._kb is not None

    @property
    def fingerprint(self) -> str | None:
        """RETURNS (str | None): Of the entity encoder that made the vectors, None without any."""
        kb = self._kb
        return None if kb is None else kb.fingerprint

    def set(self, kb: FaissKB | KBLoader | str | Path) -> None:
        """See `ElqLinker.set_kb`."""
        opened = self._open(kb)
        with self._changing:
            self._check_fits(opened)
            self._check_encoder(opened)
            self._replace(opened)

    def mark_stale(self) -> None:
        """To be called when the entity encoder was trained: the next refresh embeds again."""
        self._is_stale = True

    def refresh(self) -> FaissKB | None:
        """Take over what other processes changed. Opens the directory that `path` names if another
        one or none is open, and embeds the entities again if the entity encoder was trained.

        RETURNS (FaissKB | None): The knowledge base, if there is one.
        """
        if self._is_stale or not self._is_at_path():
            with self._changing:
                self._catch_up()
        kb = self._kb
        if kb is not None:
            kb.refresh()
        return kb

    def _catch_up(self) -> None:
        """Another thread may have done it by now."""
        path = self.path
        if path is not None and not self._is_at_path():
            self.set(path)
        if self._is_stale:
            from ..kb.loaders import rebuild

            self.kb.refresh()
            self._replace(rebuild(self.kb, self.entity_encoder))

    def restrict(
        self, types: Iterable[str] | None = None, ids: Iterable[str] | None = None
    ) -> AbstractContextManager[Any]:
        """See `ElqLinker.restrict`."""
        self.refresh()
        kb = self.kb
        of_kb = kb.restrict(types, ids)
        # Also of the component, which may be given another knowledge base meanwhile.
        return _both(of_kb, self._scope.set(kb.restriction))

    def add(self, entities: Iterable[Entity | Mapping[str, Any]]) -> None:
        """See `ElqLinker.add_entities`."""
        from ..kb.loaders import check_fingerprint, kb_of_no_entities
        from ..kb.updates import as_entities

        records = as_entities(as_list(entities, "entities"))
        with self._changing:
            encoder = self.entity_encoder
            if self.refresh() is None:
                self.set(kb_of_no_entities(self.linker.vocab, encoder))
            check_fingerprint(self.kb, encoder)
            self.kb.add(records, *encoder.encode(records))

    def update(self, entities: Iterable[Entity | Mapping[str, Any]]) -> None:
        """See `ElqLinker.update_entities`."""
        from ..kb.loaders import check_fingerprint
        from ..kb.updates import apply_updates, embed_changed, lookup_entities

        records, added = as_list(entities, "entities"), False
        with self._changing:
            encoder = self.entity_encoder
            while not added:  # another process may change them while they are embedded
                self.refresh()
                check_fingerprint(self.kb, encoder)
                view = self.kb.view
                old = lookup_entities(view, records)
                new = apply_updates(old, records)
                vectors, owners = embed_changed(encoder, view, new, old)
                added = self.kb.add(new, vectors, owners, replacing=old)

    def remove(self, ids: Iterable[str]) -> None:
        """See `ElqLinker.remove_entities`."""
        with self._changing:
            self.refresh()
            self.kb.remove(ids)

    # Saving

    @property
    def is_reference(self) -> bool:
        """RETURNS (bool): Whether only the path is saved.
        RAISES (ElqError): If that would lose changes."""
        kb = self._kb
        if self.path is None or kb is None:
            return False
        if not kb.is_in_place:
            raise ElqError(Errors.ELQ244.format(path=self.path, name=self.linker.name))
        return True

    def to_bytes(self) -> bytes:
        """RETURNS (bytes): The knowledge base; empty for a reference."""
        return b"" if self.is_reference else self.kb.to_bytes()

    def from_disk(self, path: Path, fingerprint: str | None) -> None:
        """Open what was saved: the directory that `self.path` names, or else the one inside the
        pipeline, if it is there.

        path (Path): The directory inside the pipeline.
        fingerprint (str | None): That of the vectors when the pipeline was saved.
        """
        from ..kb.knowledge_base import FaissKB

        if self.path is not None:
            kb = self._open_reference(fingerprint)
        elif path.exists():
            kb = FaissKB.open(path, self.linker.vocab)
        else:
            return
        self._load(kb)

    def from_bytes(self, data: bytes, fingerprint: str | None) -> None:
        """Read what `to_bytes` returned.

        fingerprint (str | None): As in `from_disk`.
        """
        from ..kb.knowledge_base import FaissKB

        if data:
            self._load(FaissKB(self.linker.vocab, 0).from_bytes(data))
        else:
            self._load(self._open_reference(fingerprint))

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Undo what the block does here if it raises an error."""
        with self._changing:
            before = self._kb, self._is_stale, self._path, self.entity_encoder
            try:
                yield
            except BaseException:
                self._kb, self._is_stale, self._path, self.entity_encoder = before
                raise

    def _load(self, kb: FaissKB) -> None:
        """Unlike `set`: it may be of another entity encoder than the one before."""
        with self._changing:
            self._check_fits(kb)
            self._replace(kb)

    def _open(self, kb: FaissKB | KBLoader | str | Path) -> FaissKB:
        if isinstance(kb, (str, Path)):
            from ..kb.loaders import kb_from_directory

            kb = kb_from_directory(kb)
        return kb(self.linker.vocab, self.entity_encoder) if callable(kb) else kb

    def _open_reference(self, fingerprint: str | None) -> FaissKB:
        from ..kb.knowledge_base import FaissKB

        path = Path(self.path or "")
        if not (path / MANIFEST).is_file():
            raise ElqError(Errors.ELQ243.format(path=path.absolute(), name=self.linker.name))
        kb = FaissKB.open(path, self.linker.vocab)
        if fingerprint is not None and kb.fingerprint != fingerprint:
            message = Errors.ELQ213.format(kb=path, expected=kb.fingerprint, found=fingerprint)
            raise ElqError(message)
        return kb

    def _check_fits(self, kb: FaissKB) -> None:
        """Raise an ElqError if the model can't link to a knowledge base."""
        width = self.linker.model.maybe_get_dim("nO") or kb.entity_vector_length
        if kb.entity_vector_length != width:
            raise ElqError(Errors.ELQ107.format(kb=kb.entity_vector_length, model=width))
        if self.linker.model.attrs["head_options"]["cosine"] and not kb.manifest.normalized:
            raise ElqError(Errors.ELQ108)

    def _check_encoder(self, kb: FaissKB) -> None:
        """Raise an ElqError if the vectors are of another encoder than the present ones."""
        if self.fingerprint not in (None, kb.fingerprint):
            raise ElqError(
                Errors.ELQ213.format(
                    kb=kb.path or "", expected=kb.fingerprint, found=self.fingerprint
                )
            )

    def _replace(self, kb: FaissKB) -> None:
        self._kb = kb
        self._is_stale = False
        if not self._is_at_path():
            self.path = kb.path if kb.is_in_place else None

    def _is_at_path(self) -> bool:
        """RETURNS (bool): Whether the knowledge base is the one that `path` names, if it names
        one."""
        kb, path = self._kb, self._path
        if path is None:
            return True
        if kb is None or kb.path is None:
            return False
        # Called for each document: resolving links in the path would take longer than all the rest.
        return str(kb.path) == path or kb.path.resolve() == Path(path).resolve()


@contextmanager
def _both(
    first: AbstractContextManager[Any], second: AbstractContextManager[Any]
) -> Iterator[None]:
    with first, second:
        yield
