"""A padded batch of wordpieces → last-layer vectors.

In inference, BERT models run here instead of in transformers' `forward`. The same modules run in
the same order, so the vectors are the same bit for bit, but without the overhead of `forward`
(masks, keyword arguments, output records), which takes a fifth of the time of a short text.

This depends on internals of the pinned transformers release. Delete it with the move to
transformers 5, and let `last_layer` always call the transformer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

# Models that consist of embeddings and layers of attention and feed-forward modules.
STACKS = ("BertModel", "RobertaModel", "XLMRobertaModel")
# Wordpieces that an activation function takes at most at once: a power of two.
ACTIVATED_ROWS = 128


def last_layer(
    transformer: Any, ids: np.ndarray, mask: np.ndarray, types: np.ndarray | None = None
) -> torch.Tensor:
    """Run a transformer in its current mode (training or evaluation).

    transformer (PreTrainedModel): Any model that takes `input_ids` and `attention_mask`.
    ids (ndarray): Wordpiece ids, int64 (B, T).
    mask (ndarray): True for wordpieces, False for padding, bool (B, T).
    types (ndarray | None): Token types, int64 (B, T); None for zeros, or for a model without them.
    RETURNS (Tensor): (B, T, h), on the transformer's device.
    """
    import torch

    device = transformer.device
    inputs = {"input_ids": torch.from_numpy(ids).to(device)}
    if types is not None:
        inputs["token_type_ids"] = torch.from_numpy(types).to(device)
    # Without padding, attention needs no mask.
    attended = None if mask.all() else torch.from_numpy(mask).to(device)
    if _is_stack(transformer):
        return _run_stack(transformer, inputs, attended)
    if attended is not None:
        attended = attended.long()
    return transformer(**inputs, attention_mask=attended).last_hidden_state


def _is_stack(transformer: Any) -> bool:
    """RETURNS (bool): Whether `_run_stack` is equivalent to the transformer's `forward`."""
    kind, config = type(transformer), transformer.config
    return (
        kind.__name__ in STACKS
        and kind.__module__.startswith("transformers.")
        and not transformer.training  # dropout
        and not config.is_decoder
        and config._attn_implementation == "sdpa"
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
    )


def _run_stack(
    transformer: Any, inputs: dict[str, torch.Tensor], mask: torch.Tensor | None
) -> torch.Tensor:
    """inputs (dict): Of the embeddings.
    mask (Tensor | None): True for wordpieces to attend to, bool (B, T); None for all."""
    vectors = transformer.embeddings(**inputs)
    if mask is not None:
        mask = mask[:, None, None, :].expand(-1, 1, vectors.shape[1], -1)
    for layer in transformer.encoder.layer:
        vectors = _attend(layer.attention, vectors, mask)
        vectors = _feed_forward(layer, vectors)
    return vectors


# Separate functions, so that their tensors are freed and reused before the next step: new memory
# makes batches slower.


def _attend(attention: Any, vectors: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    from torch.nn.functional import scaled_dot_product_attention

    heads, output = attention.self, attention.output
    by_head = (*vectors.shape[:2], heads.num_attention_heads, heads.attention_head_size)
    mixed = scaled_dot_product_attention(
        heads.query(vectors).view(by_head).transpose(1, 2),
        heads.key(vectors).view(by_head).transpose(1, 2),
        heads.value(vectors).view(by_head).transpose(1, 2),
        mask,
    )
    return output.LayerNorm(output.dense(mixed.transpose(1, 2).flatten(2)) + vectors)


def _feed_forward(layer: Any, vectors: torch.Tensor) -> torch.Tensor:
    inner = layer.intermediate.dense(vectors).flatten(0, 1)
    inner = _activate(layer.intermediate.intermediate_act_fn, inner).view(*vectors.shape[:2], -1)
    return layer.output.LayerNorm(layer.output.dense(inner) + vectors)


def _activate(function: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
    """Apply an elementwise function to blocks of a few sizes; the last two may overlap.

    For GELU, oneDNN keeps a primitive for each shape that it meets. The primitives are small, but
    lie between the large tensors of a batch, and memory freed around them is not used again.
    """
    size = min(ACTIVATED_ROWS, 1 << (len(rows).bit_length() - 1))
    if size == len(rows):
        return function(rows)
    activated = rows.new_empty(rows.shape) if rows.requires_grad else rows  # in place
    last = function(rows[-size:])  # before any of them is changed
    for start in range(0, len(rows) - size, size):
        activated[start : start + size] = function(rows[start : start + size])
    activated[-size:] = last
    return activated
