"""Documents or proposed spans → mentions with ranked entities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from spacy.tokens import Doc

from ..kb.files.names import ALIAS, TITLE
from ..ml.model import ElqModel, get_heads
from ..ml.name_features import NameMatch
from ..ml.priors import popularity_features
from .abbreviations import gains_in_documents
from .decoding import DecodingSettings, log_sigmoid, log_softmax
from .document import add_gains
from .propose import CharSpans, ProposedSpans, propose_spans
from .ranked import RankedMentions

if TYPE_CHECKING:
    from ..kb.live.view import View
    from ..kb.search.vector_store import SearchResult
    from ..ml.heads import Heads

# (query vectors, number of entities) → the best entities of each query, as `View.search`.
Search = Callable[[np.ndarray, int], "SearchResult"]
# (query vectors, entity rows) → their scores, as `View.scores`.
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]
# How a mention names an entity by all words of a name.
BY_ALL_WORDS = (TITLE, ALIAS)
# At most this many of the entities that share a mention's name, the best, join the retrieved ones.
MAX_NAMESAKES = 100


def rank_mentions(
    model: ElqModel,
    kb: View,
    docs: Sequence[Doc],
    settings: DecodingSettings,
    given: Sequence[CharSpans] | None = None,
) -> RankedMentions:
    """Find mentions and rank the entities of each. The joint score excludes none yet.

    given (Sequence[CharSpans] | None): As in `propose_spans`.
    """
    heads = get_heads(model)
    groups = propose_spans(model, kb, docs, settings, given)
    ranked = [rank_entities(group, kb, heads, settings.top_k) for group in groups]
    mentions = RankedMentions.join(ranked or [rank_entities([], kb, heads, settings.top_k)])
    return add_gains(mentions, gains_in_documents(mentions, docs, settings))


def rank_entities(
    proposed: Sequence[ProposedSpans],
    kb: View,
    heads: Heads,
    top_k: int,
    search: Search | None = None,
) -> RankedMentions:
    """Look up and score the entities of all proposed spans.

    search (Search | None): Replaces the knowledge base's own search.
    """
    no_queries = np.zeros((0, kb.entity_vector_length), np.float32)
    queries = _join([part.queries for part in proposed] or [no_queries])
    candidates = (search or kb.search)(queries, max(1, min(top_k, len(kb))))
    popularity = popularity_shares(kb, heads)
    rows, scores = candidates.rows, candidates.scores + popularity(candidates.rows)
    bonus = name_bonus(heads)
    if bonus is not None:
        names = [name for part in proposed for name in part.names]

        def score(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
            return kb.scores(queries, rows) + popularity(rows)

        rows, scores = add_namesakes(score, queries, rows, scores, names, bonus)
    rows, scores = best_first(rows, scores)
    logit = _join([part.spans.logit for part in proposed], np.float32)
    given = _join([part.given for part in proposed])
    nil = np.full((len(logit), 1), _nil_score(heads), dtype=np.float32)
    unread = _join([part.unread for part in proposed], bool)
    if unread.any() and heads.names is not None:
        names = [name for part in proposed for name in part.names]
        rows, scores = link_by_name(rows, scores, names, unread)
        nil[unread & (rows[:, 0] >= 0)] = -np.inf
    entity_scores = log_softmax(np.concatenate([scores, nil], axis=1))
    return RankedMentions(
        doc=_join([part.doc for part in proposed]),
        first=_join([part.spans.first for part in proposed]),
        last=_join([part.spans.last for part in proposed]),
        chars=_join([part.chars for part in proposed]).reshape(-1, 2),
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


def name_bonus(heads: Heads) -> np.ndarray | None:
    """RETURNS (ndarray | None): Weights of `NameMatch.of_entities`, float32 (7,), if there are."""
    weights = heads.name_weights()
    return None if weights is None else weights.detach().cpu().numpy()


def popularity_shares(kb: View, heads: Heads) -> Callable[[np.ndarray], np.ndarray | float]:
    """RETURNS (Callable): Entity rows → what their popularity adds to their scores, float32 of the
    same shape; 0 if that is nothing."""
    weights = None if heads.priors is None else heads.priors.popularity.detach().cpu().numpy()
    if weights is None or not weights.any() or kb.popularity_scale is None:
        return lambda rows: 0.0
    return lambda rows: popularity_features(kb.popularity(rows)) @ weights


def add_namesakes(
    score: Score,
    queries: np.ndarray,
    rows: np.ndarray,
    scores: np.ndarray,
    names: Sequence[NameMatch | None],
    bonus: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Add the entities that have a mention's name to the retrieved entities, and a bonus to the
    score of each entity with that name.

    score (Callable): Scores entities without the bonus.
    queries (ndarray): float32 (N, h).
    rows, scores (ndarray): Retrieved entities, int64 and float32 (N, K).
    names (Sequence[NameMatch | None]): The name that the text of each mention is.
    bonus (ndarray): Weights of `NameMatch.of_entities`.
    RETURNS (tuple[ndarray, ndarray]): Rows and scores, at most (N, K + namesakes).
    """
    names = [
        _limit_namesakes(score, queries[i], rows[i], name, bonus)
        if name and len(name.rows) > MAX_NAMESAKES
        else name
        for i, name in enumerate(names)
    ]
    n_namesakes = max((len(name.rows) for name in names if name), default=0)
    if not n_namesakes:
        return rows, scores
    namesakes = np.full((len(rows), n_namesakes), -1, dtype=np.int64)
    worth = np.zeros((len(rows), n_namesakes), dtype=np.float32)
    for i, name in enumerate(names):
        if name:
            namesakes[i, : len(name.rows)] = name.rows
            worth[i, : len(name.rows)] = name.of_entities @ bonus
    same = (rows[:, :, None] == namesakes[:, None, :]) & (rows >= 0)[:, :, None]
    scores = scores + np.where(same, worth[:, None, :], 0).sum(axis=2, dtype=np.float32)
    namesakes[same.any(axis=1)] = -1
    if namesakes.max() >= 0:  # usually all of them were retrieved
        joined_scores = np.where(namesakes >= 0, score(queries, namesakes) + worth, -np.inf)
        rows = np.concatenate([rows, namesakes], axis=1)
        scores = np.concatenate([scores, joined_scores], axis=1).astype(np.float32)
    return rows, scores


