"""The published evaluation: windows around the gold mentions of labelled texts, and its counts.

The published code cuts unlabelled texts at their end, as `truncate` does. For labelled texts its
evaluation and training choose a window by the gold mentions, so its numbers on texts that do not
fit depend on the gold. `set_published_window` makes the component read that window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from spacy.tokens import Doc

from spacy_elq.corpora.wordpieces import Pieces
from spacy_elq.encoders.windows import NO_CHARS, WINDOW_KEY
from spacy_elq.evaluation.metrics import PRF, count_matches, strong_match, weak_match
from spacy_elq.types import Triple

# [CLS] and [SEP].
SPECIALS = 2
Range = tuple[int, int]


@dataclass(frozen=True)
class PublishedWindow:
    """The part of a text that the published code reads.

    start, stop (int): Wordpieces of the text, end exclusive.
    mentions (tuple): The gold mentions that were kept, first those that begin first: wordpieces of
        the text, end exclusive. One that is longer than the window is cut.
    order (tuple[int, ...]): Which of the given mentions each of them is.
    max_length (int): Wordpieces of a window, special tokens counted.
    """

    start: int
    stop: int
    mentions: tuple[Range, ...]
    order: tuple[int, ...]
    max_length: int

    @property
    def seen(self) -> tuple[Range, ...]:
        """RETURNS (tuple): The mentions, none beyond the end of a full window's [SEP]: one that
        others lie within may go on outside of the window."""
        last = self.start + self.max_length - SPECIALS
        return tuple((min(start, last), min(end, last + 1)) for start, end in self.mentions)


def published_window(n_pieces: int, mentions: Sequence[Range], max_length: int) -> PublishedWindow:
    """Choose the window of a labelled text.

    From the first mention to the end of the last one, as many of the last left out as need be;
    what room is left goes to both sides, a wordpiece more to the right, and what one side does not
    need goes to the other.

    n_pieces (int): Wordpieces of the text, special tokens not counted.
    mentions (Sequence[tuple[int, int]]): Gold mentions in wordpieces, end exclusive.
    max_length (int): Wordpieces of a window, special tokens counted.
    """
    room = max_length - SPECIALS
    order = sorted(range(len(mentions)), key=lambda i: tuple(mentions[i]))
    if not order:
        return PublishedWindow(0, min(n_pieces, room), (), (), max_length)
    first = mentions[order[0]][0]
    # The end of the mention that begins last, even where an earlier one ends later.
    while len(order) > 1 and mentions[order[-1]][1] - first > room:
        order.pop()
    kept = [(mentions[i][0], mentions[i][1]) for i in order]
    if kept[-1][1] - first > room:
        kept[-1] = (first, first + room)
    last = min(kept[-1][1], n_pieces)
    left, right = _sides(first, last, n_pieces, max_length)
    return PublishedWindow(first - left, last + right, tuple(kept), tuple(order), max_length)


def _sides(first: int, last: int, n_pieces: int, max_length: int) -> tuple[int, int]:
    """How many wordpieces are read before and after the mentions."""
    width = last - first
    left_quota = (max_length - width) // 2 - 1
    right_quota = max_length - width - left_quota - SPECIALS
    left, right = first, n_pieces - last
    if left <= left_quota and right > right_quota:
        right_quota += left_quota - left
    elif left > left_quota and right <= right_quota:
        left_quota += right_quota - right
    return min(left, max(left_quota, 0)), min(right, max(right_quota, 0))


def set_published_window(
    doc: Doc, pieces: Pieces, mentions: Sequence[Range], max_length: int, specials: Range
) -> PublishedWindow:
    """Let a document be read in the published window, by the component's own encoder.

    pieces (Pieces): The wordpieces of its text.
    mentions (Sequence[tuple[int, int]]): Gold mentions in wordpieces, end exclusive.
    max_length (int): Wordpieces of a window, special tokens counted.
    specials (tuple[int, int]): The ids of [CLS] and [SEP].
    RETURNS (PublishedWindow): What was chosen.
    """
    window = published_window(len(pieces.ids), mentions, max_length)
    inside = slice(window.start, window.stop)
    nothing = [NO_CHARS, NO_CHARS]
    doc.user_data[WINDOW_KEY] = {
        "ids": [specials[0], *pieces.ids[inside], specials[1]],
        "chars": [nothing, *pieces.chars[inside].tolist(), nothing],
        "start": window.start,
    }
    return window


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
