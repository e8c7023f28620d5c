"""Links as the benchmarks of entity linking count them: exact bounds and ids, micro-averaged, with
respect to a knowledge base.

A gold mention whose entity the knowledge base lacks need not be found: it is *outside*, as are
mentions of no entity. A link at the bounds of a mention that may be linked or not (`gold.IGNORED`)
is not counted unless it is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import compress

from spacy.tokens import Doc

from ..corpora.predictions import linked_spans
from ..corpora.spans_jsonl import LinkedSpan
from ..gold import NIL_KEY, Bounds, countable, gold_triples, span_bounds
from ..types import Triple
from .error_analysis import (
    BOUNDARY,
    CORRECT,
    MISSED,
    NO_CANDIDATE,
    RANKING,
    SPURIOUS,
    WRONG,
    entity_error,
    pair_mentions,
)
from .metrics import PRF

# Kinds of links without a gold mention that say more than `SPURIOUS`.
OUTSIDE, LOWER_CASE = "outside of the knowledge base", "lower-case"
# Kind of an error → its key in the scores.
ERRORS = {
    MISSED: "bench_missed",
    BOUNDARY: "bench_boundary",
    RANKING: "bench_ranking",
    NO_CANDIDATE: "bench_no_candidate",
    OUTSIDE: "bench_outside",
    LOWER_CASE: "bench_lower",
    SPURIOUS: "bench_spurious",
}


@dataclass(frozen=True)
class LinkedDoc:
    """A text with gold mentions and links, each counted once.

    gold (set[Triple]): The gold mentions whose entities are in the knowledge base.
    outside (list[Bounds]): The other gold mentions, and those of no entity.
    links (dict[Triple, LinkedSpan]): The links that count.
    """

    text: str
    gold: set[Triple]
    outside: list[Bounds]
    links: dict[Triple, LinkedSpan]

    def is_outside(self, link: Triple) -> bool:
        """RETURNS (bool): Whether a wrong link overlaps a mention that is outside."""
        return link not in self.gold and any(_share(link[1:], place) for place in self.outside)

    def is_name(self, triple: Triple) -> bool:
        """RETURNS (bool): Whether a mention has a capital letter or a digit."""
        return any(c.isupper() or c.isdigit() for c in self.text[triple[1] : triple[2]])


def read_linked(predicted: Doc, reference: Doc, is_known: Callable[[str], bool]) -> LinkedDoc:
    """is_known (Callable): Whether the knowledge base has an entity, by its id."""
    gold = gold_triples(reference)
    outside = [(start, end) for id_, start, end in gold if not is_known(id_)]
    links = {(s.id, s.start, s.end): s for s in linked_spans(predicted) if is_known(s.id)}
    counted = list(compress(links, countable(list(links), reference)))
    return LinkedDoc(
        reference.text,
        {triple for triple in gold if is_known(triple[0])},
        outside + span_bounds(reference, NIL_KEY),
        {triple: links[triple] for triple in counted},
    )


@dataclass
class BenchmarkCounts:
    """Counts summed over texts.

    strict (PRF): All links.
    peers (PRF): Without links that overlap a mention outside of the knowledge base, as the links of
        a linker with a larger one are counted once they are cut to it.
    names (PRF): As peers, mentions with a capital letter or a digit alone.
    mentions (PRF): As peers, bounds alone.
    outside, unlinked (int): Mentions outside of the knowledge base, and those that no link
        overlaps.
    errors (Counter): Errors of all links, by kind.
    """

    strict: PRF = field(default_factory=PRF)
    peers: PRF = field(default_factory=PRF)
    names: PRF = field(default_factory=PRF)
    mentions: PRF = field(default_factory=PRF)
    outside: int = 0
    unlinked: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, doc: LinkedDoc) -> None:
        """Add one text."""
        gold, links = doc.gold, set(doc.links)
        peers = {link for link in links if not doc.is_outside(link)}
        _add(self.strict, links, gold)
        _add(self.peers, peers, gold)
        _add(self.names, *({t for t in side if doc.is_name(t)} for side in (peers, gold)))
        _add(self.mentions, *({t[1:] for t in side} for side in (peers, gold)))
        false = links - gold
        self.outside += len(doc.outside)
        self.unlinked += sum(
            not any(_share(link[1:], place) for link in false) for place in doc.outside
        )
        self.errors.update(error_kinds(doc))

    def scores(self) -> dict[str, float | int | None]:
        """RETURNS (dict): All measures, under `bench_*`; None for a share of nothing."""
        kinds = {"": self.strict, "peers_": self.peers, "names_": self.names}
        kinds["mentions_"] = self.mentions
        return {
            "bench_gold": self.strict.gold,
            "bench_links": self.strict.predicted,
            "bench_outside_gold": self.outside,
            **{
                f"bench_{name}{measure}": getattr(counts, measure)
                for name, counts in kinds.items()
                for measure in "prf"
            },
            "bench_entity": _ratio(self.strict.correct, self.mentions.correct),
            "bench_nil_r": _ratio(self.unlinked, self.outside),
            **{key: self.errors[kind] for kind, key in ERRORS.items()},
        }


def count_benchmark(docs: Iterable[LinkedDoc]) -> dict[str, float | int | None]:
    """RETURNS (dict): The measures of a set of texts."""
    counts = BenchmarkCounts()
    for doc in docs:
        counts.add(doc)
    return counts.scores()


def error_kinds(doc: LinkedDoc) -> list[str]:
    """RETURNS (list[str]): A kind for each gold mention without its link, and for each link that
    belongs to none."""
    gold, links = sorted(doc.gold, key=_place), sorted(doc.links, key=_place)
    pairs = pair_mentions(gold, links)
    kinds = [
        entity_error(gold[i][0], _candidates(doc.links[links[j]])) if kind == WRONG else kind
        for i, (j, kind) in pairs.items()
    ]
    kinds += [MISSED] * (len(gold) - len(pairs))
    taken = {j for j, _ in pairs.values()}
    kinds += [_false_kind(doc, link) for j, link in enumerate(links) if j not in taken]
    return [kind for kind in kinds if kind != CORRECT]


def _place(triple: Triple) -> tuple[int, int, str]:
    id_, start, end = triple
    return start, end, id_


def _candidates(link: LinkedSpan) -> list[str]:
    return [candidate["id"] for candidate in link.fields.get("candidates") or ()]


def _false_kind(doc: LinkedDoc, link: Triple) -> str:
    if doc.is_outside(link):
        return OUTSIDE
    return SPURIOUS if doc.is_name(link) else LOWER_CASE


def _add(counts: PRF, links: set, gold: set) -> None:
    counts.add(len(links & gold), len(links), len(gold))


def _share(one: Bounds, other: Bounds) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
