"""Compare names, and find the entities that have a name.

Two names are the same if their words are the same after folding, which removes case, accents and
compatibility forms; characters between words are ignored. The vowel signs of Indic and Thai scripts
are not accents: changing them makes another word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from spacy.strings import hash_string  # type: ignore[attr-defined]

from ...types import Entity
from .store import NAME_ENTRIES, NAME_KEYS

_ASCII_WORD = re.compile(r"[^\W_]+|&")
# Variation selectors: the only marks above `_LAST_MARK`.
_VARIANTS = "\U000e0100-\U000e01ef"
_LAST_MARK = 0x1FFFF
# Marks that writers may leave out: accents of Latin, Greek and Cyrillic letters, Hebrew points,
# Arabic vowels, and marks of symbols.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    "\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"
    f"\u0897-\u089f\u08ca-\u08e1\u08e3-\u08ff{_VARIANTS}]+"
)
_APOSTROPHES = "'\u2019"
_ARTICLES = ("the", "a", "an")

# Kinds of names.
TITLE = 0
ALIAS = 1
# A name of an entity: the entity's row, hashes of the name's words and characters, its kind.
ENTRY = np.dtype([("row", "<i4"), ("exact", "<u4"), ("verbatim", "<u4"), ("kind", "<u4")])


# Loose keys (M,) → for each name found the index of its key (n,), ascending, and the names (n,).
FindNames = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Word(NamedTuple):
    """A folded word of a text, with its character offsets in the text."""

    folded: str
    start: int
    end: int


@lru_cache(maxsize=1 << 16)
def fold_word(word: str) -> str:
    """RETURNS (str): The word without case, accents and compatibility forms."""
    if word == "&":
        return "and"
    if word.isascii():
        return word.lower()
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", word)).casefold()


@lru_cache(maxsize=1)
def _any_word() -> re.Pattern[str]:
    """RETURNS (re.Pattern): A word in any script. Marks continue a word, but `re` has no class for
    them. Collecting them takes some 20 ms, so this happens on first use."""
    is_mark = [unicodedata.category(chr(code))[0] == "M" for code in range(_LAST_MARK + 1)]
    edges = np.flatnonzero(np.diff(is_mark, prepend=False, append=False)).reshape(-1, 2)
    marks = "".join(f"{chr(first)}-{chr(end - 1)}" for first, end in edges.tolist())
    return re.compile(rf"[^\W_]+(?:[{marks}{_VARIANTS}]+[^\W_]*)*|&")


def words(text: str) -> list[Word]:
    """RETURNS (list[Word]): The words of a text. The s of a possessive folds to nothing."""
    pattern = _ASCII_WORD if text.isascii() else _any_word()
    return [
        Word("" if _is_possessive(text, m) else fold_word(m[0]), m.start(), m.end())
        for m in pattern.finditer(text)
    ]


def _is_possessive(text: str, match: re.Match[str]) -> bool:
    return match[0] in "sS" and match.start() > 0 and text[match.start() - 1] in _APOSTROPHES


def loose_key(folded: Sequence[str]) -> int:
    """Hash a name for lookup, ignoring a leading article, spaces, and a plural s.

    folded (Sequence[str]): Folded words.
    RETURNS (int): 64-bit murmur hash, the same on every machine; 0 without words.
    """
    return loose_keys(folded)[-1] if folded else 0


def loose_keys(folded: Sequence[str]) -> list[int]:
    """RETURNS (list[int]): The `loose_key` of the first word, of the first two, and so on."""
    keys: list[int] = []
    text, kept = "", 0
    for word in folded:
        if word:
            # A leading article only counts if it is the whole name.
            text = word if kept == 1 and text in _ARTICLES else text + word
            kept += 1
        has_plural_s = len(text) > 3 and text[-1] == "s" and text[-2] != "s"
        # Not get_string_id: it maps spaCy's symbols ("det") to numbers that releases may change.
        keys.append(hash_string(text[:-1] if has_plural_s else text) if text else 0)
    return keys


def exact_hash(folded: Sequence[str]) -> int:
    """RETURNS (int): A 32-bit hash of the words, to tell apart names with the same loose key."""
    text = " ".join(filter(None, folded))
    return hash_string(text) & 0xFFFFFFFF if text else 0


def verbatim_hash(text: str) -> int:
    """RETURNS (int): A 32-bit hash of all characters of a name, without case."""
    return hash_string(" ".join(text.casefold().split())) & 0xFFFFFFFF


def name_words(name: str) -> list[str]:
    """RETURNS (list[str]): The folded words of a name. A name without words, such as "!!!", is one
    "word", stripped and casefolded; a blank string has none."""
    folded = [word.folded for word in words(name) if word.folded]
    bare = name.strip().casefold()
    return folded or ([bare] if bare else [])


def fold(text: str) -> str:
    """RETURNS (str): The form in which names are compared: `name_words` joined by spaces."""
    return " ".join(name_words(text))


def name_entries(row: int, entity: Entity) -> Iterator[tuple[int, tuple[int, int, int, int]]]:
    """YIELDS (tuple): The loose key and the `ENTRY` values of each name of an entity."""
    for name in entity.names:
        if folded := name_words(name):
            kind = TITLE if name == entity.title else ALIAS
            entry = (row, exact_hash(folded), verbatim_hash(name), kind)
            yield loose_key(folded), entry


def rows_of_names(names: Sequence[str], find: FindNames) -> list[np.ndarray]:
    """RETURNS (list[ndarray]): For each name, the rows of the entities that have exactly its words,
    int32, ascending."""
    folded = [name_words(name) for name in names]
    keys = np.fromiter(map(loose_key, folded), dtype=np.uint64, count=len(folded))
    places, entries = find(keys)
    limits = np.searchsorted(places, np.arange(len(folded) + 1)).tolist()
    found = (entries[start:end] for start, end in pairwise(limits))
    return [
        np.unique(entry["row"][entry["exact"] == exact_hash(name)])
        for name, entry in zip(folded, found, strict=True)
    ]


def filter_live(
    mask: np.ndarray | None, places: np.ndarray, entries: np.ndarray, first: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Keep the names of entities that a mask admits.

    mask (ndarray | None): Mask of the rows from `first` on; None for all.
    places, entries (ndarray): As `NameIndex.find` returns them.
    RETURNS (tuple[ndarray, ndarray]): The places and entries that are left.
    """
    keep = slice(None) if mask is None else mask[entries["row"] - first]
    return places[keep], entries[keep]


