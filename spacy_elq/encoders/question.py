"""Documents → wordpiece vectors, with the component's own transformer.

The other source of vectors, a `transformer` component that several components share, is in
`shared.py`. Both are thinc layers with one interface, `Model[list[Doc], list[EncodedBatch]]`. In
training the vectors are part of torch's graph, and the layer's backprop, called after
`loss.backward()`, carries on to where torch cannot reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model

from ..errors import ElqError, Errors
from ..settings import check_least, check_types, plain
from .fast_bert import last_layer
from .model_paths import resolve_model_path
from .windows import MIN_LENGTH, Window, batch_by_length, doc_windows, pad

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PRECISIONS = ("fp32", "bf16")
OWN_ENCODER = "elq-encoder"
# What may be changed between two calls, with the names of its types; some encoders have not all.
SETTINGS = {
    "max_length": "int",
    "overlap": "int",
    "truncate": "bool",
    "max_batch_items": "int",
    "precision": "str",
}
LEAST = {"max_length": MIN_LENGTH, "overlap": 0, "max_batch_items": 1}
# What another forward pass, and all that follows for its batch, takes on a CPU beside the work for
# its wordpieces, in wordpieces of MiniLM; fewer of a larger model.
CPU_BATCH_COST = 64


@dataclass
class EncodedBatch:
    """Windows of similar length, encoded together.

    windows (list[Window]): B windows.
    mask (ndarray): True at wordpieces, False at padding; bool (B, T).
    vectors (Tensor): Last-layer vectors, float (B, T, h), on the encoder's device.
    """

    windows: list[Window]
    mask: np.ndarray
    vectors: torch.Tensor


Encoder = Model[list[Doc], list[EncodedBatch]]
Backprop = Callable[[], None]


def transformer_encoder(
    transformer: Model,
    *,
    max_length: int,
    overlap: int,
    truncate: bool,
    max_batch_items: int,
    precision: str,
) -> Encoder:
    """An encoder around a `spacy_transformers.TransformerModel`, which keeps weights, configuration
    and tokenizer. It is run directly on wordpiece windows instead of through its span getter:
    no second tokenization, no alignment to tokens, and batches sorted by length.

    max_length (int): Most wordpieces of a window, special tokens included.
    overlap (int): Wordpieces that neighbouring windows of a long document share.
    truncate (bool): Read the first window of a long document only.
    max_batch_items (int): Most wordpieces of a padded batch.
    precision (str): "fp32", or "bf16" for matrix products in bfloat16, in inference.
    """
    settings = {
        "max_length": max_length,
        "overlap": overlap,
        "truncate": truncate,
        "max_batch_items": max_batch_items,
        "precision": precision,
    }
    return Model(
        OWN_ENCODER,
        _own_forward,
        init=_own_init,
        layers=[transformer],
        dims={"nO": None},
        attrs={**checked_settings(settings), "train_precision": "fp32"},
    )


def encoder_settings(encoder: Encoder) -> dict[str, Any]:
    """RETURNS (dict): The settings of an encoder, those of `SETTINGS` that it has."""
    return {name: encoder.attrs[name] for name in SETTINGS if name in encoder.attrs}


def change_encoder(encoder: Encoder, settings: Mapping[str, Any]) -> None:
    """Change settings of an encoder, from its next call on.

    RAISES (ElqError): Where one has a value that is not allowed; none is changed then.
    """
    encoder.attrs.update(checked_settings(settings))


def checked_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """RETURNS (dict): Settings of an encoder as values that can be saved.
    RAISES (ElqError): Where one has a value that is not allowed."""
    check_types({name: SETTINGS[name] for name in settings}, settings)
    check_least({name: LEAST[name] for name in settings if name in LEAST}, settings)
    if "precision" in settings:
        check_precision(settings["precision"])
    return {name: plain(value) for name, value in settings.items()}


def get_transformer(encoder: Encoder) -> torch.nn.Module | None:
    """RETURNS (Optional[Module]): The encoder's own transformer; None for a shared one, which is
    trained by its own component."""
    own: Any = encoder.layers[0]
    return own.transformer if encoder.name == OWN_ENCODER else None


def get_tokenizer(encoder: Encoder) -> PreTrainedTokenizerFast:
    """RETURNS (PreTrainedTokenizerFast): The tokenizer of the encoder's own transformer."""
    own: Any = encoder.layers[0]
    return own.tokenizer


def check_precision(precision: str) -> str:
    if precision not in PRECISIONS:
        raise ElqError(Errors.ELQ110.format(name="precision", value=precision, of=PRECISIONS))
    return precision


def _own_init(model: Encoder, X: Any = None, Y: Any = None) -> None:
    transformer = model.layers[0]
    if not transformer.attrs["has_transformer"]:
        transformer.attrs["name"] = resolve_model_path(transformer.attrs["name"])
        transformer.initialize()
    model.set_dim("nO", transformer.get_dim("nO"))


def _own_forward(
    model: Encoder, docs: list[Doc], is_train: bool
) -> tuple[list[EncodedBatch], Backprop]:
    transformer: Any = model.layers[0]
    tokenizer = transformer.tokenizer
    if not getattr(tokenizer, "is_fast", False):
        raise ElqError(Errors.ELQ104.format(tokenizer=type(tokenizer).__name__))
    windows = doc_windows(
        tokenizer,
        docs,
        min(model.attrs["max_length"], tokenizer.model_max_length),
        model.attrs["overlap"],
        truncate=model.attrs["truncate"],
    )
    precision = model.attrs["train_precision" if is_train else "precision"]
    cost = CPU_BATCH_COST if transformer.transformer.device.type == "cpu" else None
    batches = [
        _encode(transformer, [windows[i] for i in batch], is_train, precision)
        for batch in split_into_batches(windows, model.attrs["max_batch_items"], is_train, cost)
    ]
    return batches, _nothing_left


def split_into_batches(
    windows: list[Window], max_items: int, is_train: bool, batch_cost: int | None = None
) -> Iterable[list[int]]:
    """Indices of the windows of each padded batch, as in `batch_by_length`. A training batch is
    not split: the losses are means over all of it."""
    if is_train:
        return [list(range(len(windows)))] if windows else []
    return batch_by_length(windows, max_items, batch_cost)


def _encode(
    transformer: Any, windows: list[Window], is_train: bool, precision: str
) -> EncodedBatch:
    import torch

    bert = transformer.transformer
    if bert.training != is_train:  # setting it walks all modules
        bert.train(is_train)
    with torch.enable_grad() if is_train else torch.inference_mode():
        return encode_windows(bert, transformer.tokenizer.pad_token_id, windows, precision)


def encode_windows(
    bert: PreTrainedModel, pad_id: int, windows: list[Window], precision: str
) -> EncodedBatch:
    """Run a transformer on one padded batch, in its own mode (training or not)."""
    ids, mask = pad([window.ids for window in windows], pad_id)
    with autocast(bert.device.type, precision):
        vectors = last_layer(bert, ids, mask)
    return EncodedBatch(windows, mask, vectors.float())


def autocast(device_type: str, precision: str) -> AbstractContextManager[Any]:
    """RETURNS (ContextManager): bfloat16 matrix products inside, float32 weights outside."""
    if precision == "fp32":
        return nullcontext()
    import torch

    return torch.autocast(device_type, dtype=torch.bfloat16)


def _nothing_left() -> None:
    """The own transformer is part of torch's graph: `loss.backward()` has reached it already."""
