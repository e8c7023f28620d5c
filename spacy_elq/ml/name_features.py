"""Find the spans of a text that are names in the knowledge base, and the entities they name.

A span that is a name is likelier to be a mention, and likelier to refer to the entity with that
name. How much likelier is learned: this module only computes the features.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import NamedTuple, Protocol

import numpy as np

from ..encoders.windows import NO_CHARS, WHOLE_TEXT, Window
from ..encoders.word_shapes import with_shapes
from ..kb.files.names import (
    CASELESS,
    LOWER,
    TITLE,
    Word,
    WordsOf,
    begins_name,
    exact_hash,
    loose_keys,
    verbatim_hash,
    word_finder,
)
from .name_case import DIFFERENT, SAME, compare_cases, surface_case

# Features of a span that is a name. verbatim: with the same punctuation; title, alias: a title, or
# only an alias; loose: equal except for a plural s, an article or spaces; inside: within a longer
# name; length: log of the number of words. In texts that have case also: cased: written as one of
# the names is, in capitals or not; lowered: in small letters, as none of the names is; recased: in
# another way that none of the names is written in.
MENTION_FEATURES = (
    *("verbatim", "title", "alias", "loose", "inside", "length"),
    *("cased", "lowered", "recased"),
)
# Features of an entity that the mention names: by its title, by an alias, or loosely; recased: none
# of its names is written as the mention is. Of one that has a name which the mention is short for:
# short_form, and shared: log of the number of such entities.
LOOSE = 2
INSIDE, LENGTH, LOWERED = map(MENTION_FEATURES.index, ("inside", "length", "lowered"))
EXACT = [MENTION_FEATURES.index("title"), MENTION_FEATURES.index("alias")]
ENTITY_FEATURES = ("title", "alias", "loose", "recased", "short_form", "shared")
RECASED, SHORT_FORM, SHARED = map(ENTITY_FEATURES.index, ("recased", "short_form", "shared"))
# Column after these features: the log of the entity's share of the name's known uses.
LOG_SHARE = len(ENTITY_FEATURES)
# Default of the maximum number of words of a name that is looked up.
MAX_WORDS = 11
# Maximum number of punctuation wordpieces that a name may include on either side.
MAX_MARKS = 3


class NameTable(Protocol):
    """The part of a knowledge base that is asked for names."""

    @property
    def capitalises_names(self) -> bool:
        """RETURNS (bool): Whether an entity without a capital in its title has no name."""
        ...

    def find_names(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """keys (ndarray): Loose name keys, uint64 (M,).
        RETURNS (tuple[ndarray, ndarray]): The matching names of live entities: the index of each
            name's key, int64 (n,), ascending, and the names, `kb.files.names.ENTRY` (n,)."""
        ...


@dataclass
class NameMatch:
    """A span that is a name.

    rows (ndarray): Rows of the entities with this name, int64 (C,).
    kinds (ndarray): How each entity is named, `TITLE`, `ALIAS`, `LOOSE` or `SHORT_FORM`,
        int64 (C,).
    features (ndarray): The span's `MENTION_FEATURES`, float32 (9,).
    of_entities (ndarray): Each entity's `ENTITY_FEATURES`, and the log of its share of the name's
        uses, 0 if no use is known, float32 (C, 7).
    link_probability (float): Share of the name's occurrences that are links; 0 if unknown.
    """

    rows: np.ndarray
    kinds: np.ndarray
    features: np.ndarray
    of_entities: np.ndarray
    link_probability: float = 0.0

    @property
    def is_name(self) -> bool:
        """RETURNS (bool): Whether the span is a whole name of an entity."""
        return bool((self.kinds != SHORT_FORM).any())


# (first, last) wordpiece of a window, inclusive → the name at this span.
NameMatches = dict[tuple[int, int], NameMatch]
# The window, first and last word of a run of words.
Run = tuple[int, int, int]


@dataclass
class _Names:
    """The R runs of words that are names, window by window.

    runs (list[Run]): The window, first and last word of each run, sorted.
    entries (ndarray): The names that match a run, `kb.files.names.ENTRY` (E,).
    begins (ndarray): Index of each run's first entry, int64 (R,); every run has an entry.
    owner (ndarray): Index of each entry's run, int64 (E,), ascending.
    exact (ndarray): True for entries that equal the run word for word, bool (E,).
    """

    runs: list[Run]
    entries: np.ndarray
    begins: np.ndarray
    owner: np.ndarray
    exact: np.ndarray


class _Place(NamedTuple):
    """A wordpiece span of a run in `_Names`: there is one for each way to include punctuation.

    name (int): Index of the run.
    first, last (int): Wordpieces of the window, inclusive.
    surface (str): The text of the span.
    """

    name: int
    first: int
    last: int
    surface: str


