"""Explain the links of a text: every span considered, its scores, and the step that rejected it.

Spans are scored everywhere, even where a mention may not begin or end, so that a missing link can
be traced to the step that lost it. The proposed spans come from the code that links.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from spacy.tokens import Doc

from ..annotate import overlapped
from ..encoders.windows import NO_CHARS, Window
from ..kb.files.manifest import EXACT
from ..kb.files.names import ALIAS, TITLE
from ..ml.model import ElqModel, get_heads
from ..ml.name_features import LOOSE, MENTION_FEATURES, SHORT_FORM, NameMatch
from ..types import Entity
from .abbreviations import gains_in_documents
from .boundaries import boundary_masks
from .decoding import JOINT, DecodingSettings, log_sigmoid
from .document import Gain, Gains, add_gains
from .mention_kinds import are_written_small, is_concept, links_names_only, unnamed_spans
from .propose import CharSpans, ProposedSpans, link_shares, propose_spans
from .rank import Search, name_bonus, popularity_shares, rank_entities
from .ranked import RankedMentions

if TYPE_CHECKING:
    from ..kb.live.view import View
    from ..ml.heads import Heads

# The reasons why a span is not linked, in the order of the steps.
INVALID = "invalid"
OUTSIDE_CORE = "outside window core"
NOT_A_WORD = "not a word boundary"
NOT_A_NAME = "not a name"
NOT_AMONG_BEST = "not among best spans"
MENTION_THRESHOLD = "mention threshold"
NO_ENTITY = "no entity"
JOINT_THRESHOLD = "joint threshold"
ENTITY_THRESHOLD = "entity threshold"
OVERLAP = "overlap"
TAKEN = "overlap with doc.ents"

# How a mention names an entity.
NAME_KINDS = {TITLE: "title", ALIAS: "alias", LOOSE: "loose", SHORT_FORM: "short form"}
# Default number of spans that are explained besides those with candidates.
LIMIT = 50


@dataclass(frozen=True)
class ExplainedCandidate:
    """A candidate entity of a span.

    score (float): log P(entity | mention).
    raw_score (float): The score before the softmax.
    name (str): How the span's text names the entity: "title", "alias", "loose", "short form", or ""
        if it does not.
    name_share, popularity_share (float): What the name and the entity's popularity add to
        `raw_score`.
    document_share (float): What another mention of the document adds to it.
    source (tuple[int, int] | None): The characters of that mention, if there is one.
    """

    id: str
    title: str
    description: str
    score: float
    raw_score: float
    name: str
    name_share: float = 0.0
    popularity_share: float = 0.0
    document_share: float = 0.0
    source: tuple[int, int] | None = None


@dataclass(frozen=True)
class ExplainedSpan:
    """A span that was considered.

    text (str): The text of the span, including "[CLS]" and "[SEP]" if the span contains them.
    start, end (int): Character offsets, end exclusive; -1 for a span of special tokens alone. They
        are widened to whole tokens if the span passed the thresholds.
    logit (float): Span logit, including the name features' share.
    mention_score (float): log P(mention); 0 for a given mention.
    entity_score (float): log P(best entity | mention); -inf without candidates.
    score (float): Joint log-score, the sum of the two.
    nil_score (float): log P(NIL | mention); -inf for models without a NIL score.
    names (tuple[str, ...]): The `MENTION_FEATURES` that the span has.
    candidates (tuple[ExplainedCandidate, ...]): Candidate entities, best first.
    cut (str): The reason why the span is not linked; "" for a link.
    by (tuple[int, int] | None): If an overlap is the reason, the characters of the other span.
    exact_id (str | None): The entity that exact search would choose, if it differs.
    link_share (float): What the link probability of its name adds to `logit`.
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
    link_share: float = 0.0


