"""The wordpieces of a window at which a mention may begin and end."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from ..encoders.windows import NO_CHARS, Window

# Unicode categories.
_OPENING, _EMOJI = ("Ps", "Pi", "Pd"), "So"
# Scripts without spaces between words, in which any character may begin or end a mention.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)


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
            text = texts[window.doc]
            within = _within_words(text, window)
            start[within] = False
            end[within - 1] = False
            start &= ~_test_chars(text, begin, _never_begins)
            end &= ~_test_chars(text, window.chars[:, 1] - 1, _never_ends)
    return starts, ends


def _within_words(text: str, window: Window) -> np.ndarray:
    """Positions of wordpieces that continue the word of the preceding wordpiece."""
    begin, end = window.chars[1:, 0], window.chars[:-1, 1]
    joined = np.flatnonzero((begin == end) & (begin != NO_CHARS)) + 1
    continues = [
        _is_word(text[i - 1]) and _is_word(text[i]) for i in window.chars[joined, 0].tolist()
    ]
    return joined[np.array(continues, dtype=bool)]


def _test_chars(text: str, places: np.ndarray, test: Callable[[str], bool]) -> np.ndarray:
    """RETURNS (ndarray): The test's result for the character at each place, False for negative
    places, bool (N,)."""
    return np.array([i >= 0 and test(text[i]) for i in places.tolist()], dtype=bool)


@lru_cache(maxsize=1 << 12)
def _never_begins(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] == "P" or category == _EMOJI


@lru_cache(maxsize=1 << 12)
def _never_ends(char: str) -> bool:
    """True unless names end so, as "Yahoo!", "Inc." and "Heathers (musical)" do."""
    return char in ",;:" or unicodedata.category(char) in (*_OPENING, _EMOJI)


def _is_word(char: str) -> bool:
    """True for letters, digits, and marks such as vowel signs, in scripts with spaces."""
    is_part = char.isalnum() or unicodedata.category(char)[0] == "M"
    return is_part and not _UNSPACED.match(char)
