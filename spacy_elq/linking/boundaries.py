"""Where in a window a mention may begin and end."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from ..encoders.windows import NO_CHARS, Window

# Unicode categories.
_OPENING, _EMOJI = ("Ps", "Pi", "Pd"), "So"
# Scripts written without spaces between words: there, any character may begin or end a mention.
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
    """Where spans may begin and end.

    texts (Sequence[str]): The texts that `Window.doc` counts.
    mask (ndarray): True at wordpieces, bool (B, T).
    words (bool): Only where words begin and end: not within a word, no begin at punctuation, no end
        at punctuation that is never the last character of a name, neither at an emoji.
    special_tokens (bool): At [CLS] and [SEP] too.
    RETURNS (tuple[ndarray, ndarray]): Begin and end, bool (B, T).
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
            start &= ~_at(text, begin, _never_begins)
            end &= ~_at(text, window.chars[:, 1] - 1, _never_ends)
    return starts, ends


def _within_words(text: str, window: Window) -> np.ndarray:
    """Positions of the wordpieces that go on with the word of the wordpiece before."""
    begin, end = window.chars[1:, 0], window.chars[:-1, 1]
    joined = np.flatnonzero((begin == end) & (begin != NO_CHARS)) + 1
    goes_on = [
        _is_word(text[i - 1]) and _is_word(text[i]) for i in window.chars[joined, 0].tolist()
    ]
    return joined[np.array(goes_on, dtype=bool)]


def _at(text: str, places: np.ndarray, is_so: Callable[[str], bool]) -> np.ndarray:
    """What holds of the characters at some places, bool; False at negative ones."""
    return np.array([i >= 0 and is_so(text[i]) for i in places.tolist()], dtype=bool)


@lru_cache(maxsize=1 << 12)
def _never_begins(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] == "P" or category == _EMOJI


@lru_cache(maxsize=1 << 12)
def _never_ends(char: str) -> bool:
    """Unlike the marks of "Yahoo!", "Inc." and "Heathers (musical)"."""
    return char in ",;:" or unicodedata.category(char) in (*_OPENING, _EMOJI)


def _is_word(char: str) -> bool:
    """Letters, digits and what stands on them, as vowel signs do."""
    is_part = char.isalnum() or unicodedata.category(char)[0] == "M"
    return is_part and not _UNSPACED.match(char)