def link_by_name(
    rows: np.ndarray, scores: np.ndarray, names: Sequence[NameMatch | None], unread: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of mentions that the encoder can't read, keep the entities that have exactly their name.

    rows, scores (ndarray): Ranked entities, int64 and float32 (N, C).
    names (Sequence[NameMatch | None]): The name that the text of each mention is.
    unread (ndarray): The mentions that the encoder can't read, bool (N,).
    RETURNS (tuple[ndarray, ndarray]): Rows and scores, (N, C), best first.
    """
    named = np.ones(rows.shape, dtype=bool)
    for i in np.flatnonzero(unread).tolist():
        name = names[i]
        named[i] = name is not None and np.isin(
            rows[i], name.rows[np.isin(name.kinds, BY_ALL_WORDS)]
        )
    return best_first(np.where(named, rows, -1), np.where(named, scores, -np.inf))


def best_first(rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _limit_namesakes(
    score: Score, query: np.ndarray, retrieved: np.ndarray, name: NameMatch, bonus: np.ndarray
) -> NameMatch:
    """Keep those entities of a very common name that were retrieved, and the best of the others."""
    scores = score(query[None], name.rows[None])[0] + name.of_entities @ bonus
    is_retrieved = np.isin(name.rows, retrieved)
    scores[is_retrieved] = np.inf
    best = np.argsort(-scores, kind="stable")[: MAX_NAMESAKES + is_retrieved.sum()]
    of_best = name.of_entities[best]
    return replace(name, rows=name.rows[best], kinds=name.kinds[best], of_entities=of_best)


def _join(arrays: list[np.ndarray], dtype: type = np.int64) -> np.ndarray:
    if len(arrays) == 1:  # a single text, for which even this small step counts
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype=dtype)
