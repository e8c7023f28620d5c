"""Gold mentions of reference documents as wordpiece spans: what the losses compare with."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from spacy.tokens import Doc

from ..encoders.windows import Window, locate_wordpieces
from ..gold import gold_spans, nil_spans

logger = logging.getLogger("spacy")


@dataclass
class Targets:
    """G gold mentions of a padded batch, in the order of windows.

    window, first, last (ndarray): Window of the batch, wordpieces (inclusive), int64 (G,).
    row (ndarray): Entity rows, int64 (G,); -1 if the mention has no entity, or one that the
        knowledge base lacks.
    """

    window: np.ndarray
    first: np.ndarray
    last: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.window)

    def select(self, chosen: np.ndarray) -> Targets:
        """RETURNS (Targets): Those that the mask `chosen` picks."""
        return Targets(self.window[chosen], self.first[chosen], self.last[chosen], self.row[chosen])


def find_targets(
    windows: Sequence[Window],
    references: Sequence[Doc],
    row_of: Callable[[str], int | None],
    problems: Counter[str],
) -> Targets:
    """Locate gold mentions in the windows whose core they begin in.

    references (Sequence[Doc]): The documents that `Window.doc` counts, with gold spans.
    row_of (Callable): Entity id → row, None for an unknown one.
    problems (Counter): Counts, by kind, the mentions that can't be learned from as they are.
    """
    gold = [
        [(s.start_char, s.end_char, s.kb_id_) for s in (*gold_spans(doc), *nil_spans(doc))]
        for doc in references
    ]
    found = []
    for w, window in enumerate(windows):
        for start, end, entity_id in gold[window.doc]:
            if not window.core[0] <= start < window.core[1]:
                continue
            place = locate_wordpieces(window, start, end)
            row = row_of(entity_id) if entity_id else None
            if place is None:
                problems["no wordpiece"] += 1
                continue
            if row is None and entity_id:
                problems["unknown entity"] += 1
            found.append((w, *place, -1 if row is None else row))
    return Targets(*np.array(found, dtype=np.int64).reshape(-1, 4).T)


def without_gold_ranks(negatives: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """The published choice of hard negatives: a rank at which one mention of a text found its gold
    entity is left out for all mentions of that text.

    negatives (ndarray): Entity rows by rank, int64 (N, K); -1 for the gold entity.
    texts (ndarray): Which text each mention is of, int64 (N,).
    RETURNS (ndarray): int64 (N, K), -1 where a rank is left out.
    """
    _, text = np.unique(texts, return_inverse=True)
    is_gold = np.zeros((len(negatives), negatives.shape[1]), dtype=bool)
    np.logical_or.at(is_gold, text, negatives < 0)
    return np.where(is_gold[text], -1, negatives)


@dataclass
class Seen:
    """What the losses were computed on.

    mentions, nil (int): Gold mentions; those that the knowledge base has no entity for.
    complete, partial (int): Texts that are annotated in full and in part.
    spans, left_out (int): Spans of the mention loss, and spans that may be mentions or not.
    """

    mentions: int = 0
    nil: int = 0
    complete: int = 0
    partial: int = 0
    spans: int = 0
    left_out: int = 0

    def log(self, problems: Counter[str]) -> None:
        """problems (Counter): Gold mentions that could not be used as they are, by kind."""
        for kind, count in problems.items():
            if count:
                logger.warning("elq: %d of %d gold mentions: %s", count, self.mentions, kind)
        if self.nil:
            logger.info("elq: %d of %d gold mentions have no entity", self.nil, self.mentions)
        if self.partial:
            logger.info(
                "elq: %d texts are annotated in full, %d in part: %d spans left out, %d learned",
                self.complete,
                self.partial,
                self.left_out,
                self.spans,
            )
