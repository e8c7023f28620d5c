"""The component on disk and as bytes.

The knowledge base is saved with the component, or only referred to: with `kb_path` set, the
component has the knowledge base of that directory, and what is saved is which encoder made it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spacy import util

from ..encoders.entity import load_entity_encoder
from ..encoders.question import change_encoder, encoder_settings
from ..errors import ElqError, Errors
from ..files import atomic_file
from ..kb.files.store import MANIFEST
from ..ml.model import get_encoder
from ..ml.model_files import model_from_bytes, read_model, report_broken_file, write_model
from ..settings import changes, restore

if TYPE_CHECKING:
    from ..kb.knowledge_base import FaissKB
    from .component import ElqLinker

# What the settings of a component's parts are stored under.
ENCODER, ENTITY_ENCODER, TRAINING = "encoder.", "entity_encoder.", "training."


def write_pipe(pipe: ElqLinker, path: str | Path, exclude: Iterable[str]) -> None:
    """See `ElqLinker.to_disk`."""
    kb = pipe.refreshed_kb()
    serialize: dict[str, Callable[[Path], Any]] = {
        "vocab": lambda p: pipe.vocab.to_disk(p),
        "cfg": lambda p: _write_bytes(p, _to_json(_stored(pipe, kb))),
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
        with report_broken_file(file):
            stored.update(json.loads(file.read_bytes()))
            _restore_settings(pipe, stored)

    deserialize: dict[str, Callable[[Path], Any]] = {
        "vocab": lambda p: pipe.vocab.from_disk(p),
        "cfg": read_cfg,
        "model": lambda p: read_model(pipe.model, p),
        "kb": lambda p: _read_kb(pipe, p, stored),
        "entity_encoder": lambda p: _read_entity_encoder(pipe, p, stored),
    }
    util.from_disk(path, deserialize, exclude)


def pipe_to_bytes(pipe: ElqLinker, exclude: Iterable[str]) -> bytes:
    """See `ElqLinker.to_bytes`."""
    kb = pipe.refreshed_kb()
    serialize: dict[str, Callable[[], bytes]] = {
        "vocab": pipe.vocab.to_bytes,
        "cfg": lambda: _to_json(_stored(pipe, kb)),
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
        stored.update(json.loads(content))
        _restore_settings(pipe, stored)

    def read_kb(content: bytes) -> None:
        from ..kb.knowledge_base import FaissKB

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


def _write_bytes(path: Path, content: bytes) -> None:
    with atomic_file(path) as work:
        work.write_bytes(content)


def _to_json(value: Any) -> bytes:
    # srsly's JSON has no infinity, which a threshold may be.
    return json.dumps(value).encode("utf8")


def all_settings(pipe: ElqLinker) -> dict[str, Any]:
    """RETURNS (dict): The settings of a component and, by dotted names, of its parts, as they are
    now."""
    parts = {
        ENCODER: encoder_settings(get_encoder(pipe.model)),
        ENTITY_ENCODER: asdict(pipe.entity_encoder.settings),
        TRAINING: pipe._training,
    }
    of_parts = {f"{part}{name}": v for part, values in parts.items() for name, v in values.items()}
    return {name: v for name, v in pipe.cfg.items() if name != "seen_ids"} | of_parts


def _stored(pipe: ElqLinker, kb: FaissKB | None) -> dict[str, Any]:
    return {
        "seen_ids": pipe.cfg["seen_ids"],
        "changed": changes(pipe.configured, all_settings(pipe)),
        "kb_fingerprint": None if kb is None else kb.fingerprint,
    }


def _restore_settings(pipe: ElqLinker, stored: Mapping[str, Any]) -> None:
    restored = restore(pipe.configured, stored["changed"])
    own = {name: restored[name] for name in pipe.cfg if name in restored}
    pipe.cfg.update(pipe.checked_settings(own))
    change_encoder(get_encoder(pipe.model), _of_part(ENCODER, restored))
    training = _of_part(TRAINING, restored)
    if training != pipe._training:
        pipe.set_training(**training)
    pipe.set_seen(stored["seen_ids"])


def _of_part(part: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix(part): value for name, value in settings.items() if name.startswith(part)
    }


def _is_reference(pipe: ElqLinker, kb: FaissKB) -> bool:
    """Whether to save a reference to it; an ElqError if that would lose changes."""
    if pipe.kb_path is not None and not kb.is_in_place:
        raise ElqError(Errors.ELQ244.format(path=pipe.kb_path, name=pipe.name))
    return pipe.kb_path is not None


def _read_kb(pipe: ElqLinker, path: Path, stored: Mapping[str, Any]) -> None:
    from ..kb.knowledge_base import FaissKB

    if pipe.kb_path is not None:
        kb = _open_reference(pipe, stored)
    elif path.exists():
        kb = FaissKB.open(path, pipe.vocab)
    else:
        return
    pipe._kb = None  # the new one may be of another entity encoder, which comes with it
    pipe.set_kb(kb)


def _open_reference(pipe: ElqLinker, stored: Mapping[str, Any]) -> FaissKB:
    from ..kb.knowledge_base import FaissKB

    path = Path(pipe.kb_path)
    if not (path / MANIFEST).is_file():
        raise ElqError(Errors.ELQ243.format(path=path.absolute(), name=pipe.name))
    kb = FaissKB.open(path, pipe.vocab)
    trained_with = stored.get("kb_fingerprint")
    if trained_with is not None and kb.fingerprint != trained_with:
        message = Errors.ELQ213.format(kb=path, expected=kb.fingerprint, found=trained_with)
        raise ElqError(message)
    return kb


def _read_entity_encoder(pipe: ElqLinker, path: Path, stored: Mapping[str, Any]) -> None:
    """An ElqError if the config has other settings of it than it was saved with: they are part of
    what made the vectors of the knowledge base."""
    if not path.exists():
        return
    encoder = load_entity_encoder(str(path))
    saved = asdict(encoder.settings)
    configured = _of_part(ENTITY_ENCODER, restore(pipe.configured, stored.get("changed", {})))
    for name, value in configured.items():
        if value != saved[name]:
            raise ElqError(Errors.ELQ133.format(name=name, value=value, saved=saved[name]))
    pipe.entity_encoder = encoder
