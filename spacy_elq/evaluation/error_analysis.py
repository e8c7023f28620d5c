"""What became of each gold mention and of each link: found, wrong in one way or another, missed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spacy.training import Example

from ..annotate import read_links
from ..gold import gold_spans, triples
from ..types import Link, Triple
from .metrics import Match, overlaps, strong_match, weak_match
from .scorer import predicted_spans

# Kinds of mentions, in the order of the report, and what it says of them.
KINDS = {
    "correct": "same entity, same bounds",
    "boundary": "same entity, other bounds",
    "lower": "another entity; the gold one was ranked lower",
    "absent": "another entity; the gold one was no candidate",
    "missed": "gold mention without a link",
    "spurious": "link without a gold mention",
}
# Candidates that a hint names.
SHOWN = 5


@dataclass(frozen=True)
class Mention:
    """One marked span of one line.

    kind (str): A key of `KINDS`.
    title (str): Name of the entity; its id where the name is not known.
    hint (str): Shown when the pointer rests on the span.
    """

    start: int
    end: int
    id: str
    kind: str
    title: str
    hint: str = ""


@dataclass(frozen=True)
class AnalyzedText:
    """One text.

    gold, predicted (list[Mention]): Its gold mentions and its links.
    confused (list[tuple[Mention, Mention]]): Gold mentions with the links to another entity.
    """

    text: str
    gold: list[Mention]
    predicted: list[Mention]
    confused: list[tuple[Mention, Mention]]

    @property
    def kinds(self) -> list[str]:
        """RETURNS (list[str]): The kind of each finding; a pair of mentions is one."""
        missed = [mention.kind for mention in self.gold if mention.kind == "missed"]
        return [mention.kind for mention in self.predicted] + missed


def pair_mentions(
    gold: Sequence[Triple], predicted: Sequence[Triple]
) -> dict[int, tuple[int, str]]:
    """Pair gold and predicted mentions of one text, one to one: first those that agree entirely,
    then those that name the same entity, then those that merely overlap.

    RETURNS (dict[int, tuple[int, str]]): Position of a gold mention → position of its link, and
        "correct", "boundary" or "wrong". Mentions that are not in it were missed or are spurious.
    """
    pairs: dict[int, tuple[int, str]] = {}
    taken: set[int] = set()
    rounds: tuple[tuple[str, Match], ...] = (
        ("correct", strong_match),
        ("boundary", weak_match),
        ("wrong", overlaps),
    )
    for kind, match in rounds:
        for i, g in enumerate(gold):
            for j, p in enumerate(predicted):
                if i not in pairs and j not in taken and match(g, p):
                    pairs[i] = (j, kind)
                    taken.add(j)
    return pairs


def analyze(example: Example, title_of: Callable[[str], str], spans_key: str) -> AnalyzedText:
    """Compare one text's links with its gold mentions.

    example (Example): Gold in the reference document, links in the predicted one.
    title_of (Callable): Entity id → name.
    spans_key (str): The span group that holds the links, kept ones and others.
    """
    gold = triples(gold_spans(example.reference))
    predicted = triples(predicted_spans(example.predicted))
    links = _links(example, spans_key)
    pairs = pair_mentions(gold, predicted)
    gold_kinds, predicted_kinds = ["missed"] * len(gold), ["spurious"] * len(predicted)
    for i, (j, kind) in pairs.items():
        if kind == "wrong":
            kind = _wrong_kind(gold[i][0], links.get(predicted[j]))
        gold_kinds[i] = predicted_kinds[j] = kind
    left = [
        Mention(start, end, entity, kind, title_of(entity) or entity, _why(triple, kind, links))
        for triple, kind in zip(gold, gold_kinds, strict=True)
        for entity, start, end in [triple]
    ]
    right = [
        _predicted(triple, kind, links.get(triple), title_of)
        for triple, kind in zip(predicted, predicted_kinds, strict=True)
    ]
    confused = [(left[i], right[j]) for i, (j, kind) in pairs.items() if kind == "wrong"]
    return AnalyzedText(example.reference.text, left, right, confused)


def _links(example: Example, spans_key: str) -> dict[Triple, Link]:
    """The links of a text with their scores; none where another component made them."""
    group = example.predicted.spans.get(spans_key)
    links = read_links([] if group is None else [group])
    return {(link.id, *place): link for place, link in links.items()}


def _wrong_kind(gold: str, link: Link | None) -> str:
    ids = {candidate.id for candidate in link.candidates} if link else set()
    return "lower" if gold in ids else "absent"


def _why(gold: Triple, kind: str, links: Mapping[Triple, Link]) -> str:
    """For a missed mention, the best link that was made there but not kept."""
    if kind != "missed":
        return ""
    here = [link for triple, link in links.items() if overlaps(gold, triple)]
    if not here:
        return "no link above the floor"
    best = max(here, key=lambda link: link.score)
    return f"not kept: {best.title} ({best.id}), score {best.score:.3f}"


def _predicted(
    triple: Triple, kind: str, link: Link | None, title_of: Callable[[str], str]
) -> Mention:
    entity, start, end = triple
    title = (link.title if link else title_of(entity)) or entity
    return Mention(start, end, entity, kind, title, _hint(link) if link else "")


def _hint(link: Link) -> str:
    """What is known of a link, in lines."""
    numbers = {
        "probability": link.prob,
        "score": link.score,
        "log P(mention)": link.mention_score,
        "log P(entity)": link.entity_score,
    }
    ranked = enumerate(link.candidates[:SHOWN], start=1)
    lines = [link.description] if link.description else []
    lines += [f"{name}: {value:.3f}" for name, value in numbers.items() if value is not None]
    lines += [f"{rank}. {c.title} ({c.id}) {c.score:.3f}" for rank, c in ranked]
    return "\n".join(lines)
