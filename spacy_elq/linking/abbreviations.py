"""Abbreviations that a text defines, "amyotrophic lateral sclerosis (ALS)", found as by Schwartz
and Hearst (2003): from then on, the short form means what the long one does."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from spacy.tokens import Doc

from ..encoders.windows import Window, locate_wordpieces
from .decoding import DecodingSettings
from .document import CONFIDENT, Gain, Gains, find_gains
from .ranked import RankedMentions

# What a certain long form adds to the score of its entity.
DEFINED = 12.0
# Characters and words that a short form has at most.
MAX_CHARS, MAX_WORDS = 10, 2
# Characters before a parenthesis that may be a long form.
MAX_DISTANCE = 300
PARENTHESIS = re.compile(r"\(([^()\n]+)\)")
# What comes after a short form in a parenthesis: "(ALS, or motor neuron disease)".
REST = re.compile(r"[,;]\s")
# A long form is in one sentence, and no parenthesis.
BORDER = re.compile(r"[.!?:;]\s|[()\n]")
ARTICLE = re.compile(r"(the|a|an)\s+", re.IGNORECASE)

Range = tuple[int, int]


class Abbreviation(NamedTuple):
    """A definition, in characters, ends exclusive.

    long, short (Range): The two forms where the one defines the other.
    """

    long: Range
    short: Range


def find_abbreviations(text: str) -> list[Abbreviation]:
    """RETURNS (list[Abbreviation]): The definitions of a text, "long (short)" or "short (long)"."""
    found = []
    for parenthesis in PARENTHESIS.finditer(text):
        least = max(0, parenthesis.start() - MAX_DISTANCE)
        borders = BORDER.finditer(text, least, parenthesis.start())
        begin = max((border.end() for border in borders), default=least)
        before = begin, begin + len(text[begin : parenthesis.start()].rstrip())
        inside = parenthesis.span(1)
        rest = REST.search(text, *inside)
        first = _trimmed(text, (inside[0], rest.start() if rest else inside[1]))
        pair = _long_form(text, first, before)
        if pair is None and (word := re.search(r"\S+$", text[slice(*before)])):
            short = begin + word.start(), before[1]
            pair = _whole_long_form(text, short, _trimmed(text, inside))
        if pair is not None:
            found.append(pair)
    return found


def short_forms(text: str) -> list[tuple[Range, Range]]:
    """RETURNS (list): Each place of a short form, from its definition on, in the order of the text,
    with the place of the long form that was the last to define it."""
    places: dict[Range, Range] = {}
    defined: dict[str, list[Abbreviation]] = {}
    for each in find_abbreviations(text):
        places[each.short] = each.long
        defined.setdefault(text[slice(*each.short)], []).append(each)
    if defined:
        surfaces = "|".join(map(re.escape, sorted(defined, key=len, reverse=True)))
        for use in re.finditer(rf"(?<!\w)(?:{surfaces})(?!\w)", text):
            before = [each for each in defined[use[0]] if max(each)[1] <= use.start()]
            if before and use.span() not in places:
                places[use.span()] = before[-1].long
    return sorted(places.items())


def short_form_spans(
    windows: Sequence[Window], texts: Sequence[str], widths: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RETURNS (tuple): Window, first wordpiece and width of the short forms, each int64 (n,)."""
    places = {doc: short_forms(texts[doc]) for doc in {window.doc for window in windows}}
    cells = []
    for row, window in enumerate(windows):
        of_doc = places[window.doc]
        inside = (bisect_left(of_doc, ((edge, 0),)) for edge in window.core)
        for (begin, end), _ in of_doc[slice(*inside)]:
            place = locate_wordpieces(window, begin, end)
            if place is not None and place[1] - place[0] < widths:
                cells.append((row, place[0], place[1] - place[0]))
    columns = np.array(cells, dtype=np.int64).reshape(-1, 3).T
    return columns[0], columns[1], columns[2]


def gains_in_documents(
    mentions: RankedMentions, docs: Sequence[Doc], settings: DecodingSettings
) -> Gains:
    """RETURNS (Gains): What each mention is told by others of its document, and what short forms
    are told by their long forms."""
    gains = find_gains(mentions, docs, settings.document_weight)
    if not settings.abbreviations:
        return gains
    for i, told in _defined(mentions, docs).items():
        own = gains.setdefault(i, {})
        for row, gain in told.items():
            own[row] = max(gain, own.get(row, gain))
    return dict(sorted(gains.items()))


