"""Functions for spaCy's registry by which a config names a knowledge base."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ElqError, Errors

if TYPE_CHECKING:
    from spacy.vocab import Vocab

    from ..types import Entity
    from .build.vector_source import EncodesEntities
    from .knowledge_base import FaissKB


# Prefix of `source` in the manifest of a cache, which may be replaced when its entities change.
CACHE = "cache of "


class KBLoader(Protocol):
    """A function that a component calls to get its knowledge base.

    spaCy's own components only pass the vocab. A component that has an entity encoder passes it
    too: it embeds the entities, or must match the existing vectors.
    """

    def __call__(self, vocab: Vocab, encoder: EncodesEntities | None = None) -> FaissKB: ...


def kb_from_directory(path: str | Path | None, device: int = -1) -> KBLoader:
    """Registered as "spacy-elq.KBFromDirectory.v1" in `misc`: open a knowledge base directory.

    path (str | Path | None): A directory that `python -m spacy elq kb build` made. None, as in a
        config whose paths are not filled in, raises an error when the knowledge base is loaded.
    device (int): GPU to search on, if FAISS supports it; -1 for the CPU.
    RETURNS (KBLoader): Raises an error for an encoder other than the one that made the vectors.
    """

    def load(vocab: Vocab, encoder: EncodesEntities | None = None) -> FaissKB:
        from .knowledge_base import FaissKB

        if path is None:
            raise ElqError(Errors.ELQ458)
        kb = FaissKB.open(path, vocab, device=device)
        if encoder is not None:
            check_fingerprint(kb, encoder)
        return kb

    return load


def kb_from_entities(
    path: str | Path, cache: str | Path | None = None, popularity_field: str = ""
) -> KBLoader:
    """Registered as "spacy-elq.KBFromEntities.v1" in `misc`: embed the entities of a file.

    path (str | Path): Entity file, or a directory of its parts; see `read_entities`.
    cache (str | Path | None): A directory to keep the knowledge base in, used again as long as
        entities and encoder are the same. Without it, each load makes a temporary one.
    popularity_field (str): As in `build_kb`.
    RETURNS (KBLoader): Needs an encoder.
    """

    def load(vocab: Vocab, encoder: EncodesEntities | None = None) -> FaissKB:
        from ..entities.reader import list_entity_files, read_entities

        if encoder is None:
            raise ElqError(Errors.ELQ217)
        list_entity_files(path)
        if cache is None:
            entities, source = read_entities(path), Path(path).name
            settings = {"source": source, "popularity_field": popularity_field}
            return _build_temporary(entities, vocab, encoder, **settings)
        return _build_once(Path(path), Path(cache), vocab, encoder, popularity_field)

    return load


def empty_kb() -> Callable[[Vocab, int], FaissKB]:
    """Registered as "spacy-elq.EmptyKB.v1" in `misc`, for `generate_empty_kb` of spaCy's own
    `entity_linker`.

    RETURNS (Callable): Vocab and vector width → an empty FaissKB.
    """
    from .knowledge_base import FaissKB

    return FaissKB


def kb_of_no_entities(vocab: Vocab, encoder: EncodesEntities) -> FaissKB:
    """RETURNS (FaissKB): An empty knowledge base in memory for entities of that encoder."""
    from .knowledge_base import FaissKB

    return FaissKB(
        vocab, encoder.width, fingerprint=encoder.fingerprint, normalized=encoder.normalized
    )


def check_fingerprint(kb: FaissKB, encoder: EncodesEntities) -> None:
    """Raise an ElqError if another encoder made the vectors."""
    if kb.fingerprint != encoder.fingerprint:
        raise ElqError(
            Errors.ELQ213.format(
                kb=kb.path or "", expected=kb.fingerprint, found=encoder.fingerprint
            )
        )


def rebuild(kb: FaissKB, encoder: EncodesEntities) -> FaissKB:
    """Embed the entities of a knowledge base again, after a change of the encoder.

    RETURNS (FaissKB): A new one. Its temporary directory lives as long as it does. It is in memory
        if there are no entities.
    """
    manifest = kb.manifest
    if kb.is_empty():
        new = kb_of_no_entities(kb.vocab, encoder)
    else:
        new = _build_temporary(
            kb,
            kb.vocab,
            encoder,
            dtype=manifest.dtype,
            index=manifest.index,
            source=manifest.source,
            snapshot=manifest.snapshot,
            popularity_field=manifest.popularity_field,
        )
    new.scope = kb.scope
    return new


def _build_temporary(
    entities: Iterable[Entity], vocab: Vocab, encoder: EncodesEntities, **settings: Any
) -> FaissKB:
    import tempfile

    from .build.builder import build_kb
    from .knowledge_base import FaissKB

    directory = tempfile.TemporaryDirectory(prefix="spacy-elq-kb-")
    out = Path(directory.name) / "kb"
    build_kb(entities, out, encoder, **settings)
    return FaissKB.open(out, vocab).keep_temporary(directory)


def _build_once(
    path: Path, cache: Path, vocab: Vocab, encoder: EncodesEntities, popularity_field: str
) -> FaissKB:
    from ..entities.reader import read_entities
    from .build.builder import build_kb
    from .files.locks import exclusive_lock

    def cached() -> FaissKB | None:
        return _cached(path, cache, vocab, encoder, popularity_field)

    kb = cached()
    if kb is None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(cache.with_name(f".{cache.name}.cache.lock")):
            kb = cached()  # another process may just have built it
            if kb is None:
                build_kb(
                    read_entities(path),
                    cache,
                    encoder,
                    source=f"{CACHE}{path.name}",
                    popularity_field=popularity_field,
                    overwrite=True,
                )
                kb = cached()
    if kb is None:  # the file changed while it was read
        raise ElqError(Errors.ELQ222.format(path=path))
    return kb


def _cached(
    path: Path, cache: Path, vocab: Vocab, encoder: EncodesEntities, popularity_field: str
) -> FaissKB | None:
    """RETURNS (FaissKB | None): The knowledge base in a cache, if it has these entities and this
        encoder.
    RAISES (ElqError): If the directory holds a knowledge base that was not made as a cache."""
    from ..entities.reader import read_entities
    from ..entities.records import map_popularity
    from .build.build_state import digest_of
    from .files.manifest import MANIFEST
    from .knowledge_base import FaissKB

    if not (cache / MANIFEST).exists():
        return None
    # Not in place: entities that one run adds do not belong to the cached file.
    kb = FaissKB.open(cache, vocab, in_place=False)
    same = kb.manifest.digest == digest_of(map_popularity(read_entities(path), popularity_field))
    if same and kb.fingerprint == encoder.fingerprint:
        return kb
    if not kb.manifest.source.startswith(CACHE):
        raise ElqError(Errors.ELQ253.format(path=cache))
    return None
