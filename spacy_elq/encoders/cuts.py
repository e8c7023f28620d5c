"""Where a long sequence of wordpieces is cut into parts that the encoder can read.

A part has a core, and the cores follow each other without a gap. A core ends where a paragraph or a
sentence does, near the place that makes parts of equal length. The next part begins there, without
what came before: so do the texts that the encoder was trained on. Where no sentence ends, a core
ends between words, and the next part begins earlier, for the sake of context.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil
from typing import NamedTuple

import numpy as np

from .sentences import LINE

# Kinds of places besides those of `sentences`: a word begins; within a word, or in a script without
# spaces; within a character, as byte-level tokenizers and spelled-out letters (\u00e6) have it.
WORD, INSIDE, WITHIN_CHAR = range(LINE + 1, LINE + 4)
# How far from the wanted place a better one may be, as a share of a core: by the kind of place.
COST = np.array([0.0, 0.2, 0.5, 2.0, 4.0, 8.0])
# How often a wordpiece of a long text may be read, on average.
MOST_READ = 1.3


class Part(NamedTuple):
    """Wordpieces `begin` to `end`, of which `core` to `border` are its core; ends exclusive."""

    begin: int
    core: int
    border: int
    end: int


def find_places(chars: np.ndarray, breaks: Iterable[tuple[int, int]]) -> np.ndarray:
    """chars (ndarray): Characters of each wordpiece, int (N, 2), end exclusive.
    breaks (Iterable[tuple[int, int]]): From `sentences.find_breaks`.
    RETURNS (ndarray): The kind of place before each wordpiece, int64 (N,)."""
    begins, ends = chars[:, 0], np.append(0, chars[:-1, 1])
    places = np.select([begins > ends, begins == ends], [WORD, INSIDE], WITHIN_CHAR)
    pairs = np.array([*breaks], dtype=np.int64).reshape(-1, 2)
    first = np.searchsorted(begins, pairs[:, 0])
    there = first < len(places)
    np.minimum.at(places, first[there], pairs[there, 1])
    return places


def cut(places: np.ndarray, room: int, overlap: int) -> Iterator[Part]:
    """Divide wordpieces into parts.

    places (ndarray): From `find_places`, (N,).
    room (int): Maximum length of a part.
    overlap (int): Wordpieces of neighbouring parts that are the same where no sentence ends; half
        of them follow the border of the cores. Less where parts are too short for it.
    """
    after = min(ceil(overlap / 2), room // 2)
    before = max(0, min(overlap // 2, int(room * (1 - 1 / MOST_READ)) - after))
    shortest = ceil(after / (MOST_READ - 1)) or 1
    begin = core = 0
    while len(places) - begin > room:
        most = begin + room - after
        wanted = core + _equal_share(len(places) - core, most - core)
        borders = _borders(places, core, core + shortest, most)
        distance = np.abs(borders - wanted) / (wanted - core)
        border = int(borders[np.argmin(COST[places[borders]] + distance)])
        yield Part(begin, core, border, border + after)
        begin = border if places[border] <= LINE else border - before
        core = border
    yield Part(begin, core, len(places), len(places))


def _borders(places: np.ndarray, core: int, least: int, most: int) -> np.ndarray:
    """RETURNS (ndarray): Where a core may end: from `least` (if possible) to `most`, and not within
    a character, because characters say which wordpieces a core has."""
    borders = np.arange(core + 1, most + 1)
    borders = borders[places[borders] != WITHIN_CHAR]
    if not len(borders):  # a single character as long as a part
        return np.array([most])
    return borders[borders >= min(least, borders[-1])]


def _equal_share(length: int, most: int) -> float:
    """RETURNS (float): The length of the fewest equal shares that are not longer than `most`."""
    return length / ceil(length / most)
