"""Documents → wordpiece vectors, read from an earlier `transformer` component.

The listener aligns wordpieces to tokens and has no character offsets. A wordpiece gets the
characters of its tokens, which is precise enough for `doc.ents`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model, get_array_module, torch2xp, xp2torch

from ..errors import ElqError, Errors
from .question import (
    SETTINGS,
    WITH_SHAPES,
    Backprop,
    EncodedBatch,
    Encoder,
    ListenerSettings,
    pad_shapes,
    split_into_batches,
)
from .windows import NO_CHARS, Window, assign_cores
from .word_shapes import with_shapes

if TYPE_CHECKING:
    import torch
    from spacy_transformers.data_classes import TransformerData


def listener_encoder(listener: Model, settings: ListenerSettings) -> Encoder:
    """An encoder that reads the output of a `transformer` component.

    listener (Model): A raw `spacy_transformers.TransformerListener`: wordpieces, not pooled tokens.
    """
    return Model(
        "elq-shared-encoder",
        _forward,
        init=_init,
        layers=[listener],
        dims={"nO": None},
        attrs={SETTINGS: settings, WITH_SHAPES: False},
    )


def _init(model: Encoder, X: Any = None, Y: Any = None) -> None:
    listener = model.layers[0]
    if listener.has_dim("nO"):
        model.set_dim("nO", listener.get_dim("nO"))


def _forward(
    model: Encoder, docs: list[Doc], is_train: bool
) -> tuple[list[EncodedBatch], Backprop]:
    if not is_train and not has_output(docs):
        raise ElqError(Errors.ELQ115)
    outputs, bp_outputs = model.layers[0](docs, is_train)
    states = [_states(data, is_train) for data in outputs]
    windows: list[Window] = []
    rows: list[torch.Tensor] = []
    for i, (doc, data, state) in enumerate(zip(docs, outputs, states, strict=True)):
        if state is not None:
            for window, row in zip(_windows(i, doc, data), state, strict=True):
                if (window.chars != NO_CHARS).any():
                    windows.append(window)
                    rows.append(row[: len(window)])
    windows = assign_cores(windows)
    if model.attrs[WITH_SHAPES]:
        windows = with_shapes(windows, [doc.text for doc in docs])
    batches = [
        _batch([windows[i] for i in batch], [rows[i] for i in batch])
        for batch in split_into_batches(windows, model.attrs[SETTINGS].max_batch_items, is_train)
    ]

    def backprop() -> None:
        bp_outputs(
            [
                _gradient(data, state)
                for data, state in zip(outputs, states, strict=True)
                if state is not None
            ]
        )

    return batches, backprop


def has_output(docs: Iterable[Doc]) -> bool:
    """RETURNS (bool): Whether every document with tokens has a transformer's output."""
    return all(doc._.trf_data is not None for doc in docs if len(doc))


def _states(data: TransformerData, is_train: bool) -> torch.Tensor | None:
    """RETURNS (Tensor | None): The last hidden states of one document's windows, (windows, T, h);
    None if the document is empty."""
    if "last_hidden_state" not in data.model_output or not data.model_output.last_hidden_state.size:
        return None
    return xp2torch(data.model_output.last_hidden_state, requires_grad=is_train)


def _windows(index: int, doc: Doc, data: TransformerData) -> list[Window]:
    mask = np.asarray(data.wordpieces.attention_mask, dtype=bool)
    ids = np.asarray(data.wordpieces.input_ids)
    chars = np.full((mask.size, 2), NO_CHARS, dtype=np.int32)
    owners = np.repeat(np.arange(len(doc)), _to_numpy(data.align.lengths))
    pieces = _to_numpy(data.align.dataXd).ravel()
    starts = np.array([token.idx for token in doc], dtype=np.int32)
    ends = np.array([token.idx + len(token) for token in doc], dtype=np.int32)
    # Assigned backwards, then forwards: a wordpiece of several tokens starts at the first token and
    # ends at the last.
    chars[pieces[::-1], 0] = starts[owners[::-1]]
    chars[pieces, 1] = ends[owners]
    chars = chars.reshape(*mask.shape, 2)
    return [
        Window(index, ids[i, :length].tolist(), chars[i, :length])
        for i, length in enumerate(mask.sum(1))
    ]


def _batch(windows: list[Window], rows: list[torch.Tensor]) -> EncodedBatch:
    import torch

    vectors = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = np.arange(vectors.shape[1]) < np.array([len(window) for window in windows])[:, None]
    return EncodedBatch(windows, mask, vectors, pad_shapes(windows, mask))


def _gradient(data: TransformerData, state: torch.Tensor) -> TransformerData:
    from spacy_transformers.data_classes import TransformerData
    from transformers.file_utils import ModelOutput

    gradient = state.grad if state.grad is not None else state.detach() * 0
    return TransformerData(
        model_output=ModelOutput(last_hidden_state=torch2xp(gradient)),
        wordpieces=data.wordpieces,
        align=data.align,
    )


def _to_numpy(array: Any) -> np.ndarray:
    return array if get_array_module(array) is np else array.get()
