"""Spans of texts that may be mentions or not: the mention loss leaves them out."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from spacy.tokens import Doc, Span

from ..encoders.windows import NO_CHARS, Window
from ..gold import Bounds, gold_spans, ignored_bounds, is_complete, nil_spans, unknown_spans
from ..ml.name_features import NameMatches, name_feature_grid

# Unicode categories of characters that names have and other words seldom do: capital letters,
# digits, and letters of scripts without capitals.
_OF_NAMES = ("Lu", "Lt", "Lo", "Nd")


def is_partial(doc: Doc) -> bool:
    """RETURNS (bool): Whether a reference document may have mentions that are not annotated."""
    return not is_complete(doc) or bool(_unknown(doc))


def _unknown(doc: Doc) -> list[Bounds]:
    """The places of mentions that may be there or not, and of those that may be linked or not."""
    return [*_bounds(unknown_spans(doc)), *ignored_bounds(doc)]


def find_unannotated(
    windows: Sequence[Window],
    references: Sequence[Doc],
    names: Sequence[NameMatches],
    shape: Sequence[int],
) -> np.ndarray | None:
    """Find the spans that may be mentions or not: those that share a character with a span that is
    marked as unknown, or as one that may be linked or not; and in a text of which not all mentions
    are annotated, those that touch no gold mention and look like a name or are one in the knowledge
    base.

    references (Sequence[Doc]): The documents that `Window.doc` counts, with gold spans.
    names (Sequence[NameMatches]): The names in each window.
    shape (Sequence[int]): That of the span logits, (B, T, W).
    RETURNS (ndarray | None): bool (B, T, W), gold spans may be among them; None if all texts are
        annotated in full.
    """
    docs = {window.doc for window in windows}
    features = {i: _features(references[i]) for i in docs if is_partial(references[i])}
    if not features:
        return None
    per_piece = np.zeros((3, *shape[:2]), dtype=np.int64)
    incomplete = np.zeros(shape[0], dtype=bool)
    for row, window in enumerate(windows):
        if window.doc in features:
            per_piece[:, row, : len(window)] = _per_piece(features[window.doc], window)
            incomplete[row] = not is_complete(references[window.doc])
    named, gold, unknown = _any_within(per_piece, shape[2])
    named[name_feature_grid(names, shape[2]).places] = True
    return unknown | (named & ~gold & incomplete[:, None, None])


def _features(doc: Doc) -> np.ndarray:
    """Number of characters before each place of a text, int64 (3, length + 1): those that names
    have, those of gold mentions, those of unknown spans."""
    text = doc.text
    flags = np.zeros((3, len(text) + 1), dtype=np.int64)
    flags[0, 1:] = np.fromiter(map(_is_of_name, text), dtype=bool, count=len(text))
    gold = _bounds([*gold_spans(doc), *nil_spans(doc)])
    for flag, places in ((1, gold), (2, _unknown(doc))):
        for start, end in places:
            flags[flag, start + 1 : end + 1] = 1
    return flags.cumsum(axis=1)


def _bounds(spans: Iterable[Span]) -> list[Bounds]:
    return [(span.start_char, span.end_char) for span in spans]


@lru_cache(maxsize=1 << 12)
def _is_of_name(char: str) -> bool:
    return unicodedata.category(char) in _OF_NAMES


def _per_piece(before: np.ndarray, window: Window) -> np.ndarray:
    """RETURNS (ndarray): Number of such characters in each wordpiece, int64 (3, T)."""
    begins, ends = window.chars.T
    return np.where(begins != NO_CHARS, before[:, ends] - before[:, begins], 0)


def _any_within(per_piece: np.ndarray, widths: int) -> np.ndarray:
    """per_piece (ndarray): Counts, int64 (…, T).
    RETURNS (ndarray): Whether each span has any, bool (…, T, widths)."""
    n_pieces = per_piece.shape[-1]
    before = np.zeros((*per_piece.shape[:-1], n_pieces + widths), dtype=np.int64)
    before[..., 1 : n_pieces + 1] = per_piece.cumsum(axis=-1)
    before[..., n_pieces + 1 :] = before[..., n_pieces, None]
    ends = np.lib.stride_tricks.sliding_window_view(before[..., 1:], widths, axis=-1)
    return ends > before[..., :n_pieces, None]
