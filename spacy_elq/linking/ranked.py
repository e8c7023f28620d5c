"""Mentions with their ranked entities, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from .decoding import DecodingSettings, passes_thresholds


@dataclass(frozen=True)
class RankedMentions:
    """N mentions of a batch of documents with their candidates, best first.

    doc (ndarray): Index of the document, int64 (N,).
    first, last (ndarray): Wordpieces of the window, inclusive, int64 (N,).
    chars (ndarray): Characters, int64 (N, 2), end exclusive: as given, or of the wordpieces;
        `NO_CHARS` for a mention of special tokens alone.
    given (ndarray): Index among the document's given mentions, int64 (N,); -1 for found mentions.
    logit (ndarray): Span logits, float32 (N,).
    mention_score (ndarray): log P(mention), float (N,); 0 for given mentions.
    rows (ndarray): Entity rows, int64 (N, C); padded with -1 if a mention has fewer candidates.
    raw_scores (ndarray): Entity scores, float32 (N, C); -inf for padding.
    entity_scores (ndarray): log P(entity | mention), float (N, C).
    nil_score (ndarray): log P(NIL | mention), float (N,); -inf for models without a NIL score.
    """

    doc: np.ndarray
    first: np.ndarray
    last: np.ndarray
    chars: np.ndarray
    given: np.ndarray
    logit: np.ndarray
    mention_score: np.ndarray
    rows: np.ndarray
    raw_scores: np.ndarray
    entity_scores: np.ndarray
    nil_score: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[RankedMentions]) -> RankedMentions:
        """RETURNS (RankedMentions): The mentions of all parts, of which there is at least one."""
        if len(parts) == 1:
            return parts[0]
        width = max(part.rows.shape[1] for part in parts)
        wide = [part.widened(width) for part in parts]
        return cls(*(np.concatenate([getattr(x, f.name) for x in wide]) for f in fields(cls)))

    def widened(self, width: int) -> RankedMentions:
        """RETURNS (RankedMentions): The same with room for `width` candidates of each."""
        missing = (0, 0), (0, width - self.rows.shape[1])
        raw, scores = (
            np.pad(values, missing, constant_values=-np.inf)
            for values in (self.raw_scores, self.entity_scores)
        )
        rows = np.pad(self.rows, missing, constant_values=-1)
        return replace(self, rows=rows, raw_scores=raw, entity_scores=scores)

    def __len__(self) -> int:
        return len(self.doc)

    @property
    def joint(self) -> np.ndarray:
        """RETURNS (ndarray): Joint log-score of each mention's best entity, float (N,)."""
        return self.mention_score + self.entity_scores[:, 0]

    def passes(self, settings: DecodingSettings) -> np.ndarray:
        """RETURNS (ndarray): True for mentions that pass the thresholds, bool (N,)."""
        # Given mentions pass the mention threshold, whatever the model thinks of them.
        logit = np.where(self.given >= 0, np.inf, self.logit)
        passed = passes_thresholds(settings, logit, self.joint, self.raw_scores[:, 0])
        return passed & (self.rows[:, 0] >= 0)

    def select(self, chosen: np.ndarray | list[int]) -> RankedMentions:
        """RETURNS (RankedMentions): The mentions that a mask or a list of positions selects."""
        return RankedMentions(*(getattr(self, field.name)[chosen] for field in fields(self)))
