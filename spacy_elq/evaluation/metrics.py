"""The published ELQ measures, on plain (id, start, end) triples.

A prediction matches a gold mention *weakly* if it names the same entity and overlaps it, *strongly*
if it also has the same bounds. The number of matches is the length of the longest common
subsequence of both lists, each sorted by the end of its mentions (a stable sort). So every mention
is matched at most once, and matches never cross: if two weak matches would, as with gold X[0,10)
Y[2,5) and predicted X[0,4) Y[2,6), only one counts. Lists without overlapping mentions never lose a
strong match that way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..types import Triple

Match = Callable[[Triple, Triple], bool]


def same_entity(one: str, other: str) -> bool:
    """RETURNS (bool): Whether two ids are equal, case aside: the published comparison."""
    return one.lower() == other.lower()


def overlaps(gold: Triple, predicted: Triple) -> bool:
    """RETURNS (bool): Whether the two half-open ranges share a position."""
    return gold[1] < predicted[2] and predicted[1] < gold[2]


def same_bounds(gold: Triple, predicted: Triple) -> bool:
    """RETURNS (bool): Whether the two ranges are equal."""
    return gold[1:] == predicted[1:]


def weak_match(gold: Triple, predicted: Triple) -> bool:
    """RETURNS (bool): Same entity (case aside) and overlapping ranges."""
    return same_entity(gold[0], predicted[0]) and overlaps(gold, predicted)


def strong_match(gold: Triple, predicted: Triple) -> bool:
    """RETURNS (bool): Same entity (case aside) and equal ranges."""
    return same_entity(gold[0], predicted[0]) and same_bounds(gold, predicted)


def count_matches(gold: Sequence[Triple], predicted: Sequence[Triple], match: Match) -> int:
    """The length of the longest common subsequence after sorting both lists by end.

    gold (Sequence[Triple]): The gold mentions of one text.
    predicted (Sequence[Triple]): The predicted mentions of the same text.
    match (Match): Which pairs are equal.
    RETURNS (int): The number of matches, one to one.
    """
    columns = sorted(predicted, key=_end)
    # best[j]: matches among the gold mentions so far and the first j predictions.
    best = [0] * (len(columns) + 1)
    for row in sorted(gold, key=_end):
        diagonal = 0
        for j, column in enumerate(columns, start=1):
            above = best[j]
            best[j] = diagonal + 1 if match(row, column) else max(above, best[j - 1])
            diagonal = above
    return best[-1]


def _end(triple: Triple) -> int:
    return triple[2]


@dataclass
class PRF:
    """Counts summed over texts, and the precision, recall and F1 of the sums.

    correct (int): Correct predictions.
    found (int): Gold mentions that were found; equals `correct` in one-to-one counts.
    predicted (int): Predictions.
    gold (int): Gold mentions.
    """

    correct: int = 0
    found: int = 0
    predicted: int = 0
    gold: int = 0

    def add(self, correct: int, predicted: int, gold: int, *, found: int | None = None) -> None:
        """Add the counts of one text; `found` is `correct` unless given."""
        self.correct += correct
        self.found += correct if found is None else found
        self.predicted += predicted
        self.gold += gold

    @property
    def p(self) -> float:
        """RETURNS (float): Precision, 0 without predictions."""
        return _ratio(self.correct, self.predicted)

    @property
    def r(self) -> float:
        """RETURNS (float): Recall, 0 without gold mentions."""
        return _ratio(self.found, self.gold)

    @property
    def f(self) -> float:
        """RETURNS (float): Harmonic mean of precision and recall, 0 if both are 0."""
        return _ratio(2 * self.p * self.r, self.p + self.r)


@dataclass
class LinkMetrics:
    """All measures of a set of texts, summed text by text.

    weak, strong (PRF): The published measures.
    mention_overlap (PRF): Mention detection, whatever the entity: the share of gold mentions that
        a prediction overlaps (recall), of predictions that overlap a gold mention (precision).
    mention_exact (PRF): Mention detection with equal bounds, one to one.
    texts (int): Texts added.
    unlinked (int): Texts without any prediction.
    """

    weak: PRF = field(default_factory=PRF)
    strong: PRF = field(default_factory=PRF)
    mention_overlap: PRF = field(default_factory=PRF)
    mention_exact: PRF = field(default_factory=PRF)
    texts: int = 0
    unlinked: int = 0

    def add(self, gold: Sequence[Triple], predicted: Sequence[Triple]) -> None:
        """Add one text.

        gold (Sequence[Triple]): Its gold mentions.
        predicted (Sequence[Triple]): The predicted ones, in the same unit of offsets.
        """
        sizes = (len(predicted), len(gold))
        self.weak.add(count_matches(gold, predicted, weak_match), *sizes)
        self.strong.add(count_matches(gold, predicted, strong_match), *sizes)
        self.mention_exact.add(count_matches(gold, predicted, same_bounds), *sizes)
        self.mention_overlap.add(
            sum(any(overlaps(g, p) for g in gold) for p in predicted),
            *sizes,
            found=sum(any(overlaps(g, p) for p in predicted) for g in gold),
        )
        self.texts += 1
        self.unlinked += not predicted

    @property
    def links_per_text(self) -> float:
        """RETURNS (float): Predictions per text."""
        return _ratio(self.weak.predicted, self.texts)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0
