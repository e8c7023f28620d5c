"""Find the words of a text that are the last word of a longer name, such as "Pauli", and the
entities that have it: "Wolfgang Pauli".

Such a word is no name in the knowledge base, so that it is no likelier to be a mention; but the
entities that have it are likelier to be meant. How much likelier is learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from math import log

import numpy as np

from ..encoders.windows import Window
from ..kb.files.names import LAST_WORD_LENGTH, WordsOf, last_word_key, word_finder
from .name_features import (
    LAST_WORD,
    LOG_SHARE,
    MAX_WORDS,
    MENTION_FEATURES,
    SHARED,
    NameMatch,
    NameMatches,
    NameTable,
    find_name_matches,
    pieces_of_word,
    real_pieces,
    words_in,
)

# A word that more entities have tells nothing.
MAX_ENTITIES = 30
# Window, first and last wordpiece.
Place = tuple[int, int, int]


def find_names(
    kb: NameTable,
    texts: Sequence[str],
    windows: Sequence[Window],
    max_words: int = MAX_WORDS,
    words_of: WordsOf | None = None,
) -> list[NameMatches]:
    """Find the names in each window, and the words that are the last of a name.

    The arguments are those of `find_name_matches`.
    RETURNS (list[NameMatches]): The names in each window. One that is only the last word of names
        has none of the `MENTION_FEATURES`.
    """
    words_of = words_of or word_finder(texts)
    matches = find_name_matches(kb, texts, windows, max_words, words_of)
    found = list(_capitalised_words(texts, windows, words_of))
    keys = np.array([last_word_key(folded) for _, folded in found], dtype=np.uint64)
    owners, entries = kb.find_names(keys)
    limits = np.searchsorted(owners, np.arange(len(found) + 1)).tolist()
    for ((window, *place), _), (begin, end) in zip(found, pairwise(limits), strict=True):
        if 0 < end - begin <= MAX_ENTITIES:
            rows = entries["row"][begin:end].astype(np.int64)
            first, last = place
            matches[window][first, last] = _with_last_word(matches[window].get((first, last)), rows)
    return matches


def _capitalised_words(
    texts: Sequence[str], windows: Sequence[Window], words_of: WordsOf
) -> Iterator[tuple[Place, str]]:
    """YIELDS (tuple[Place, str]): The place of each word with a capital, and the word, folded."""
    for w, window in enumerate(windows):
        text, pieces = texts[window.doc], real_pieces(window)
        for word in words_in(window, words_of(window.doc)):
            if len(word.folded) < LAST_WORD_LENGTH or not text[word.start].isupper():
                continue
            first, last = pieces_of_word(pieces, word)
            if first <= last:
                yield (w, pieces.places[first], pieces.places[last]), word.folded


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
