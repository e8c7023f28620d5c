"""Classify each gold mention and each link of a text: correct, or one of several kinds of error."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from spacy.training import Example

from ..annotate import all_links
from ..gold import gold_spans, triples
from ..types import Link, Triple
from .metrics import Match, overlaps, strong_match, weak_match
from .scorer import predicted_spans

CORRECT, BOUNDARY, MISSED, SPURIOUS = "correct", "boundary error", "missed", "spurious"
RANKING, NO_CANDIDATE = "ranking error", "candidate missing"
# Kind of a mention → its meaning, in the order of the report.
KINDS = {
    CORRECT: "same entity, same bounds",
    BOUNDARY: "same entity, other bounds",
    RANKING: "another entity; the gold one was a candidate, ranked lower",
    NO_CANDIDATE: "another entity; the gold one was not a candidate",
    MISSED: "gold mention without a link",
    SPURIOUS: "link without a gold mention",
}
# What a pair of mentions of different entities is called until its link is examined.
WRONG = "wrong"
HINT_CANDIDATES = 5


@dataclass(frozen=True)
class Mention:
    """A gold mention or a link.

    start, end (int): Characters of the text, end exclusive.
    kind (str): A key of `KINDS`.
    title (str): Title of the entity, its id if the title is unknown.
    hint (str): Details for a tooltip.
    """

    start: int
    end: int
    id: str
    kind: str
    title: str
    hint: str = ""


@dataclass(frozen=True)
class AnalyzedText:
    """The gold mentions and the links of one text, classified.

    confused (list[tuple[Mention, Mention]]): Gold mentions that were linked to another entity, with
        these links.
    """

    text: str
    gold: list[Mention]
    predicted: list[Mention]
    confused: list[tuple[Mention, Mention]]

    @property
    def kinds(self) -> list[str]:
        """RETURNS (list[str]): A kind for each link and each missed mention."""
        missed = [mention.kind for mention in self.gold if mention.kind == MISSED]
        return [mention.kind for mention in self.predicted] + missed


def pair_mentions(
    gold: Sequence[Triple], predicted: Sequence[Triple]
) -> dict[int, tuple[int, str]]:
    """Pair the gold and predicted mentions of one text, one to one: first those that agree
    entirely, then those that name the same entity, then those that merely overlap.

    RETURNS (dict[int, tuple[int, str]]): Position of a gold mention → position of its link, and
        `CORRECT`, `BOUNDARY` or `WRONG`. Missed and spurious mentions are left out.
    """
    pairs: dict[int, tuple[int, str]] = {}
    taken: set[int] = set()
    rounds: tuple[tuple[str, Match], ...] = (
        (CORRECT, strong_match),
        (BOUNDARY, weak_match),
        (WRONG, overlaps),
    )
    for kind, match in rounds:
        for i, g in enumerate(gold):
            for j, p in enumerate(predicted):
                if i not in pairs and j not in taken and match(g, p):
                    pairs[i] = (j, kind)
                    taken.add(j)
    return pairs


def analyze(example: Example, title_of: Callable[[str], str], spans_key: str) -> AnalyzedText:
    """Compare the links of one text with its gold mentions.

    example (Example): Gold mentions in the reference document, links in the predicted one.
    title_of (Callable): Entity id → title.
    spans_key (str): The span group that holds all links above its threshold.
    """
    gold = triples(gold_spans(example.reference))
    predicted = triples(predicted_spans(example.predicted))
    links = _links_by_triple(example, spans_key)
    pairs = pair_mentions(gold, predicted)
    gold_kinds, predicted_kinds = [MISSED] * len(gold), [SPURIOUS] * len(predicted)
    for i, (j, kind) in pairs.items():
        if kind == WRONG:
            kind = entity_error(gold[i][0], _candidates(links.get(predicted[j])))
        gold_kinds[i] = predicted_kinds[j] = kind
    expected = [
        _gold_mention(triple, kind, links, title_of)
        for triple, kind in zip(gold, gold_kinds, strict=True)
    ]
    found = [
        _linked_mention(triple, kind, links.get(triple), title_of)
        for triple, kind in zip(predicted, predicted_kinds, strict=True)
    ]
    confused = [(expected[i], found[j]) for i, (j, kind) in pairs.items() if kind == WRONG]
    return AnalyzedText(example.reference.text, expected, found, confused)


def _links_by_triple(example: Example, spans_key: str) -> dict[Triple, Link]:
    """The links of a text with their scores; empty if another component made them."""
    group = example.predicted.spans.get(spans_key)
    links = all_links([] if group is None else [group])
    return {(link.id, *place): link for place, link in links}


def entity_error(gold: str, candidates: Collection[str]) -> str:
    """RETURNS (str): The kind of a link to another entity than the gold one, by its candidates."""
    return RANKING if gold in candidates else NO_CANDIDATE


def _candidates(link: Link | None) -> list[str]:
    return [candidate.id for candidate in link.candidates] if link else []


def _gold_mention(
    triple: Triple, kind: str, links: Mapping[Triple, Link], title_of: Callable[[str], str]
) -> Mention:
    entity, start, end = triple
    hint = _missed_hint(triple, links) if kind == MISSED else ""
    return Mention(start, end, entity, kind, title_of(entity) or entity, hint)


def _missed_hint(gold: Triple, links: Mapping[Triple, Link]) -> str:
    """The best overlapping link that was made but not kept."""
    overlapping = [link for triple, link in links.items() if overlaps(gold, triple)]
    if not overlapping:
        return "no link overlaps it"
    best = max(overlapping, key=lambda link: link.score)
    return f"not kept: {best.title} ({best.id}), score {best.score:.3f}"


def _linked_mention(
    triple: Triple, kind: str, link: Link | None, title_of: Callable[[str], str]
) -> Mention:
    entity, start, end = triple
    title = (link.title if link else title_of(entity)) or entity
    return Mention(start, end, entity, kind, title, _link_hint(link) if link else "")


def _link_hint(link: Link) -> str:
    """Description, scores and candidates of a link, one a line."""
    numbers = {
        "probability": link.prob,
        "score": link.score,
        "log P(mention)": link.mention_score,
        "log P(entity)": link.entity_score,
    }
    ranked = enumerate(link.candidates[:HINT_CANDIDATES], start=1)
    lines = [link.description] if link.description else []
    lines += [f"{name}: {value:.3f}" for name, value in numbers.items() if value is not None]
    lines += [f"{rank}. {c.title} ({c.id}) {c.score:.3f}" for rank, c in ranked]
    return "\n".join(lines)
