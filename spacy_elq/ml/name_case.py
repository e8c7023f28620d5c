"""Compare how a text writes a name with how the knowledge base does: "US" with "us"."""

from __future__ import annotations

import numpy as np

from ..encoders import word_shapes
from ..kb.files.names import (
    CAPITALISED,
    CAPITALS,
    CASELESS,
    INITIAL,
    LOWER,
    MIXED,
    case_of,
)

# Capitalised at the beginning of a sentence, where names in small letters are too.
OPENING = MIXED + 1
# How a name in a text compares with one in the knowledge base.
INCOMPARABLE, DIFFERENT, SAME = range(3)


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


def surface_case(surface: str, shape: int) -> int:
    """surface (str): A name in a text.
    shape (int): The shape class of its first word there, see `encoders.word_shapes`.
    RETURNS (int): How the name is written, `CASELESS` to `OPENING`."""
    case = CASELESS if shape == word_shapes.NONE else case_of(surface)
    opens = shape == word_shapes.INITIAL and case in (CAPITALISED, INITIAL)
    return OPENING if opens else case
