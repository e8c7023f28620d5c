"""The component on disk and as bytes.

The knowledge base is saved with the component, or only referred to: with `kb_path` set, the
component has the knowledge base of that directory, and what is saved is which encoder made it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import srsly
from spacy import util

from .corpora.files import atomic_file
from .encoders.entity import load_entity_encoder
from .errors import ElqError, Errors
from .kb.store import MANIFEST
from .model_files import model_from_bytes, read_model, told_if_broken, write_model
from .settings import changes, restore

if TYPE_CHECKING:
    from .component import ElqLinker
    from .kb.knowledge_base import FaissKB


def write_pipe(pipe: ElqLinker, path: str | Path, exclude: Iterable[str]) -> None:
    """See `ElqLinker.to_disk`."""
    kb = pipe.refreshed_kb()
    serialize: dict[str, Callable[[Path], Any]] = {
        "vocab": lambda p: pipe.vocab.to_disk(p),
        "cfg": lambda p: _write_json(p, _stored(pipe, kb)),
        "model": lambda p: write_model(pipe.model, p),
    }
    if kb is not None and not _is_reference(pipe, kb):
        serialize["kb"] = kb.to_disk
    if pipe.save_entity_encoder:
        serialize["entity_encoder"] = pipe.entity_encoder.to_disk
    util.to_disk(path, serialize, exclude)
    _remove_stale(pipe, Path(path), {"kb", "entity_encoder"} - serialize.keys() - set(exclude))


def read_pipe(pipe: ElqLinker, path: str | Path, exclude: Iterable[str]) -> None:
    """See `ElqLinker.from_disk`."""
    stored: dict[str, Any] = {}

    def read_cfg(file: Path) -> None:
        with told_if_broken(file):
            stored.update(srsly.json_loads(file.read_bytes()))
            _restore_settings(pipe, stored)

    deserialize: dict[str, Callable[[Path], Any]] = {
        "vocab": lambda p: pipe.vocab.from_disk(p),
        "cfg": read_cfg,
        "model": lambda p: read_model(pipe.model, p),
        "kb": lambda p: _read_kb(pipe, p, stored),
        "entity_encoder": lambda p: _read_entity_encoder(pipe, p),
    }
    util.from_disk(path, deserialize, exclude)


def pipe_to_bytes(pipe: ElqLinker, exclude: Iterable[str]) -> bytes:
    """See `ElqLinker.to_bytes`."""
    kb = pipe.refreshed_kb()
    serialize: dict[str, Callable[[], bytes]] = {
        "vocab": pipe.vocab.to_bytes,
        "cfg": lambda: srsly.json_dumps(_stored(pipe, kb)).encode("utf8"),
        "model": pipe.model.to_bytes,
    }
    if kb is not None:
        is_reference = _is_reference(pipe, kb)
        serialize["kb"] = lambda: b"" if is_reference else kb.to_bytes()
    return util.to_bytes(serialize, exclude)


def pipe_from_bytes(pipe: ElqLinker, data: bytes, exclude: Iterable[str]) -> None:
    """See `ElqLinker.from_bytes`."""
    stored: dict[str, Any] = {}

    def read_cfg(content: bytes) -> None:
        stored.update(srsly.json_loads(content))
        _restore_settings(pipe, stored)

    def read_kb(content: bytes) -> None:
        from .kb.knowledge_base import FaissKB

        if content:
            pipe.set_kb(FaissKB(pipe.vocab, 0).from_bytes(content))
        else:
            pipe.set_kb(_open_reference(pipe, stored))

    deserialize: dict[str, Callable[[bytes], Any]] = {
        "vocab": lambda b: pipe.vocab.from_bytes(b),
        "cfg": read_cfg,
        "model": lambda b: model_from_bytes(pipe.model, b),
        "kb": read_kb,
    }
    util.from_bytes(data, deserialize, exclude)


def _remove_stale(pipe: ElqLinker, path: Path, parts: Iterable[str]) -> None:
    """What an earlier save to the same place left would be loaded as if it were this one's."""
    referenced = Path(pipe.kb_path).resolve() if pipe.kb_path is not None else None
    for part in parts:
        directory = (path / part).resolve()
        if directory.is_dir() and directory != referenced:
            shutil.rmtree(directory)


def _write_json(path: Path, value: Any) -> None:
    with atomic_file(path) as work:
        srsly.write_json(work, value)


def _stored(pipe: ElqLinker, kb: FaissKB | None) -> dict[str, Any]:
    return {
        "seen_ids": pipe.cfg["seen_ids"],
        "changed": changes(pipe.configured, pipe.cfg),
        "kb_fingerprint": None if kb is None else kb.fingerprint,
    }


def _restore_settings(pipe: ElqLinker, stored: Mapping[str, Any]) -> None:
    restored = restore(pipe.configured, stored["changed"])
    pipe.check_settings(restored)
    pipe.cfg.update(restored)
    pipe.set_seen(stored["seen_ids"])


def _is_reference(pipe: ElqLinker, kb: FaissKB) -> bool:
    """Whether to save a reference to it; an ElqError if that would lose changes."""
    if pipe.kb_path is not None and not kb.is_shared:
        raise ElqError(Errors.ELQ244.format(path=pipe.kb_path, name=pipe.name))
    return pipe.kb_path is not None


def _read_kb(pipe: ElqLinker, path: Path, stored: Mapping[str, Any]) -> None:
    from .kb.knowledge_base import FaissKB

    if pipe.kb_path is not None:
        kb = _open_reference(pipe, stored)
    elif path.exists():
        kb = FaissKB.open(path, pipe.vocab)
    else:
        return
    pipe._kb = None  # the new one may be of another entity encoder, which comes with it
    pipe.set_kb(kb)


def _open_reference(pipe: ElqLinker, stored: Mapping[str, Any]) -> FaissKB:
    from .kb.knowledge_base import FaissKB

    path = Path(pipe.kb_path)
    if not (path / MANIFEST).is_file():
        raise ElqError(Errors.ELQ243.format(path=path.absolute(), name=pipe.name))
    kb = FaissKB.open(path, pipe.vocab)
    trained_with = stored.get("kb_fingerprint")
    if trained_with is not None and kb.fingerprint != trained_with:
        message = Errors.ELQ213.format(kb=path, expected=kb.fingerprint, found=trained_with)
        raise ElqError(message)
    return kb


def _read_entity_encoder(pipe: ElqLinker, path: Path) -> None:
    if path.exists():
        pipe.entity_encoder = load_entity_encoder(str(path))