def find_name_matches(
    kb: NameTable,
    texts: Sequence[str],
    windows: Sequence[Window],
    max_words: int = MAX_WORDS,
    words_of: WordsOf | None = None,
) -> list[NameMatches]:
    """Find the names in each window.

    texts (Sequence[str]): The texts of the documents, indexed by `Window.doc`.
    max_words (int): Maximum number of words of a name.
    words_of (Callable | None): From `word_finder`, if the words are needed elsewhere too.
    RETURNS (list[NameMatches]): The names in each window.
    """
    words_of = words_of or word_finder(texts)
    in_window = [words_in(window, words_of(window.doc)) for window in windows]
    matches: list[NameMatches] = [{} for _ in windows]
    names = _find_names(kb, in_window, max_words)
    if not names.runs:
        return matches
    pieces = {w: real_pieces(windows[w]) for w in {window for window, _, _ in names.runs}}
    places = list(_find_places(names, in_window, windows, texts, pieces))
    cases = _surface_cases(names.runs, in_window, windows, texts, pieces)
    compared = compare_cases(cases[names.owner], names.entries["case"])
    entities, begins = _named_entities(names, compared == DIFFERENT)
    is_title = np.logical_or.reduceat(entities.kinds == TITLE, begins[:-1])
    best = np.maximum.reduceat(compared, names.begins)  # SAME is the highest
    features = _features(names, places, is_title.tolist(), _case_features(cases, best))
    linked = _link_probabilities(names, compared).tolist()
    of_name = [slice(*limits) for limits in pairwise(begins.tolist())]
    for place, values in zip(places, features, strict=True):
        window, part = names.runs[place.name][0], of_name[place.name]
        matches[window][place.first, place.last] = NameMatch(
            entities.rows[part],
            entities.kinds[part],
            values,
            entities.features[part],
            linked[place.name],
        )
    return matches


@dataclass
class NameFeatureGrid:
    """The names in a batch of windows, as cells of its span logits.

    places (tuple[ndarray, ndarray, ndarray]): Window, first wordpiece and width, each int64 (n,).
    features (ndarray): float32 (n, features).
    link_probabilities (ndarray): float32 (n,); 0 where it is unknown.
    """

    places: tuple[np.ndarray, np.ndarray, np.ndarray]
    features: np.ndarray
    link_probabilities: np.ndarray


def name_feature_grid(matches: Sequence[NameMatches], widths: int) -> NameFeatureGrid:
    """matches (Sequence[NameMatches]): The names in each window of the batch.
    widths (int): Size of the last axis of the span logits, W; wider names are left out.
    RETURNS (NameFeatureGrid): The cells to which the weighted features are added."""
    cells = [
        (window, first, last - first)
        for window, of_window in enumerate(matches)
        for (first, last), match in of_window.items()
        if last - first < widths and match.is_name
    ]
    found = [matches[w][first, first + width] for w, first, width in cells]
    places = np.array(cells, dtype=np.int64).reshape(-1, 3)
    features = np.array([match.features for match in found], dtype=np.float32)
    return NameFeatureGrid(
        (places[:, 0], places[:, 1], places[:, 2]),
        features.reshape(-1, len(MENTION_FEATURES)),
        np.array([match.link_probability for match in found], dtype=np.float32),
    )


def words_in(window: Window, split: list[Word]) -> list[Word]:
    """RETURNS (list[Word]): The words that lie in a window. Most texts have a single window."""
    if window.core == WHOLE_TEXT:
        return split
    begin, end = window.extent()
    first = bisect_left(split, begin, key=lambda word: word.start)
    return split[first : bisect_right(split, end, key=lambda word: word.end)]


def _find_names(kb: NameTable, texts: Sequence[list[Word]], max_words: int) -> _Names:
    folded = [[word.folded for word in text] for text in texts]
    keys: list[int] = []
    first_words: list[tuple[int, int]] = []
    first_runs: list[int] = []  # index of the run that consists of this word alone
    for i, text in enumerate(texts):
        for first in range(len(text)):
            if begins_name(text, first):
                first_words.append((i, first))
                first_runs.append(len(keys))
                keys += loose_keys(folded[i][first : first + max_words])
    places, entries = kb.find_names(np.array(keys, dtype=np.uint64))
    is_first = np.diff(places, prepend=-1) > 0
    begins = np.flatnonzero(is_first)
    chosen = []
    for place in places[begins].tolist():  # most runs are not a name
        begin = bisect_right(first_runs, place) - 1
        i, first = first_words[begin]
        chosen.append((i, first, first + place - first_runs[begin]))
    hashes = [exact_hash(folded[i][first : last + 1]) for i, first, last in chosen]
    owner = is_first.cumsum() - 1
    exact = entries["exact"] == np.array(hashes, dtype=np.uint32)[owner]
    return _Names(chosen, entries, begins, owner, exact)


