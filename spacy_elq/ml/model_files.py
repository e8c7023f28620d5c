"""The model as a directory, and as the same files in bytes: safetensors, JSON and text.

`spacy_transformers` would pack arguments, file names and code into the bytes of a model, and follow
them when it unpacks somebody's. Here the files are data. Nor are the weights kept in memory several
times, as thinc does to serialize a whole model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import srsly

from ..encoders.onnx_graph import read_graphs, write_graphs
from ..encoders.question import OWN_ENCODER, get_parts, get_transformer, set_transformer
from ..encoders.transformer_files import (
    CONFIG,
    MODEL_SUFFIXES,
    WEIGHTS,
    is_plain,
    open_untrained,
    write_transformer,
)
from ..errors import ElqError, Errors, raise_if_out_of_memory
from ..files import write_json
from ..kb.files.atomic import atomic_directory, recover
from .model import ElqModel, get_encoder, get_heads, is_initialized, make_heads

if TYPE_CHECKING:
    import torch

# Holds the model's width, null before it is initialized.
DESCRIPTION = "model.json"
HEADS = "heads.safetensors"
# Exceptions of readers when a file is missing, truncated or of another kind.
BROKEN = (OSError, EOFError, ValueError, LookupError, TypeError, RecursionError)


def write_model(model: ElqModel, path: Path) -> None:
    """Write a model into a directory, replacing it as a whole. With a transformer of its own, the
    directory is one that transformers can open."""
    with atomic_directory(path, _check_replaceable) as work:
        _write(model, work)


def read_model(model: ElqModel, path: Path) -> None:
    """Read a model written by `write_model`. The encoder keeps its settings, which belong to the
    component.

    RAISES (ElqError): If a file is missing, can't be read, names code, or belongs to another model.
    """
    recover(path)
    with report_broken_file(path / DESCRIPTION):
        width = json.loads((path / DESCRIPTION).read_bytes())["width"]
        if not isinstance(width, int | None):
            raise TypeError("the width is not a number")
    if width is None:
        return
    encoder = get_encoder(model)
    if encoder.name == OWN_ENCODER:
        with report_broken_file(path / CONFIG, (Exception,)):  # tokenizers raises nothing else
            parts = open_untrained(path)
        _load(parts.transformer, path / WEIGHTS)
        read_graphs(parts.transformer, path)
        set_transformer(encoder, parts)
    if not is_initialized(model):
        make_heads(model, width)
    _load(get_heads(model), path / HEADS)


def model_to_bytes(model: ElqModel) -> bytes:
    """RETURNS (bytes): msgpack of the files of a model and their contents."""
    with TemporaryDirectory(prefix="spacy-elq-model-") as name:
        _write(model, Path(name))
        files = [file for file in Path(name).iterdir() if file.suffix in MODEL_SUFFIXES]
        return srsly.msgpack_dumps({file.name: file.read_bytes() for file in sorted(files)})


def model_from_bytes(model: ElqModel, data: bytes) -> None:
    """Read the result of `model_to_bytes`, see `read_model`."""
    with TemporaryDirectory(prefix="spacy-elq-model-") as name:
        for file, content in _unpack(data).items():
            (Path(name) / file).write_bytes(content)
        read_model(model, Path(name))


def _unpack(data: bytes) -> dict[str, bytes]:
    """RETURNS (dict): The content of each file, whose names are safe to write."""
    try:
        files = dict(srsly.msgpack_loads(data))
    except Exception as err:  # msgpack has many kinds
        raise ElqError(Errors.ELQ141.format(reason=_one_line(err))) from None
    for name, content in files.items():
        known = is_plain(name) and Path(name).suffix in MODEL_SUFFIXES
        if not known or not isinstance(content, bytes):
            raise ElqError(Errors.ELQ141.format(reason=f"{str(name)[:80]!r} is no file of a model"))
    return files


def _write(model: ElqModel, directory: Path) -> None:
    from safetensors.torch import save_model

    width = model.maybe_get_dim("nO")
    write_json(directory / DESCRIPTION, {"width": width})
    if width is None:
        return
    save_model(get_heads(model), str(directory / HEADS))
    encoder = get_encoder(model)
    if (transformer := get_transformer(encoder)) is not None:  # a listener has none
        write_transformer(get_parts(encoder), directory)
        write_graphs(transformer, directory)


def _load(module: torch.nn.Module, file: Path) -> None:
    """Load the weights of a module. They are copied: a pipeline may be saved over the files that it
    was loaded from."""
    from safetensors import SafetensorError
    from safetensors.torch import load_model

    with report_broken_file(file, (*BROKEN, SafetensorError)):
        try:
            load_model(module, str(file))
        except RuntimeError as err:
            raise_if_out_of_memory(err)
            raise ElqError(Errors.ELQ124.format(reason=_one_line(err))) from None


def _check_replaceable(path: Path) -> None:
    if not (path / DESCRIPTION).is_file():
        raise ElqError(Errors.ELQ520.format(path=path))


@contextmanager
def report_broken_file(path: Path, broken: tuple[type[Exception], ...] = BROKEN) -> Iterator[None]:
    """Report a missing or broken file of the pipeline as an ElqError.

    broken (tuple): The exceptions that its reader raises.
    """
    try:
        yield
    except (ElqError, MemoryError):
        raise
    except broken as err:
        reason = _one_line(err) or type(err).__name__
        raise ElqError(Errors.ELQ131.format(path=path, reason=reason)) from None


def _one_line(err: Exception) -> str:
    return " ".join(str(err).split())
