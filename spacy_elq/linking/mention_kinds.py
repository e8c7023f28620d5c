"""What is no name: lower-case words of a text that uses case, and entities with such titles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..encoders.sentences import find_breaks
from ..encoders.windows import Window
from ..encoders.word_shapes import LOWER, MARK, with_shapes
from ..ml.name_features import LENGTH, LOWERED, NameTable
from .decoding import NAMES, DecodingSettings

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


def is_concept(text: str, start: int, end: int, title: str) -> bool:
    """RETURNS (bool): Whether a mention has a capital that its entity's title lacks: "CEO", or
    "Coach" where a sentence begins. What has no capital may be anything, as in a question.

    start, end (int): Characters of the mention.
    """
    surface = text[start:end]
    return title.islower() and surface != surface.lower() and not is_question(text)


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
