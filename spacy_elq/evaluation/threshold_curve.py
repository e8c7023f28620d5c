"""Precision and recall at every threshold, from one pass over the texts.

Overlaps are resolved best first, so whether a link stays depends only on better links: the links
that stay at a threshold are those that stay at a lower threshold and score above this one. One pass
with a low threshold therefore gives the links of all higher ones, exactly as the component would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
from spacy.tokens import Doc

from ..annotate import without_overlaps
from ..errors import ElqError, Errors
from ..gold import countable, gold_spans, triples
from ..linking.decoding import JOINT
from ..settings import FIND
from ..types import Triple
from .metrics import Match, count_matches, weak_match


@dataclass(frozen=True)
class ScoredLinks:
    """The gold mentions and the links of one text.

    links (list[Triple]): Without overlaps, best first.
    scores (list[float]): Their joint log-scores.
    """

    gold: list[Triple]
    links: list[Triple]
    scores: list[float]


@dataclass(frozen=True)
class Curve:
    """Counts at N thresholds, highest first: point i has the links with the i best scores.

    scores (ndarray): The distinct scores of links, float64 (N - 1,), descending.
    floor (float): Below all of them.
    correct, predicted (ndarray): Links, int64 (N,).
    gold (int): Gold mentions.
    """

    scores: np.ndarray
    floor: float
    correct: np.ndarray
    predicted: np.ndarray
    gold: int

    @property
    def thresholds(self) -> np.ndarray:
        """RETURNS (ndarray): A threshold for each point, float64 (N,), descending: halfway between
        scores, so that a score computed in another batch stays on the same side."""
        below = np.append(self.scores[1:], self.floor)
        middle = (self.scores + below) / 2
        highest = self.scores[0] if len(self.scores) else self.floor
        return np.append(highest, np.where(middle < self.scores, middle, below)[: len(self.scores)])

    @property
    def p(self) -> np.ndarray:
        """RETURNS (ndarray): Precision, float64 (N,); 0 without links."""
        return self.correct / np.maximum(self.predicted, 1)

    @property
    def r(self) -> np.ndarray:
        """RETURNS (ndarray): Recall, float64 (N,); 0 without gold mentions."""
        return self.correct / max(self.gold, 1)

    @property
    def f(self) -> np.ndarray:
        """RETURNS (ndarray): F1, float64 (N,)."""
        return 2 * self.correct / np.maximum(self.predicted + self.gold, 1)

    def at(self, threshold: float) -> int:
        """RETURNS (int): The point with the links above a threshold."""
        return int(np.searchsorted(-self.scores, -threshold, side="left"))

    def best(self) -> int:
        """RETURNS (int): The point with the highest F1, and of several, the highest threshold."""
        return int(self.f.argmax())

    def at_precision(self, wanted: float) -> int:
        """RETURNS (int): The point with the highest recall and a precision of at least `wanted`.
        RAISES (ElqError): If there is none."""
        reached = np.flatnonzero((self.p >= wanted) & (self.predicted > 0))
        if not len(reached):
            raise ElqError(Errors.ELQ441.format(wanted=wanted, best=float(self.p.max())))
        return int(reached[self.r[reached].argmax()])


def joint_score_decides(elq: Any) -> bool:
    """RETURNS (bool): Whether only the joint score of found mentions decides a linker's links."""
    return bool(elq.threshold_type == JOINT and elq.mentions == FIND)


@contextmanager
def links_above(elq: Any, floor: float) -> Iterator[None]:
    """Inside the `with` block, let a linker put all links above a floor into its span group.

    elq (ElqLinker): The component.
    floor (float): Joint log-score.
    RAISES (ElqError): If something else than that score decides its links.
    """
    if not joint_score_decides(elq):
        raise ElqError(
            Errors.ELQ440.format(threshold_type=elq.threshold_type, mentions=elq.mentions)
        )
    before = elq.span_group_threshold
    elq.span_group_threshold = floor
    try:
        yield
    finally:
        elq.span_group_threshold = before


def read_scored_links(doc: Doc, reference: Doc, spans_key: str) -> ScoredLinks:
    """Read the links above the floor that the set counts.

    doc (Doc): The pipeline's output.
    reference (Doc): The gold document.
    spans_key (str): The linker's span group.
    RETURNS (ScoredLinks): Gold mentions and links, by characters.
    """
    group = doc.spans[spans_key]
    spans, scores = list(group), np.array(group.attrs["scores"], dtype=float)
    order = np.argsort(-scores, kind="stable").tolist()
    best = [order[i] for i in without_overlaps((spans[j].start, spans[j].end) for j in order)]
    of_best = triples(spans[i] for i in best)
    counted = countable(of_best, reference)
    kept, links = list(compress(best, counted)), list(compress(of_best, counted))
    return ScoredLinks(triples(gold_spans(reference)), links, scores[kept].tolist())


def compute_curve(texts: Sequence[ScoredLinks], floor: float, match: Match = weak_match) -> Curve:
    """Count the links at every threshold that makes a difference.

    texts (Sequence[ScoredLinks]): Links above `floor`.
    floor (float): The lowest threshold.
    match (Match): What counts as correct.
    RETURNS (Curve): One point for each distinct score, and one without links.
    """
    ranked = sorted(
        ((score, i) for i, text in enumerate(texts) for score in text.scores), reverse=True
    )
    above = [0] * len(texts)
    matched = [0] * len(texts)
    # Score → correct and predicted links with at least that score.
    counts: dict[float, tuple[int, int]] = {}
    correct = 0
    for rank, (score, i) in enumerate(ranked, start=1):
        text, link = texts[i], texts[i].links[above[i]]
        above[i] += 1
        if any(match(gold, link) for gold in text.gold):  # no other link changes the count
            now = count_matches(text.gold, text.links[: above[i]], match)
            correct += now - matched[i]
            matched[i] = now
        counts[score] = (correct, rank)
    totals = np.array([(0, 0), *counts.values()], dtype=np.int64)
    n_gold = sum(len(text.gold) for text in texts)
    return Curve(np.array(list(counts)), floor, totals[:, 0], totals[:, 1], n_gold)


def is_correct(texts: Iterable[ScoredLinks], match: Match = weak_match) -> np.ndarray:
    """RETURNS (ndarray): Whether each link, text by text, matches a gold mention, bool (N,)."""
    return np.array(
        [any(match(gold, link) for gold in text.gold) for text in texts for link in text.links],
        dtype=bool,
    )
