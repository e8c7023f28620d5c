"""How often the names of articles occur in texts, as links or not: their link probability.

Names are counted by hashes of their words, in arrays: tens of millions of names take no Python
objects. Only names of up to `MAX_WORDS` words are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from spacy.strings import hash_string  # type: ignore[attr-defined]

from ..files import atomic_file
from ..spelling import words_of

MAX_WORDS = 8
# Words that are counted at once.
BATCH = 1 << 15
# Words whose hashes are kept: about 40 MB.
HASHES = 1 << 18
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
# Stands between paragraphs: no name has it.
_BREAK = "\n"
_ROW = np.dtype([("key", "<u8"), ("links", "<i8"), ("seen", "<i8")])


class NameUse:
    """table (ndarray): Of each name its hash, ascending, how often it is linked, and how often it
    has been seen."""

    def __init__(self, table: np.ndarray) -> None:
        self._table = table
        # Whether there are names whose hash begins with some bits: most sequences of words in a
        # text are no name, and need no search then.
        bits = len(table).bit_length() + 3
        self._shift = np.uint64(64 - bits)
        self._may_be = np.zeros(1 << bits, dtype=bool)
        self._may_be[table["key"] >> self._shift] = True

    @classmethod
    def of(cls, links: Iterable[tuple[str, int]]) -> NameUse:
        """links (Iterable): Each name, and how often it is a link to an article."""
        keys = ((key, count, 0) for name, count in links if (key := _key(name)))
        found = np.fromiter(keys, dtype=_ROW)
        found.sort(order="key")
        # Names of the same words, such as "St Ives" and "St. Ives", are one.
        firsts = np.flatnonzero(np.diff(found["key"], prepend=np.uint64(0)))
        table = found[firsts]
        if len(table):
            table["links"] = np.add.reduceat(found["links"], firsts)
        return cls(table)

    @classmethod
    def load(cls, path: Path) -> NameUse:
        """Read the file that `save` wrote."""
        return cls(np.load(path))

    def save(self, path: Path) -> None:
        """Write it as a whole."""
        with atomic_file(path) as partial, partial.open("wb") as file:
            np.save(file, self._table)

    def count(self, paragraphs: Iterable[str]) -> None:
        """Count the names in texts."""
        hashes: list[int] = []
        for text in paragraphs:
            hashes.extend(_hashes(text))
            hashes.append(_hash(_BREAK))
            if len(hashes) >= BATCH:
                self._count(hashes)
                hashes = []
        self._count(hashes)

    def _count(self, hashes: list[int]) -> None:
        single = np.array(hashes, dtype=np.uint64)
        keys = np.zeros(len(hashes), dtype=np.uint64)
        for n in range(min(MAX_WORDS, len(hashes))):
            keys = keys[: len(hashes) - n] * _FACTOR + single[n:]
            places = self._places(keys[self._may_be[keys >> self._shift]])
            np.add.at(self._table["seen"], places[places >= 0], 1)

    def probabilities(self, names: Sequence[str]) -> list[float | None]:
        """RETURNS (list): How likely an occurrence of each name is a link to an article; None if it
        was not counted."""
        keys = np.fromiter(map(_key, names), dtype=np.uint64, count=len(names))
        places = self._places(keys)
        return [self._probability(place) if place >= 0 else None for place in places.tolist()]

    def _probability(self, place: int) -> float:
        _, links, seen = self._table[place].tolist()
        return round(links / max(links, seen), 4)

    def _places(self, keys: np.ndarray) -> np.ndarray:
        """RETURNS (ndarray): The row of each key, -1 where there is none."""
        if not len(self._table):
            return np.full(len(keys), -1)
        places = np.searchsorted(self._table["key"], keys)
        places[places == len(self._table)] = 0
        return np.where(self._table["key"][places] == keys, places, -1)


def _key(name: str) -> int:
    """RETURNS (int): The hash of a name; 0 if it is not counted."""
    hashes = list(_hashes(name))
    if not 0 < len(hashes) <= MAX_WORDS:
        return 0
    key = 0
    for word in hashes:
        key = (key * int(_FACTOR) + word) % (1 << 64)
    return key


def _hashes(text: str) -> Iterator[int]:
    """YIELDS (int): The words of a text, as they are written. In scripts without spaces, each
    character is one."""
    return map(_hash, words_of(text))


@lru_cache(maxsize=HASHES)
def _hash(word: str) -> int:
    return hash_string(word)
