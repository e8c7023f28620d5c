"""What is no name: lower-case words of a text that uses case, entities with such titles, dates."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..encoders.sentences import find_breaks
from ..encoders.windows import Window
from ..encoders.word_shapes import LOWER, MARK, with_shapes
from ..kb.files.names import name_words
from ..ml.name_features import LENGTH, LOWERED, NameTable
from .decoding import NAMES, DecodingSettings

# Words of dates, folded, in the languages that capitalise days and months: English and German.
_DATE_WORD = re.compile(
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
    r"|january|february|march|april|may|june|july|august|september|october|november|december"
    r"|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonnabend|sonntag"
    r"|januar|janner|februar|marz|mai|juni|juli|oktober|dezember"
    r"|\d+(?:st|nd|rd|th)?"
)
# Words of descriptions of dates.
_PERIOD = re.compile(r"\b(?:day|month|year|decade|date|(?:wochen)?tag|monat|jahr|jahrzehnt)\b")
QUESTION_MARKS = ("?", "\uff1f", "\u061f", "\u037e")


def links_names_only(settings: DecodingSettings, kb: NameTable) -> bool:
    """RETURNS (bool): Whether found mentions must be names, as far as the knowledge base tells."""
    return settings.mention_kinds == NAMES and kb.capitalises_names


def unnamed_spans(
    windows: Sequence[Window], texts: Sequence[str], length: int, widths: int
) -> np.ndarray:
    """Find the spans that have neither a capital nor a digit, nor a letter of a script without
    case. There are none in a text, or a line, that does not use case or where sentences begin with
    lower-case words: who writes so may write names so. Nor are there in a question.

    texts (Sequence[str]): The texts of the documents, indexed by `Window.doc`.
    length, widths (int): Size of the last axes of the span logits, T and W.
    RETURNS (ndarray): bool (B, T, W), places as in `decoding.span_logits`.
    """
    if any(window.shapes is None for window in windows):
        windows = with_shapes(windows, texts)
    questions = {doc for doc in {window.doc for window in windows} if is_question(texts[doc])}
    small = np.zeros((len(windows), length), dtype=bool)
    for row, window in enumerate(windows):
        if window.formal and window.shapes is not None and window.doc not in questions:
            small[row, : len(window)] = np.isin(window.shapes[:, 0], (LOWER, MARK))
    places = np.arange(length)
    # The first wordpiece from each place on that is not small.
    others = np.where(small, length, places)
    following = np.minimum.accumulate(others[:, ::-1], axis=1)[:, ::-1]
    return places[:, None] + np.arange(widths) < following[..., None]


def is_concept(text: str, start: int, end: int, title: str, description: str) -> bool:
    """RETURNS (bool): Whether a mention has a capital though its entity is no name: the title lacks
    it, as of "CEO", or of "Coach" where a sentence begins; or it is a date, as "Friday" is. What
    has no capital may be anything, as in a question.

    start, end (int): Characters of the mention.
    title, description (str): Of the entity.
    """
    surface = text[start:end]
    if surface == surface.lower() or not (title.islower() or is_date(title, description)):
        return False
    return not is_question(text)  # last, since texts may be long


def is_date(title: str, description: str) -> bool:
    """RETURNS (bool): Whether an entity is a day, a month or another date, as "May 2010" is: its
    title has nothing else, and its description says so, which that of a film "Friday" does not."""
    words = name_words(title)
    is_dated = bool(words) and all(map(_DATE_WORD.fullmatch, words))
    return is_dated and _PERIOD.search(description.casefold()) is not None


def are_written_small(features: np.ndarray) -> np.ndarray:
    """Find the names of several words that somebody did not capitalise, as in "Who influenced
    claude debussy": about them, the model decides.

    features (ndarray): `MENTION_FEATURES` of names, (n, features).
    RETURNS (ndarray): bool (n,).
    """
    return (features[:, LOWERED] > 0) & (features[:, LENGTH] > 0)


def is_question(text: str) -> bool:
    """RETURNS (bool): Whether a text is one question. Questions ask for concepts, which documents
    only mention."""
    bare = text.strip()
    return bare.endswith(QUESTION_MARKS) and not any(find_breaks(bare))
