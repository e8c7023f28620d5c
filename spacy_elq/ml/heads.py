"""The torch modules on top of the question encoder: mention logits, mention vectors, entity scores.

Formulas: ELQ (Li et al., EMNLP 2020), sections 3.2 (mention detection) and 3.3 (entity
disambiguation).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from ..encoders.word_shapes import N_SHAPES
from ..errors import ElqError, Errors
from .name_features import ENTITY_FEATURES, MENTION_FEATURES

MENTION_SCORERS = ("qa_linear", "qa_mlp")
MEAN = "all_avg"
AGGREGATIONS = (MEAN, "fl_avg", "all_avg_linear", "fl_linear")
# Dropout of the published "qa_mlp" scorer.
MLP_DROPOUT = 0.1
# Initial NIL cosine: about the similarity of a mention and an unrelated entity before training.
NIL_COSINE = 0.5


class MentionScorer(nn.Module):
    """Three logits for each wordpiece: it starts, ends, or is inside a mention."""

    def __init__(self, width: int, kind: str = "qa_linear") -> None:
        super().__init__()
        if kind not in MENTION_SCORERS:
            raise ElqError(Errors.ELQ110.format(name="scorer", value=kind, of=MENTION_SCORERS))
        self.layers: nn.Module = nn.Linear(width, 3)
        if kind == "qa_mlp":
            self.layers = nn.Sequential(
                nn.Linear(width, width), nn.ReLU(), nn.Dropout(MLP_DROPOUT), nn.Linear(width, 3)
            )

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """vectors (Tensor): (B, T, h). RETURNS (Tensor): float32 (B, T, 3)."""
        return self.layers(vectors).float()


class MentionPooling(nn.Module):
    """A span's wordpiece vectors → its mention vector.

    "all_avg" is the mean of all vectors, "fl_avg" the mean of the first and the last.
    "all_avg_linear" applies a linear layer to the mean, "fl_linear" to the concatenation of the
    first and the last.
    """

    def __init__(self, width: int, kind: str = MEAN) -> None:
        super().__init__()
        if kind not in AGGREGATIONS:
            raise ElqError(Errors.ELQ110.format(name="aggregation", value=kind, of=AGGREGATIONS))
        self.kind = kind
        self.linear: nn.Module = nn.Identity()
        if kind.endswith("_linear"):
            self.linear = nn.Linear(2 * width if kind == "fl_linear" else width, width)

    def forward(self, vectors: torch.Tensor, spans: np.ndarray) -> torch.Tensor:
        """Pool spans.

        vectors (Tensor): Wordpiece vectors, (B, T, h).
        spans (ndarray): Row of the batch, first and last wordpiece (inclusive), int64 (N, 3).
        RETURNS (Tensor): Mention vectors, (N, h).
        """
        if self.kind.startswith("all"):
            return self.linear(_span_means(vectors, spans))
        rows, first, last = spans.T
        ends = [vectors[_index(rows, vectors), _index(edge, vectors)] for edge in (first, last)]
        pooled = torch.cat(ends, dim=-1) if self.kind == "fl_linear" else (ends[0] + ends[1]) / 2
        return self.linear(pooled)


class MentionContext(nn.Module):
    """Mention vectors → mention vectors that include the topic of the surrounding text.

    Not in the paper. Adds a learned share of the direction of the nearby wordpieces' mean to the
    mention's direction. Sentence encoders are trained on such means, so this distinguishes
    namesakes ("jordan" near "coached" and "title") even before training.
    """

    def __init__(self, reach: int) -> None:
        """reach (int): Number of wordpieces on either side of the mention that are nearby."""
        super().__init__()
        self.reach = reach
        self.share = nn.Parameter(torch.tensor(1.0))

    def nearby_ranges(
        self, spans: np.ndarray, lengths: np.ndarray, longest: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the wordpieces near mentions.

        spans (ndarray): int64 (N, 3), as in `MentionPooling`.
        lengths (ndarray): Wordpieces of each row, int64 (B,).
        longest (int): Number of wordpieces that the rows are padded to.
        RETURNS (tuple[ndarray, ndarray]): Ranges of wordpieces, int64 (S, 3), and the index of the
            range around each mention, int64 (N,).
        """
        rows, first, last = spans.T
        if longest <= self.reach + 1:  # the whole text is near each of its mentions
            texts = np.zeros((len(lengths), 3), dtype=np.int64)
            texts[:, 0] = np.arange(len(lengths))
            texts[:, 2] = lengths - 1
            return texts, rows
        begin = np.maximum(first - self.reach, 0)
        end = np.minimum(last + self.reach, lengths[rows] - 1)
        return np.stack([rows, begin, end], axis=1), np.arange(len(spans))

    def forward(self, means: torch.Tensor, range_of: np.ndarray) -> torch.Tensor:
        """means (Tensor): Mention vectors, followed by the means of the ranges, (N + S, h).
        range_of (ndarray): Index of the range around each mention, int64 (N,).
        RETURNS (Tensor): (N, h)."""
        directions = nn.functional.normalize(means, dim=-1)
        nearby = directions[_index(range_of + len(range_of), means)]
        return directions[: len(range_of)] + self.share * nearby


