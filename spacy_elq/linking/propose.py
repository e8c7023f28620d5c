"""A batch of documents → the spans that may be mentions, with query vectors for their entities.

Settings decide everything that is not learned; nothing here knows about annotations on a `Doc`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby, islice, repeat
from typing import TYPE_CHECKING

import numpy as np
from spacy.tokens import Doc

from ..encoders.windows import NO_CHARS, Window, locate_wordpieces
from ..kb.files.names import WordsOf, word_finder
from ..ml.model import ElqModel, ScoredBatch, get_heads, mention_queries
from ..ml.name_features import (
    EXACT,
    INSIDE,
    LENGTH,
    NameFeatureGrid,
    NameMatch,
    NameMatches,
    NameTable,
    find_name_matches,
    name_feature_grid,
)
from ..ml.priors import link_features
from ..ml.short_forms import add_short_forms
from .abbreviations import short_form_spans
from .boundaries import boundary_masks
from .decoding import DecodingSettings, WordpieceSpans, select_spans, span_logits
from .mention_kinds import are_written_small, links_names_only, unnamed_spans

if TYPE_CHECKING:
    from ..ml.heads import Heads

# Character ranges of one document's mentions, end exclusive.
CharSpans = Sequence[tuple[int, int]]
# Window, first wordpiece and width of spans, each int64 (n,).
Places = tuple[np.ndarray, np.ndarray, np.ndarray]
# Least logit of a name that the encoder can't read: a probability of .88.
UNREAD_NAME = 2.0
# Characters of documents that are encoded together; their vectors are freed before the next chunk.
CHUNK_CHARS = 1 << 16
# Wordpieces, padding included, from which on no further batch is encoded before these are used.
GROUP_PIECES = 1 << 12


@dataclass(frozen=True)
class ProposedSpans:
    """N spans of one padded batch, before entities are looked up.

    windows (list[Window]): The windows of the batch.
    spans (WordpieceSpans): The spans in these windows.
    doc (ndarray): Index of each span's document, int64 (N,).
    chars (ndarray): Characters, int64 (N, 2), end exclusive: as given, or of the wordpieces;
        `NO_CHARS` for a span of special tokens alone.
    given (ndarray): Index among the document's given mentions, int64 (N,); -1 for found spans.
    queries (ndarray): Query vectors, float32 (N, h).
    names (list[NameMatch | None]): The name in the knowledge base that each span's text is.
    unread (ndarray): Whether the encoder can't read most of the span, so that its query means
        nothing, bool (N,).
    """

    windows: list[Window]
    spans: WordpieceSpans
    doc: np.ndarray
    chars: np.ndarray
    given: np.ndarray
    queries: np.ndarray
    names: list[NameMatch | None]
    unread: np.ndarray

    def __len__(self) -> int:
        return len(self.spans)

    def select(self, chosen: list[int]) -> ProposedSpans:
        """RETURNS (ProposedSpans): The spans at these positions."""
        return ProposedSpans(
            self.windows,
            self.spans.select(chosen),
            self.doc[chosen],
            self.chars[chosen],
            self.given[chosen],
            self.queries[chosen],
            [self.names[i] for i in chosen],
            self.unread[chosen],
        )


def propose_spans(
    model: ElqModel,
    kb: NameTable,
    docs: Sequence[Doc],
    settings: DecodingSettings,
    given: Sequence[CharSpans] | None = None,
    *,
    everywhere: bool = False,
) -> Iterator[list[ProposedSpans]]:
    """Choose the spans to look entities up for.

    given (Sequence[CharSpans] | None): The mentions of each document, if they are known: only these
        are proposed. A mention without a wordpiece (white space) is left out.
    everywhere (bool): Let spans begin and end anywhere, special tokens included.
    YIELDS (list[ProposedSpans]): One for each padded batch, several batches at a time.
    """
    texts = [doc.text for doc in docs]
    for chunk in _chunks(texts):
        part = _Chunk(
            heads=get_heads(model),
            texts=texts[chunk],
            words_of=word_finder(texts[chunk]),
            settings=settings,
            given=None if given is None else given[chunk],
            only_names=links_names_only(settings, kb),
            anywhere=everywhere or given is not None,
            start=chunk.start,
        )
        for batches in _groups(model.predict(list(docs[chunk]))):
            proposed = part.propose(kb, batches)
            batches.clear()  # before the next are encoded
            yield proposed


@dataclass(frozen=True)
class _Chunk:
    """Documents that are read together.

    texts (Sequence[str]): Their texts.
    words_of (Callable): From `word_finder`, for these.
    given (Sequence[CharSpans] | None): Their mentions, if they are known.
    only_names (bool): Whether found mentions must be names.
    anywhere (bool): Whether spans may begin and end anywhere.
    start (int): Index of the first document among all.
    located (set[tuple[int, int]]): See `_locate_given`.
    """

    heads: Heads
    texts: Sequence[str]
    words_of: WordsOf
    settings: DecodingSettings
    given: Sequence[CharSpans] | None
    only_names: bool
    anywhere: bool
    start: int
    located: set[tuple[int, int]] = field(default_factory=set)

    def propose(self, kb: NameTable, batches: Sequence[ScoredBatch]) -> list[ProposedSpans]:
        # Most batches are small: look up the names of several at once.
        windows = [window for batch in batches for window in batch.encoded.windows]
        matches: Iterator[NameMatches] = repeat({})
        if self.heads.names is not None:
            max_words = self.settings.max_mention_length + 1  # each has a wordpiece at least
            found = find_name_matches(kb, self.texts, windows, max_words, self.words_of)
            add_short_forms(found, kb, self.texts, windows, self.words_of)
            matches = iter(found)
        return [
            self._propose_in(batch, list(islice(matches, len(batch.encoded.windows))))
            for batch in batches
        ]

    def _propose_in(self, batch: ScoredBatch, matches: list[NameMatches]) -> ProposedSpans:
        windows, settings = batch.encoded.windows, self.settings
        grid = name_feature_grid(matches, settings.max_mention_length + 1)
        logits = self._span_logits(batch, grid)
        if self.given is None:
            named = grid.places
            if settings.abbreviations:
                named = _with_short_forms(logits, named, windows, self.texts, settings)
            spans = select_spans(logits, settings, named)
            which = np.full(len(spans), -1)
            chars = _chars(windows, spans)
        else:
            spans, which, chars = _locate_given(windows, self.given, logits, self.located)
        return ProposedSpans(
            windows=windows,
            spans=spans,
            doc=np.array([w.doc for w in windows], dtype=np.int64)[spans.window] + self.start,
            chars=chars,
            given=which,
            queries=_queries(self.heads, batch, spans),
            names=[matches[w].get((first, last)) for w, first, last in spans.places()],
            unread=_unread(windows, spans),
        )

    def _span_logits(self, batch: ScoredBatch, names: NameFeatureGrid) -> np.ndarray:
        """Span logits with the name features' share, float32 (B, T, W)."""
        windows, mask = batch.encoded.windows, batch.encoded.mask
        starts, ends = mask, mask
        if not self.anywhere:
            starts, ends = boundary_masks(
                windows,
                self.texts,
                mask,
                words=self.settings.word_boundaries,
                special_tokens=self.settings.special_tokens,
                words_of=self.words_of,
            )
        logits = batch.logits.cpu().numpy()
        scores = span_logits(logits, starts, ends, self.settings.max_mention_length)
        if self.heads.names is not None:
            weights = self.heads.names.mention.detach().cpu().numpy()
            shares = link_shares(self.heads, names.link_probabilities)
            scores[names.places] += names.features @ weights + shares
            if any(window.unread is not None for window in windows):
                _trust_names(scores, names, windows)
        if self.only_names and not self.anywhere:
            unnamed = unnamed_spans(windows, self.texts, *scores.shape[1:])
            small = are_written_small(names.features)
            unnamed[tuple(places[small] for places in names.places)] = False
            scores[unnamed] = -np.inf
        return scores


