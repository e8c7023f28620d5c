"""A batch of documents → mentions with ranked entities: the flow from wordpiece vectors to scores.

Settings decide everything that is not learned; nothing here knows about annotations on a `Doc`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate, groupby, islice
from typing import TYPE_CHECKING

import numpy as np
from spacy.tokens import Doc

from ..encoders.windows import NO_CHARS, Window, locate
from ..ml.model import ElqModel, ScoredBatch, get_heads, mention_queries
from ..ml.name_features import (
    NameFeatureGrid,
    NameMatch,
    NameMatches,
    NameTable,
    find_name_matches,
    name_feature_grid,
)
from .boundaries import boundaries
from .decoding import (
    DecodingSettings,
    Spans,
    log_sigmoid,
    log_softmax,
    passes,
    propose,
    span_logits,
)

if TYPE_CHECKING:
    from ..kb.live.view import View
    from ..kb.search.vector_store import SearchResult
    from ..ml.heads import Heads

# Character ranges of one document's mentions, end exclusive.
CharSpans = Sequence[tuple[int, int]]
# Finds entities for queries, as `FaissKB.search` does.
Search = Callable[[np.ndarray, int], "SearchResult"]
# Of the entities that share a mention's name, this many, the best, join the retrieved ones.
MAX_NAMESAKES = 100
# Characters of documents that go through the encoder before their vectors are let go.
CHARS_AT_ONCE = 1 << 16


@dataclass
class RankedMentions:
    """N mentions of a batch of documents with their candidates, best first.

    doc (ndarray): Which document, int64 (N,).
    first, last (ndarray): Wordpieces of its window, inclusive, int64 (N,).
    chars (ndarray): Characters, int64 (N, 2), end exclusive: as given, or of the wordpieces;
        `NO_CHARS` for a mention of nothing but special tokens.
    given (ndarray): Which of the document's given mentions it is, int64 (N,); -1 for found ones.
    logit (ndarray): Span logits, float32 (N,).
    mention_score (ndarray): log P(mention), float (N,); 0 for mentions that were given.
    rows (ndarray): Entity rows, int64 (N, C); -1 where a mention has fewer than C candidates.
    raw_scores (ndarray): Entity scores, float32 (N, C); -inf beside -1.
    entity_scores (ndarray): log P(entity | mention), float (N, C).
    nil_score (ndarray): log P(none of the entities | mention), float (N,); -inf without `nil`.
    """

    doc: np.ndarray
    first: np.ndarray
    last: np.ndarray
    chars: np.ndarray
    given: np.ndarray
    logit: np.ndarray
    mention_score: np.ndarray
    rows: np.ndarray
    raw_scores: np.ndarray
    entity_scores: np.ndarray
    nil_score: np.ndarray

    def __len__(self) -> int:
        return len(self.doc)

    @property
    def joint(self) -> np.ndarray:
        """RETURNS (ndarray): Joint log-score of each mention's best entity, float (N,)."""
        return self.mention_score + self.entity_scores[:, 0]

    def passing(self, settings: DecodingSettings) -> np.ndarray:
        """RETURNS (ndarray): Which mentions the thresholds let pass, bool (N,)."""
        # Given mentions are mentions, whatever the model thinks of them.
        logit = np.where(self.given >= 0, np.inf, self.logit)
        passed = passes(settings, logit, self.joint, self.raw_scores[:, 0])
        return passed & (self.rows[:, 0] >= 0)

    def select(self, chosen: np.ndarray | list[int]) -> RankedMentions:
        """RETURNS (RankedMentions): Those that `chosen`, a mask or positions, picks."""
        return RankedMentions(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass
class ProposedSpans:
    """N spans of one padded batch, before entities are looked up.

    given (ndarray): Which of the document's given mentions each is, int64 (N,); -1 for found ones.
    queries (ndarray): Query vectors, float32 (N, h).
    names (list[NameMatch | None]): What the text of each is a name of.
    """

    windows: list[Window]
    spans: Spans
    given: np.ndarray
    queries: np.ndarray
    names: list[NameMatch | None]


def rank_mentions(
    model: ElqModel,
    kb: View,
    docs: Sequence[Doc],
    settings: DecodingSettings,
    given: Sequence[CharSpans] | None = None,
) -> RankedMentions:
    """Find mentions and rank entities for each; nothing is cut by the joint score yet.

    given (Sequence[CharSpans]): The mentions of each document, where they are known; only their
        entities are looked for then. A mention without a wordpiece (white space) is left out.
    """
    found = find_spans(model, kb, docs, settings, given)
    mentions = rank_entities(found, kb, get_heads(model), settings.top_k)
    if given is not None:  # wordpieces may cover less, or more, than what was given
        places = zip(mentions.doc.tolist(), mentions.given.tolist(), strict=True)
        chars = [given[doc][which] for doc, which in places]
        mentions.chars = np.array(chars, dtype=np.int64).reshape(-1, 2)
    return mentions


def find_spans(
    model: ElqModel,
    kb: NameTable,
    docs: Sequence[Doc],
    settings: DecodingSettings,
    given: Sequence[CharSpans] | None = None,
    *,
    everywhere: bool = False,
) -> list[ProposedSpans]:
    """The spans of each padded batch that entities are looked up for.

    given (Sequence[CharSpans]): As in `rank_mentions`.
    everywhere (bool): Let spans begin and end anywhere, special tokens included.
    """
    heads = get_heads(model)
    texts = [doc.text for doc in docs]
    found = []
    located: set[tuple[int, int]] = set()
    anywhere = everywhere or given is not None
    for batch, hits in _scored_batches(model, kb, docs, texts):
        windows = batch.encoded.windows
        cells = name_feature_grid(hits, settings.max_mention_length + 1)
        logits = _scored_spans(batch, texts, cells, heads, settings, everywhere=anywhere)
        if given is None:
            spans = propose(logits, settings, cells.places)
            which = np.full(len(spans), -1)
        else:
            spans, which = _locate(windows, given, logits, located)
        queries = _queries(heads, batch, spans)
        places = zip(spans.window.tolist(), spans.first.tolist(), spans.last.tolist(), strict=True)
        names = [hits[w].get((first, last)) for w, first, last in places]
        found.append(ProposedSpans(windows, spans, which, queries, names))
    return found


def _scored_batches(
    model: ElqModel, kb: NameTable, docs: Sequence[Doc], texts: Sequence[str]
) -> Iterator[tuple[ScoredBatch, list[NameMatches]]]:
    """Run the model on some documents at a time: the vectors of very many would be held at once.

    YIELDS (tuple[ScoredBatch, list[NameMatches]]): Padded batches, whose windows count all of the
        documents, and the names in each window.
    """
    with_names = get_heads(model).names is not None
    ends = list(accumulate(map(len, texts)))
    for _, members in groupby(range(len(docs)), key=lambda i: ends[i] // CHARS_AT_ONCE):
        places = list(members)
        batches = model.predict([docs[i] for i in places])
        windows = [window for batch in batches for window in batch.encoded.windows]
        for window in windows:
            window.text += places[0]
        # Of all batches at once, because most of them are small.
        hits = iter(find_name_matches(kb, texts, windows) if with_names else [{} for _ in windows])
        for batch in batches:
            yield batch, list(islice(hits, len(batch.encoded.windows)))


def _scored_spans(
    batch: ScoredBatch,
    texts: Sequence[str],
    names: NameFeatureGrid,
    heads: Heads,
    settings: DecodingSettings,
    *,
    everywhere: bool,
) -> np.ndarray:
    """Span logits, float32 (B, T, W), with what the names add.

    everywhere (bool): Leave no span out: given mentions may begin and end anywhere.
    """
    mask = batch.encoded.mask
    starts, ends = mask, mask
    if not everywhere:
        starts, ends = boundaries(
            batch.encoded.windows,
            texts,
            mask,
            words=settings.word_boundaries,
            special_tokens=settings.special_tokens,
        )
    logits = batch.logits.cpu().numpy()
    scores = span_logits(logits, starts, ends, settings.max_mention_length)
    if heads.names is not None:
        scores[names.places] += names.features @ heads.names.mention.detach().cpu().numpy()
    return scores


def _locate(
    windows: list[Window],
    given: Sequence[CharSpans],
    logits: np.ndarray,
    located: set[tuple[int, int]],
) -> tuple[Spans, np.ndarray]:
    """Given mentions as wordpieces of the windows whose core they begin in.

    located (set[tuple[int, int]]): Text and number of those that were found, and now are: one that
        lies across two windows without an overlap is found in the first.
    RETURNS (tuple[Spans, ndarray]): The spans, and which of the text's given mentions each is.
    """
    cells = []
    for row, window in enumerate(windows):
        for i, (begin, end) in enumerate(given[window.text]):
            place = locate(window, begin, end) if (window.text, i) not in located else None
            if place and window.core[0] <= max(begin, window.chars[place[0], 0]) < window.core[1]:
                cells.append((row, *place, i))
                located.add((window.text, i))
    rows, first, last, which = np.array(cells, dtype=np.int64).reshape(-1, 4).T
    width = last - first
    fits = width < logits.shape[2]
    logit = np.full(len(cells), -np.inf, dtype=np.float32)
    logit[fits] = logits[rows[fits], first[fits], width[fits]]
    return Spans(rows, first, last, logit), which


def _queries(heads: Heads, batch: ScoredBatch, spans: Spans) -> np.ndarray:
    import torch

    with torch.inference_mode():
        queries = mention_queries(heads, batch.encoded, spans.window, spans.first, spans.last)
        return queries.cpu().numpy()


def rank_entities(
    found: Sequence[ProposedSpans], kb: View, heads: Heads, top_k: int, search: Search | None = None
) -> RankedMentions:
    """Look up entities for the spans of all batches, and score them.

    search (Search | None): In place of the knowledge base's own.
    """
    no_queries = np.zeros((0, kb.entity_vector_length), np.float32)
    queries = _join([part.queries for part in found] or [no_queries])
    candidates = (search or kb.search)(queries, max(1, min(top_k, len(kb))))
    rows, scores = candidates.rows, candidates.scores
    if heads.names is not None:
        names = [name for part in found for name in part.names]
        bonus = heads.names.entity.detach().cpu().numpy()
        rows, scores = join_namesakes(kb, queries, rows, scores, names, bonus)
    logit = _join([part.spans.logit for part in found], np.float32)
    given = _join([part.given for part in found])
    nil = np.full((len(logit), 1), _nil_score(heads), dtype=np.float32)
    entity_scores = log_softmax(np.concatenate([scores, nil], axis=1))
    return RankedMentions(
        doc=_join([_doc_of(part) for part in found]),
        first=_join([part.spans.first for part in found]),
        last=_join([part.spans.last for part in found]),
        chars=_join([_chars_of(part) for part in found]).reshape(-1, 2),
        given=given,
        logit=logit,
        mention_score=np.where(given >= 0, 0.0, log_sigmoid(logit)),
        rows=rows,
        raw_scores=scores,
        entity_scores=entity_scores[:, :-1],
        nil_score=entity_scores[:, -1],
    )


def _nil_score(heads: Heads) -> float:
    nil = heads.entity_scorer.nil_score
    return -np.inf if nil is None else float(nil.detach())


def join_namesakes(
    kb: View,
    queries: np.ndarray,
    rows: np.ndarray,
    scores: np.ndarray,
    names: Sequence[NameMatch | None],
    bonus: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Let the entities that have a mention's name join the retrieved ones, and add to the score of
    each entity what its name is worth.

    queries (ndarray): float32 (N, h).
    rows, scores (ndarray): Retrieved entities, int64 and float32 (N, K).
    names (Sequence[NameMatch | None]): What the text of each mention is a name of.
    bonus (ndarray): One for each of `lexical.ENTITY_FEATURES`.
    RETURNS (tuple[ndarray, ndarray]): Rows and scores, (N, K + most namesakes) at most, best first.
    """
    names = [
        _best_of(kb, queries[i], rows[i], name, bonus)
        if name and len(name.rows) > MAX_NAMESAKES
        else name
        for i, name in enumerate(names)
    ]
    most = max((len(name.rows) for name in names if name), default=0)
    if not most:
        return rows, scores
    namesakes = np.full((len(rows), most), -1, dtype=np.int64)
    worth = np.zeros((len(rows), most), dtype=np.float32)
    for i, name in enumerate(names):
        if name:
            namesakes[i, : len(name.rows)] = name.rows
            worth[i, : len(name.rows)] = bonus[name.kinds]
    same = (rows[:, :, None] == namesakes[:, None, :]) & (rows >= 0)[:, :, None]
    scores = scores + np.where(same, worth[:, None, :], 0).sum(axis=2, dtype=np.float32)
    namesakes[same.any(axis=1)] = -1
    if namesakes.max() >= 0:  # most are among the retrieved
        joined_scores = np.where(namesakes >= 0, kb.scores(queries, namesakes) + worth, -np.inf)
        rows = np.concatenate([rows, namesakes], axis=1)
        scores = np.concatenate([scores, joined_scores], axis=1).astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _best_of(
    kb: View, query: np.ndarray, retrieved: np.ndarray, name: NameMatch, bonus: np.ndarray
) -> NameMatch:
    """Of a name that very many entities have: those that were retrieved, and the best others."""
    scores = kb.scores(query[None], name.rows[None])[0] + bonus[name.kinds]
    is_retrieved = np.isin(name.rows, retrieved)
    scores[is_retrieved] = np.inf
    best = np.argsort(-scores, kind="stable")[: MAX_NAMESAKES + is_retrieved.sum()]
    return replace(name, rows=name.rows[best], kinds=name.kinds[best])


def _doc_of(part: ProposedSpans) -> np.ndarray:
    return np.array([window.text for window in part.windows], dtype=np.int64)[part.spans.window]


def _chars_of(part: ProposedSpans) -> np.ndarray:
    """From the first to the last wordpiece that stands for text; special tokens do not."""
    spans = part.spans
    chars = np.empty((len(spans), 2), dtype=np.int64)
    places = zip(spans.window.tolist(), spans.first.tolist(), spans.last.tolist(), strict=True)
    for i, (window, first, last) in enumerate(places):
        of_window = part.windows[window].chars
        begin, end = of_window[first, 0], of_window[last, 1]
        if NO_CHARS in (begin, end):
            real = of_window[first : last + 1]
            real = real[real[:, 0] != NO_CHARS]
            begin, end = (real[0, 0], real[-1, 1]) if len(real) else (NO_CHARS, NO_CHARS)
        chars[i] = begin, end
    return chars


def _join(arrays: list[np.ndarray], dtype: type = np.int64) -> np.ndarray:
    if len(arrays) == 1:  # of a single text: the small steps are what takes time there
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype=dtype)