class EntityScorer(nn.Module):
    """Mention vectors → query vectors, whose inner product with an entity vector is its score.

    As published, the query vector is the mention vector. With `cosine`, it is the direction of the
    mention vector times a learned scale, for entity vectors of length 1. With `nil`, there is also
    a learned NIL score: if even the best entity's cosine is below it, NIL is likelier.
    """

    def __init__(self, *, cosine: bool = False, scale: float = 20.0, nil: bool = False) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale))) if cosine else None
        self.nil_cosine = nn.Parameter(torch.tensor(NIL_COSINE)) if cosine and nil else None

    def forward(self, mentions: torch.Tensor) -> torch.Tensor:
        """mentions (Tensor): (N, h). RETURNS (Tensor): (N, h)."""
        if self.log_scale is None:
            return mentions
        return nn.functional.normalize(mentions, dim=-1) * self.log_scale.exp()

    @property
    def nil_score(self) -> torch.Tensor | None:
        """RETURNS (Tensor | None): The NIL score, a scalar; None without `nil`."""
        if self.log_scale is None or self.nil_cosine is None:
            return None
        return self.nil_cosine * self.log_scale.exp()


class FeatureWeights(nn.Module):
    """Learned weights of features, which have no effect at the start. Files of earlier releases may
    have fewer of them: the others stay without effect."""

    def __init__(self, *, optional: bool = False, **sizes: int) -> None:
        """
        optional (bool): Whether files may lack them all.
        **sizes: How many weights there are under each name.
        """
        super().__init__()
        self._optional = optional
        for name, size in sizes.items():
            setattr(self, name, nn.Parameter(torch.zeros(size)))

    def _load_from_state_dict(
        self, state_dict: dict[str, torch.Tensor], prefix: str, *args: Any
    ) -> None:
        for name, weights in self.named_parameters():
            found = state_dict.get(prefix + name, weights.new_zeros(0) if self._optional else None)
            if found is not None and found.ndim == 1 and len(found) < len(weights):
                missing = len(weights) - len(found)
                state_dict[prefix + name] = nn.functional.pad(found, (0, missing))
        super()._load_from_state_dict(state_dict, prefix, *args)


class NameWeights(FeatureWeights):
    """A bonus on a span's logit if its text is a name in the knowledge base, and a bonus on an
    entity's score if the mention is its name."""

    mention: nn.Parameter
    entity: nn.Parameter

    def __init__(self) -> None:
        super().__init__(mention=len(MENTION_FEATURES), entity=len(ENTITY_FEATURES))


class PriorWeights(FeatureWeights):
    """What scores gain by what is known without the text: that of an entity, by how popular it is
    and how often it is what the mention's name refers to; that of a span, by how often its name is
    a link."""

    popularity: nn.Parameter
    share: nn.Parameter
    link: nn.Parameter

    def __init__(self) -> None:
        # Standardised log popularity, and whether it is known; log P(entity | name); log-odds of
        # P(link | name), and whether it is known.
        super().__init__(optional=True, popularity=2, share=1, link=2)


class ShapeWeights(FeatureWeights):
    """What the class of a wordpiece's word adds to its three logits, that of the preceding word to
    its start logit, and that of the following word to its end logit. Class `NONE` adds nothing."""

    start: nn.Parameter
    end: nn.Parameter
    inside: nn.Parameter
    before: nn.Parameter
    after: nn.Parameter

    def __init__(self) -> None:
        names = ("start", "end", "inside", "before", "after")
        super().__init__(optional=True, **dict.fromkeys(names, N_SHAPES - 1))

    def forward(self, shapes: np.ndarray) -> torch.Tensor:
        """shapes (ndarray): Classes of the word, the one before and the one after it, int64
        (B, T, 3).
        RETURNS (Tensor): Start, end and inside logits, float32 (B, T, 3)."""
        table = torch.zeros(3, N_SHAPES, 3, device=self.start.device)
        table[0, 1:] = torch.stack([self.start, self.end, self.inside], dim=1)
        table[1, 1:, 0] = self.before
        table[2, 1:, 1] = self.after
        rows = _index(shapes.reshape(-1, 3) + np.arange(3) * N_SHAPES, table)
        sums = nn.functional.embedding_bag(rows, table.flatten(0, 1), mode="sum")
        return sums.view(shapes.shape)