@dataclass(frozen=True)
class Explanation:
    """Everything that was considered for one text.

    threshold (float): A link's joint log-score must exceed it.
    mention_threshold (float): A span's log P(mention) must exceed it to get candidates.
    index (str): The knowledge base's index; with "exact", no `exact_id` is set.
    spans (tuple[ExplainedSpan, ...]): The links, then the spans that are not linked, both sorted by
        descending joint score.
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
    """Explain the links of a document, without changing it.

    given (CharSpans | None): Given mentions; None to find them.
    taken (CharSpans): Characters of existing entities that take precedence over links.
    limit (int): Number of spans explained besides those with candidates: the likeliest mentions.
    exact (bool): Also find the entities that exact search would choose, if the index is not exact.
        This reads all vectors.
    """
    heads = get_heads(model)
    names = given is None and links_names_only(settings, kb)
    found = propose_spans(model, kb, [doc], settings, None if given is None else [given])
    proposed = list(chain.from_iterable(found))
    n_proposed = sum(map(len, proposed))
    cuts = [""] * n_proposed
    if given is None:
        others = _likeliest_others(model, kb, doc, settings, proposed, limit)
        cuts += [
            cut for part in others for cut in _cuts_by_place(part, doc.text, settings, names=names)
        ]
        proposed += others
    rank = partial(rank_entities, proposed, kb, heads, settings.top_k)
    mentions, gains = _with_gains(rank(), doc, n_proposed, settings)
    chosen = mentions.rows[:, 0]
    index = kb.base.manifest.index if kb.base else EXACT
    if exact and index != EXACT and len(mentions):
        exactly, _ = _with_gains(rank(search=_exact_search(kb)), doc, n_proposed, settings)
        chosen = exactly.rows[:, 0]
    cuts = [cut or _cut_by_scores(mentions, i, settings) for i, cut in enumerate(cuts)]
    spans = _explained_spans(kb, doc, heads, proposed, mentions, chosen, cuts, gains)
    if names:
        spans = [_cut_concept(span, doc.text) for span in spans]
    spans = _cut_overlaps(doc, spans, taken)
    return Explanation(
        doc.text,
        settings.threshold,
        settings.pruning_threshold,
        index,
        tuple(sorted(spans, key=lambda span: (bool(span.cut), -span.score))),
    )


def _with_gains(
    mentions: RankedMentions, doc: Doc, n_proposed: int, settings: DecodingSettings
) -> tuple[RankedMentions, Gains]:
    """Let the proposed mentions, which come first, tell each other what they mean."""
    proposed = mentions.select(np.arange(n_proposed))
    gains = gains_in_documents(proposed, [doc], settings)
    return add_gains(mentions, gains), gains


def _likeliest_others(
    model: ElqModel,
    kb: View,
    doc: Doc,
    settings: DecodingSettings,
    proposed: Sequence[ProposedSpans],
    limit: int,
) -> list[ProposedSpans]:
    """The likeliest mentions that were not proposed, wherever they begin and end."""
    # The likeliest spans of the document are among the likeliest of each window. No other span gets
    # a query vector.
    unbound = settings.changed(
        threshold=-np.inf, threshold_type=JOINT, num_cand_mentions=max(limit, 1)
    )
    groups = propose_spans(model, kb, [doc], unbound, everywhere=True)
    everywhere = list(chain.from_iterable(groups))
    lowest = _lowest_logit(everywhere, limit)
    others = []
    # Both calls read the same windows in the same batches.
    for part, of_part in zip(everywhere, proposed, strict=True):
        places = set(of_part.spans.places())
        chosen = [
            i
            for i, place in enumerate(part.spans.places())
            if place not in places and part.spans.logit[i] >= lowest
        ]
        others.append(part.select(chosen))
    return others


def _lowest_logit(parts: Sequence[ProposedSpans], limit: int) -> float:
    """RETURNS (float): The logit of the last of the `limit` likeliest spans."""
    logits = np.concatenate([part.spans.logit for part in parts] or [np.zeros(0)])
    if len(logits) <= limit:
        return -np.inf
    return float(np.sort(logits)[len(logits) - limit]) if limit else np.inf


def _cut_concept(span: ExplainedSpan, text: str) -> ExplainedSpan:
    """The span, not linked if its entity is no name."""
    if span.cut:
        return span
    best = span.candidates[0]
    if not is_concept(text, span.start, span.end, best.title, best.description):
        return span
    return replace(span, cut=NOT_A_NAME)


def _cuts_by_place(
    others: ProposedSpans, text: str, settings: DecodingSettings, *, names: bool
) -> list[str]:
    """Why each of these spans was not proposed.

    names (bool): Whether only names are linked.
    """
    lengths = np.array([len(window) for window in others.windows])
    mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
    valid, at_words = (
        boundary_masks(
            others.windows, [text], mask, words=words, special_tokens=settings.special_tokens
        )
        for words in (False, settings.word_boundaries)
    )
    unnamed = unnamed_spans(others.windows, [text], mask.shape[1], settings.max_mention_length + 1)
    cuts = []
    columns = zip(others.spans.places(), others.spans.logit, others.names, strict=True)
    for (window, first, last), logit, name in columns:
        small = name is not None and are_written_small(name.features[None])[0]
        if not (valid[0][window, first] and valid[1][window, last]):
            special = others.windows[window].chars[[first, last], 0] == NO_CHARS
            cut = INVALID if special.any() else OUTSIDE_CORE
        elif not (at_words[0][window, first] and at_words[1][window, last]):
            cut = NOT_A_WORD
        elif names and unnamed[window, first, last - first] and not small:
            cut = NOT_A_NAME
        else:
            likely = log_sigmoid(logit) > settings.pruning_threshold
            cut = NOT_AMONG_BEST if likely else MENTION_THRESHOLD
        cuts.append(cut)
    return cuts


def _cut_by_scores(mentions: RankedMentions, i: int, settings: DecodingSettings) -> str:
    """Why a proposed span is not linked, overlaps aside; "" if it passes the thresholds."""
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


def _explained_spans(
    kb: View,
    doc: Doc,
    heads: Heads,
    proposed: Sequence[ProposedSpans],
    mentions: RankedMentions,
    chosen: np.ndarray,
    cuts: Sequence[str],
    gains: Gains,
) -> list[ExplainedSpan]:
    """chosen (ndarray): Rows of the entities that exact search chooses, int64 (N,)."""
    rows = sorted({int(row) for row in (*mentions.rows.ravel(), *chosen) if row >= 0})
    entities = dict(zip(rows, kb.records(rows), strict=True))
    windows = [part.windows[window] for part in proposed for window in part.spans.window]
    names = [name for part in proposed for name in part.names]
    popularity = np.zeros(mentions.rows.shape) + popularity_shares(kb, heads)(mentions.rows)
    bonus = name_bonus(heads)
    linked = np.array([name.link_probability if name else 0.0 for name in names])
    links = np.zeros(len(linked)) + link_shares(heads, linked)
    return [
        ExplainedSpan(
            text=_surface(doc.text, windows[i], int(mentions.first[i]), int(mentions.last[i])),
            start=int(mentions.chars[i, 0]),
            end=int(mentions.chars[i, 1]),
            logit=float(mentions.logit[i]),
            mention_score=float(mentions.mention_score[i]),
            entity_score=float(mentions.entity_scores[i, 0]),
            score=float(mentions.joint[i]),
            nil_score=float(mentions.nil_score[i]),
            names=_feature_names(names[i]),
            candidates=_candidates(
                mentions, i, entities, _named(names[i], bonus), popularity[i], gains.get(i, {})
            ),
            cut=cut,
            exact_id=entities[int(chosen[i])].id if chosen[i] != mentions.rows[i, 0] else None,
            link_share=float(links[i]),
        )
        for i, cut in enumerate(cuts)
    ]


def _surface(text: str, window: Window, first: int, last: int) -> str:
    inside = window.chars[first : last + 1]
    real = inside[inside[:, 0] != NO_CHARS]
    parts = (
        "[CLS]" if first == 0 and inside[0, 0] == NO_CHARS else "",
        text[real[0, 0] : real[-1, 1]] if len(real) else "",
        "[SEP]" if last == len(window) - 1 and inside[-1, 0] == NO_CHARS else "",
    )
    return " ".join(filter(None, parts))


def _feature_names(name: NameMatch | None) -> tuple[str, ...]:
    if name is None:
        return ()
    return tuple(
        feature
        for feature, value in zip(MENTION_FEATURES, name.features.tolist(), strict=True)
        if value
    )


def _named(name: NameMatch | None, bonus: np.ndarray | None) -> dict[int, tuple[str, float]]:
    """RETURNS (dict): Row of each entity that a mention names → how, and what that adds to its
    score."""
    if name is None or bonus is None:
        return {}
    kinds = (NAME_KINDS[kind] for kind in name.kinds.tolist())
    shares = zip(kinds, (name.of_entities @ bonus).tolist(), strict=True)
    return dict(zip(name.rows.tolist(), shares, strict=True))


def _candidates(
    mentions: RankedMentions,
    i: int,
    entities: dict[int, Entity],
    named: dict[int, tuple[str, float]],
    popularity: np.ndarray,
    gains: dict[int, Gain],
) -> tuple[ExplainedCandidate, ...]:
    columns = (mentions.rows[i], mentions.entity_scores[i], mentions.raw_scores[i], popularity)
    return tuple(
        ExplainedCandidate(
            entities[row].id,
            entities[row].title,
            entities[row].description,
            score,
            raw,
            *named.get(row, ("", 0.0)),
            share,
            *_gain(gains.get(row), mentions.chars),
        )
        for row, score, raw, share in zip(*(column.tolist() for column in columns), strict=True)
        if row >= 0
    )


def _gain(gain: Gain | None, chars: np.ndarray) -> tuple[float, tuple[int, int] | None]:
    if gain is None:
        return 0.0, None
    return gain.bonus, (int(chars[gain.source, 0]), int(chars[gain.source, 1]))


def _cut_overlaps(
    doc: Doc, spans: Sequence[ExplainedSpan], taken: CharSpans
) -> list[ExplainedSpan]:
    """Widen the spans that passed to whole tokens. Best first, cut those that overlap a kept span
    or an existing entity."""
    ranked = sorted(spans, key=lambda span: -span.score)
    passed = [_widened(doc, span) for span in ranked if not span.cut]
    places = [(span.start, span.end) for span in passed]
    for i, first in enumerate(overlapped(places)):
        cut = TAKEN if first is None else OVERLAP
        by = _overlapping(passed[i], taken) if first is None else places[first]
        if by is not None:
            passed[i] = replace(passed[i], cut=cut, by=by)
    return sorted(passed + [span for span in ranked if span.cut], key=lambda span: -span.score)


def _widened(doc: Doc, span: ExplainedSpan) -> ExplainedSpan:
    tokens = doc.char_span(span.start, span.end, alignment_mode="expand")
    if tokens is None:
        return span
    return replace(span, start=tokens.start_char, end=tokens.end_char)


def _overlapping(span: ExplainedSpan, others: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    return next((o for o in others if o[0] < span.end and span.start < o[1]), None)


def _exact_search(kb: View) -> Search:
    from ..kb.search.file_vectors import FileVectorStore

    vectors, owners = kb.vector_matrix()
    table, searched = FileVectorStore(vectors, owners, len(kb)), kb.searched_rows()
    return lambda queries, k: table.search(queries, k, searched)
