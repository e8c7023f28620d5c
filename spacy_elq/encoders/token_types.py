"""Word shapes as token types: an embedding of each shape class in a BERT-like encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .word_shapes import N_SHAPES

if TYPE_CHECKING:
    import torch


def shape_table(transformer: torch.nn.Module) -> torch.nn.Embedding | None:
    """RETURNS (Embedding | None): The transformer's embeddings of the shape classes, if any."""
    table = _type_table(transformer)
    return table if table is not None and table.num_embeddings >= N_SHAPES else None


def add_shapes(transformer: Any) -> None:
    """Give a transformer embeddings of the shape classes, if it has token types. They begin as
    copies of the type that it read all words with, so its vectors stay the same."""
    import torch

    table = _type_table(transformer)
    if table is None or table.num_embeddings >= N_SHAPES:
        return
    table.weight = torch.nn.Parameter(table.weight.detach()[:1].repeat(N_SHAPES, 1))
    table.num_embeddings = N_SHAPES
    transformer.config.type_vocab_size = N_SHAPES


def _type_table(transformer: torch.nn.Module) -> torch.nn.Embedding | None:
    import torch

    table = getattr(getattr(transformer, "embeddings", None), "token_type_embeddings", None)
    return table if isinstance(table, torch.nn.Embedding) else None
