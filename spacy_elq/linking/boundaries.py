"""The wordpieces of a window at which a mention may begin and end."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..encoders.windows import NO_CHARS, WHOLE_TEXT, Window
from ..kb.files.names import Word, WordsOf, continues_korean, word_finder
from ..spelling import is_symbol, last_base

# Unicode categories.
_OPENING = ("Ps", "Pi", "Pd")


def boundary_masks(
    windows: Sequence[Window],
    texts: Sequence[str],
    mask: np.ndarray,
    *,
    words: bool,
    special_tokens: bool,
    words_of: WordsOf | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mark the wordpieces at which spans may begin and end.

    texts (Sequence[str]): The texts of the documents, indexed by `Window.doc`.
    mask (ndarray): True for wordpieces, False for padding, bool (B, T).
    words (bool): Respect word boundaries: a span may not begin or end within a word or at an emoji,
        begin at punctuation, or end at punctuation that never ends a name.
    special_tokens (bool): Allow [CLS] and [SEP].
    words_of (Callable | None): From `word_finder`, if the words are needed elsewhere too.
    RETURNS (tuple[ndarray, ndarray]): Allowed begins and ends, bool (B, T).
    """
    starts, ends = np.zeros_like(mask), np.zeros_like(mask)
    words_of = words_of or word_finder(texts)
    for row, window in enumerate(windows):
        begin = window.chars[:, 0]
        start, end = starts[row, : len(window)], ends[row, : len(window)]
        end[:] = special_tokens | (begin != NO_CHARS)
        start[:] = end & (special_tokens | (begin >= window.core[0])) & (begin < window.core[1])
        if words:
            text, split = texts[window.doc], words_of(window.doc)
            _exclude_within_words(_Words(text, split, window), window, start, end)
    return starts, ends


class _Words:
    """The words of a text around a window."""

    def __init__(self, text: str, split: Sequence[Word], window: Window) -> None:
        self.text = text
        self.split = split
        if window.core != WHOLE_TEXT:
            begin, end = window.extent()
            first = bisect_left(split, begin, key=lambda word: word.start)
            last = bisect_left(split, end, first, key=lambda word: word.start)
            self.split = split[max(0, first - 1) : last]
        self.first_chars = [word.start for word in self.split]
        korean = not text.isascii()
        self.continuing = {
            word.start
            for i, word in enumerate(self.split)
            if korean and continues_korean(self.split, i)
        }

    def has_inside(self, place: int) -> bool:
        """RETURNS (bool): Whether a place is within a word, neither its begin nor its end."""
        i = bisect_left(self.first_chars, place) - 1  # the last word that begins before the place
        return i >= 0 and place < self.split[i].end


def _exclude_within_words(
    read: _Words, window: Window, starts: np.ndarray, ends: np.ndarray
) -> None:
    """Unmark the wordpieces of a window at which no mention begins or ends, bool (T,) each.

    One by one: windows are short, and numpy would take several times as long.
    """
    text = read.text
    reached = 0
    for i, (begin, end) in enumerate(window.chars.tolist()):
        if begin == NO_CHARS:
            continue
        if read.has_inside(begin) or begin in read.continuing or _never_begins(text[begin]):
            starts[i] = False
        if read.has_inside(end) or _never_ends(last_base(text, end)):
            ends[i] = False
        if begin < reached:  # wordpieces of one character
            starts[i] = ends[i - 1] = False
        reached = end


@lru_cache(maxsize=1 << 12)
def _never_begins(char: str) -> bool:
    return unicodedata.category(char)[0] == "P" or is_symbol(char)


@lru_cache(maxsize=1 << 12)
def _never_ends(char: str) -> bool:
    """True unless names end so, as "Yahoo!", "Inc." and "Heathers (musical)" do."""
    return char in ",;:" or unicodedata.category(char) in _OPENING or is_symbol(char)
