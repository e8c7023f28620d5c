"""One HTML page that shows what a pipeline linked, gold mentions above, errors marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Any
from urllib.parse import quote

from spacy.training import Example

from .corpora.gold import gold_spans, triples
from .evaluate import COLUMNS
from .metrics import Match, Triple, overlaps, strong_match, weak_match
from .page import PAGE
from .scorer import predicted_spans

WIKIDATA = "https://www.wikidata.org/wiki/{}"

# Kinds of mentions, in the order of the legend, and what the legend says.
KINDS = {
    "correct": "same entity, same bounds",
    "boundary": "same entity, other bounds",
    "wrong": "another entity",
    "missed": "gold mention without a link",
    "spurious": "link without a gold mention",
}


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


def classify(gold: Sequence[Triple], predicted: Sequence[Triple]) -> tuple[list[str], list[str]]:
    """The kind of each gold and each predicted mention of one text.

    Pairs are formed one to one: first those that agree entirely, then those that name the same
    entity, then those that merely overlap. What is left over was missed or is spurious.

    gold, predicted (Sequence[Triple]): The mentions.
    RETURNS (tuple[list[str], list[str]]): Keys of `KINDS`, in the order of the mentions.
    """
    gold_kinds, predicted_kinds = ["missed"] * len(gold), ["spurious"] * len(predicted)
    rounds: tuple[tuple[str, Match], ...] = (
        ("correct", strong_match),
        ("boundary", weak_match),
        ("wrong", overlaps),
    )
    for kind, match in rounds:
        for i, g in enumerate(gold):
            for j, p in enumerate(predicted):
                free = gold_kinds[i] == "missed" and predicted_kinds[j] == "spurious"
                if free and match(g, p):
                    gold_kinds[i] = predicted_kinds[j] = kind
    return gold_kinds, predicted_kinds


def render(
    examples: Sequence[Example],
    *,
    heading: str,
    scores: Mapping[str, Any],
    total: int | None = None,
    title_of: Callable[[str], str] = str,
    spans_key: str = "elq",
    kb_url_template: str = WIKIDATA,
) -> str:
    """Render linked texts as one self-contained HTML page.

    examples (Sequence[Example]): The texts to show: gold in the reference documents, links in the
        predicted ones.
    heading (str): What the page calls itself.
    scores (Mapping[str, Any]): `elq_*` scores for the page's head.
    total (int | None): How many texts the scores are of, where more than are shown.
    title_of (Callable): Entity id → name, for gold entities.
    spans_key (str): The span group that holds titles and scores of the links.
    kb_url_template (str): Address of an entity; {} stands for its id.
    RETURNS (str): The page.
    """
    rows, counts = [], Counter[str]()
    for number, example in enumerate(examples, start=1):
        gold, predicted = _mentions(example, title_of, spans_key)
        # A pair stands on both lines but is one finding.
        counts.update([mention.kind for mention in predicted])
        counts.update(mention.kind for mention in gold if mention.kind == "missed")
        rows.append(_row(number, example.reference.text, gold, predicted, kb_url_template))
    shown = f"{len(examples)} texts"
    if total is not None and total > len(examples):
        shown = f"The first {len(examples)} of {total} texts, all of which the scores are of"
    return Template(PAGE).substitute(
        heading=escape(heading),
        shown=escape(shown),
        metrics=_metrics(scores),
        legend="".join(_legend(kind, counts[kind]) for kind in KINDS),
        rows="\n".join(rows),
    )


def _mentions(
    example: Example, title_of: Callable[[str], str], spans_key: str
) -> tuple[list[Mention], list[Mention]]:
    gold = triples(gold_spans(example.reference))
    predicted = triples(predicted_spans(example.predicted))
    gold_kinds, predicted_kinds = classify(gold, predicted)
    group = example.predicted.spans.get(spans_key)
    links = {} if group is None else _links(group.attrs.get("links", ()))
    return (
        [
            Mention(start, end, entity, kind, title_of(entity) or entity)
            for (entity, start, end), kind in zip(gold, gold_kinds, strict=True)
        ],
        [
            _predicted(triple, kind, links.get(triple) or {}, title_of)
            for triple, kind in zip(predicted, predicted_kinds, strict=True)
        ],
    )


def _links(links: Iterable[Mapping[str, Any]]) -> dict[Triple, Mapping[str, Any]]:
    return {(link["id"], link["start"], link["end"]): link for link in links}


def _predicted(
    triple: Triple, kind: str, link: Mapping[str, Any], title_of: Callable[[str], str]
) -> Mention:
    entity, start, end = triple
    lines = [str(link["description"])] if link.get("description") else []
    lines += [
        f"{name}: {link[key]:.3f}"
        for name, key in (
            ("score", "score"),
            ("log P(mention)", "mention_score"),
            ("log P(entity)", "entity_score"),
        )
        if isinstance(link.get(key), int | float)
    ]
    lines += [
        f"{rank}. {candidate['title']} ({candidate['id']}) {candidate['score']:.3f}"
        for rank, candidate in enumerate(link.get("candidates", ())[:5], start=1)
    ]
    title = link.get("title") or title_of(entity) or entity
    return Mention(start, end, entity, kind, title, "\n".join(lines))


def _row(
    number: int,
    text: str,
    gold: Sequence[Mention],
    predicted: Sequence[Mention],
    url: str,
) -> str:
    kinds = " ".join(dict.fromkeys(mention.kind for mention in (*gold, *predicted))) or "empty"
    lines = [("gold", lane) for lane in lanes(gold)] + [
        ("linked", lane) for lane in lanes(predicted)
    ]
    body = "".join(
        f'<div class="line"><span class="who">{who}</span>'
        f'<span class="text">{_marked(text, lane, url)}</span></div>'
        for who, lane in lines
    )
    return f'<article data-kinds="{kinds}"><span class="number">{number}</span>{body}</article>'


def lanes(mentions: Sequence[Mention]) -> list[list[Mention]]:
    """RETURNS (list[list[Mention]]): As few lines as keep overlapping mentions apart, at least
    one; each in the order of the text."""
    lines: list[list[Mention]] = [[]]
    for mention in sorted(mentions, key=lambda m: (m.start, -m.end)):
        line = next((line for line in lines if not line or line[-1].end <= mention.start), None)
        if line is None:
            lines.append(line := [])
        line.append(mention)
    return lines


def _marked(text: str, mentions: Sequence[Mention], url: str) -> str:
    pieces, position = [], 0
    for mention in mentions:
        pieces.append(escape(text[position : mention.start]))
        pieces.append(_mark(text[mention.start : mention.end], mention, url))
        position = mention.end
    return "".join(pieces) + escape(text[position:])


def _mark(surface: str, mention: Mention, url: str) -> str:
    address = escape(url.replace("{}", quote(mention.id, safe="")))
    hint = f' title="{escape(mention.hint)}"' if mention.hint else ""
    name = "" if mention.title == mention.id else f"{escape(mention.title)} "
    return (
        f'<mark class="{mention.kind}"{hint}>{escape(surface)}'
        f'<a href="{address}" target="_blank" rel="noopener">{name}'
        f"<small>{escape(mention.id)}</small></a></mark>"
    )


def _legend(kind: str, count: int) -> str:
    return (
        f'<button type="button" class="{kind}" data-kind="{kind}" aria-pressed="false">'
        f"<b>{count}</b> {kind} <small>{KINDS[kind]}</small></button>"
    )


def _metrics(scores: Mapping[str, Any]) -> str:
    known = [column for column in COLUMNS if column.key in scores]
    head = "".join(f"<th>{escape(column.header)}</th>" for column in known)
    body = "".join(f"<td>{column.show(scores)}</td>" for column in known)
    return f"<table><thead><tr>{head}</tr></thead><tbody><tr>{body}</tr></tbody></table>"
