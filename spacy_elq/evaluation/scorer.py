"""spaCy scorer: the published ELQ measures of a set of examples, under `elq_*`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import compress
from typing import Any

from spacy.tokens import Doc, Span
from spacy.training import Example

from ..gold import RANKS_KEY, TOPIC, countable, gold_fields, gold_spans, triples
from ..types import Triple
from .metrics import PRF, LinkMetrics, same_entity


def make_elq_scorer(overlapping: bool = False) -> Callable[..., dict[str, Any]]:
    """Score links from end to end. Registered as "spacy-elq.elq_scorer.v1".

    overlapping (bool): Score `doc.spans[spans_key]`, in which links may overlap, instead of the
        linked entities `doc.ents`.
    RETURNS (Callable): (examples, **kwargs) → scores. The component's settings come as
        kwargs; the scorer reads `seen_ids` (entities seen in training; adds `elq_seen_*` and
        `elq_unseen_*`) and `spans_key`.
    """

    return partial(_score, overlapping)


def _score(overlapping: bool, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
    key = kwargs.get("spans_key", "elq") if overlapping else ""
    return score_links(examples, seen_ids=kwargs.get("seen_ids") or None, spans_key=key)


def score_links(
    examples: Iterable[Example], *, seen_ids: Collection[str] | None = None, spans_key: str = ""
) -> dict[str, Any]:
    """Score predicted links against gold mentions, micro-averaged over all texts. Links that a set
    does not count (`gold.countable`) are left out.

    examples (Iterable[Example]): Gold mentions in the reference documents.
    seen_ids (Collection[str] | None): Entities seen in training, None if unknown.
    spans_key (str): The span group to score; `doc.ents` if empty.
    RETURNS (dict[str, Any]): elq_weak_p/r/f and elq_strong_p/r/f (the published measures),
        elq_mention_p/r/f (a mention counts as found if a link overlaps it, whatever the entity),
        elq_links_per_text; if known, elq_r1 and elq_r10 (share of gold mentions whose entity
        ranks first, or among ten, given the mention), elq_topic_r (share of texts whose topic is
        among the linked entities), and the weak and strong F1 of links to entities seen and not
        seen in training. Unknown scores are left out.
    """
    counts = _Counts(None if seen_ids is None else frozenset(id_.lower() for id_ in seen_ids))
    for example in examples:
        counts.add(example, spans_key)
    return counts.scores()


def predicted_spans(doc: Doc, spans_key: str = "") -> list[Span]:
    """RETURNS (list[Span]): The links of a document: its linked entities, or those of a span group
    if one is named."""
    spans = doc.spans.get(spans_key, ()) if spans_key else doc.ents
    return [span for span in spans if span.kb_id_]


@dataclass
class _Counts:
    """The counts from which the scores are computed.

    seen (frozenset[str] | None): Entities seen in training, in lower case: matches ignore case.
    ranks (list[int | None]): Ranks of gold entities, for mentions whose rank is known.
    topics (list[bool]): Whether a text's topic was linked, for the texts that have one.
    """

    seen: frozenset[str] | None
    all: LinkMetrics = field(default_factory=LinkMetrics)
    seen_links: LinkMetrics = field(default_factory=LinkMetrics)
    unseen_links: LinkMetrics = field(default_factory=LinkMetrics)
    ranks: list[int | None] = field(default_factory=list)
    topics: list[bool] = field(default_factory=list)

    def add(self, example: Example, spans_key: str) -> None:
        gold = triples(gold_spans(example.reference))
        links = triples(predicted_spans(example.predicted, spans_key))
        predicted = list(compress(links, countable(links, example.reference)))
        self.all.add(gold, predicted)
        self.ranks.extend(example.predicted.user_data.get(RANKS_KEY) or ())
        topic = gold_fields(example.reference).get(TOPIC)
        if topic:
            self.topics.append(any(same_entity(topic, entity) for entity, _, _ in predicted))
        if self.seen is not None:
            self._add_by_seen(gold, predicted, self.seen)

    def _add_by_seen(
        self, gold: Sequence[Triple], predicted: Sequence[Triple], seen: Collection[str]
    ) -> None:
        # Matches join ids that are equal, case aside: both sides fall into the same part.
        for metrics, wanted in ((self.seen_links, True), (self.unseen_links, False)):
            metrics.add(
                [triple for triple in gold if (triple[0].lower() in seen) is wanted],
                [triple for triple in predicted if (triple[0].lower() in seen) is wanted],
            )

    def scores(self) -> dict[str, Any]:
        scores: dict[str, Any] = {
            **_prf("elq_weak", self.all.weak),
            **_prf("elq_strong", self.all.strong),
            **_prf("elq_mention", self.all.mention_overlap),
            "elq_links_per_text": self.all.links_per_text,
        }
        if self.ranks:
            scores["elq_r1"] = _share(rank is not None and rank <= 1 for rank in self.ranks)
            scores["elq_r10"] = _share(rank is not None and rank <= 10 for rank in self.ranks)
        if self.topics:
            scores["elq_topic_r"] = _share(self.topics)
        if self.seen is not None:
            for part, metrics in (("seen", self.seen_links), ("unseen", self.unseen_links)):
                scores[f"elq_{part}_weak_f"] = metrics.weak.f
                scores[f"elq_{part}_strong_f"] = metrics.strong.f
        return scores


def _prf(name: str, counts: PRF) -> dict[str, float]:
    return {f"{name}_p": counts.p, f"{name}_r": counts.r, f"{name}_f": counts.f}


def _share(hits: Iterable[bool]) -> float:
    values = list(hits)
    return sum(values) / len(values)
