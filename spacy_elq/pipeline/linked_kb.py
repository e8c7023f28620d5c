"""The entities that a pipe links to: its knowledge base, and live changes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spacy.vocab import Vocab

from ..errors import ElqError, Errors
from ..types import Entity

if TYPE_CHECKING:
    from ..encoders.entity import EntityEncoder
    from ..kb.knowledge_base import FaissKB
    from ..kb.live.restriction import Restriction
    from ..kb.loaders import KBLoader
    from ..ml.model import ElqModel
    from ..training.trainer import Trainer


class EntitiesOfPipe:
    """The half of `ElqLinker` that has to do with its knowledge base."""

    name: str
    vocab: Vocab
    model: ElqModel
    entity_encoder: EntityEncoder
    cfg: dict[str, Any]
    kb_path: Any
    _kb: FaissKB | None
    # Whether the entity encoder was trained since it made the vectors.
    _kb_is_stale: bool
    _trainer: Trainer | None

    @property
    def kb(self) -> FaissKB:
        """RETURNS (FaissKB): The knowledge base, as it was at the last call or change; what others
        changed since, `kb.refresh()` takes over. Raises an ElqError where there is none yet."""
        if self._kb is None:
            raise ElqError(Errors.ELQ105.format(name=self.name))
        return self._kb

    def set_kb(self, kb: FaissKB | KBLoader | str | Path) -> None:
        """Link to another knowledge base from the next call on.

        kb (Union[FaissKB, Callable, str, Path]): The knowledge base, its directory, or a loader
            as `spacy-elq.KBFromDirectory.v1` makes. Its vectors must be as wide as the question
            encoder's, of length 1 where entities are scored by cosine, and of the entity encoder
            that made those of the knowledge base it replaces.
        """
        if isinstance(kb, (str, Path)):
            from ..kb.loaders import kb_from_directory

            kb = kb_from_directory(kb)
        if callable(kb):
            kb = kb(self.vocab, self.entity_encoder)
        width = self.model.maybe_get_dim("nO") or kb.entity_vector_length
        if kb.entity_vector_length != width:
            raise ElqError(Errors.ELQ107.format(kb=kb.entity_vector_length, model=width))
        if self.model.attrs["head_options"]["cosine"] and not kb.manifest.normalized:
            raise ElqError(Errors.ELQ108)
        if self._kb is not None and kb.fingerprint != self._kb.fingerprint:
            raise ElqError(
                Errors.ELQ213.format(
                    kb=kb.path or "", expected=kb.fingerprint, found=self._kb.fingerprint
                )
            )
        self._kb = kb
        self._kb_is_stale = False
        self._trainer = None
        if self.kb_path is not None and not self._is_open(self.kb_path):
            self.cfg["kb_path"] = str(kb.path) if kb.is_in_place and kb.path else None

    def restrict(
        self, types: Iterable[str] | None = None, ids: Iterable[str] | None = None
    ) -> AbstractContextManager[Any]:
        """Link only to entities that have one of the types or one of the ids, from the next call
        on; to all of them again where neither is given. Not saved with the pipeline.

        types, ids (Iterable[str] | None): Each must be there; an ElqError if nothing is in what is
            given.
        RETURNS (ContextManager): May be used in a `with` statement, which ends with what held
            before.
        """
        self._refresh_kb()
        kb, old = self.kb, self.kb.restriction
        undo = ExitStack()
        undo.enter_context(kb.restrict(types, ids))
        undo.callback(self._restrict_again, old)
        return undo

    def _restrict_again(self, restriction: Restriction) -> None:
        """The knowledge base may be another one by now: embedded again, or set."""
        if self._kb is not None:
            self._kb.restriction = restriction

    def add_entities(self, entities: Iterable[Entity | Mapping[str, Any]]) -> None:
        """Add entities, or replace those whose id is known; where there is no knowledge base yet,
        one begins with them. The next call sees them, as does every process that has or gets the
        knowledge base from the same directory. When this returns they are on disk, if the
        directory can be written; else `to_disk` keeps them.

        entities (Iterable): `Entity` records, or dicts with `id`, `title` and what else is known.
        """
        from ..kb.loaders import check_fingerprint, kb_of_no_entities
        from ..kb.updates import as_entities
        from ..settings import as_list

        records = as_entities(as_list(entities, "entities"))
        self._refresh_kb()
        if self._kb is None:
            self.set_kb(kb_of_no_entities(self.vocab, self.entity_encoder))
        check_fingerprint(self.kb, self.entity_encoder)
        self.kb.add(records, *self.entity_encoder.encode(records))
        self._entities_changed()

    def update_entities(self, entities: Iterable[Entity | Mapping[str, Any]]) -> None:
        """Change entities that are there; an ElqError, and nothing changed, if one of them is not.
        Seen and kept as by `add_entities`.

        entities (Iterable): Dicts with `id` and the fields to change, the others stay; or `Entity`
            records, which replace all fields.
        """
        from ..kb.loaders import check_fingerprint
        from ..kb.updates import apply_updates, embed_changed, lookup_entities
        from ..settings import as_list

        records, added = as_list(entities, "entities"), False
        while not added:  # as long as others change them while they are embedded
            self._refresh_kb()
            check_fingerprint(self.kb, self.entity_encoder)
            view = self.kb.view
            old = lookup_entities(view, records)
            new = apply_updates(old, records)
            vectors, owners = embed_changed(self.entity_encoder, view, new, old)
            added = self.kb.add(new, vectors, owners, replacing=old)
            self._entities_changed()

    def remove_entities(self, ids: Iterable[str]) -> None:
        """Remove entities by id; an ElqError, and nothing removed, if one of them is not there.
        Seen and kept as by `add_entities`."""
        self._refresh_kb()
        self.kb.remove(ids)
        self._entities_changed()

    def refreshed_kb(self) -> FaissKB | None:
        """RETURNS (FaissKB | None): The knowledge base as it is now, if there is one."""
        self._refresh_kb()
        return self._kb

    def _entities_changed(self) -> None:
        if self._trainer is not None:
            self._trainer.forget_entities()

    def _is_open(self, path: str) -> bool:
        """RETURNS (bool): Whether the knowledge base is the one of that directory."""
        if self._kb is None or self._kb.path is None:
            return False
        # Asked at each call: looking up links in the path would take longer than all the rest.
        return str(self._kb.path) == path or self._kb.path.resolve() == Path(path).resolve()

    def _refresh_kb(self) -> None:
        """Take over what other processes changed in the knowledge base, and embed it again where
        the entity encoder was trained since. Opens it where that was not done yet, or where
        `kb_path` was set to another."""
        if self.kb_path is not None and not self._is_open(self.kb_path):
            from ..kb.loaders import kb_from_directory

            self.set_kb(kb_from_directory(self.kb_path))
        if self._kb is not None and self._kb.refresh():
            self._entities_changed()
        if self._kb_is_stale:
            from ..kb.loaders import rebuild

            self._kb = rebuild(self.kb, self.entity_encoder)
            self._kb_is_stale = False
            self.cfg["kb_path"] = None  # no other place has these vectors
            if self._trainer is not None:
                self._trainer.kb = self._kb