def _find_places(
    names: _Names,
    in_window: Sequence[list[Word]],
    windows: Sequence[Window],
    texts: Sequence[str],
    pieces: Mapping[int, Pieces],
) -> Iterator[_Place]:
    """Find the wordpieces of each name. A name may include adjacent punctuation: the features and
    the encoder decide whether it should.

    A few binary searches for each name: on a single text, numpy would take several times as long.
    """
    for name, (w, first_word, last_word) in enumerate(names.runs):
        text, (places, starts, ends) = texts[windows[w].doc], pieces[w]
        before, begin, end, after = _limits(in_window[w], first_word, last_word, len(text))
        # Wordpieces from the end of the preceding word to the start of the following word. Several
        # may have the same characters: of those, a name has all.
        begun, last = bisect_right(ends, begin), bisect_left(starts, end) - 1
        if last < begun:
            continue
        for s in range(max(bisect_right(ends, before), begun - MAX_MARKS), begun + 1):
            for e in range(last, min(bisect_right(ends, after), last + MAX_MARKS + 1)):
                yield _Place(name, places[s], places[e], text[starts[s] : ends[e]])


class Pieces(NamedTuple):
    """Place in the window, first and last character of each wordpiece that is no special token."""

    places: list[int]
    starts: list[int]
    ends: list[int]


def real_pieces(window: Window) -> Pieces:
    """RETURNS (Pieces): Those of a window."""
    chars = window.chars.tolist()
    places = [i for i, (begin, _) in enumerate(chars) if begin != NO_CHARS]
    return Pieces(places, [chars[i][0] for i in places], [chars[i][1] for i in places])


def place_of_word(pieces: Pieces, word: Word) -> tuple[int, int] | None:
    """RETURNS (tuple[int, int] | None): First and last wordpiece (inclusive) of the window that
    share a character with a word; None if there is none."""
    first, last = bisect_right(pieces.ends, word.start), bisect_left(pieces.starts, word.end) - 1
    return (pieces.places[first], pieces.places[last]) if first <= last else None


def _limits(split: list[Word], first: int, last: int, length: int) -> tuple[int, int, int, int]:
    """RETURNS (tuple[int, int, int, int]): Characters: the end of the preceding word, the start and
    the end of the run of words, and the start of the following word."""
    before = split[first - 1].end if first else 0
    after = split[last + 1].start if last + 1 < len(split) else length
    return before, split[first].start, split[last].end, after


class _Entities(NamedTuple):
    """The entities that names name, see `NameMatch`, one name's after another's."""

    rows: np.ndarray
    kinds: np.ndarray
    features: np.ndarray


def _named_entities(names: _Names, recased: np.ndarray) -> tuple[_Entities, np.ndarray]:
    """The entities of each name without duplicates, each with its best kind: title before alias
    before loose.

    recased (ndarray): Entries that are written in another way than the run, bool (E,).
    RETURNS (tuple[_Entities, ndarray]): The entities, and the index at which those of each name
        begin, int64 (R + 1,).
    """
    rows = names.entries["row"].astype(np.int64)
    kinds = np.where(names.exact, names.entries["kind"], LOOSE).astype(np.int64)
    order = np.lexsort((kinds, rows, names.owner))
    rows, kinds = rows[order], kinds[order]
    once = np.ones(len(rows), dtype=bool)
    once[1:] = (rows[1:] != rows[:-1]) | (names.owner[1:] != names.owner[:-1])
    firsts = np.flatnonzero(once)
    begins = np.searchsorted(names.owner[firsts], np.arange(len(names.runs) + 1))
    features = np.zeros((len(firsts), LOG_SHARE + 1), dtype=np.float32)
    features[np.arange(len(firsts)), kinds[firsts]] = 1
    features[:, RECASED] = np.logical_and.reduceat(recased[order], firsts)
    if names.entries["log_count"].any():
        log_counts = np.maximum.reduceat(names.entries["log_count"][order], firsts)
        features[:, LOG_SHARE] = _log_shares(log_counts.astype(np.float64), begins)
    return _Entities(rows[firsts], kinds[firsts], features), begins


