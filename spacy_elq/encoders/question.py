"""Documents → wordpiece vectors, with the component's own transformer.

The other source of vectors, a shared `transformer` component, is in `listener.py`. Both are thinc
layers of the type `Model[list[Doc], Iterable[EncodedBatch]]`. In prediction, a batch is encoded
when it is asked for: the vectors of a book are never held at once. In training, the vectors are
part of torch's graph; the layer's backprop, called after `loss.backward()`, does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field
from spacy.tokens import Doc
from thinc.api import Model

from ..errors import ElqError, Errors
from ..settings import CHANGING, Count, Settings
from .fast_bert import last_layer
from .inference import InferenceSettings, infer, inference_cost
from .model_paths import resolve_model_path
from .onnx_graph import forget_graphs
from .precision import autocast
from .token_types import add_shapes, shape_table
from .transformer_files import open_pretrained
from .windows import (
    MIN_LENGTH,
    SPECIAL_TOKENS,
    Window,
    batch_by_length,
    cost_of_batch,
    doc_windows,
    pad,
)
from .word_shapes import with_shapes

if TYPE_CHECKING:
    import torch
    from spacy_transformers.data_classes import HFObjects
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

OWN_ENCODER = "elq-encoder"
# Default length of windows, and twice that of the longest mention, in wordpieces.
MAX_LENGTH = 128
OVERLAP = 22
# Attributes of an encoder: its settings; whether its windows need shapes, for what is on top of it.
SETTINGS = "settings"
WITH_SHAPES = "with_shapes"


class ListenerSettings(Settings):
    """What may be changed between two calls of any encoder.

    max_batch_items (int): Maximum number of wordpieces of a padded batch.
    """

    max_batch_items: Count = 4096


class EncoderSettings(InferenceSettings, ListenerSettings):
    """What may be changed between two calls of an encoder with its own transformer.

    max_length (int): Maximum number of wordpieces of a window, special tokens included. Longer
        documents are read in several windows. Should be about the length of the training texts:
        what is learned from short texts does not hold at positions that they lack. At least twice
        `max_mention_length`, and the special tokens, else mentions at borders would be lost.
    overlap (int): Wordpieces that neighbouring windows of a long document share where no sentence
        ends between them, half of them on either side; where one ends, they share the second half
        only. At least twice `max_mention_length`, else mentions at borders would be lost.
    truncate (bool): Read only the first window of a long document, as the published ELQ does.
    word_shapes (bool): Tell the encoder by token types how words are written: its vocabulary may
        have no capitals. Without effect on a transformer that has no token types.
    backend, precision (str): See `InferenceSettings`; training has its own precision.
    """

    max_length: Annotated[int, Field(ge=MIN_LENGTH)] = MAX_LENGTH
    overlap: Annotated[int, Field(ge=0)] = OVERLAP
    truncate: bool = False
    word_shapes: bool = True


@dataclass
class EncodedBatch:
    """Windows of similar length, encoded together.

    windows (list[Window]): B windows.
    mask (ndarray): True for wordpieces, False for padding, bool (B, T).
    vectors (Tensor): Last-layer vectors, float (B, T, h), on the encoder's device.
    shapes (ndarray | None): Those of the windows, int64 (B, T, 3), see `Window.shapes`.
    """

    windows: list[Window]
    mask: np.ndarray
    vectors: torch.Tensor
    shapes: np.ndarray | None = None


def pad_shapes(windows: Sequence[Window], mask: np.ndarray) -> np.ndarray | None:
    """RETURNS (ndarray | None): The shapes of windows, int64 (B, T, 3), padded as the mask is."""
    of_windows = [window.shapes for window in windows if window.shapes is not None]
    if not of_windows:
        return None
    shapes = np.zeros((*mask.shape, 3), dtype=np.int64)
    shapes[mask] = np.concatenate(of_windows)
    return shapes


Encoder = Model[list[Doc], Iterable[EncodedBatch]]
Backprop = Callable[[], None]


def transformer_encoder(transformer: Model, settings: EncoderSettings) -> Encoder:
    """An encoder around a `spacy_transformers.TransformerModel`, which keeps weights, configuration
    and tokenizer. It is run directly on wordpiece windows instead of through its span getter:
    no second tokenization, no alignment to tokens, and batches sorted by length."""
    return Model(
        OWN_ENCODER,
        _own_forward,
        init=_own_init,
        layers=[transformer],
        dims={"nO": None},
        attrs={SETTINGS: settings, WITH_SHAPES: False, "train_precision": "auto"},
    )


def encoder_settings(encoder: Encoder) -> ListenerSettings:
    """RETURNS (ListenerSettings): The settings of an encoder; those of an own transformer are
    `EncoderSettings`."""
    return encoder.attrs[SETTINGS]


def change_encoder(encoder: Encoder, **settings: Any) -> None:
    """Change settings of an encoder, from its next call on.

    RAISES (ElqError): If a value is not allowed; nothing is changed then.
    """
    with CHANGING:
        encoder.attrs[SETTINGS] = encoder_settings(encoder).changed(**settings)


def check_borders(settings: ListenerSettings, max_mention_length: int) -> None:
    """RAISES (ElqError): If a mention may lie in no window of a long document as a whole."""
    if not isinstance(settings, EncoderSettings) or settings.truncate:
        return
    longest, least = max_mention_length + 1, 2 * max_mention_length
    if settings.overlap < least:
        raise ElqError(Errors.ELQ125.format(overlap=settings.overlap, longest=longest, least=least))
    least += SPECIAL_TOKENS  # no more than half of a window comes after its core
    if settings.max_length < least:
        found = settings.max_length
        raise ElqError(Errors.ELQ126.format(max_length=found, longest=longest, least=least))


def get_transformer(encoder: Encoder) -> torch.nn.Module | None:
    """RETURNS (Module | None): The encoder's own transformer; None for a listener, whose component
    trains the shared transformer."""
    own: Any = encoder.layers[0]
    return own.transformer if encoder.name == OWN_ENCODER else None


def get_parts(encoder: Encoder) -> HFObjects:
    """RETURNS (HFObjects): The encoder's own transformer, with its tokenizer."""
    own: Any = encoder.layers[0]
    return own.layers[0].shims[0]._hfmodel


