"""The model on disk: the transformer's weights in a file of their own.

thinc makes bytes of a whole model first, which takes several times the room of its weights. Here
they go straight into their file, and from there into the transformer.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import srsly

from ..encoders.question import change_encoder, encoder_settings, get_transformer
from ..errors import ElqError, Errors
from ..files import atomic_file
from .model import ElqModel, get_encoder, is_initialized, make_heads

# Beside the file of the model's bytes.
WEIGHTS = "transformer.pt"
# What readers raise for files that are missing, cut, or hold something else.
BROKEN = (OSError, EOFError, ValueError, LookupError, TypeError, UnpicklingError)


def write_model(model: ElqModel, path: Path) -> None:
    """Write a model.

    path (Path): The file for everything but the transformer's weights.
    """
    transformer = get_transformer(get_encoder(model))
    weights = path.with_name(WEIGHTS)
    if transformer is None:  # shared, or not initialized
        weights.unlink(missing_ok=True)
        _write_bytes(path, model.to_bytes())
        return
    import torch

    with atomic_file(weights) as file:
        torch.save(transformer.state_dict(), file)
    with _without_weights(model):
        _write_bytes(path, model.to_bytes())


def read_model(model: ElqModel, path: Path) -> None:
    """Read what `write_model` wrote.

    RAISES (ElqError): If a file is missing or can't be read, or is that of another model.
    """
    with warnings.catch_warnings():  # that there are no weights among the bytes
        warnings.filterwarnings("ignore", message="Error loading saved torch state_dict")
        with report_broken_file(path):
            model_from_bytes(model, path.read_bytes())
    transformer = get_transformer(get_encoder(model))
    if transformer is None:  # shared, or not initialized
        return
    import torch

    weights = path.with_name(WEIGHTS)
    with report_broken_file(weights, (*BROKEN, RuntimeError)):
        # Copied, not kept mapped: a pipeline may be saved over the one that it was loaded from.
        state = torch.load(weights, map_location="cpu", weights_only=True, mmap=True)
    with _report_mismatch():
        transformer.load_state_dict(state)


def model_from_bytes(model: ElqModel, data: bytes) -> None:
    """Read what `model.to_bytes` returned; heads are made where there are none yet. The encoder's
    settings stay as they are: they are the component's.

    RAISES (ElqError): If the model is configured otherwise than the one that was saved.
    """
    if not is_initialized(model):
        # The root comes first. Its width is that of the heads.
        width = srsly.msgpack_loads(data)["nodes"][0]["dims"].get("nO")
        if width is not None:
            make_heads(model, width)
    settings = encoder_settings(get_encoder(model))
    with _report_mismatch():
        model.from_bytes(data)
    change_encoder(get_encoder(model), settings)


def _write_bytes(path: Path, data: bytes) -> None:
    with atomic_file(path) as work:
        work.write_bytes(data)


@contextmanager
def report_broken_file(path: Path, broken: tuple[type[Exception], ...] = BROKEN) -> Iterator[None]:
    """Have an ElqError say that a file of the pipeline is missing or was cut.

    broken (tuple): What its reader raises then.
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
    """Have an ElqError say that weights are those of another model."""
    try:
        yield
    except RuntimeError as err:
        raise ElqError(Errors.ELQ124.format(reason=_one_line(err))) from None


def _one_line(err: Exception) -> str:
    return " ".join(str(err).split())


@contextmanager
def _without_weights(model: ElqModel) -> Iterator[None]:
    """Let `to_bytes` find no weights in the transformer."""
    import torch

    (shim,) = get_encoder(model).layers[0].layers[0].shims
    transformer, shim._model = shim._model, torch.nn.Module()
    try:
        yield
    finally:
        shim._model = transformer
