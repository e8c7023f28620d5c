"""How the published code cuts labelled texts: a window around the gold mentions.

Texts without gold mentions are cut at their end; that is what `truncate` does. For labelled texts
the published evaluation and training choose the window by the gold mentions, so the numbers on
texts that do not fit depend on the gold. To measure or train exactly so, give the documents their
window with `set_published_window`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spacy.tokens import Doc

from ..corpora.wordpieces import Pieces
from ..encoders.windows import NO_CHARS, WINDOW_KEY

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


def window_start(doc: Doc) -> int:
    """RETURNS (int): The first wordpiece of the text that is read."""
    return int(doc.user_data.get(WINDOW_KEY, {}).get("start", 0))
