"""Find the words of a text that are short for a longer name, and the entities that have it: last
words, as "Pauli" of "Wolfgang Pauli", and initials, as "FBI" of "Federal Bureau of Investigation".

Such a word is no name in the knowledge base, so that it is no likelier to be a mention; but the
entities that have it are likelier to be meant. How much likelier is learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import log

import numpy as np

from ..encoders.windows import Window
from ..kb.files.names import SHORTEST, Word, WordsOf, short_form_key
from .name_features import (
    LOG_SHARE,
    MENTION_FEATURES,
    SHARED,
    SHORT_FORM,
    NameMatch,
    NameMatches,
    NameTable,
    place_of_word,
    real_pieces,
    words_in,
)

# A word that more entities have tells nothing.
MAX_ENTITIES = 30


def add_short_forms(
    matches: Sequence[NameMatches],
    kb: NameTable,
    texts: Sequence[str],
    windows: Sequence[Window],
    words_of: WordsOf,
) -> None:
    """Add to the names in each window the words that are short for a name. One that is nothing else
    has none of the `MENTION_FEATURES`.

    matches (Sequence[NameMatches]): From `find_name_matches` for the other arguments; changed.
    """
    found = [
        (w, word, short)
        for w, window in enumerate(windows)
        for word, short in _short_forms(texts, window, words_of)
    ]
    keys = np.array([short_form_key(short) for *_, short in found], dtype=np.uint64)
    owners, entries = kb.find_names(keys)
    limits = np.searchsorted(owners, np.arange(len(found) + 1)).tolist()
    pieces = cache(lambda w: real_pieces(windows[w]))
    for (w, word, _), (begin, end) in zip(found, pairwise(limits), strict=True):
        if 0 < end - begin <= MAX_ENTITIES and (place := place_of_word(pieces(w), word)):
            rows = entries["row"][begin:end].astype(np.int64)
            matches[w][place] = _with_short_form(matches[w].get(place), rows)


def _short_forms(
    texts: Sequence[str], window: Window, words_of: WordsOf
) -> Iterator[tuple[Word, str]]:
    """YIELDS (tuple[Word, str]): The words in a window that may be the last of a name, folded, and
    those that may be initials, in capitals."""
    text = texts[window.doc]
    for word in words_in(window, words_of(window.doc)):
        if len(word.folded) >= SHORTEST and text[word.start].isupper():
            yield word, word.folded
            if text[word.start : word.end].isupper():
                yield word, word.folded.upper()


def _with_short_form(name: NameMatch | None, rows: np.ndarray) -> NameMatch:
    """RETURNS (NameMatch): A name, if it is one, and the entities that it is short for,
    as far as it does not name them already."""
    shared = log(len(rows))
    if name is not None:
        rows = rows[~np.isin(rows, name.rows)]
    kinds = np.full(len(rows), SHORT_FORM)
    of_entities = np.zeros((len(rows), LOG_SHARE + 1), dtype=np.float32)
    of_entities[:, SHORT_FORM], of_entities[:, SHARED] = 1, shared
    if name is None:
        none = np.zeros(len(MENTION_FEATURES), dtype=np.float32)
        return NameMatch(rows, kinds, none, of_entities)
    return replace(
        name,
        rows=np.concatenate([name.rows, rows]),
        kinds=np.concatenate([name.kinds, kinds]),
        of_entities=np.concatenate([name.of_entities, of_entities]),
    )
