"""The published evaluation: counts of right links, with what it does to the gold on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..evaluation.metrics import PRF, count_matches, strong_match, weak_match
from ..types import Triple
from .windows import PublishedWindow, Range


@dataclass
class PublishedCounts:
    """Micro counts over texts.

    weak, strong (PRF): Against all gold mentions.
    weak_in_window, strong_in_window (PRF): Against those that were in the window that was read.
    """

    weak: PRF = field(default_factory=PRF)
    strong: PRF = field(default_factory=PRF)
    weak_in_window: PRF = field(default_factory=PRF)
    strong_in_window: PRF = field(default_factory=PRF)

    def add(
        self,
        labels: Sequence[str],
        mentions: Sequence[Range],
        predicted: Sequence[Triple],
        window: PublishedWindow,
        *,
        as_published: bool = False,
    ) -> None:
        """Add one text.

        labels (Sequence[str]): Gold entities, named as in `predicted`.
        mentions (Sequence[tuple[int, int]]): Gold mentions in wordpieces, end exclusive.
        predicted (Sequence[tuple[str, int, int]]): Links in wordpieces of the text.
        window (PublishedWindow): That the text was read in.
        as_published (bool): Change the gold as the published code does by mistake: see
            `mutated_gold`. Off, every gold mention counts, where it is.
        """
        all_gold = list(zip(labels, mentions, strict=True))
        gold: list[Triple] = [(label, start, end) for label, (start, end) in all_gold]
        kept: list[Triple] = [
            (labels[i], start, end)
            for i, (start, end) in zip(window.order, window.seen, strict=True)
        ]
        if as_published:
            gold = mutated_gold(labels, mentions, window)
        for prf, match in ((self.weak, weak_match), (self.strong, strong_match)):
            prf.add(count_matches(gold, predicted, match), len(predicted), len(gold))
        inside = ((self.weak_in_window, weak_match), (self.strong_in_window, strong_match))
        for prf, match in inside:
            prf.add(count_matches(kept, predicted, match), len(predicted), len(kept))


def mutated_gold(
    labels: Sequence[str], mentions: Sequence[Range], window: PublishedWindow
) -> list[Triple]:
    """The gold that the published code scores against: it cuts the window out of the labels
    themselves, so that mentions which were left out are no longer counted as missed, and where
    none was, all mentions stand where they are in the window, while predictions stand where they
    are in the text.

    RETURNS (list[Triple]): Entity and wordpieces of each.
    """
    kept = [labels[i] for i in window.order]
    places = window.mentions
    if len(kept) == len(mentions):
        places = tuple((start - window.start, end - window.start) for start, end in places)
    return [(label, *place) for label, place in zip(kept, places, strict=True)]