class NameIndex:
    """Maps loose keys to the names of entities, by two memory-mapped arrays.

    keys (ndarray): The loose key of each name of each entity, uint64, ascending.
    entries (ndarray): The names, of type `ENTRY`, by row within one key.
    """

    def __init__(self, keys: np.ndarray, entries: np.ndarray) -> None:
        self.keys = keys
        self.entries = entries

    @classmethod
    def build(cls, directory: Path, entities: Iterable[tuple[int, Entity]]) -> NameIndex:
        """Write the index of all names of entities.

        directory (Path): The directory for the two files.
        entities (Iterable): Row and record of each entity.
        """
        found = (pair for row, entity in entities for pair in name_entries(row, entity))
        table = np.fromiter(found, dtype=[("key", "<u8"), ("entry", ENTRY)])
        table = np.unique(table)  # sorted by key, then row
        np.save(directory / NAME_KEYS, table["key"])
        np.save(directory / NAME_ENTRIES, table["entry"])
        return cls.open(directory)

    @classmethod
    def open(cls, directory: Path) -> NameIndex:
        """Map the files that `build` wrote."""
        keys = np.load(directory / NAME_KEYS, mmap_mode="r", allow_pickle=False)
        entries = np.load(directory / NAME_ENTRIES, mmap_mode="r", allow_pickle=False)
        return cls(np.asarray(keys), np.asarray(entries))

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Look up many keys at once.

        keys (ndarray): Loose keys (M,), uint64.
        RETURNS (tuple[ndarray, ndarray]): For each name found the index of its key (n,), int64,
            ascending, and the names, of type `ENTRY` (n,).
        """
        if not len(self.keys):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=ENTRY)
        order = np.argsort(keys)  # sorted keys access memory in order, which is faster
        starts = np.empty(len(keys), dtype=np.int64)
        starts[order] = np.searchsorted(self.keys, keys[order])
        # Most spans of a text are not names: only hits pay for a second search.
        hits = np.flatnonzero(self.keys[np.minimum(starts, len(self.keys) - 1)] == keys)
        counts = np.searchsorted(self.keys, keys[hits], side="right") - starts[hits]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(hits, counts), self.entries[np.repeat(starts[hits], counts) + within]
