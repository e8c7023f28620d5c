"""Why a text is linked as it is: every span considered, its scores, and what cut it.

Spans are scored everywhere, also where a mention may not stand, so that a missing link can be
traced to the step that lost it. Those that linking itself proposes are taken from its own code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from spacy.tokens import Doc

from ..encoders.windows import NO_CHARS, Window
from ..kb.files.store import EXACT
from ..ml.model import ElqModel, get_heads
from ..ml.name_features import ALIAS, LOOSE, MENTION_FEATURES, TITLE, NameMatch
from ..types import Entity
from .boundaries import boundary_masks
from .decoding import JOINT, DecodingSettings, log_sigmoid
from .propose import CharSpans, ProposedSpans, propose_spans
from .rank import RankedMentions, Search, rank_entities

if TYPE_CHECKING:
    from ..kb.live.view import View

# What cut a span, in the order of the steps.
INVALID = "invalid"
OUTSIDE_CORE = "outside window core"
NOT_A_WORD = "not a word boundary"
NOT_AMONG_BEST = "not among best spans"
MENTION_THRESHOLD = "mention threshold"
NO_ENTITY = "no entity"
JOINT_THRESHOLD = "joint threshold"
ENTITY_THRESHOLD = "entity threshold"
OVERLAP = "overlap"
TAKEN = "overlap with doc.ents"

# How an entity has the mention as its name.
NAME_KINDS = {TITLE: "title", ALIAS: "alias", LOOSE: "loose"}
# Spans that are looked at beside those that got candidates, unless more are asked for.
LIMIT = 50


@dataclass(frozen=True)
class ExplainedCandidate:
    """An entity that was considered for a span.

    score (float): log P(entity | mention).
    raw_score (float): What that is the softmax of.
    name (str): How the entity has the span's text as its name: "title", "alias", "loose" or "".
    """

    id: str
    title: str
    description: str
    score: float
    raw_score: float
    name: str


@dataclass(frozen=True)
class ExplainedSpan:
    """A span that was considered.

    text (str): What it covers; with "[CLS]" and "[SEP]" where it takes them in.
    start, end (int): Character offsets, end exclusive; of whole tokens if it came that far, -1 for
        a span of special tokens alone.
    logit (float): Span logit, what its name adds included.
    mention_score (float): log P(mention); 0 for a mention that was given.
    entity_score (float): log P(best entity | mention); -inf without candidates.
    score (float): Joint log-score, the sum of the two.
    nil_score (float): log P(none of the entities | mention); -inf where the model knows no `nil`.
    names (tuple[str, ...]): Which `lexical.MENTION_FEATURES` the span has.
    candidates (tuple[ExplainedCandidate, ...]): Best first.
    cut (str): What cut it, "" for a link.
    by (tuple[int, int] | None): Characters of the span or entity that it overlaps, if that cut it.
    exact_id (str | None): The entity that exact search would choose, where that is another.
    """

    text: str
    start: int
    end: int
    logit: float
    mention_score: float
    entity_score: float
    score: float
    nil_score: float
    names: tuple[str, ...]
    candidates: tuple[ExplainedCandidate, ...]
    cut: str = ""
    by: tuple[int, int] | None = None
    exact_id: str | None = None


@dataclass(frozen=True)
class Explanation:
    """Everything that was considered for one text.

    threshold (float): Joint log-score that a link must exceed.
    mention_threshold (float): log P(mention) that a span must exceed to get candidates.
    index (str): The knowledge base's index; where that is "exact", no search finds otherwise.
    spans (tuple[ExplainedSpan, ...]): The links, then the spans that were cut, each by descending
        joint score.
    """

    text: str
    threshold: float
    mention_threshold: float
    index: str
    spans: tuple[ExplainedSpan, ...]


def explain_links(
    model: ElqModel,
    kb: View,
    doc: Doc,
    settings: DecodingSettings,
    *,
    given: CharSpans | None = None,
    taken: CharSpans = (),
    limit: int = LIMIT,
    exact: bool = True,
) -> Explanation:
    """Explain the links of a document, which is left as it is.

    given (CharSpans | None): Mentions that are linked, instead of finding them.
    taken (CharSpans): Characters of entities that are there and win over links.
    limit (int): Spans beside those that got candidates: so many, the most likely mentions.
    exact (bool): Also look up what exact search would choose, if the index is not exact. That
        reads all vectors.
    """
    heads = get_heads(model)
    found = propose_spans(model, kb, [doc], settings, None if given is None else [given])
    cuts = [""] * sum(len(part) for part in found)
    if given is None:
        others = _likeliest_others(model, kb, doc, settings, found, limit)
        cuts += [cut for part in others for cut in _cut_by_place(part, doc.text, settings)]
        found += others
    mentions = rank_entities(found, kb, heads, settings.top_k)
    chosen = mentions.rows[:, 0]
    index = kb.base.manifest.index if kb.base else EXACT
    if exact and index != EXACT and len(mentions):
        chosen = rank_entities(found, kb, heads, settings.top_k, _exact_search(kb)).rows[:, 0]
    cuts = [cut or _cut_by_scores(mentions, i, settings) for i, cut in enumerate(cuts)]
    spans = _records(kb, doc, found, mentions, chosen, cuts)
    spans = _without_overlaps(doc, spans, taken)
    return Explanation(
        doc.text,
        settings.threshold,
        settings.pruning_threshold,
        index,
        tuple(sorted(spans, key=lambda span: (bool(span.cut), -span.score))),
    )


def _likeliest_others(
    model: ElqModel,
    kb: View,
    doc: Doc,
    settings: DecodingSettings,
    proposed: Sequence[ProposedSpans],
    limit: int,
) -> list[ProposedSpans]:
    """The likeliest mentions, wherever they begin and end, without those that were proposed."""
    # The likeliest of all are among the likeliest of each window: no other gets a query vector.
    unbound = replace(
        settings, threshold=-np.inf, threshold_type=JOINT, num_cand_mentions=max(limit, 1)
    )
    everywhere = propose_spans(model, kb, [doc], unbound, everywhere=True)
    least = _least_logit(everywhere, limit)
    others = []
    # Both runs cut the same windows and batches.
    for part, of_part in zip(everywhere, proposed, strict=True):
        places = set(of_part.spans.places())
        chosen = [
            i
            for i, place in enumerate(part.spans.places())
            if place not in places and part.spans.logit[i] >= least
        ]
        others.append(part.select(chosen))
    return others


def _least_logit(found: Sequence[ProposedSpans], limit: int) -> float:
    logits = np.concatenate([part.spans.logit for part in found] or [np.zeros(0)])
    if len(logits) <= limit:
        return -np.inf
    return float(np.sort(logits)[len(logits) - limit]) if limit else np.inf


def _cut_by_place(found: ProposedSpans, text: str, settings: DecodingSettings) -> list[str]:
    """What cut each span, none of which was proposed, before entities were looked up."""
    lengths = np.array([len(window) for window in found.windows])
    mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
    valid, at_words = (
        boundary_masks(
            found.windows, [text], mask, words=words, special_tokens=settings.special_tokens
        )
        for words in (False, settings.word_boundaries)
    )
    cuts = []
    for (window, first, last), logit in zip(found.spans.places(), found.spans.logit, strict=True):
        if not (valid[0][window, first] and valid[1][window, last]):
            special = found.windows[window].chars[[first, last], 0] == NO_CHARS
            cut = INVALID if special.any() else OUTSIDE_CORE
        elif not (at_words[0][window, first] and at_words[1][window, last]):
            cut = NOT_A_WORD
        else:
            likely = log_sigmoid(logit) > settings.pruning_threshold
            cut = NOT_AMONG_BEST if likely else MENTION_THRESHOLD
        cuts.append(cut)
    return cuts


def _cut_by_scores(mentions: RankedMentions, i: int, settings: DecodingSettings) -> str:
    """What cut a span that was proposed, before overlaps are looked at."""
    if mentions.chars[i, 0] == NO_CHARS:
        return INVALID
    if mentions.rows[i, 0] < 0:
        return NO_ENTITY
    if mentions.select([i]).passes(settings)[0]:
        return ""
    if settings.threshold_type == JOINT:
        return JOINT_THRESHOLD
    is_mention = mentions.given[i] >= 0 or mentions.logit[i] > settings.mention_threshold
    return ENTITY_THRESHOLD if is_mention else MENTION_THRESHOLD


def _records(
    kb: View,
    doc: Doc,
    found: Sequence[ProposedSpans],
    mentions: RankedMentions,
    chosen: np.ndarray,
    cuts: Sequence[str],
) -> list[ExplainedSpan]:
    """chosen (ndarray): Row of the entity that exact search chooses, int64 (N,)."""
    rows = sorted({int(row) for row in (*mentions.rows.ravel(), *chosen) if row >= 0})
    entities = dict(zip(rows, kb.records(rows), strict=True))
    windows = [part.windows[window] for part in found for window in part.spans.window]
    names = [name for part in found for name in part.names]
    return [
        ExplainedSpan(
            text=_text(doc.text, windows[i], int(mentions.first[i]), int(mentions.last[i])),
            start=int(mentions.chars[i, 0]),
            end=int(mentions.chars[i, 1]),
            logit=float(mentions.logit[i]),
            mention_score=float(mentions.mention_score[i]),
            entity_score=float(mentions.entity_scores[i, 0]),
            score=float(mentions.joint[i]),
            nil_score=float(mentions.nil_score[i]),
            names=_features(names[i]),
            candidates=_candidates(mentions, i, names[i], entities),
            cut=cut,
            exact_id=entities[int(chosen[i])].id if chosen[i] != mentions.rows[i, 0] else None,
        )
        for i, cut in enumerate(cuts)
    ]


def _text(text: str, window: Window, first: int, last: int) -> str:
    inside = window.chars[first : last + 1]
    real = inside[inside[:, 0] != NO_CHARS]
    parts = (
        "[CLS]" if first == 0 and inside[0, 0] == NO_CHARS else "",
        text[real[0, 0] : real[-1, 1]] if len(real) else "",
        "[SEP]" if last == len(window) - 1 and inside[-1, 0] == NO_CHARS else "",
    )
    return " ".join(filter(None, parts))


def _features(name: NameMatch | None) -> tuple[str, ...]:
    if name is None:
        return ()
    return tuple(
        feature
        for feature, value in zip(MENTION_FEATURES, name.features.tolist(), strict=True)
        if value
    )


def _candidates(
    mentions: RankedMentions, i: int, name: NameMatch | None, entities: dict[int, Entity]
) -> tuple[ExplainedCandidate, ...]:
    kinds = {} if name is None else dict(zip(name.rows.tolist(), name.kinds.tolist(), strict=True))
    columns = (mentions.rows[i], mentions.entity_scores[i], mentions.raw_scores[i])
    return tuple(
        ExplainedCandidate(
            entities[row].id,
            entities[row].title,
            entities[row].description,
            score,
            raw,
            NAME_KINDS[kinds[row]] if row in kinds else "",
        )
        for row, score, raw in zip(*(column.tolist() for column in columns), strict=True)
        if row >= 0
    )


def _without_overlaps(
    doc: Doc, spans: Sequence[ExplainedSpan], taken: CharSpans
) -> list[ExplainedSpan]:
    """Widen what passed to whole tokens; best first, cut what overlaps a span that is kept."""
    result: list[ExplainedSpan] = []
    kept: list[tuple[int, int]] = []
    for span in sorted(spans, key=lambda span: -span.score):
        tokens = (
            doc.char_span(span.start, span.end, alignment_mode="expand") if not span.cut else None
        )
        if tokens is not None:
            span = replace(span, start=tokens.start_char, end=tokens.end_char)
            blocking, cut = _overlapping(span, kept), OVERLAP
            if blocking is None:
                kept.append((span.start, span.end))
                blocking, cut = _overlapping(span, taken), TAKEN
            if blocking is not None:
                span = replace(span, cut=cut, by=blocking)
        result.append(span)
    return result


def _overlapping(span: ExplainedSpan, others: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    return next((o for o in others if o[0] < span.end and span.start < o[1]), None)


def _exact_search(kb: View) -> Search:
    from ..kb.search.file_vectors import FileVectorStore

    vectors, owners = kb.vector_matrix()
    table, searched = FileVectorStore(vectors, owners, len(kb)), kb.searched_rows()
    return lambda queries, k: table.search(queries, k, searched)