def set_transformer(encoder: Encoder, parts: HFObjects) -> None:
    """Give the encoder a transformer of its own, in place of any that it has.

    parts (HFObjects): The transformer, which is moved to thinc's device, and its tokenizer.
    """
    from thinc.api import get_torch_default_device

    layer, width = encoder.layers[0], parts.transformer.config.hidden_size
    shim: Any = layer.layers[0].shims[0]
    for node in (layer, encoder):
        node.set_dim("nO", width)
    shim._hfmodel, shim._model = parts, parts.transformer.to(get_torch_default_device())
    layer.attrs["has_transformer"] = True


def get_tokenizer(encoder: Encoder) -> PreTrainedTokenizerFast:
    """RETURNS (PreTrainedTokenizerFast): The tokenizer of the encoder's own transformer."""
    own: Any = encoder.layers[0]
    return own.tokenizer


def _own_init(model: Encoder, X: Any = None, Y: Any = None) -> None:
    layer: Any = model.layers[0]
    if not layer.attrs["has_transformer"]:
        name = resolve_model_path(layer.attrs["name"])
        options = layer._init_tokenizer_config, layer._init_transformer_config
        parts = open_pretrained(name, *options)
        if model.attrs[SETTINGS].word_shapes:
            add_shapes(parts.transformer)
        set_transformer(model, parts)


def _own_forward(
    model: Encoder, docs: list[Doc], is_train: bool
) -> tuple[Iterable[EncodedBatch], Backprop]:
    transformer: Any = model.layers[0]
    tokenizer = transformer.tokenizer
    settings: EncoderSettings = model.attrs[SETTINGS]
    windows = doc_windows(
        tokenizer,
        docs,
        min(settings.max_length, tokenizer.model_max_length),
        settings.overlap,
        truncate=settings.truncate,
    )
    if model.attrs[WITH_SHAPES] or settings.word_shapes:
        windows = with_shapes(windows, [doc.text for doc in docs])
    cost = inference_cost(transformer.transformer, settings)
    batches = (
        _encode(model, [windows[i] for i in batch], is_train)
        for batch in split_into_batches(windows, settings.max_batch_items, is_train, cost)
    )
    return list(batches) if is_train else batches, _nothing_left


def split_into_batches(
    windows: list[Window], max_items: int, is_train: bool, batch_cost: int | None = None
) -> Iterable[list[int]]:
    """RETURNS (Iterable[list[int]]): Indices of the windows of each padded batch. A training batch
    is not split: losses are means over the whole batch."""
    if is_train:
        return [list(range(len(windows)))] if windows else []
    return batch_by_length(windows, max_items, batch_cost)


def _encode(model: Encoder, windows: list[Window], is_train: bool) -> EncodedBatch:
    import torch

    transformer: Any = model.layers[0]
    bert, pad_id = transformer.transformer, transformer.tokenizer.pad_token_id
    settings: EncoderSettings = model.attrs[SETTINGS]
    set_mode(bert, training=is_train)
    if is_train:
        forget_graphs(bert)
        with torch.enable_grad():
            return encode_windows(
                bert, pad_id, windows, model.attrs["train_precision"], settings.word_shapes
            )
    ids, mask = pad([window.ids for window in windows], pad_id)
    shapes = pad_shapes(windows, mask)
    types = _token_types(bert, shapes, settings.word_shapes)
    return EncodedBatch(windows, mask, infer(bert, ids, mask, settings, types), shapes)


def set_mode(module: torch.nn.Module, *, training: bool) -> None:
    """Switch a module to training or evaluation: its parts before itself. Other threads that find
    it switched then find all of it switched."""
    if module.training != training:
        for part in reversed(list(module.modules())):
            part.training = training


def encode_windows(
    bert: PreTrainedModel, pad_id: int, windows: list[Window], precision: str, word_shapes: bool
) -> EncodedBatch:
    """Run a transformer with torch, in its current mode (training or evaluation), on windows that
    become one padded batch: in groups of similar length, where padding costs more than a call."""
    import torch

    mask = pad([window.ids for window in windows], pad_id)[1]
    groups = list(batch_by_length(windows, mask.size, cost_of_batch(bert.device)))
    parts = []
    for group in groups:
        ids, real = pad([windows[i].ids for i in group], pad_id)
        types = _token_types(bert, pad_shapes([windows[i] for i in group], real), word_shapes)
        with autocast(precision, bert.device.type):
            vectors = last_layer(bert, ids, real, types).float()
        parts.append(torch.nn.functional.pad(vectors, (0, 0, 0, mask.shape[1] - ids.shape[1])))
    order = torch.from_numpy(np.argsort(np.concatenate(groups))).to(bert.device)
    vectors = torch.cat(parts).index_select(0, order)
    return EncodedBatch(windows, mask, vectors, pad_shapes(windows, mask))


def _token_types(
    bert: PreTrainedModel, shapes: np.ndarray | None, word_shapes: bool
) -> np.ndarray | None:
    if shapes is None or not word_shapes or shape_table(bert) is None:
        return None
    return np.ascontiguousarray(shapes[..., 0])


def _nothing_left() -> None:
    """Do nothing: `loss.backward()` has reached the transformer, which is in torch's graph."""
