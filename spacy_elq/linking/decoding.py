"""Logits → spans → thresholds: the published inference (ELQ, section 3.4), in plain numpy.

Positions are wordpieces of a window, [CLS] = 0, and both ends of a span are inclusive. Details of
the published code that are not in the paper are kept: strict comparisons, spans one wordpiece wider
than the limit, and the fallback when no span passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field

from ..settings import Count, Number, Settings

JOINT: Final = "joint"
TOP_ENTITY: Final = "top_entity_by_mention"
BOTH = "thresholded_entity_by_mention"
NAMES: Final = "names"


class DecodingSettings(Settings):
    """What decides which spans become links.

    threshold (float): Links need a joint log-score above it.
    mention_threshold (float): Used by the threshold types other than "joint".
    threshold_type (str): "joint": the joint log-score decides. "top_entity_by_mention": the
        mention's raw logit decides, entity scores only rank, overlaps stay.
        "thresholded_entity_by_mention": the raw logit, and `threshold` on the raw entity score.
    top_k (int): Entities retrieved for a mention, K.
    num_cand_mentions (int): Maximum number of spans of a window that are considered.
    max_mention_length (int): Maximum of last minus first wordpiece of a mention; a mention may
        have one wordpiece more than this number, as in the published code.
    special_tokens (bool): Let [CLS] and [SEP] be part of mentions, as the published code does.
    word_boundaries (bool): Consider only spans that begin and end where words do.
    mention_kinds (str): "names": in texts that use case, consider only spans that have a capital or
        a digit, so that "the president" is left out; and link no mention with a capital to an
        entity whose title has none. "all": concepts and roles too, as if most titles in the
        knowledge base are without capitals.
    document_weight (float): How much the mentions of a document tell each other: later short forms
        of a name, and names that occur again. 0 for mentions that are linked each on its own.
    abbreviations (bool): Link the short forms that a text defines, as in "amyotrophic lateral
        sclerosis (ALS)", to what their long form is linked to.
    """

    threshold: Number = -1.7
    mention_threshold: Number = -0.6931
    threshold_type: Literal["joint", "top_entity_by_mention", "thresholded_entity_by_mention"] = (
        JOINT
    )
    top_k: Count = 10
    num_cand_mentions: Count = 50
    max_mention_length: Annotated[int, Field(ge=0)] = 10
    special_tokens: bool = False
    word_boundaries: bool = True
    mention_kinds: Literal["names", "all"] = NAMES
    document_weight: Annotated[Number, Field(ge=0)] = 1.0
    abbreviations: bool = False

    @property
    def pruning_threshold(self) -> float:
        """RETURNS (float): The threshold on log P(mention) for a span to be considered."""
        return self.threshold if self.threshold_type == JOINT else self.mention_threshold


@dataclass(frozen=True)
class WordpieceSpans:
    """N spans of a batch, sorted by window, first and last wordpiece.

    window (ndarray): Row of the batch, int64 (N,).
    first, last (ndarray): Wordpieces, inclusive, int64 (N,).
    logit (ndarray): Span logits m(i, j), float32 (N,).
    """

    window: np.ndarray
    first: np.ndarray
    last: np.ndarray
    logit: np.ndarray

    def __len__(self) -> int:
        return len(self.window)

    def places(self) -> list[tuple[int, int, int]]:
        """RETURNS (list[tuple[int, int, int]]): Window, first and last wordpiece of each span."""
        return list(zip(self.window.tolist(), self.first.tolist(), self.last.tolist(), strict=True))

    def select(self, chosen: list[int]) -> WordpieceSpans:
        """RETURNS (WordpieceSpans): The spans at these positions."""
        return WordpieceSpans(*(values[chosen] for values in vars(self).values()))


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    """RETURNS (ndarray): log σ(x), without overflow; -inf at -inf."""
    return -np.logaddexp(0, -x)


def log_softmax(x: np.ndarray) -> np.ndarray:
    """RETURNS (ndarray): log softmax over the last axis; -inf entries are ignored and stay -inf."""
    with np.errstate(invalid="ignore"):
        total = np.logaddexp.reduce(x, axis=-1, keepdims=True, initial=-np.inf)
        return np.where(x > -np.inf, x - total, -np.inf)


def span_logits(
    logits: np.ndarray, starts: np.ndarray, ends: np.ndarray, max_mention_length: int
) -> np.ndarray:
    """m(i, j) = start_i + end_j + Σ inside_t, t = i..j.

    logits (ndarray): Start, end and inside logits, float32 (B, T, 3).
    starts, ends (ndarray): Wordpieces at which a span may begin and end, bool (B, T).
    RETURNS (ndarray): float32 (B, T, W), W = max_mention_length + 1: the logit of the span that
        begins at i and ends at i + w; -inf if there is no such span.
    """
    n_windows, length, _ = logits.shape
    sums = np.zeros((n_windows, length + 1), dtype=np.float32)
    np.cumsum(logits[..., 2], axis=1, out=sums[:, 1:])
    at_start = np.where(starts, logits[..., 0] - sums[:, :-1], -np.inf)
    at_end = np.full((n_windows, length + max_mention_length), -np.inf, dtype=np.float32)
    at_end[:, :length] = np.where(ends, logits[..., 1] + sums[:, 1:], -np.inf)
    ends_of = np.arange(length)[:, None] + np.arange(max_mention_length + 1)
    return (at_start[..., None] + at_end[:, ends_of]).astype(np.float32, copy=False)


def select_spans(
    scores: np.ndarray,
    settings: DecodingSettings,
    names: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> WordpieceSpans:
    """Select the spans to look entities up for.

    Candidates are the `num_cand_mentions` highest-scoring spans of each window, and the spans that
    are names in the knowledge base. Those whose log P(mention) exceeds the threshold are selected.
    If no span of a window passes, keep them all. In "joint" mode this could never produce a link,
    so it is skipped.

    scores (ndarray): From `span_logits`, float32 (B, T, W).
    names (tuple[ndarray, ndarray, ndarray] | None): Window, first wordpiece and width of the spans
        that are names, each int64 (n,).
    """
    n_windows, length, widths = scores.shape
    flat = scores.reshape(n_windows, length * widths)
    chosen = _among_highest(flat, settings.num_cand_mentions)
    if names is not None:
        chosen.reshape(scores.shape)[names] = True
    passed = (flat > -np.inf) & chosen
    above = passed & (log_sigmoid(flat) > settings.pruning_threshold)
    if settings.threshold_type != JOINT:
        above |= passed & ~above.any(axis=1, keepdims=True)
    window, cell = np.nonzero(above)
    first, width = np.divmod(cell, widths)
    return WordpieceSpans(window, first, first + width, flat[window, cell])


def passes_thresholds(
    settings: DecodingSettings, logit: np.ndarray, joint: np.ndarray, raw: np.ndarray
) -> np.ndarray:
    """Decide which mentions are linked to their best entity.

    logit (ndarray): Span logits, float (N,).
    joint (ndarray): Joint log-score of each span's best entity, float (N,).
    raw (ndarray): Raw score of that entity, float (N,).
    RETURNS (ndarray): bool (N,).
    """
    if settings.threshold_type == JOINT:
        return joint > settings.threshold
    # The published code compares the raw logit, not its log-probability, with this threshold.
    mention = logit > settings.mention_threshold
    if settings.threshold_type == TOP_ENTITY:
        return mention
    return mention & (raw > settings.threshold)


def _among_highest(flat: np.ndarray, n: int) -> np.ndarray:
    if flat.shape[1] <= n:
        return np.ones(flat.shape, dtype=bool)
    chosen = np.zeros(flat.shape, dtype=bool)
    chosen[np.arange(len(flat))[:, None], np.argpartition(-flat, n - 1, axis=1)[:, :n]] = True
    return chosen