class Heads(nn.Module):
    """Everything learned on top of the question encoder."""

    def __init__(
        self,
        width: int,
        *,
        scorer: str = "qa_linear",
        aggregation: str = MEAN,
        cosine: bool = False,
        scale: float = 20.0,
        name_features: bool = False,
        context_window: int = 0,
        nil: bool = False,
        priors: bool = False,
        word_shapes: bool = False,
    ) -> None:
        """
        width (int): Width of the question encoder's vectors, h.
        name_features (bool): Add the features of `ml.name_features` to both scores.
        context_window (int): Reach of `MentionContext`, 0 for none. Needs `cosine`, which scores
            directions: raw mention vectors have no common length.
        nil (bool): Let entities compete with NIL. Needs `cosine`: inner products of different
            mentions are not comparable.
        priors (bool): Add `PriorWeights` to both scores.
        word_shapes (bool): Add `ShapeWeights` to the mention logits.
        The other arguments are those of the modules above.
        """
        super().__init__()
        for option, value in (("context_window", context_window), ("nil", nil)):
            if value and not cosine:
                raise ElqError(Errors.ELQ116.format(name=option))
        self.mention_scorer = MentionScorer(width, scorer)
        self.pooling = MentionPooling(width, aggregation)
        self.context = MentionContext(context_window) if context_window else None
        self.entity_scorer = EntityScorer(cosine=cosine, scale=scale, nil=nil)
        self.names = NameWeights() if name_features else None
        self.priors = PriorWeights() if priors else None
        self.shapes = ShapeWeights() if word_shapes else None

    def name_weights(self) -> torch.Tensor | None:
        """RETURNS (Tensor | None): Weights of `NameMatch.of_entities`, (7,); None without names."""
        if self.names is None:
            return None
        entity = self.names.entity
        share = entity.new_zeros(1) if self.priors is None else self.priors.share
        return torch.cat([entity, share])

    def mention_logits(self, vectors: torch.Tensor, shapes: np.ndarray | None) -> torch.Tensor:
        """vectors (Tensor): (B, T, h). shapes (ndarray | None): int64 (B, T, 3), see
        `Window.shapes`.
        RETURNS (Tensor): Start, end and inside logits, float32 (B, T, 3)."""
        logits = self.mention_scorer(vectors)
        if self.shapes is None or shapes is None:
            return logits
        return logits + self.shapes(shapes)

    def queries(
        self, vectors: torch.Tensor, spans: np.ndarray, lengths: np.ndarray
    ) -> torch.Tensor:
        """vectors (Tensor): (B, T, h). spans (ndarray): int64 (N, 3), as in `MentionPooling`.
        lengths (ndarray): Wordpieces of each row, int64 (B,).
        RETURNS (Tensor): Query vectors, float32 (N, h)."""
        if self.context is None:
            return self.entity_scorer(self.pooling(vectors, spans)).float()
        near, range_of = self.context.nearby_ranges(spans, lengths, vectors.shape[1])
        if self.pooling.kind == MEAN:  # both are means: one call
            means = self.pooling(vectors, np.concatenate([spans, near]))
        else:
            means = torch.cat([self.pooling(vectors, spans), _span_means(vectors, near)])
        return self.entity_scorer(self.context(means, range_of)).float()


def torch_span_logits(
    logits: torch.Tensor, starts: torch.Tensor, ends: torch.Tensor, max_mention_length: int
) -> torch.Tensor:
    """m(i, j) = start_i + end_j + Σ inside_t: `decoding.span_logits` in torch, with gradients.

    logits (Tensor): Start, end and inside logits, float32 (B, T, 3).
    starts, ends (Tensor): Wordpieces at which a span may begin and end, bool (B, T).
    RETURNS (Tensor): float32 (B, T, max_mention_length + 1); -inf if there is no such span.
    """
    start, end, inside = logits.unbind(-1)
    sums = inside.cumsum(1)
    at_start = (start - sums + inside).masked_fill(~starts, -torch.inf)
    at_end = (end + sums).masked_fill(~ends, -torch.inf)
    at_end = nn.functional.pad(at_end, (0, max_mention_length), value=-torch.inf)
    return at_start[..., None] + at_end.unfold(1, max_mention_length + 1, 1)


def _span_means(vectors: torch.Tensor, spans: np.ndarray) -> torch.Tensor:
    """Sum directly: differences of running sums would lose digits in long windows."""
    rows, first, last = spans.T
    widths = last - first + 1
    begins = widths.cumsum() - widths
    shifts = rows * vectors.shape[1] + first - begins
    positions = np.repeat(shifts, widths)
    positions += np.arange(len(positions))
    flat = vectors.flatten(0, 1)
    return nn.functional.embedding_bag(
        _index(positions, flat), flat, _index(begins, flat), mode="mean"
    )


def _index(places: np.ndarray, of: torch.Tensor) -> torch.Tensor:
    """Indices are computed in numpy, whose small operations take a fifth of the time of torch's."""
    return torch.from_numpy(np.ascontiguousarray(places)).to(of.device)
