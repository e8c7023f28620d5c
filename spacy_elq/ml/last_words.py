"""Find the words of a text that are the last word of a longer name, such as "Pauli", and the
entities that have it: "Wolfgang Pauli".

Such a word is no name in the knowledge base, so that it is no likelier to be a mention; but the
entities that have it are likelier to be meant. How much likelier is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import log

import numpy as np

from ..encoders.windows import Window
from ..kb.files.names import LAST_WORD_LENGTH, Word, WordsOf, last_word_key
from .name_features import (
    LAST_WORD,
    LOG_SHARE,
    MENTION_FEATURES,
    SHARED,
    NameMatch,
    NameMatches,
    NameTable,
    place_of_word,
    real_pieces,
    words_in,
)

# A word that more entities have tells nothing.
MAX_ENTITIES = 30


def add_last_words(
    matches: Sequence[NameMatches],
    kb: NameTable,
    texts: Sequence[str],
    windows: Sequence[Window],
    words_of: WordsOf,
) -> None:
    """Add to the names in each window the words that are the last of a name. One that is nothing
    else has none of the `MENTION_FEATURES`.

    matches (Sequence[NameMatches]): From `find_name_matches` for the other arguments; changed.
    """
    found = [
        (w, word) for w, window in enumerate(windows) for word in _last(texts, window, words_of)
    ]
    keys = np.array([last_word_key(word.folded) for _, word in found], dtype=np.uint64)
    owners, entries = kb.find_names(keys)
    limits = np.searchsorted(owners, np.arange(len(found) + 1)).tolist()
    pieces = cache(lambda w: real_pieces(windows[w]))
    for (w, word), (begin, end) in zip(found, pairwise(limits), strict=True):
        if 0 < end - begin <= MAX_ENTITIES and (place := place_of_word(pieces(w), word)):
            rows = entries["row"][begin:end].astype(np.int64)
            matches[w][place] = _with_last_word(matches[w].get(place), rows)


def _last(texts: Sequence[str], window: Window, words_of: WordsOf) -> list[Word]:
    """RETURNS (list[Word]): The words in a window that may be the last of a name."""
    text = texts[window.doc]
    return [
        word
        for word in words_in(window, words_of(window.doc))
        if len(word.folded) >= LAST_WORD_LENGTH and text[word.start].isupper()
    ]


def _with_last_word(name: NameMatch | None, rows: np.ndarray) -> NameMatch:
    """RETURNS (NameMatch): A name, if it is one, and the entities that have it as their last word,
    as far as it does not name them already."""
    shared = log(len(rows))
    if name is not None:
        rows = rows[~np.isin(rows, name.rows)]
    kinds = np.full(len(rows), LAST_WORD)
    of_entities = np.zeros((len(rows), LOG_SHARE + 1), dtype=np.float32)
    of_entities[:, LAST_WORD], of_entities[:, SHARED] = 1, shared
    if name is None:
        none = np.zeros(len(MENTION_FEATURES), dtype=np.float32)
        return NameMatch(rows, kinds, none, of_entities)
    return replace(
        name,
        rows=np.concatenate([name.rows, rows]),
        kinds=np.concatenate([name.kinds, kinds]),
        of_entities=np.concatenate([name.of_entities, of_entities]),
    )
