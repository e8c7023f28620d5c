"""Compare how a text writes a name with how the knowledge base does: "US" with "us".

A text that is in small letters throughout, or in capitals, says nothing: its writer had no choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..kb.files.names import (
    CAPITALISED,
    CAPITALS,
    CASELESS,
    INITIAL,
    LOWER,
    MIXED,
    Word,
    case_of,
)

# Capitalised at the beginning of a sentence, where names in small letters are too.
OPENING = MIXED + 1
# How a name in a text compares with one in the knowledge base.
INCOMPARABLE, DIFFERENT, SAME = range(3)
# Characters before a word that are searched for the end of a sentence.
BEFORE = 8
OPENERS = " \t\"'\u2018\u201c\u00ab([*\u2013\u2014-"
SENTENCE_ENDS = ".!?:;\u2026\u3002\n\r"


def _table() -> np.ndarray:
    table = np.full((OPENING + 1, MIXED + 1), DIFFERENT)
    table[CASELESS] = table[:, CASELESS] = INCOMPARABLE
    table[range(MIXED + 1), range(MIXED + 1)] = SAME
    table[CASELESS, CASELESS] = INCOMPARABLE
    for case in (CAPITALISED, CAPITALS):
        table[INITIAL, case] = table[case, INITIAL] = SAME
    table[OPENING, [LOWER, CAPITALISED, INITIAL]] = SAME
    return table


_COMPARED = _table()


def compare_cases(surfaces: np.ndarray, names: np.ndarray) -> np.ndarray:
    """surfaces (ndarray): From `surface_case`, int (n,). names (ndarray): From `case_of`, int (n,).
    RETURNS (ndarray): `INCOMPARABLE`, `SAME` or `DIFFERENT`, int (n,)."""
    return _COMPARED[surfaces, np.minimum(names, MIXED)]  # a damaged file may hold more


def surface_case(text: str, start: int, end: int) -> int:
    """RETURNS (int): How a name in a text that has case is written, `CASELESS` to `OPENING`."""
    case = case_of(text[start:end])
    if case in (CAPITALISED, INITIAL) and begins_sentence(text, start):
        return OPENING
    return case


def has_case(text: str, split: Sequence[Word]) -> bool:
    """RETURNS (bool): Whether a text has capitals and small letters, and capitals not only where
    everybody writes them: at the beginning of sentences, and in "I"."""
    if text.islower() or text.isupper():
        return False
    return any(
        text[start].isupper() and text[start:end] != "I" and not begins_sentence(text, start)
        for _, start, end in split
    )


def begins_sentence(text: str, start: int) -> bool:
    """RETURNS (bool): Whether a sentence may begin at a character."""
    before = text[max(0, start - BEFORE) : start].rstrip(OPENERS)
    return not before or before[-1] in SENTENCE_ENDS
