"""The training losses (ELQ, section 3.5): mention loss + entity loss, both means."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class MeanLoss:
    """A loss of a batch, or of this process's share of it.

    mean (Tensor): Scalar.
    count (int): Of how many spans, texts or mentions it is the mean.
    """

    mean: torch.Tensor
    count: int


def mention_loss(
    logits: torch.Tensor,
    gold: torch.Tensor,
    *,
    left_out: torch.Tensor | None = None,
    reduction: str = "mean",
) -> torch.Tensor:
    """Binary cross-entropy over every candidate span of the batch.

    logits (Tensor): Span logits, any shape; -inf where there is no span, which is left out.
    gold (Tensor): True at gold spans, same shape.
    left_out (Tensor | None): True at spans that are left out too, same shape.
    reduction (str): "mean", as published, or "sum".
    RETURNS (Tensor): Scalar.
    """
    real = logits > -torch.inf
    if left_out is not None:
        real &= ~left_out
    if not real.any():  # the mean of nothing is NaN
        return torch.where(real, logits, 0).sum()
    targets = gold[real].to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits[real], targets, reduction=reduction)


def context_loss(vectors: torch.Tensor, before: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """How far the direction of each text's mean vector has moved, 1 - cosine, on average.

    vectors, before (Tensor): Wordpiece vectors, now and when training began, (B, T, h).
    mask (Tensor): True at wordpieces, bool (B, T).
    RETURNS (Tensor): Scalar.
    """
    real = mask[..., None].to(vectors.dtype)
    # The cosine ignores lengths, so sums serve as means.
    return 1 - F.cosine_similarity((vectors * real).sum(1), (before * real).sum(1)).mean()


def with_nil(
    scores: torch.Tensor, gold: torch.Tensor, nil: torch.Tensor, hidden: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Let entities compete with NIL, no entity at all.

    scores (Tensor): (N, E).
    gold (Tensor): Gold column of each mention, int64 (N,); -1 if it has none, so that NIL is right.
    nil (Tensor): Score of NIL, scalar.
    hidden (Tensor): Mentions whose gold entity is removed, so that NIL is right, bool (N,).
    RETURNS (tuple[Tensor, Tensor]): Scores, (N, E + 1), the last column for NIL, and the gold
        columns, int64 (N,).
    """
    gone = (hidden & (gold >= 0)).nonzero()[:, 0]
    left = scores.index_put((gone, gold[gone]), scores.new_tensor(-torch.inf))
    gold = torch.where(hidden | (gold < 0), scores.shape[1], gold)
    return torch.cat([left, nil.expand(len(scores), 1)], dim=1), gold


def in_batch_scores(
    queries: torch.Tensor,
    entities: torch.Tensor,
    ids: torch.Tensor,
    gold: torch.Tensor,
    *,
    exact: bool = False,
) -> torch.Tensor:
    """Scores of each gold mention against the gold entities of the batch.

    queries (Tensor): Query vectors of N gold mentions, (N, h).
    entities (Tensor): Vectors of the entities of these and other mentions, (M, h).
    ids (Tensor): Row of each entity, int64 (M,).
    gold (Tensor): Column of each mention's own entity, int64 (N,).
    exact (bool): Count another mention's copy of the same entity as a negative, as the published
        code does; else copies are left out.
    RETURNS (Tensor): (N, M).
    """
    scores = queries @ entities.T
    if exact:
        return scores
    copies = (ids[gold][:, None] == ids).scatter(1, gold[:, None], False)
    return scores.masked_fill(copies, -torch.inf)


def hard_negatives_loss(scores: torch.Tensor, gold: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy over the gold entities and their nearest neighbours in the index.

    scores (Tensor): Entity score of each (mention, entity) pair, (P,).
    gold (Tensor): True where the entity is the mention's gold one, (P,).
    RETURNS (Tensor): Scalar.
    """
    if not len(scores):  # the mean of nothing is NaN
        return scores.sum()
    return F.binary_cross_entropy_with_logits(scores, gold.to(scores.dtype))


def softmax_loss(scores: torch.Tensor, gold: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the gold entity of each mention against all others.

    scores (Tensor): (N, E), from `EntityMatrix.scores` or `in_batch_scores`.
    gold (Tensor): Gold column of each mention, int64 (N,).
    RETURNS (Tensor): Scalar.
    """
    return F.cross_entropy(scores, gold)


class EntityMatrix:
    """All entity vectors of a small knowledge base, for scoring every entity in training.

    An entity's score is that of its best vector, so gradients flow through that vector's score
    alone. The vectors themselves are constants.
    """

    def __init__(self, vectors: torch.Tensor, owners: torch.Tensor, n_entities: int) -> None:
        """
        vectors (Tensor): (V, h), grouped by entity; products are taken in their type.
        owners (Tensor): Entity of each vector, int64 (V,), ascending.
        n_entities (int): E; entities without a vector score -inf.
        """
        counts = torch.bincount(owners, minlength=n_entities)
        self._first = (counts.cumsum(0) - counts).clamp(max=max(len(owners) - 1, 0))
        self._missing = counts == 0
        others = torch.ones(len(owners), dtype=torch.bool, device=owners.device)
        others[self._first[~self._missing]] = False
        self._others = others.nonzero()[:, 0]
        self._other_owners = owners[self._others]
        self._transposed = vectors.T.contiguous()

    def scores(self, queries: torch.Tensor) -> torch.Tensor:
        """queries (Tensor): (N, h).
        RETURNS (Tensor): Score of each entity's best vector, float32 (N, E)."""
        products = (queries.to(self._transposed.dtype) @ self._transposed).float()
        best = products[:, self._first].masked_fill(self._missing, -torch.inf)
        owners = self._other_owners.expand(len(queries), -1)
        return best.scatter_reduce(1, owners, products[:, self._others], "amax")
