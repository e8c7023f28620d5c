"""How words are written: capitals, digits, marks. What an uncased encoder does not see.

The case of a word says something only where the writer uses case. Texts and lines without capitals,
in capitals throughout, or in Title Case say nothing: all their words have the class `NONE`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..spelling import compiled
from .sentences import CLOSING, STOP
from .windows import NO_CHARS, Window

# Shape classes of words. NONE: it says nothing, or the script has no case. DIGITS: with digits and
# without capitals, as in "1990s" or "mp3". INITIAL: Capitalised, as any word at the beginning of a
# sentence. MIXED: capitals elsewhere, as in "iPhone" or "McDonald".
NONE, MARK, DIGITS, LOWER, CAPITALISED, INITIAL, ALL_CAPS, MIXED = range(8)
N_SHAPES = 8

# Abbreviations that a name follows; those of one letter are recognised anyway.
_TITLES = "Mr|Mrs|Ms|Dr|St|Prof|Gen|Sen|Rep|Gov|Lt|Col|Sgt|Capt|Rev|Hon"
_NO_TITLE = r"(?<!\b[^\W\d_a-z]\.)" + "".join(rf"(?<!\b{t}\.)" for t in _TITLES.split("|"))
# A run of marks at once: group 1 takes part, and is empty, if a sentence ends there.
_END = rf"{STOP}+{CLOSING}*(?:{_NO_TITLE}(?=\s)())?"
_ASCII_UNITS = re.compile(rf"[^\W_]+|{_END}|\S")
_HIDDEN = r"[\p{M}\p{Cf}]*"  # marks and invisible characters, such as soft hyphens
_CASED = r"[\p{Lu}\p{Ll}\p{Lt}\p{Lm}\p{N}]"
_UNITS = rf"(?:{_CASED}{_HIDDEN})+|(?:\p{{Lo}}{_HIDDEN})+|{_END}|\S"
# Its letters have capitals in Unicode that nobody writes.
_GEORGIAN = range(0x10D0, 0x1100)
# Words that are lower-case even in Title Case, which is an English custom.
_SMALL_WORDS = {
    "a", "an", "and", "as", "at", "but", "by", "for", "from", "if", "in", "into", "nor", "of",
    "off", "on", "or", "over", "per", "so", "than", "the", "to", "up", "upon", "v", "via", "vs",
    "with",
}  # fmt: skip
# Length from which on the sentence of a line may go on in the next one.
_WRAPPED = 40
# Title Case: number of words of the line, number of Capitalised ones that are not small words, and
# the largest share of lower-case ones.
_TITLE_WORDS, _TITLE_CAPITALS, _TITLE_LOWER = 4, 3, 0.1


class WordShapes(NamedTuple):
    """The shapes of the N words and marks of a text; none if the text does not use case.

    ends (ndarray): Character at which each ends, int64 (N,).
    classes (ndarray): The class of each, of the preceding and of the following one, uint8
        (N + 1, 3); the last row is that of no word.
    formal (bool): Whether its sentences begin with capitals, as far as they begin with letters.
    """

    ends: np.ndarray
    classes: np.ndarray
    formal: bool

    def at(self, places: np.ndarray) -> np.ndarray:
        """places (ndarray): Characters, or `NO_CHARS`, int (T,). White space belongs to what
        follows.
        RETURNS (ndarray): The classes at each place, uint8 (T, 3)."""
        word = self.ends.searchsorted(places, side="right")
        word[places == NO_CHARS] = len(self.ends)
        return self.classes[word]


def with_shapes(windows: Sequence[Window], texts: Sequence[str]) -> list[Window]:
    """texts (Sequence[str]): The texts of the documents, indexed by `Window.doc`.
    RETURNS (list[Window]): The windows with the shapes of their wordpieces."""
    of_text = {i: word_shapes(texts[i]) for i in {window.doc for window in windows}}
    return [
        replace(
            window,
            shapes=of_text[window.doc].at(window.chars[:, 0]),
            formal=of_text[window.doc].formal,
        )
        for window in windows
    ]


def word_shapes(text: str) -> WordShapes:
    """RETURNS (WordShapes): The shapes of the words of a text."""
    lines = _Lines()
    if text not in (text.lower(), text.upper()):
        pattern = _ASCII_UNITS if text.isascii() else compiled(_UNITS)
        for line in text.splitlines(keepends=True):
            lines.add(line, list(pattern.finditer(line)))
    shapes, ends = (lines.shapes, lines.ends) if lines.use_case else ([], [])
    classes = np.zeros((len(shapes) + 1, 3), dtype=np.uint8)
    classes[:-1, 0] = shapes
    classes[1:-1, 1] = shapes[:-1]
    classes[:-2, 2] = shapes[1:]
    return WordShapes(np.array(ends, dtype=np.int64), classes, lines.are_formal)


class _Lines:
    """The lines of a text, read one after another.

    shapes, ends (list[int]): The shape and the end of each word and mark.
    """

    def __init__(self) -> None:
        self.shapes: list[int] = []
        self.ends: list[int] = []
        self._length = 0
        self._inner: set[int] = set()
        self._first: list[int] = []
        self._begins = True

    @property
    def use_case(self) -> bool:
        """RETURNS (bool): Whether there are lower-case words, and Capitalised ones within
        sentences. Letters by themselves, as "I", and acronyms are capitals everywhere."""
        return {LOWER, CAPITALISED} <= self._inner

    @property
    def are_formal(self) -> bool:
        return self.use_case and 2 * self._first.count(LOWER) < len(self._first)

    def add(self, line: str, units: Sequence[re.Match[str]]) -> None:
        words = [unit[0] for unit in units]
        shapes, first = _line_shapes(units, self._begins)
        small = self._begins and line == line.lower()
        if small or line.isupper() or _is_title_case(words, shapes):
            shapes = [NONE] * len(units)
        else:
            self._inner.update(s for w, s in zip(words, shapes, strict=True) if len(w) > 1)
            self._first += first
        self._begins = small or _ends_sentence(line, units)
        self.shapes += shapes
        self.ends += [self._length + unit.end() for unit in units]
        self._length += len(line)


def _ends_sentence(line: str, units: Sequence[re.Match[str]]) -> bool:
    """RETURNS (bool): Whether a line ends with a sentence, or is not a part of a paragraph."""
    return len(line) < _WRAPPED or not units or bool(units[-1].lastindex)


def _line_shapes(
    units: Sequence[re.Match[str]], begins_sentence: bool
) -> tuple[list[int], list[int]]:
    """RETURNS (tuple[list[int], list[int]]): The shapes of words and marks, and of the words that
    begin a sentence."""
    shapes, first = [], []
    for unit in units:
        shape = _shape(unit[0])
        if begins_sentence and shape >= LOWER:
            first.append(shape)
            if shape == CAPITALISED:
                shape = INITIAL
        if unit.lastindex:
            begins_sentence = True
        elif shape != MARK:
            begins_sentence = False
        shapes.append(shape)
    return shapes, first


@lru_cache(maxsize=1 << 16)
def _shape(word: str) -> int:
    """RETURNS (int): The shape class of a word or mark by itself."""
    letters = "".join(filter(str.isalpha, word))
    if not letters:
        return DIGITS if any(map(str.isalnum, word)) else MARK
    if letters.lower() == letters.upper() or ord(letters[0]) in _GEORGIAN:
        return NONE
    if letters.islower():
        return DIGITS if any(map(str.isnumeric, word)) else LOWER
    if letters.isupper():
        return ALL_CAPS if len(letters) > 1 else CAPITALISED
    begins, rest = not letters[0].islower(), letters[1:]
    return CAPITALISED if begins and rest == rest.lower() else MIXED


def _is_title_case(words: Sequence[str], shapes: Sequence[int]) -> bool:
    """RETURNS (bool): Whether the words of a line have capitals because they are a headline."""
    if shapes.count(LOWER) > len(shapes) // 2:  # most lines
        return False
    written = [(word, shape) for word, shape in zip(words, shapes, strict=True) if shape >= LOWER]
    large = [shape for word, shape in written if word.lower() not in _SMALL_WORDS]
    return (
        len(written) >= _TITLE_WORDS
        and large.count(CAPITALISED) + large.count(INITIAL) >= _TITLE_CAPITALS
        and large.count(LOWER) <= _TITLE_LOWER * len(large)
    )
