"""The model on disk, with the transformer's weights in a separate file.

thinc serializes a whole model to bytes first, which takes several times the memory of its weights.
Here the weights are written to their file directly, and read into the transformer directly.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import srsly

from ..encoders.question import get_transformer
from ..errors import ElqError, Errors
from ..files import atomic_file
from .model import ElqModel, get_encoder, is_initialized, make_heads

# File with the transformer's weights, next to the model's file.
WEIGHTS = "transformer.pt"
# Exceptions of readers when a file is missing, truncated or of another kind.
BROKEN = (OSError, EOFError, ValueError, LookupError, TypeError, UnpicklingError)


def write_model(model: ElqModel, path: Path) -> None:
    """Write a model.

    path (Path): The file for everything except the transformer's weights.
    """
    transformer = get_transformer(get_encoder(model))
    weights = path.with_name(WEIGHTS)
    if transformer is None:  # a listener, or not initialized
        weights.unlink(missing_ok=True)
        _write_bytes(path, model.to_bytes())
        return
    import torch

    with atomic_file(weights) as file:
        torch.save(transformer.state_dict(), file)
    with _without_weights(model):
        _write_bytes(path, model.to_bytes())


def read_model(model: ElqModel, path: Path) -> None:
    """Read a model written by `write_model`.

    RAISES (ElqError): If a file is missing, can't be read, or belongs to another model.
    """
    with warnings.catch_warnings():  # the bytes contain no transformer weights
        warnings.filterwarnings("ignore", message="Error loading saved torch state_dict")
        with report_broken_file(path):
            model_from_bytes(model, path.read_bytes())
    transformer = get_transformer(get_encoder(model))
    if transformer is None:  # a listener, or not initialized
        return
    import torch

    weights = path.with_name(WEIGHTS)
    with report_broken_file(weights, (*BROKEN, RuntimeError)):
        # `load_state_dict` copies: a pipeline may be saved over the files it was loaded from.
        state = torch.load(weights, map_location="cpu", weights_only=True, mmap=True)
    with _report_mismatch():
        transformer.load_state_dict(state)


def model_from_bytes(model: ElqModel, data: bytes) -> None:
    """Read the result of `model.to_bytes`, and create the heads if there are none yet. The encoder
    keeps its settings, which belong to the component.

    RAISES (ElqError): If the saved model was configured differently.
    """
    if not is_initialized(model):
        # The first node is the root; its width is that of the heads.
        width = srsly.msgpack_loads(data)["nodes"][0]["dims"].get("nO")
        if width is not None:
            make_heads(model, width)
    with _report_mismatch():
        model.from_bytes(data)


def _write_bytes(path: Path, data: bytes) -> None:
    with atomic_file(path) as work:
        work.write_bytes(data)


@contextmanager
def report_broken_file(path: Path, broken: tuple[type[Exception], ...] = BROKEN) -> Iterator[None]:
    """Report a missing or broken file of the pipeline as an ElqError.

    broken (tuple): The exceptions that its reader raises.
    """
    try:
        yield
    except ElqError:
        raise
    except broken as err:
        reason = _one_line(err) or type(err).__name__
        raise ElqError(Errors.ELQ131.format(path=path, reason=reason)) from None


@contextmanager
def _report_mismatch() -> Iterator[None]:
    """Report weights of another model as an ElqError."""
    try:
        yield
    except RuntimeError as err:
        raise ElqError(Errors.ELQ124.format(reason=_one_line(err))) from None


def _one_line(err: Exception) -> str:
    return " ".join(str(err).split())


@contextmanager
def _without_weights(model: ElqModel) -> Iterator[None]:
    """Hide the transformer's weights from `to_bytes`."""
    import torch

    (shim,) = get_encoder(model).layers[0].layers[0].shims
    transformer, shim._model = shim._model, torch.nn.Module()
    try:
        yield
    finally:
        shim._model = transformer