def _log_shares(log_counts: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """log((count + 1) / Σ (count + 1)) over the entities of each name; 0 if it has no counts.

    log_counts (ndarray): log(count + 1) of each entity, float64 (n,).
    begins (ndarray): Index at which those of each name begin, int64 (R + 1,).
    """
    first, sizes = begins[:-1], np.diff(begins)
    totals = np.logaddexp.reduceat(log_counts, first)
    known = np.maximum.reduceat(log_counts, first) > 0
    return np.where(np.repeat(known, sizes), log_counts - np.repeat(totals, sizes), 0)


def _link_probabilities(names: _Names, compared: np.ndarray) -> np.ndarray:
    """That of the names that are most like each run: word for word if there are any, and of those
    the ones that are written most alike.

    compared (ndarray): From `compare_cases`, for each entry, int (E,).
    RETURNS (ndarray): float32 (R,); 0 where it is unknown.
    """
    known = names.entries["link_probability"].astype(np.float32)
    if not known.any():
        return np.zeros(len(names.runs), dtype=np.float32)
    likeness = names.exact * (SAME + 1) + compared
    best = np.maximum.reduceat(likeness, names.begins)
    known[likeness < best[names.owner]] = 0
    return np.maximum.reduceat(known, names.begins)


def _features(
    names: _Names,
    places: Sequence[_Place],
    is_title: list[bool],
    cases: Iterable[tuple[bool, bool, bool]],
) -> np.ndarray:
    """is_title (list[bool]): Whether each of the R names is a title.
    cases (Iterable): From `_case_features`.
    RETURNS (ndarray): `MENTION_FEATURES` of each place, float32 (H, 9)."""
    runs = names.runs
    is_exact = np.logical_or.reduceat(names.exact, names.begins).tolist()
    within = _within_longer(runs, is_exact)
    of_name = [
        (
            *(title, exact and not title, not exact),
            *(exact and inside, exact * log(last - first + 1), *case),
        )
        for (_, first, last), title, exact, inside, case in zip(
            runs, is_title, is_exact, within, cases, strict=True
        )
    ]
    verbatim = set(zip(names.owner.tolist(), names.entries["verbatim"].tolist(), strict=True))
    features = [
        ((place.name, verbatim_hash(place.surface)) in verbatim, *of_name[place.name])
        for place in places
    ]
    return np.array(features, dtype=np.float32)


def _surface_cases(
    runs: Sequence[Run],
    in_window: Sequence[list[Word]],
    windows: Sequence[Window],
    texts: Sequence[str],
    pieces: Mapping[int, Pieces],
) -> np.ndarray:
    """RETURNS (ndarray): How each run is written: from `surface_case`, int64 (R,)."""
    shapes = _first_shapes(windows, texts, pieces)
    cases = np.full(len(runs), CASELESS)
    for i, (w, first, last) in enumerate(runs):
        begin, end = in_window[w][first].start, in_window[w][last].end
        piece = bisect_right(pieces[w].ends, begin)
        if piece < len(shapes[w]):
            cases[i] = surface_case(texts[windows[w].doc][begin:end], shapes[w][piece])
    return cases


def _first_shapes(
    windows: Sequence[Window], texts: Sequence[str], pieces: Mapping[int, Pieces]
) -> dict[int, list[int]]:
    """RETURNS (dict): The shape class of each wordpiece's word, in each window with `pieces`."""
    named = [windows[w] for w in pieces]
    if any(window.shapes is None for window in named):  # the model has no use for them
        named = with_shapes(named, texts)
    return {
        w: [] if window.shapes is None else window.shapes[of_window.places, 0].tolist()
        for (w, of_window), window in zip(pieces.items(), named, strict=True)
    }


def _case_features(cases: np.ndarray, best: np.ndarray) -> Iterator[tuple[bool, bool, bool]]:
    """cases (ndarray): From `_surface_cases`. best (ndarray): From `compare_cases`, for the name
    that is most like the run, int (R,).
    YIELDS (tuple[bool, bool, bool]): The features cased, lowered and recased of each run."""
    for case, found in zip(cases.tolist(), best.tolist(), strict=True):
        differs = found == DIFFERENT
        yield found == SAME, differs and case == LOWER, differs and case != LOWER


def _within_longer(runs: list[Run], is_exact: list[bool]) -> list[bool]:
    """Whether each name lies within a longer, exact name.

    runs (list[Run]): Window, first and last word of each name, sorted.
    """
    longest: dict[tuple[int, int], int] = {}
    for (window, first, last), exact in zip(runs, is_exact, strict=True):
        if exact:  # the longest run with this begin comes last
            longest[window, first] = last
    result = []
    current, reach, pending = (-1, -1), -1, -1
    for window, first, last in runs:
        if (window, first) != current:
            reach = max(reach, pending) if window == current[0] else -1
            current, pending = (window, first), longest.get((window, first), -1)
        result.append(reach >= last or pending > last)
    return result
