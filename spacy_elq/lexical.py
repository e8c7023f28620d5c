"""Which spans of a text are names in the knowledge base, and of which entities.

A span that is a name is more likely a mention, and more likely of the entity so called. How much
more is learned: this module only tells the features, and works with any knowledge base.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .encoders.windows import NO_CHARS, WHOLE, Window
from .kb.names import ALIAS, TITLE, Word, exact_hash, loose_keys, verbatim_hash, words

# Features of a span that is a name.
# verbatim: its punctuation is the name's too; title, alias: whose name; loose: the same but for a
# plural s, an article or spaces; inside: within a longer name; length: log of its number of words.
MENTION_FEATURES = ("verbatim", "title", "alias", "loose", "inside", "length")
# Features of an entity that has the mention as its name: as title, as alias, loosely.
LOOSE = 2
ENTITY_FEATURES = (TITLE, ALIAS, LOOSE)
# Longest name, in words, that is looked up.
MAX_WORDS = 10
# Wordpieces of punctuation that a name takes in on either side.
MAX_MARKS = 3


class NameTable(Protocol):
    """What this module needs of a knowledge base."""

    def find_names(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """keys (ndarray): Loose name keys, uint64 (M,).
        RETURNS (tuple[ndarray, ndarray]): Offsets, int64 (M + 1,), into the second array, whose
            entries tell the names of live entities (`kb.names.ENTRY`)."""
        ...


@dataclass
class NameHit:
    """A span that is a name.

    rows (ndarray): The entities that have it, int64 (C,).
    kinds (ndarray): Which of `ENTITY_FEATURES` each has, int64 (C,).
    features (ndarray): Its `MENTION_FEATURES`, float32 (6,).
    """

    rows: np.ndarray
    kinds: np.ndarray
    features: np.ndarray


# (first, last) wordpiece of a window, inclusive → the name that stands there.
Hits = dict[tuple[int, int], NameHit]


@dataclass
class _Name:
    """A run of words of a window that is a name."""

    first: int
    last: int
    entries: np.ndarray
    exact: np.ndarray

    @property
    def is_exact(self) -> bool:
        return bool(self.exact.any())


def find_hits(kb: NameTable, texts: Sequence[str], windows: Sequence[Window]) -> list[Hits]:
    """The names in each window.

    texts (Sequence[str]): The texts that `Window.text` counts.
    RETURNS (list[Hits]): One for each window.
    """
    split = {i: words(texts[i]) for i in {window.text for window in windows}}
    in_window = [_words_in(window, split[window.text]) for window in windows]
    names = _find_names(kb, in_window)
    return [
        _place(texts[window.text], in_window[i], names[i], window)
        for i, window in enumerate(windows)
    ]


@dataclass
class NameCells:
    """The names of a batch of windows, as cells of its span logits.

    places (tuple[ndarray, ndarray, ndarray]): Window, first wordpiece and width, int64 (n,) each.
    features (ndarray): float32 (n, features).
    """

    places: tuple[np.ndarray, np.ndarray, np.ndarray]
    features: np.ndarray


def name_cells(hits: Sequence[Hits], widths: int) -> NameCells:
    """hits (Sequence[Hits]): Of each window of the batch.
    widths (int): Last axis of the span logits, W; wider names are left out.
    RETURNS (NameCells): Where to add the weighted features."""
    cells = [
        (window, first, last - first)
        for window, of_window in enumerate(hits)
        for first, last in of_window
        if last - first < widths
    ]
    features = [hits[w][first, first + width].features for w, first, width in cells]
    places = np.array(cells, dtype=np.int64).reshape(-1, 3)
    stacked = np.array(features, dtype=np.float32).reshape(-1, len(MENTION_FEATURES))
    return NameCells((places[:, 0], places[:, 1], places[:, 2]), stacked)


def _words_in(window: Window, split: list[Word]) -> list[Word]:
    """The words that lie whole in a window; most texts are one window."""
    if window.core == WHOLE:
        return split
    real = window.chars[window.chars[:, 0] != NO_CHARS]
    first = bisect_left(split, real[0, 0], key=lambda word: word.start)
    return split[first : bisect_right(split, real[-1, 1], key=lambda word: word.end)]


def _find_names(kb: NameTable, texts: Sequence[list[Word]]) -> list[list[_Name]]:
    folded = [[word.folded for word in text] for text in texts]
    runs = [(i, *run) for i, text in enumerate(folded) for run in _runs(text)]
    keys = np.array([key for *_, key in runs], dtype=np.uint64)
    offsets, entries = kb.find_names(keys)
    found: list[list[_Name]] = [[] for _ in texts]
    # Most runs are nobody's name.
    for r in np.flatnonzero(offsets[1:] > offsets[:-1]).tolist():
        i, first, last, _ = runs[r]
        chosen = entries[offsets[r] : offsets[r + 1]]
        exact = chosen["exact"] == exact_hash(folded[i][first : last + 1])
        found[i].append(_Name(first, last, chosen, exact))
    return found


def _runs(folded: list[str]) -> Iterator[tuple[int, int, int]]:
    """First and last word of each run, and its loose key."""
    for first, word in enumerate(folded):
        if word:  # no name begins with the s of a possessive
            for last, key in enumerate(loose_keys(folded[first : first + MAX_WORDS]), first):
                yield first, last, key


def _place(text: str, split: list[Word], names: list[_Name], window: Window) -> Hits:
    """Find the wordpieces of each name. A name may take in the punctuation next to it: whether it
    should is for the features and the encoder to say."""
    hits: Hits = {}
    if not names:
        return hits
    pieces = np.flatnonzero(window.chars[:, 0] != NO_CHARS).tolist()
    starts, ends = window.chars[pieces].T.tolist()
    for name, inside in zip(names, _within_longer(names), strict=True):
        begin, end = split[name.first].start, split[name.last].end
        before = split[name.first - 1].end if name.first else 0
        after = split[name.last + 1].start if name.last + 1 < len(split) else len(text)
        # Wordpieces from the end of the word before to the begin of the word after.
        firsts = range(bisect_right(ends, before), bisect_right(starts, begin))[-MAX_MARKS - 1 :]
        lasts = range(bisect_left(ends, end), bisect_right(ends, after))[: MAX_MARKS + 1]
        for s in firsts:
            for e in lasts:
                hits[pieces[s], pieces[e]] = _hit(name, text[starts[s] : ends[e]], inside)
    return hits


def _within_longer(names: list[_Name]) -> list[bool]:
    """Which names, in the order of `_runs`, lie within a longer one that is exact."""
    longest: dict[int, int] = {}
    for name in names:
        if name.is_exact:
            longest[name.first] = name.last
    result, reach, current, pending = [], -1, -1, -1
    for name in names:
        if name.first != current:
            reach, current, pending = max(reach, pending), name.first, longest.get(name.first, -1)
        result.append(reach >= name.last or pending > name.last)
    return result


def _hit(name: _Name, surface: str, inside: bool) -> NameHit:
    entries, exact = name.entries, name.exact
    kinds = np.where(exact, entries["kind"], LOOSE).astype(np.int64)
    rows, kinds = _best_kinds(entries["row"].astype(np.int64), kinds)
    verbatim = bool((entries["verbatim"] == verbatim_hash(surface)).any())
    is_title, is_exact = bool((kinds == TITLE).any()), name.is_exact
    features = (
        verbatim,
        is_title,
        is_exact and not is_title,
        not is_exact,
        is_exact and inside,
        is_exact * math.log(name.last - name.first + 1),
    )
    return NameHit(rows, kinds, np.array(features, dtype=np.float32))


def _best_kinds(rows: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each entity once, with its best kind: title before alias before loose."""
    order = np.lexsort((kinds, rows))
    rows, kinds = rows[order], kinds[order]
    first = np.ones(len(rows), dtype=bool)
    first[1:] = rows[1:] != rows[:-1]
    return rows[first], kinds[first]
