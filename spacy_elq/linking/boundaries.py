"""The wordpieces of a window at which a mention may begin and end."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np

from ..encoders.windows import NO_CHARS, Window
from ..kb.files.names import Word, continues_korean
from ..kb.files.names import words as find_words
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
) -> tuple[np.ndarray, np.ndarray]:
    """Mark the wordpieces at which spans may begin and end.

    texts (Sequence[str]): The texts of the documents, indexed by `Window.doc`.
    mask (ndarray): True for wordpieces, False for padding, bool (B, T).
    words (bool): Respect word boundaries: a span may not begin or end within a word or at an emoji,
        begin at punctuation, or end at punctuation that never ends a name.
    special_tokens (bool): Allow [CLS] and [SEP].
    RETURNS (tuple[ndarray, ndarray]): Allowed begins and ends, bool (B, T).
    """
    starts, ends = np.zeros_like(mask), np.zeros_like(mask)
    for row, window in enumerate(windows):
        begin = window.chars[:, 0]
        start, end = starts[row, : len(window)], ends[row, : len(window)]
        end[:] = special_tokens | (begin != NO_CHARS)
        start[:] = end & (special_tokens | (begin >= window.core[0])) & (begin < window.core[1])
        if words:
            _exclude_within_words(texts[window.doc], window, start, end)
    return starts, ends


def _exclude_within_words(text: str, window: Window, starts: np.ndarray, ends: np.ndarray) -> None:
    """Unmark the wordpieces of a window at which no mention begins or ends, bool (T,) each."""
    begin, end = window.chars.T
    split = find_words(text)
    inside = _inside_words(split, window.chars)
    starts &= ~inside[:, 0]
    ends &= ~inside[:, 1]
    if not text.isascii():
        korean = [word.start for i, word in enumerate(split) if continues_korean(split, i)]
        starts &= ~np.isin(begin, korean)
    starts &= ~_test_chars(begin, text.__getitem__, _never_begins)
    ends &= ~_test_chars(end, partial(last_base, text), _never_ends)
    shared = np.flatnonzero((begin[1:] < end[:-1]) & (begin[1:] != NO_CHARS)) + 1
    starts[shared] = ends[shared - 1] = False  # wordpieces of one character


def _inside_words(split: Sequence[Word], places: np.ndarray) -> np.ndarray:
    """RETURNS (ndarray): Whether each place between characters lies inside a word, bool, in the
    shape of `places`."""
    if not split:
        return np.zeros(places.shape, dtype=bool)
    starts = np.array([word.start for word in split])
    ends = np.array([word.end for word in split])
    before = starts.searchsorted(places) - 1  # the last word that begins before the place
    return (before >= 0) & (places < ends[before])


def _test_chars(
    places: np.ndarray, find: Callable[[int], str], test: Callable[[str], bool]
) -> np.ndarray:
    """RETURNS (ndarray): The test's result for the character of each place, False for negative
    places, bool (N,)."""
    return np.array([i >= 0 and test(find(i)) for i in places.tolist()], dtype=bool)


@lru_cache(maxsize=1 << 12)
def _never_begins(char: str) -> bool:
    return unicodedata.category(char)[0] == "P" or is_symbol(char)


@lru_cache(maxsize=1 << 12)
def _never_ends(char: str) -> bool:
    """True unless names end so, as "Yahoo!", "Inc." and "Heathers (musical)" do."""
    return char in ",;:" or unicodedata.category(char) in _OPENING or is_symbol(char)
