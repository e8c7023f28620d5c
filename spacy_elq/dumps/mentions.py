"""Mentions of a paragraph besides its links: repeated names, and what looks like a name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from unicodedata import category

from ..spelling import PLAIN, UNSPACED, compiled, words_of
from .wiki_words import JOINTS


class Mention(NamedTuple):
    """Characters of a text.

    entity (str): The id of the entity; "" if it is unknown.
    """

    start: int
    end: int
    entity: str = ""


# Characters of a text in which names are not searched for one by one.
LONG = 1 << 12
_LETTERS = re.compile(r"[^\W_]+")
# A text without these has no character of `UNSPACED`, nor any that only `regex` knows the kind of.
_MAY_BE_UNSPACED = re.compile("[\u0e00-\u1fff\u2c00-\U0010ffff]")


def _name_pattern(capital: str, small: str, others: str) -> str:
    """RETURNS (str): Words with a capital in a row, also after initials, with numbers, and with
    small words between them; from the first capital on, which is found fast.

    capital, small, others (str): Capitals, small letters and all other characters of words, as
        parts of a set.
    """
    letter = f"[{capital}{small}{others}]"
    first = rf"[{capital}]{letter}*+(?:['\u2019.&/-]{letter}++)*+"
    word = rf"[{small}{others}]*+{first}"
    initial = rf"(?:(?<=\b[{capital}])|(?<=\b[{capital}][{small}]))\."
    joints = "|".join(sorted(JOINTS))
    return (
        rf"{first}(?:(?:[ -]|{initial}[ ])"
        rf"(?:(?:{joints})[ ]){{0,2}}(?:{word}|\d++(?!{letter})))*+"
    )


# In most texts all letters are ASCII: `re` finds them several times as fast as `regex`.
_ASCII_NAME = re.compile(_name_pattern("A-Z", "a-z", "0-9"))
_NAME = _name_pattern(r"\p{Lu}\p{Lt}", r"\p{Ll}", r"\p{Lo}\p{Lm}\p{N}\p{M}")


class Names:
    """Finds names in texts, whole words only.

    entities (Mapping): Names, and the ids of their entities.
    """

    def __init__(self, entities: Mapping[str, str]) -> None:
        self._entities = entities
        # First word → names with it, each with its rank, the longest first, and where in it the
        # word is.
        self._by_word: dict[str, list[tuple[str, int, int]]] = {}
        for rank, name in enumerate(sorted(entities, key=lambda name: (-len(name), name))):
            if first := _LETTERS.search(name):
                self._by_word.setdefault(first[0], []).append((name, rank, first.start()))

    def find(self, text: str) -> list[Mention]:
        """RETURNS (list[Mention]): Their places in a text, which do not overlap: of names whose
        first word is the same one, the longest."""
        if _MAY_BE_UNSPACED.search(text) and compiled(UNSPACED).search(text):
            return self._find_anywhere(text)
        found = []
        end = 0
        places = self._places(text) if len(text) < LONG else self._places_in_long(text)
        for _, _, start, name in sorted(places):
            if start >= end:
                end = start + len(name)
                found.append(Mention(start, end, self._entities[name]))
        return found

    def _places(self, text: str) -> Iterator[tuple[int, int, int, str]]:
        """YIELDS (tuple): Where the first word of a name is, the rank of the name, where it begins,
        and the name."""
        spaced = text + " "  # has a character at each end of a name
        for word in self._by_word.keys() & _words(text):
            for name, rank, at in self._by_word[word]:
                start = text.find(name)
                while start >= 0:
                    if _is_apart(spaced, start) and _is_apart(spaced, start + len(name)):
                        yield start + at, rank, start, name
                    start = text.find(name, start + 1)

    def _places_in_long(self, text: str) -> Iterator[tuple[int, int, int, str]]:
        """YIELDS (tuple): The same, word by word: a long text may have as many names as words."""
        spaced = text + " "
        for word in _LETTERS.finditer(text):
            for name, rank, at in self._by_word.get(word[0], ()):
                start, end = word.start() - at, word.start() - at + len(name)
                if start >= 0 and text[start:end] == name and _is_apart(spaced, end):
                    yield word.start(), rank, start, name

    def _find_anywhere(self, text: str) -> list[Mention]:
        """RETURNS (list[Mention]): As `find`, between words where there are spaces."""
        names = [name for named in self._by_word.values() for name, _, _ in named if name in text]
        names.sort(key=lambda name: (-len(name), name))
        bounded = (rf"(?<![a-zA-Z0-9]){re.escape(name)}(?![a-zA-Z0-9])" for name in names)
        matches = re.finditer("|".join(bounded), text) if names else ()
        return [Mention(*match.span(), self._entities[match[0]]) for match in matches]


def _words(text: str) -> list[str]:
    return words_of(text) if PLAIN.fullmatch(text) else _LETTERS.findall(text)


def _is_apart(text: str, at: int) -> bool:
    """text (str): It ends in a space.
    RETURNS (bool): Whether no word goes on at a place."""
    return not (text[at].isalnum() and text[at - 1].isalnum())


def name_like(text: str, taken: Iterable[Mention]) -> list[Mention]:
    """RETURNS (list[Mention]): Spans that look like names, beside those that are taken: words with
    capitals in a row. A word that only begins a sentence may be one too."""
    for mention in taken:
        gap = "\n" * (mention.end - mention.start)
        text = text[: mention.start] + gap + text[mention.end :]
    pattern = _ASCII_NAME if PLAIN.fullmatch(text) else compiled(_NAME)
    return [Mention(_word_begin(text, m.start()), m.end()) for m in pattern.finditer(text)]


def _word_begin(text: str, at: int) -> int:
    """RETURNS (int): Where a word begins that has a letter at a place: at the "i" of "iPhone"."""
    while at and (text[at - 1].isalnum() or category(text[at - 1])[0] == "M"):
        at -= 1
    return at


def without_overlaps(chosen: Iterable[Mention], others: Iterable[Mention]) -> list[Mention]:
    """RETURNS (list[Mention]): The others that share no character with the chosen ones, nor with
    an earlier one of their own."""
    taken = sorted((mention.start, mention.end) for mention in chosen)
    kept: list[Mention] = []
    i, end = 0, 0
    for mention in sorted(others):
        while i < len(taken) and taken[i][1] <= mention.start:
            i += 1
        if mention.start >= end and (i == len(taken) or taken[i][0] >= mention.end):
            kept.append(mention)
            end = mention.end
    return kept
