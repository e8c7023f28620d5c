"""The encoder and the heads as one thinc model, `Model[list[Doc], Iterable[ScoredBatch]]`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model

from ..concurrency import LOADING
from ..encoders.listener import has_output
from ..encoders.question import OWN_ENCODER, WITH_SHAPES, EncodedBatch, Encoder, set_mode

if TYPE_CHECKING:
    import torch

    from .heads import Heads


@dataclass
class ScoredBatch:
    """A padded batch after the encoder and the mention scorer.

    encoded (EncodedBatch): B windows and their wordpiece vectors.
    logits (Tensor): Start, end and inside logits, float32 (B, T, 3).
    """

    encoded: EncodedBatch
    logits: torch.Tensor


ElqModel = Model[list[Doc], Iterable[ScoredBatch]]
# Takes the loss, runs torch's backward pass, then the parts of the pass outside of torch.
LossBackprop = Callable[["torch.Tensor"], None]


def elq_model(encoder: Encoder, head_options: dict[str, Any]) -> ElqModel:
    """encoder (Model): From `encoders.question` or `encoders.listener`.
    head_options (dict): Arguments of `heads.Heads`, except the width, which comes from the encoder.
    """
    encoder.attrs[WITH_SHAPES] = head_options.get("word_shapes", False)
    return Model(
        "elq",
        _forward,
        init=_init,
        layers=[encoder, _heads_layer()],
        dims={"nO": None},
        attrs={"head_options": head_options},
    )


def get_heads(model: ElqModel) -> Heads:
    """RETURNS (Heads): The torch module. The model must be initialized or loaded."""
    return model.layers[1].shims[0]._model


def get_encoder(model: ElqModel) -> Encoder:
    return model.layers[0]


def mention_queries(
    heads: Heads, batch: EncodedBatch, window: np.ndarray, first: np.ndarray, last: np.ndarray
) -> torch.Tensor:
    """Compute the query vectors of mentions, for the entity search.

    window, first, last (ndarray): Row of the batch and wordpieces, inclusive, int64 (N,).
    RETURNS (Tensor): float32 (N, h), part of torch's graph in training.
    """
    spans = np.stack([window, first, last], axis=1)
    return heads.queries(batch.vectors, spans, batch.mask.sum(axis=1))


def is_initialized(model: ElqModel) -> bool:
    return bool(model.has_dim("nO"))


def make_heads(
    model: ElqModel, width: int, finish: Callable[[ElqModel], None] | None = None
) -> None:
    """Create heads with random weights, for an encoder of this width.

    finish (Callable | None): What else to do before other threads may use the model.
    """
    from thinc.api import PyTorchShim

    from .heads import Heads

    with LOADING:
        model.layers[1].shims[:] = [PyTorchShim(Heads(width, **model.attrs["head_options"]))]
        if finish is not None:
            finish(model)
        model.set_dim("nO", width)  # from now on `is_initialized`


def initialize(model: ElqModel, finish: Callable[[ElqModel], None] | None = None) -> None:
    """Load the encoder and create the heads; see `make_heads`."""
    with LOADING:
        encoder = get_encoder(model)
        encoder.initialize()
        make_heads(model, encoder.get_dim("nO"), finish)


def begin_update(model: ElqModel, docs: Sequence[Doc]) -> tuple[list[ScoredBatch], LossBackprop]:
    """Run a forward pass in training. The backprop takes the loss instead of the gradient of the
    output.

    RETURNS (tuple): A list of one padded batch (empty for texts without wordpieces), and the
        backprop.
    """
    batches, backprop = model.begin_update(list(docs))
    return list(batches), cast(LossBackprop, backprop)


def can_encode(model: ElqModel, docs: Sequence[Doc]) -> bool:
    """RETURNS (bool): Whether the documents have what the encoder needs. A listener needs the
    transformer's output, which may have been removed."""
    encoder = get_encoder(model)
    return encoder.name == OWN_ENCODER or has_output(docs)


def _heads_layer() -> Model:
    """A layer for the heads' shim, so that thinc saves, loads and moves them with the model."""
    return Model("elq-heads", _no_forward)


def _init(model: ElqModel, X: Any = None, Y: Any = None) -> None:
    initialize(model)


def _forward(
    model: ElqModel, docs: list[Doc], is_train: bool
) -> tuple[Iterable[ScoredBatch], LossBackprop]:
    encoded, bp_encoder = get_encoder(model)(docs, is_train)
    heads = get_heads(model)
    set_mode(heads, training=is_train)
    batches = (_score(heads, batch, is_train) for batch in encoded)

    def backprop(loss: torch.Tensor) -> None:
        loss.backward()
        bp_encoder()

    return list(batches) if is_train else batches, backprop


def _score(heads: Heads, batch: EncodedBatch, is_train: bool) -> ScoredBatch:
    import torch

    with torch.enable_grad() if is_train else torch.inference_mode():
        return ScoredBatch(batch, heads.mention_logits(batch.vectors, batch.shapes))


def _no_forward(model: Model, X: Any, is_train: bool) -> Any:
    raise TypeError("the elq model calls the heads; they cannot run as a layer")
