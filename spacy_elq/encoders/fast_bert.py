"""A padded batch of wordpieces → last-layer vectors.

In inference, BERT models run here instead of in transformers' `forward`. The same modules run in
the same order, but without the overhead of `forward` (masks, keyword arguments, output records),
which takes a fifth of the time of a short text; and on a CPU without the padding, which takes a
sixth of the time of a few texts: linear layers see the real wordpieces alone, one below the other,
and attention those of texts of equal length together. Without padding, the vectors are the same bit
for bit.

This depends on internals of the pinned transformers release. Delete it with the move to
transformers 5, and let `last_layer` always call the transformer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

# Models that consist of embeddings and layers of attention and feed-forward modules.
STACKS = ("BertModel", "RobertaModel", "XLMRobertaModel")
# Devices on which padding costs more than an attention kernel for each length.
WITHOUT_PADDING = ("cpu",)
# Wordpieces that an activation function takes at most at once: a power of two.
ACTIVATED_ROWS = 128
# Least step between numbers of rows; above 64, a sixteenth of the largest power of two in them.
ROW_STEP = 4


def last_layer(
    transformer: Any, ids: np.ndarray, mask: np.ndarray, types: np.ndarray | None = None
) -> torch.Tensor:
    """Run a transformer in its current mode (training or evaluation).

    transformer (PreTrainedModel): Any model that takes `input_ids` and `attention_mask`.
    ids (ndarray): Wordpiece ids, int64 (B, T).
    mask (ndarray): True for wordpieces, False for padding, bool (B, T).
    types (ndarray | None): Token types, int64 (B, T); None for zeros, or for a model without them.
    RETURNS (Tensor): (B, T, h), on the transformer's device; zeros or anything else for padding.
    """
    import torch

    device = transformer.device
    inputs = {"input_ids": torch.from_numpy(ids).to(device)}
    if types is not None:
        inputs["token_type_ids"] = torch.from_numpy(types).to(device)
    if _is_stack(transformer):
        return _run_stack(transformer, inputs, mask)
    # Without padding, attention needs no mask.
    attended = None if mask.all() else torch.from_numpy(mask).long().to(device)
    return transformer(**inputs, attention_mask=attended).last_hidden_state


def computes_padding(transformer: Any) -> bool:
    """RETURNS (bool): Whether `last_layer` takes time for padding, in the transformer's mode."""
    return not _is_stack(transformer) or transformer.device.type not in WITHOUT_PADDING


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


class Runs(NamedTuple):
    """Wordpieces of several texts, one below the other, as rows (N, h).

    sizes (list[tuple[int, int]]): Number of texts of equal length that follow each other, and their
        length.
    mask (Tensor | None): If there is only one such run, which may have padding: True for wordpieces
        to attend to, bool (B, 1, T, T).
    """

    sizes: list[tuple[int, int]]
    mask: torch.Tensor | None = None


def _run_stack(transformer: Any, inputs: dict[str, torch.Tensor], mask: np.ndarray) -> torch.Tensor:
    """inputs (dict): Of the embeddings.
    mask (ndarray): True for wordpieces, False for padding, bool (B, T)."""
    import torch

    padded = transformer.embeddings(**inputs)
    rows, shape = padded.flatten(0, 1), padded.shape
    if mask.all():
        return _run_layers(transformer, rows, Runs([mask.shape])).view(shape)
    if padded.device.type not in WITHOUT_PADDING:
        attended = torch.from_numpy(mask).to(padded.device)[:, None, None, :]
        runs = Runs([mask.shape], attended.expand(-1, 1, shape[1], -1))
        return _run_layers(transformer, rows, runs).view(shape)
    places, runs = _without_padding(mask)
    vectors = _run_layers(transformer, rows[places], runs)
    return torch.zeros_like(rows, dtype=vectors.dtype).index_copy(0, places, vectors).view(shape)


def _without_padding(mask: np.ndarray) -> tuple[torch.Tensor, Runs]:
    """RETURNS (tuple[Tensor, Runs]): Which of B × T rows are real wordpieces, int64 (N,), the
    longest texts first; and the runs of texts of equal length among these."""
    import torch

    lengths = mask.sum(axis=1)
    order = np.argsort(-lengths, kind="stable")
    rows = np.arange(mask.size).reshape(mask.shape)
    places = torch.from_numpy(rows[order][mask[order]])
    sizes, counts = np.unique(-lengths, return_counts=True)
    return places, Runs(list(zip(counts.tolist(), (-sizes).tolist(), strict=True)))


def _run_layers(transformer: Any, rows: torch.Tensor, runs: Runs) -> torch.Tensor:
    """rows (Tensor): (N, h). RETURNS (Tensor): (N, h)."""
    length = len(rows)
    rows = _fill(rows, _fillers(rows))
    for layer in transformer.encoder.layer:
        rows = _attend(layer.attention, rows, runs)
        rows = _feed_forward(layer, rows)
    return rows[:length]


def _fillers(rows: torch.Tensor) -> int:
    """RETURNS (int): How many rows to add, so that linear layers meet few numbers of rows.

    In bfloat16 on a CPU, oneDNN keeps code for each number that it meets: .6 MB, and half of that
    even after it has forgotten the number.
    """
    import torch

    if rows.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return 0
    step = (1 << len(rows).bit_length()) >> 5
    return -len(rows) % max(ROW_STEP, step)


def _fill(rows: torch.Tensor, count: int) -> torch.Tensor:
    """RETURNS (Tensor): The rows, and so many zeros below them, which no text attends to."""
    from torch.nn.functional import pad

    return pad(rows, (0, 0, 0, count)) if count else rows


# Separate functions, so that their tensors are freed and reused before the next step: new memory
# makes batches slower.


def _attend(attention: Any, rows: torch.Tensor, runs: Runs) -> torch.Tensor:
    output = attention.output
    return output.LayerNorm(output.dense(_mix(attention.self, rows, runs)) + rows)


def _mix(heads: Any, rows: torch.Tensor, runs: Runs) -> torch.Tensor:
    """RETURNS (Tensor): For each row, what attention takes from the rows of its text, (N, h)."""
    import torch

    counts = [count * length for count, length in runs.sizes]
    length = sum(counts)
    projected = [layer(rows)[:length] for layer in (heads.query, heads.key, heads.value)]
    if len(counts) == 1:
        mixed = _mix_run(heads, projected, runs.sizes[0], runs.mask)
    else:
        of_runs = zip(*(each.split(counts) for each in projected), strict=True)
        sized = zip(of_runs, runs.sizes, strict=True)
        mixed = torch.cat([_mix_run(heads, run, size, None) for run, size in sized])
    return _fill(mixed, len(rows) - length)


def _mix_run(
    heads: Any,
    projected: Iterable[torch.Tensor],
    size: tuple[int, int],
    mask: torch.Tensor | None,
) -> torch.Tensor:
    """projected (Iterable[Tensor]): Queries, keys and values of texts of equal length."""
    from torch.nn.functional import scaled_dot_product_attention

    by_head = (*size, heads.num_attention_heads, heads.attention_head_size)
    query, key, value = (rows.view(by_head).transpose(1, 2) for rows in projected)
    mixed = scaled_dot_product_attention(query, key, value, mask)
    return mixed.transpose(1, 2).flatten(2).flatten(0, 1)


def _feed_forward(layer: Any, rows: torch.Tensor) -> torch.Tensor:
    inner = _activate(layer.intermediate.intermediate_act_fn, layer.intermediate.dense(rows))
    return layer.output.LayerNorm(layer.output.dense(inner) + rows)


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
