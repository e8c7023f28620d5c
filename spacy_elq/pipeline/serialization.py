"""The component on disk and as bytes.

The knowledge base is saved inside the component, or only referred to: with `kb_path` set, the
component opens that directory, and only the fingerprint of its entity encoder is saved.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from spacy import util
from spacy.vocab import Vocab

from ..encoders.entity import EntityEncoder, load_entity_encoder
from ..encoders.inference import InferenceSettings
from ..encoders.question import change_encoder, encoder_settings
from ..errors import ElqError, Errors
from ..files import atomic_file, remove
from ..ml.model import ElqModel, get_encoder
from ..ml.model_files import (
    model_from_bytes,
    model_to_bytes,
    read_model,
    report_broken_file,
    write_model,
)
from ..settings import changes, restore
from ..training.training_settings import TrainingSettings
from .linked_kb import LinkedKB
from .linker_settings import LinkerSettings

# Prefixes of the settings of a component's parts.
ENCODER, ENTITY_ENCODER, TRAINING = "encoder.", "entity_encoder.", "training."


class Pipe(Protocol):
    """The state of an `ElqLinker` that is saved.

    configured (Mapping): `all_settings` as the config gave them.
    """

    vocab: Vocab
    model: ElqModel
    settings: LinkerSettings
    training: TrainingSettings
    linked_kb: LinkedKB
    entity_encoder: EntityEncoder
    seen_ids: list[str]
    configured: Mapping[str, Any]

    def set_seen(self, ids: Iterable[str]) -> None: ...


def write_pipe(pipe: Pipe, path: str | Path, exclude: Iterable[str]) -> None:
    """See `ElqLinker.to_disk`."""
    kb = pipe.linked_kb.refresh()
    serialize: dict[str, Callable[[Path], Any]] = {
        "vocab": lambda p: pipe.vocab.to_disk(p),
        "cfg": lambda p: _write_bytes(p, _to_json(_stored(pipe))),
        "model": lambda p: write_model(pipe.model, p),
    }
    if kb is not None and not pipe.linked_kb.is_reference:
        serialize["kb"] = kb.to_disk
    if pipe.settings.save_entity_encoder:
        serialize["entity_encoder"] = pipe.entity_encoder.to_disk
    util.to_disk(path, serialize, exclude)
    unwritten = {"kb", "entity_encoder"} - serialize.keys() - set(exclude)
    _remove_stale(pipe.linked_kb.path, Path(path), unwritten)


def read_pipe(pipe: Pipe, path: str | Path, exclude: Iterable[str]) -> None:
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
        "kb": lambda p: pipe.linked_kb.from_disk(p, stored.get("kb_fingerprint")),
        "entity_encoder": lambda p: _read_entity_encoder(pipe, p, stored),
    }
    with _all_or_nothing(pipe):
        util.from_disk(path, deserialize, exclude)


def pipe_to_bytes(pipe: Pipe, exclude: Iterable[str]) -> bytes:
    """See `ElqLinker.to_bytes`."""
    kb = pipe.linked_kb.refresh()
    serialize: dict[str, Callable[[], bytes]] = {
        "vocab": pipe.vocab.to_bytes,
        "cfg": lambda: _to_json(_stored(pipe)),
        "model": lambda: model_to_bytes(pipe.model),
    }
    if kb is not None:
        serialize["kb"] = pipe.linked_kb.to_bytes
    return util.to_bytes(serialize, exclude)


def pipe_from_bytes(pipe: Pipe, data: bytes, exclude: Iterable[str]) -> None:
    """See `ElqLinker.from_bytes`."""
    stored: dict[str, Any] = {}

    def read_cfg(content: bytes) -> None:
        stored.update(json.loads(content))
        _restore_settings(pipe, stored)

    deserialize: dict[str, Callable[[bytes], Any]] = {
        "vocab": lambda b: pipe.vocab.from_bytes(b),
        "cfg": read_cfg,
        "model": lambda b: model_from_bytes(pipe.model, b),
        "kb": lambda b: pipe.linked_kb.from_bytes(b, stored.get("kb_fingerprint")),
    }
    with _all_or_nothing(pipe):
        util.from_bytes(data, deserialize, exclude)


@contextmanager
def _all_or_nothing(pipe: Pipe) -> Iterator[None]:
    """If loading fails, settings and knowledge base stay what they were. Weights are read in
    place."""
    settings = _stored(pipe)
    with pipe.linked_kb.all_or_nothing():
        try:
            yield
        except BaseException:
            _restore_settings(pipe, settings)
            raise


def _remove_stale(kb_path: str | None, path: Path, parts: Iterable[str]) -> None:
    """Remove parts left by an earlier save, or they would be loaded as part of this one."""
    referenced = Path(kb_path).resolve() if kb_path is not None else None
    for part in parts:
        if (path / part).resolve() != referenced:
            remove(path / part)


def _write_bytes(path: Path, content: bytes) -> None:
    with atomic_file(path, follow=False) as work:
        work.write_bytes(content)


def _to_json(value: Any) -> bytes:
    # srsly's JSON has no infinity, which a threshold may be.
    return json.dumps(value).encode("utf8")


def all_settings(pipe: Pipe) -> dict[str, Any]:
    """RETURNS (dict): The present settings of a component and, by dotted names, of its parts."""
    parts = [
        ("", pipe.settings),
        (ENCODER, encoder_settings(get_encoder(pipe.model))),
        (ENTITY_ENCODER, pipe.entity_encoder.settings),
        (ENTITY_ENCODER, pipe.entity_encoder.inference),
        (TRAINING, pipe.training),
    ]
    values = {
        f"{part}{name}": value
        for part, settings in parts
        for name, value in settings.model_dump().items()
    }
    return {**values, "kb_path": pipe.linked_kb.path}


def _stored(pipe: Pipe) -> dict[str, Any]:
    return {
        "seen_ids": pipe.seen_ids,
        "changed": changes(pipe.configured, all_settings(pipe)),
        "kb_fingerprint": pipe.linked_kb.fingerprint,
    }


def _restore_settings(pipe: Pipe, stored: Mapping[str, Any]) -> None:
    restored = restore(pipe.configured, stored["changed"])
    pipe.settings = LinkerSettings(**{name: restored[name] for name in LinkerSettings.model_fields})
    pipe.linked_kb.path = restored["kb_path"]
    change_encoder(get_encoder(pipe.model), **_of_part(ENCODER, restored))
    pipe.entity_encoder.inference = _inference(restored)
    pipe.training = TrainingSettings(**_of_part(TRAINING, restored))
    pipe.set_seen(stored["seen_ids"])


def _of_part(part: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix(part): value for name, value in settings.items() if name.startswith(part)
    }


def _read_entity_encoder(pipe: Pipe, path: Path, stored: Mapping[str, Any]) -> None:
    """An ElqError if its settings in the config are not the saved ones: the vectors of the
    knowledge base depend on them."""
    if not path.exists():
        return
    encoder = load_entity_encoder(str(path))
    saved = encoder.settings.model_dump()
    restored = restore(pipe.configured, stored.get("changed", {}))
    configured = _of_part(ENTITY_ENCODER, restored)
    for name, value in saved.items():
        if configured[name] != value:
            raise ElqError(Errors.ELQ133.format(name=name, value=configured[name], saved=value))
    encoder.inference = _inference(restored)
    pipe.entity_encoder = encoder


def _inference(restored: Mapping[str, Any]) -> InferenceSettings:
    """RETURNS (InferenceSettings): Those of the entity encoder."""
    entity_encoder = _of_part(ENTITY_ENCODER, restored)
    return InferenceSettings(**{k: entity_encoder[k] for k in InferenceSettings.model_fields})