def link_shares(heads: Heads, probabilities: np.ndarray) -> np.ndarray | float:
    """probabilities (ndarray): Link probabilities of names, 0 where they are unknown.
    RETURNS (ndarray | float): What they add to the logits of spans, float32 of the same shape; 0 if
        that is nothing."""
    weights = None if heads.priors is None else heads.priors.link.detach().cpu().numpy()
    if weights is None or not weights.any() or not probabilities.any():
        return 0.0
    return link_features(probabilities) @ weights


def _chunks(texts: Sequence[str]) -> Iterator[slice]:
    """Group documents, so that the vectors of many documents are not held at once."""
    ends = list(accumulate(map(len, texts)))
    for _, group in groupby(range(len(texts)), key=lambda i: ends[i] // CHUNK_CHARS):
        members = list(group)
        yield slice(members[0], members[-1] + 1)


def _groups(batches: Iterable[ScoredBatch]) -> Iterator[list[ScoredBatch]]:
    """Group batches, which are encoded one by one, so that the vectors of a very long document are
    not held at once."""
    group: list[ScoredBatch] = []
    size = 0
    for batch in batches:
        group.append(batch)
        size += batch.encoded.mask.size
        if size >= GROUP_PIECES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _with_short_forms(
    logits: np.ndarray,
    named: Places,
    windows: Sequence[Window],
    texts: Sequence[str],
    settings: DecodingSettings,
) -> Places:
    """Let the short forms of abbreviations be considered, if hardly more than that: what makes them
    links is their long form.

    logits (ndarray): Span logits (B, T, W), changed.
    RETURNS (Places): Those of the names, and of the short forms.
    """
    short = short_form_spans(windows, texts, logits.shape[2])
    least = np.float32(-np.log(np.expm1(-np.clip(settings.pruning_threshold, -700, -1e-3))) + 1e-3)
    logits[short] = np.maximum(logits[short], least)
    row, first, width = (np.concatenate(both) for both in zip(named, short, strict=True))
    return row, first, width


def _trust_names(scores: np.ndarray, names: NameFeatureGrid, windows: Sequence[Window]) -> None:
    """Where the encoder can't read, what is exactly a name is a mention, and longer names are
    likelier ones.

    scores (ndarray): Span logits (B, T, W), changed.
    """
    window, first, width = names.places
    spans = WordpieceSpans(window, first, first + width, scores[names.places])
    is_name = (names.features[:, EXACT] > 0).any(axis=1) & (np.ptp(_chars(windows, spans), 1) > 1)
    trusted = np.flatnonzero(_unread(windows, spans) & is_name)
    least = UNREAD_NAME + names.features[trusted, LENGTH] - names.features[trusted, INSIDE]
    places = tuple(axis[trusted] for axis in names.places)
    scores[places] = np.maximum(scores[places], least)


def _locate_given(
    windows: list[Window],
    given: Sequence[CharSpans],
    logits: np.ndarray,
    located: set[tuple[int, int]],
) -> tuple[WordpieceSpans, np.ndarray, np.ndarray]:
    """Find the wordpieces of given mentions, in the windows whose core they begin in.

    located (set[tuple[int, int]]): (document, index) of mentions located so far; updated. A mention
        that spans two non-overlapping windows is taken from the first.
    RETURNS (tuple[WordpieceSpans, ndarray, ndarray]): The spans, the index of each among its
        document's given mentions, and its characters as given.
    """
    cells, chars = [], []
    for row, window in enumerate(windows):
        for i, (begin, end) in enumerate(given[window.doc]):
            # A mention may begin with a space that is before the core.
            if (window.doc, i) in located or begin >= window.core[1] or end <= window.core[0]:
                continue
            place = locate_wordpieces(window, begin, end)
            if place and window.core[0] <= max(begin, window.chars[place[0], 0]) < window.core[1]:
                cells.append((row, *place, i))
                chars.append((begin, end))
                located.add((window.doc, i))
    rows, first, last, which = np.array(cells, dtype=np.int64).reshape(-1, 4).T
    width = last - first
    fits = width < logits.shape[2]
    logit = np.full(len(cells), -np.inf, dtype=np.float32)
    logit[fits] = logits[rows[fits], first[fits], width[fits]]
    spans = WordpieceSpans(rows, first, last, logit)
    return spans, which, np.array(chars, dtype=np.int64).reshape(-1, 2)


def _unread(windows: Sequence[Window], spans: WordpieceSpans) -> np.ndarray:
    result = np.zeros(len(spans), dtype=bool)
    if any(window.unread is not None for window in windows):
        for i, (w, first, last) in enumerate(spans.places()):
            unread = windows[w].unread
            result[i] = unread is not None and unread[first : last + 1].mean() > 0.5
    return result


def _queries(heads: Heads, batch: ScoredBatch, spans: WordpieceSpans) -> np.ndarray:
    import torch

    with torch.inference_mode():
        queries = mention_queries(heads, batch.encoded, spans.window, spans.first, spans.last)
        return queries.cpu().numpy()


def _chars(windows: Sequence[Window], spans: WordpieceSpans) -> np.ndarray:
    """RETURNS (ndarray): Characters from the first to the last wordpiece of each span that is not a
    special token, int64 (N, 2)."""
    chars = np.empty((len(spans), 2), dtype=np.int64)
    for i, (window, first, last) in enumerate(spans.places()):
        of_window = windows[window].chars
        begin, end = of_window[first, 0], of_window[last, 1]
        if NO_CHARS in (begin, end):
            real = of_window[first : last + 1]
            real = real[real[:, 0] != NO_CHARS]
            begin, end = (real[0, 0], real[-1, 1]) if len(real) else (NO_CHARS, NO_CHARS)
        chars[i] = begin, end
    return chars
