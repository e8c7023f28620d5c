"""Compare names, and find the entities that have a name.

Two names are the same if their words are the same after folding, which removes case, accents and
compatibility forms, and writes letters as those do who lack them on their keyboard ("Lodz");
characters between words are ignored. The vowel signs of Indic and Thai scripts are not accents:
changing them makes another word. In scripts without spaces, each character is a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from math import log
from pathlib import Path
from typing import NamedTuple

import numpy as np
from spacy.strings import hash_string  # type: ignore[attr-defined]

from ...errors import ElqError, Errors
from ...spelling import PLAIN_LETTERS, WORD, compiled, read
from ...types import Entity
from .manifest import NAME_ENTRIES, NAME_KEYS
from .npy import map_array

_ASCII_WORD = re.compile(r"[^\W_]+|&")
# Marks that writers may leave out: accents of Latin, Greek and Cyrillic letters, Hebrew points,
# Arabic vowels, and marks of symbols.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    "\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"
    "\u0897-\u089f\u08ca-\u08e1\u08e3-\u08ff]+"
)
# Letters that Unicode does not decompose; Arabic letters that keyboards mix up; what compatibility
# forms leave in a word.
_LETTERS = str.maketrans(PLAIN_LETTERS) | str.maketrans(
    "\u06cc\u0649\u06a9\u0629", "\u064a\u064a\u0643\u0647", "\u0640\u2044"
)
_APOSTROPHES = "'`\u2018\u2019\u201b\u2032"
# The s of a possessive, or of a name such as "Macy's".
POSSESSIVE = "'s"
# Marks that are typed one for another.
_MARKS = str.maketrans(
    {
        **dict.fromkeys("`\u2018\u2019\u201a\u201b\u2032", "'"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015", "-"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
    }
)
_ARTICLES = ("the", "a", "an")

# Kinds of names.
TITLE = 0
ALIAS = 1
# Letters that a short form of a name has at least: fewer are numerals, "Jr", anybody's initials.
SHORTEST = 3
# How a name is written: without letters that have case; in small letters; as "Capitalised" words;
# in "CAPITALS"; an initial alone, which is both; or otherwise, as "iPhone".
CASELESS, LOWER, CAPITALISED, CAPITALS, INITIAL, MIXED = range(6)
# Known link probabilities are no smaller: the least normal number of float16.
LEAST_PROBABILITY = 2.0**-14
# A name of an entity: the entity's row, hashes of the name's words and characters, its kind, how it
# is written, log(1 + how often it refers to the entity), and its link probability; both are 0 if
# they are unknown.
ENTRY = np.dtype(
    [
        ("row", "<i4"),
        ("exact", "<u4"),
        ("verbatim", "<u4"),
        ("kind", "u1"),
        ("case", "u1"),
        ("log_count", "<f2"),
        ("link_probability", "<f2"),
    ]
)
Entry = tuple[int, int, int, int, int, float, float]


# Loose keys (M,) → for each name found the index of its key (n,), ascending, and the names (n,).
FindNames = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Word(NamedTuple):
    """A folded word of a text, with its character offsets in the text."""

    folded: str
    start: int
    end: int


# Index of a text → its words.
WordsOf = Callable[[int], list[Word]]


@lru_cache(maxsize=1 << 16)
def fold_word(word: str) -> str:
    """RETURNS (str): The word without case, accents and compatibility forms."""
    if word == "&":
        return "and"
    if word.isascii():
        return word.lower()
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", word)).casefold()
    return bare.translate(_LETTERS)


def words(text: str) -> list[Word]:
    """RETURNS (list[Word]): The words of a text, without those that fold to nothing. The s of a
    possessive folds to `POSSESSIVE`."""
    if text.isascii():
        return [Word(_fold(text, m), *m.span()) for m in _ASCII_WORD.finditer(text)]
    spelling = read(text)
    found = [
        Word(_fold(spelling.text, match), *match.span())
        for match in compiled(WORD).finditer(spelling.text)
    ]
    if spelling.places is not None:
        spans = np.array([word[1:] for word in found], dtype=np.int64).reshape(-1, 2)
        places = spelling.original(spans).tolist()
        found = [Word(word.folded, *place) for word, place in zip(found, places, strict=True)]
    return [word for word in found if word.folded]


def word_finder(texts: Sequence[str]) -> WordsOf:
    """RETURNS (Callable): Index of a text → its `words`, which are found when they are first asked
    for."""
    return cache(lambda i: words(texts[i]))


def _fold(text: str, match: re.Match[str]) -> str:
    start = match.start()
    is_possessive = (
        match[0] in ("s", "S")
        and start > 1
        and text[start - 1] in _APOSTROPHES
        and not text[start - 2].isspace()
    )
    return POSSESSIVE if is_possessive else fold_word(match[0])


def begins_name(split: Sequence[Word], i: int) -> bool:
    """RETURNS (bool): Whether a name may begin at a word: not at the s of a possessive, nor at a
    Korean syllable that follows another one, since names end before particles but begin words."""
    return split[i].folded != POSSESSIVE and not continues_korean(split, i)


def continues_korean(split: Sequence[Word], i: int) -> bool:
    """RETURNS (bool): Whether a word is a Korean syllable, right after another one."""
    return (
        i > 0
        and split[i - 1].end == split[i].start
        and _is_korean(split[i].folded)
        and _is_korean(split[i - 1].folded)
    )


def _is_korean(folded: str) -> bool:
    return "\u1100" <= folded[0] <= "\u11ff"  # syllables are folded to their letters


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
        if word == POSSESSIVE:  # "Macy's" and "Macy", "Macy's Day" and "Macys Day" are the same
            keys.append(keys[-1] if keys else 0)
            text += "s"
            continue
        if word:
            # A leading article only counts if it is the whole name.
            text = word if kept == 1 and text in _ARTICLES else text + word
            kept += 1
        has_plural_s = len(text) > 3 and text[-1] == "s" and text[-2] != "s"
        keys.append(_key(text[:-1] if has_plural_s else text))
    return keys


def _key(text: str) -> int:
    # Not get_string_id: it maps spaCy's symbols ("det") to numbers that releases may change.
    return hash_string(text) if text else 0


def short_form_key(short: str) -> int:
    """RETURNS (int): The key of a `last_word` or of `initials`; no `loose_key` of a name is the
    same."""
    return _key(f"\0{short}")


def exact_hash(folded: Sequence[str]) -> int:
    """RETURNS (int): A 32-bit hash of the words, to tell apart names with the same loose key."""
    text = " ".join(filter(None, folded))
    return hash_string(text) & 0xFFFFFFFF if text else 0


def verbatim_hash(text: str) -> int:
    """RETURNS (int): A 32-bit hash of all characters of a name, without case, and without
    differences that depend on the keyboard, such as typographic quotes and dashes."""
    if not text.isascii():
        text = read(text).text
    return hash_string(" ".join(text.translate(_MARKS).casefold().split())) & 0xFFFFFFFF


def name_words(name: str) -> list[str]:
    """RETURNS (list[str]): The folded words of a name. A name without words, such as "!!!", is one
    "word", stripped and casefolded; a blank string has none."""
    folded = [word.folded for word in words(name)]
    bare = name.strip().casefold()
    return folded or ([bare] if bare else [])


def fold(text: str) -> str:
    """RETURNS (str): The form in which names are compared: `name_words` joined by spaces."""
    return " ".join(name_words(text))


@lru_cache(maxsize=1 << 16)
def case_of(name: str) -> int:
    """RETURNS (int): How a name is written, `CASELESS` to `MIXED`."""
    if name.islower():
        return LOWER
    if name[:1].isupper() and name[1:].islower():  # most names of one word
        return CAPITALISED
    letters = [char for char in name if char.isupper() or char.islower()]
    if not letters:
        return CASELESS
    if name.isupper():
        return INITIAL if len(letters) == 1 else CAPITALS
    if len(letters) > 2 and letters[-1] == "s" and "".join(letters[:-1]).isupper():
        return CAPITALS  # "PCs", "NATO's"
    return CAPITALISED if letters[0].isupper() else MIXED


def name_entries(row: int, entity: Entity) -> Iterator[tuple[int, Entry]]:
    """YIELDS (tuple): The loose key and the `ENTRY` values of each name of an entity; then the
    `short_form_key` of each short form, and which row has it."""
    for name in entity.names:
        if folded := name_words(name):
            kind = TITLE if name == entity.title else ALIAS
            hashes = exact_hash(folded), verbatim_hash(name)
            log_count = log(1 + entity.counts.get(name, 0))
            known = entity.link_probabilities.get(name)
            linked = 0.0 if known is None else max(known, LEAST_PROBABILITY)
            yield loose_key(folded), (row, *hashes, kind, case_of(name), log_count, linked)
    for word in sorted({*map(last_word, entity.names), initials(entity.title)} - {""}):
        # It is found by its key alone.
        yield short_form_key(word), (row, 0, 0, ALIAS, CAPITALISED, 0.0, 0.0)


def last_word(name: str) -> str:
    """RETURNS (str): The last word of a name, folded, if it and the word before it are written with
    capitals and have only a space between them, or the full stop of an initial: "Pauli" of
    "Wolfgang Pauli", "King" of "Martin Luther King, Jr."; otherwise "", as for "Bank of America"
    and "Paris, Texas"."""
    split = words(name)
    while split and len(split[-1].folded) < SHORTEST:
        split.pop()
    if len(split) < 2:
        return ""
    before, last = split[-2:]
    is_pair = name[before.start].isupper() and name[last.start].isupper()
    return last.folded if is_pair and name[before.end : last.start] in (" ", ". ") else ""


def initials(name: str) -> str:
    """RETURNS (str): The first letters of the words of a name that are written with a capital, in
    capitals: "FBI" of "Federal Bureau of Investigation"; "" if they are less than `SHORTEST`."""
    letters = [word.folded[0].upper() for word in words(name) if name[word.start].isupper()]
    return "".join(letters) if len(letters) >= SHORTEST else ""


def rows_of_names(names: Sequence[str], find: FindNames) -> list[np.ndarray]:
    """RETURNS (list[ndarray]): For each name, the rows of the entities that have exactly its words,
    int32, ascending; if there are none and it is a possessive, of those that it belongs to."""
    folded = [name_words(name) for name in names]
    keys = np.fromiter(map(loose_key, folded), dtype=np.uint64, count=len(folded))
    places, entries = find(keys)
    limits = np.searchsorted(places, np.arange(len(folded) + 1)).tolist()
    found = (entries[start:end] for start, end in pairwise(limits))
    return [_exact_rows(name, entries) for name, entries in zip(folded, found, strict=True)]


def _exact_rows(name: Sequence[str], entries: np.ndarray) -> np.ndarray:
    rows = np.unique(entries["row"][entries["exact"] == exact_hash(name)])
    if not len(rows) and name and name[-1] == POSSESSIVE:  # which has the same loose key
        return _exact_rows(name[:-1], entries)
    return rows


def filter_live(
    mask: np.ndarray | None, places: np.ndarray, entries: np.ndarray, first: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Keep the names of entities that a mask admits.

    mask (ndarray | None): Mask of the rows from `first` on; None for all.
    places, entries (ndarray): As `NameIndex.find` returns them.
    RETURNS (tuple[ndarray, ndarray]): The places and entries that are left.
    """
    if mask is None:
        return places, entries
    try:
        keep = mask[entries["row"] - first]
    except IndexError:  # the file is damaged
        row, last = int(entries["row"].max()), first + len(mask) - 1
        raise ElqError(Errors.ELQ220.format(row=row, last=last)) from None
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
    def of(cls, entities: Iterable[tuple[int, Entity]]) -> NameIndex:
        """Make the index of all names of entities, in memory.

        entities (Iterable): Row and record of each entity.
        """
        found = (pair for row, entity in entities for pair in name_entries(row, entity))
        table = np.fromiter(found, dtype=[("key", "<u8"), ("entry", ENTRY)])
        table = np.unique(table)  # sorted by key, then row
        return cls(table["key"], table["entry"])

    @classmethod
    def build(cls, directory: Path, entities: Iterable[tuple[int, Entity]]) -> NameIndex:
        """Write the index into the two files of a directory; see `of`."""
        index = cls.of(entities)
        np.save(directory / NAME_KEYS, index.keys)
        np.save(directory / NAME_ENTRIES, index.entries)
        return cls.open(directory)

    @classmethod
    def open(cls, directory: Path) -> NameIndex:
        """Map the files that `build` wrote."""
        keys = map_array(directory / NAME_KEYS, "<u8")
        entries = map_array(directory / NAME_ENTRIES, ENTRY, keys.shape)
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
        entries = np.repeat(starts[hits] + counts - counts.cumsum(), counts)
        entries += np.arange(len(entries))
        return np.repeat(hits, counts), self.entries[entries]
