"""Where paragraphs, sentences and lines of a plain text begin.

Only to choose where a long text is cut, so a missed end of a sentence costs nothing, and one that
is none may cost a name: what may be an abbreviation is taken for one, in any language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

# Kinds of places, the best one for a cut first.
PARAGRAPH, SENTENCE, LINE = range(3)

_PARAGRAPH = re.compile(r"\n\s*\n\s*")
_LINE = re.compile(r"\n[^\S\n]*(?=\S)")
# Marks that end a sentence where a space follows, and what may stand between.
STOP = r"[.!?\u2026\u061f\u0964]"
CLOSING = r"[\"'\u2019\u201d\u00bb\u203a)\]]"
# A stop with what closes the sentence, up to the next one; wide stops need no space after them.
_END = re.compile(
    rf"(?<!{STOP})(?P<stop>{STOP}++){CLOSING}*+\s+(?=\S)"
    r"|(?<![\u3002\uff01\uff1f])[\u3002\uff01\uff1f]++[\u300d\u300f\u2019\u201d\uff09]*+\s*+(?=\S)"
)
_WORD = re.compile(r"[\w.]*\Z")
# Longest word that may be an abbreviation if it has a capital, as "Corp." has; longest of all.
_SHORT = 4
_LONGEST = 12
_ABBREVIATIONS = frozenset(
    ["approx", "bzw", "ca", "cf", "ed", "eds", "etc", "fig", "no", "nr", "pp", "usw", "vol", "vs"]
)


def find_breaks(text: str, sentences: Sequence[int] | None = None) -> Iterator[tuple[int, int]]:
    """Find the places at which a text is best cut.

    sentences (Sequence[int] | None): The first characters of its sentences, if they are known.
    YIELDS (tuple[int, int]): A character and the kind of what begins there; one may come twice.
    """
    cased = text != text.lower()
    for match in _LINE.finditer(text):
        if not (cased and text[match.end()].islower()):  # else the line goes on
            yield match.end(), LINE
    found: Iterable[int] = _sentences(text, cased=cased) if sentences is None else sentences
    yield from ((place, SENTENCE) for place in found)
    yield from ((match.end(), PARAGRAPH) for match in _PARAGRAPH.finditer(text))


def _sentences(text: str, *, cased: bool) -> Iterator[int]:
    """cased (bool): Whether the text has capitals: sentences begin with one then."""
    for match in _END.finditer(text):
        start, end = match.span()
        goes_on = match["stop"] and cased and text[end].islower()
        is_plain = match["stop"] == "."
        if not (goes_on or (is_plain and _is_abbreviated(text, start, cased=cased))):
            yield end


def _is_abbreviated(text: str, stop: int, *, cased: bool) -> bool:
    """RETURNS (bool): Whether a stop may belong to the word before it: "Corp.", "U.S.", "J.", the
    "3." of a date or a list."""
    match = _WORD.search(text, max(0, stop - _LONGEST), stop)
    word = match[0] if match else ""
    if word.isdigit():
        return len(word) < 3
    is_short = 0 < len(word) <= _SHORT and (not cased or word[0].isupper())
    return is_short or "." in word or word.lower() in _ABBREVIATIONS
