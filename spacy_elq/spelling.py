"""How a text is read by everything that looks for names in it: wordpieces, name index, boundaries.

Compatibility forms, such as full-width and styled letters, become plain ones; invisible characters
are left out; symbols stand apart from words. Offsets lead back to the text as it was written. ASCII
text is read as it is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

# Scripts in which a name may end, and in all but Hangul also begin, at any character.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc\p{Line_Break=SA}\p{Hangul}"
UNSPACED = rf"(?=[{_UNSPACED}])\X"
# A character of these scripts, or letters and digits with their marks; "&" stands for "and". Most
# words are ASCII, which is found faster alone.
WORD = (
    rf"(?V1)[a-zA-Z0-9]++(?=[\x00-\x7f]|\Z)"
    rf"|{UNSPACED}|(?:[[\p{{L}}\p{{N}}]--[{_UNSPACED}]]\p{{M}}*)+|&"
)
# A text with ASCII, dashes, quotation marks and dots.
PLAIN = re.compile("[\x00-\x7f\u2010-\u2027]*")
# A text in Latin, Greek or Cyrillic whose letters have no marks of their own; and its words.
_UNMARKED = re.compile("[\x00-\u02ff\u0370-\u0482\u048a-\u052f\u1e00-\u207f\u2100-\u2bff]*")
_UNMARKED_WORD = re.compile(r"[^\W_]+|&")
# Bytes of ASCII, with spaces between words.
_SPACED = bytes(c if c == ord("&") or chr(c).isalnum() else ord(" ") for c in range(128)).ljust(256)
# Runs of ASCII that no mark follows, and grapheme clusters.
_CHUNK = r"[\x00-\x7f]+(?=[\x00-\x7f]|\Z)|\X"
_INVISIBLE = r"[\p{Cf}\p{Default_Ignorable_Code_Point}]+"
# Characters that form no cluster with a following one of this kind.
_SINGLE = r"[\p{GCB=XX}\p{GCB=LV}\p{GCB=LVT}]"
_KEYCAP = "\u20e3"
_SUBSCRIPTS = range(0x2080, 0x208A)
# Letters in filled circles and squares: first code points.
_FILLED = (0x1F150, 0x1F170)
# What is written for another character, though Unicode does not say so.
_WRITTEN_FOR = {
    **dict.fromkeys("\u00b4\u02bb\u02bc\u02bd\u02be\u02bf", "'"),
    "\u0149": "'n",
    "\u2044": "/",
    "\u2215": "/",
    "\u2212": "-",
    "\u2116": "No",
}


# Latin letters that Unicode does not decompose, as ICU's "Latin-ASCII" writes them.
_BARE = {
    **dict(zip("łøđðıħŧŋĸƀɓƈɖɗɛƒɠǥƙɨɔɵƥɽƭʉʋƴƶəǝ", "loddihtnqbbcddefggkiooprtuvyzee", strict=True)),
    **{"æ": "ae", "œ": "oe", "þ": "th", "ß": "ss"},
}
PLAIN_LETTERS = {
    **{letter.upper(): plain.capitalize() for letter, plain in _BARE.items() if letter not in "ıß"},
    **{"\u1e9e": "SS"},
    **_BARE,
}


@cache
def compiled(pattern: str) -> Any:
    """RETURNS (regex.Pattern): A pattern of the package `regex`, which takes a while to import and
    is needed by texts beyond ASCII only."""
    import regex  # type: ignore[import-untyped]

    return regex.compile(pattern)


def words_of(text: str) -> list[str]:
    """RETURNS (list[str]): What `WORD` finds in a text, faster in most scripts with capitals."""
    if not PLAIN.fullmatch(text):
        unmarked = _UNMARKED.fullmatch(text)
        return (_UNMARKED_WORD if unmarked else compiled(WORD)).findall(text)
    ascii = text.encode("ascii", "replace").replace(b"&", b" & ").translate(_SPACED)
    return ascii.decode("ascii").split()


@dataclass(frozen=True, eq=False)
class Spelling:
    """A text as it is read.

    text (str): The text.
    places (ndarray | None): For each of its characters, the characters of the original that it
        stands for: a whole grapheme cluster, end exclusive, int64 (N, 2). None if both texts are
        the same.
    """

    text: str
    places: np.ndarray | None = None

    def original(self, ranges: np.ndarray) -> np.ndarray:
        """ranges (ndarray): Ranges of characters of this text, end exclusive, int (n, 2).
        RETURNS (ndarray): Those of the original text, int (n, 2)."""
        if self.places is None or not len(ranges):
            return ranges
        last = np.maximum(ranges[:, 1] - 1, ranges[:, 0])
        return np.stack([self.places[ranges[:, 0], 0], self.places[last, 1]], axis=1)

    def plain(self) -> Spelling:
        """RETURNS (Spelling): The text with `PLAIN_LETTERS` in place of letters with strokes and
        the like."""
        forms = [PLAIN_LETTERS.get(char, char) for char in self.text]
        text = "".join(forms)
        if text == self.text:
            return self
        return Spelling(text, np.repeat(self._all_places(), [*map(len, forms)], axis=0))

    def _all_places(self) -> np.ndarray:
        if self.places is None:
            return np.arange(len(self.text))[:, None] + (0, 1)
        return self.places

    def spaced(self, ranges: Iterable[tuple[int, int]]) -> Spelling:
        """RETURNS (Spelling): The text with spaces around the characters of scripts without spaces,
        within some ranges."""
        found = {
            place
            for begin, end in ranges
            for match in compiled(UNSPACED).finditer(self.text, begin, end)
            for place in match.span()
            if begin < place < end
        }
        if not found:
            return self
        cuts = sorted(found)
        parts = [self.text[a:b] for a, b in pairwise([0, *cuts, len(self.text)])]
        places = self._all_places()
        return Spelling(" ".join(parts), np.insert(places, cuts, places[cuts], axis=0))


def read(text: str) -> Spelling:
    """RETURNS (Spelling): The text as it is read."""
    if text.isascii() or all(map(_stays, text)):
        return Spelling(text)
    written = _Written()
    for match in compiled(_CHUNK).finditer(text):
        start, end = match.span()
        if match[0].isascii():
            written.add(match[0], range(start, end), range(start + 1, end + 1))
        else:
            form, apart = _respell(match[0])
            end = start + len(match[0].rstrip() or match[0])  # a few letters join a space
            written.add(form, [start] * len(form), [end] * len(form), apart=apart)
    return written.spelling()


class _Written:
    """A spelling, made from left to right."""

    def __init__(self) -> None:
        self.text: list[str] = [" "]
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.apart = False

    def add(
        self, form: str, starts: Sequence[int], ends: Sequence[int], *, apart: bool = False
    ) -> None:
        """apart (bool): Whether a space has to separate the form from others."""
        if not form:
            return
        if apart != self.apart and not (form[0].isspace() or self.text[-1][-1].isspace()):
            # The space has the place of what follows: no wordpiece begins earlier than its letters.
            self.text.append(" ")
            self.starts.append(starts[0])
            self.ends.append(ends[0])
        self.text.append(form)
        self.starts += starts
        self.ends += ends
        self.apart = apart

    def spelling(self) -> Spelling:
        places = np.array([self.starts, self.ends], dtype=np.int64).T
        return Spelling("".join(self.text[1:]), places)


@lru_cache(maxsize=1 << 14)
def _stays(char: str) -> bool:
    """RETURNS (bool): Whether a character is read as it is, whatever is next to it."""
    if char.isascii():
        return True
    return compiled(_SINGLE).match(char) is not None and _respell(char) == (char, False)


@lru_cache(maxsize=1 << 14)
def _respell(cluster: str) -> tuple[str, bool]:
    """RETURNS (tuple[str, bool]): How a grapheme cluster is read, and whether it stands apart from
    its neighbours."""
    base, kind = cluster[0], unicodedata.category(cluster[0])
    if _KEYCAP in cluster and len(cluster) > 1:
        return base, True
    if base in _WRITTEN_FOR:
        return _WRITTEN_FOR[base], _WRITTEN_FOR[base].isalpha()
    if kind[0] == "S":
        letter = _styled_letter(base)
        return letter or cluster, not letter
    visible = compiled(_INVISIBLE).sub("", cluster)
    if kind[0] == "Z":
        return visible, False
    return _compatible(visible), kind == "No" and _is_raised(base)


def _compatible(cluster: str) -> str:
    """RETURNS (str): The compatible form of a cluster, if that is one word or one mark as well."""
    plain = unicodedata.normalize("NFKC", cluster)
    # Longer: an ellipsis, or a Thai vowel that would become two.
    is_several = len(plain) > len(cluster) and (
        not plain.isalnum() or compiled(UNSPACED).match(cluster)
    )
    return unicodedata.normalize("NFC", cluster) if is_several else plain


def _is_raised(number: str) -> bool:
    """RETURNS (bool): Whether a number may be a footnote or the bullet of a list: superscript, or
    in a circle. "H\u2082O" is one word."""
    return unicodedata.normalize("NFKC", number) != number and ord(number) not in _SUBSCRIPTS


@lru_cache(maxsize=1 << 12)
def is_symbol(char: str) -> bool:
    """RETURNS (bool): Whether a character is an emoji or another symbol that is no part of a word,
    as letters in circles are."""
    is_other = unicodedata.category(char) == "So"
    return is_other and char not in _WRITTEN_FOR and not _styled_letter(char)


def _styled_letter(symbol: str) -> str:
    """RETURNS (str): The letter that a symbol shows, such as one in a circle; "" if none."""
    for first in _FILLED:
        if first <= ord(symbol) < first + 26:
            return chr(ord("A") + ord(symbol) - first)
    plain = unicodedata.normalize("NFKC", symbol)
    return plain if len(plain) == 1 and plain != symbol and plain.isalnum() else ""


def last_base(text: str, end: int) -> str:
    """RETURNS (str): The last character before `end` that is no mark on another one."""
    last = end - 1
    while last > 0 and not text[last].isascii() and _is_mark(text[last]):
        last -= 1
    return text[last]


@lru_cache(maxsize=1 << 12)
def _is_mark(char: str) -> bool:
    return unicodedata.category(char) in ("Mn", "Mc", "Me", "Cf", "Sk")