def _defined(mentions: RankedMentions, docs: Sequence[Doc]) -> Gains:
    confidence = np.exp(mentions.mention_score[:, None] + mentions.entity_scores)
    at: dict[tuple[int, int, int], list[int]] = {}
    for i, (doc, place) in enumerate(
        zip(mentions.doc.tolist(), mentions.chars.tolist(), strict=True)
    ):
        at.setdefault((doc, *place), []).append(i)
    gains: Gains = {}
    for doc in sorted(set(mentions.doc.tolist())):
        text = docs[doc].text
        for short, long in short_forms(text):
            sources = [i for each in _with_article(text, long) for i in at.get((doc, *each), ())]
            for i in at.get((doc, *short), ()) if sources else ():
                if told := _told(i, sources, mentions, confidence):
                    gains[i] = told
    return gains


def _told(
    i: int, sources: Iterable[int], mentions: RankedMentions, confidence: np.ndarray
) -> dict[int, Gain]:
    own = dict(zip(mentions.rows[i].tolist(), confidence[i].tolist(), strict=True))
    told: dict[int, Gain] = {}
    for source in sources:
        for row, sure in zip(
            mentions.rows[source].tolist(), confidence[source].tolist(), strict=True
        ):
            bonus = DEFINED * (sure - own.get(row, 0.0))
            if row >= 0 and sure > CONFIDENT and bonus > 0:
                told[row] = max(Gain(bonus, source), told.get(row, Gain(bonus, source)))
    return told


def _with_article(text: str, place: Range) -> list[Range]:
    """RETURNS (list[Range]): A long form, and itself with an article before it or without its
    own."""
    before = re.search(r"\b(the|a|an)\s+$", text[max(0, place[0] - 9) : place[0]], re.IGNORECASE)
    after = ARTICLE.match(text, *place)
    starts = [place[0] - len(before[0])] if before else [after.end()] if after else []
    return [place, *((start, place[1]) for start in starts)]


def _long_form(text: str, short: Range, before: Range) -> Abbreviation | None:
    """The shortest end of what is before a parenthesis that has the letters of the short form."""
    surface = text[slice(*short)]
    if not _is_short(surface):
        return None
    words = list(re.finditer(r"\S+", text[slice(*before)]))
    most = min(len(surface) + 5, 2 * len(surface))
    first = words[-most:][0].start() if words else 0
    start = _matching_start(surface, text[before[0] + first : before[1]])
    if start is None:
        return None
    long = before[0] + first + start, before[1]
    return Abbreviation(long, short) if _is_long(text[slice(*long)], surface) else None


def _whole_long_form(text: str, short: Range, long: Range) -> Abbreviation | None:
    """The definition "short (long)", if all of the parenthesis is the long form."""
    found = _long_form(text, short, long)
    return found if found is not None and found.long == long else None


def _is_short(surface: str) -> bool:
    is_fit = 2 <= len(surface) <= MAX_CHARS and len(surface.split()) <= MAX_WORDS
    return is_fit and surface[0].isalnum() and any(map(str.isalpha, surface))


def _is_long(long: str, short: str) -> bool:
    return len(long) > len(short) and short not in re.split(r"[\s-]", long)


def _matching_start(short: str, long: str) -> int | None:
    """Match the letters and digits of a short form from right to left, its first with the beginning
    of a word.

    RETURNS (int | None): Where that word begins, and with it the long form.
    """
    place = len(long)
    letters = [char.lower() for char in short if char.isalnum()]
    for i in range(len(letters) - 1, -1, -1):
        place -= 1
        while place >= 0 and not (
            long[place].lower() == letters[i] and (i or place == 0 or not long[place - 1].isalnum())
        ):
            place -= 1
        if place < 0:
            return None
    return len(long[:place]) - len(re.search(r"\S*$", long[:place])[0])  # type: ignore[index]


def _trimmed(text: str, place: Range) -> Range:
    surface = text[slice(*place)]
    start = place[0] + len(surface) - len(surface.lstrip())
    return start, start + len(surface.strip())
