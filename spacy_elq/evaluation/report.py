"""One self-contained HTML page about a pipeline on an evaluation set: scores, curves, kinds of
errors, and the texts themselves, gold mentions above links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Any
from urllib.parse import quote

import numpy as np
from spacy.training import Example

from ..gold import gold_spans, triples
from ..linking.calibration import Calibration, reliability
from .charts import Series, line_chart
from .error_analysis import KINDS, AnalyzedText, Mention, analyze
from .evaluate import COLUMNS
from .metrics import PRF, LinkMetrics
from .page import ENTITY_PAGE, PAGE
from .scorer import predicted_spans
from .threshold_curve import Curve, ScoredLinks, compute_curve, is_correct

# Rows of the table of confused entities.
MOST_CONFUSED = 12


@dataclass(frozen=True)
class ScoredSet:
    """What the curves are drawn of.

    texts (Sequence[ScoredLinks]): Links above `floor`.
    threshold (float): The pipeline's.
    calibration (Calibration | None): The pipeline's.
    """

    texts: Sequence[ScoredLinks]
    floor: float
    threshold: float
    calibration: Calibration | None


def render_report(
    examples: Sequence[Example],
    *,
    heading: str,
    scores: Mapping[str, Any],
    limit: int = 0,
    swept: ScoredSet | None = None,
    title_of: Callable[[str], str] = str,
    spans_key: str = "elq",
    kb_url_template: str = ENTITY_PAGE,
) -> str:
    """Render the page.

    examples (Sequence[Example]): The whole set: gold in the reference documents, links in the
        predicted ones.
    heading (str): What the page calls itself.
    scores (Mapping[str, Any]): `elq_*` scores of the set.
    limit (int): Show so many texts at most; 0 shows all. Numbers are of the whole set.
    swept (Sweep | None): For the curves; the page has none without it.
    title_of (Callable): Entity id → name, for gold entities.
    spans_key (str): The span group that holds titles and scores of the links.
    kb_url_template (str): Address of an entity; {} stands for its id, as for displaCy.
    RETURNS (str): The page.
    """
    findings = [analyze(example, title_of, spans_key) for example in examples]
    counts = Counter(kind for finding in findings for kind in finding.kinds)
    shown = findings[: limit or None]
    note = f"{len(findings)} texts"
    if len(shown) < len(findings):
        note = f"{len(findings)} texts, of which the first {len(shown)} are shown"
    return Template(PAGE).substitute(
        heading=escape(heading),
        shown=escape(note),
        metrics=_metrics(scores),
        mentions=_mention_metrics(examples),
        curves="" if swept is None else _curves(swept),
        kinds=_kinds(findings, counts),
        confused=_confused(findings, kb_url_template),
        legend="".join(_legend(kind, counts[kind]) for kind in KINDS),
        rows="\n".join(_row(n, text, kb_url_template) for n, text in enumerate(shown, start=1)),
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _metrics(scores: Mapping[str, Any]) -> str:
    known = [column for column in COLUMNS if column.key in scores]
    head = [escape(column.header) for column in known]
    return _table(head, [[column.show(scores) for column in known]])


def _mention_metrics(examples: Sequence[Example]) -> str:
    """Mention detection by itself, and how many texts have no link."""
    counts = LinkMetrics()
    for example in examples:
        gold, predicted = gold_spans(example.reference), predicted_spans(example.predicted)
        counts.add(triples(gold), triples(predicted))

    def show(prf: PRF) -> list[str]:
        return [f"{value:.3f}" for value in (prf.p, prf.r, prf.f)]

    head = ["mentions", "P", "R", "F", "texts without a link"]
    unlinked = f"{counts.unlinked} of {counts.texts}"
    overlapping, exact = show(counts.mention_overlap), show(counts.mention_exact)
    return _table(head, [["overlapping", *overlapping, unlinked], ["same bounds", *exact, ""]])


def _curves(swept: ScoredSet) -> str:
    curve = compute_curve(swept.texts, swept.floor)
    if not len(curve.scores):
        return ""
    return (
        f"<figure>{_threshold_chart(curve, swept.threshold)}<figcaption>Weak match at every "
        f"threshold; the dashed line is the pipeline's, {swept.threshold:.2f}. The best F1 on "
        f"these texts is {curve.f.max():.3f}, at {curve.thresholds[curve.best()]:.2f}."
        f"</figcaption></figure>{_reliability_figure(swept)}"
    )


def _threshold_chart(curve: Curve, threshold: float) -> str:
    x = curve.thresholds[1:]  # the first point has no links, hence no precision
    lines = (("precision", curve.p), ("recall", curve.r), ("F1", curve.f))
    return line_chart(
        [Series(name, x, values[1:]) for name, values in lines],
        title="Precision, recall and F1 over the threshold",
        x_label="threshold (joint log-score)",
        x_range=(float(x[-1]), max(float(x[0]), 0.0)),
        marker=threshold,
    )


def _reliability_figure(swept: ScoredSet) -> str:
    """Of the links that the pipeline keeps: is 0.8 right four times in five?"""
    scores = np.array([score for text in swept.texts for score in text.scores])
    above = scores > swept.threshold
    if not above.any():
        return ""
    calibrated = swept.calibration is not None
    name = "calibrated probability" if calibrated else "exp(score)"
    raw = np.exp(np.minimum(scores, 0))
    probs = raw if swept.calibration is None else swept.calibration(scores)
    found = reliability(probs[above], is_correct(swept.texts)[above])
    chart = line_chart(
        [Series(name, found.predicted, found.observed, dots=True)],
        title="Share of links that are right over their probability",
        x_label=name,
        x_range=(0.0, 1.0),
        diagonal=True,
    )
    advice = "" if calibrated else " Not calibrated: <code>spacy elq tune --save</code> does that."
    return (
        f"<figure>{chart}<figcaption>Share of links that are right (weak match) over their "
        f"probability; expected calibration error {found.error:.3f}.{advice}"
        "</figcaption></figure>"
    )


def _kinds(findings: Sequence[AnalyzedText], counts: Mapping[str, int]) -> str:
    """How often each kind of finding occurs, as a share of gold mentions and of links."""
    n_gold = sum(len(finding.gold) for finding in findings)
    n_links = sum(len(finding.predicted) for finding in findings)

    def share(kind: str, without: str, total: int) -> str:
        return "" if kind == without or not total else f"{counts[kind] / total:.1%}"

    rows = [
        [
            f'<span class="chip {kind}">{kind}</span>',
            escape(meaning),
            str(counts[kind]),
            share(kind, "spurious", n_gold),
            share(kind, "missed", n_links),
        ]
        for kind, meaning in KINDS.items()
    ]
    head = ["", "", "count", f"of {n_gold} gold mentions", f"of {n_links} links"]
    return _table(head, rows)


def _confused(findings: Sequence[AnalyzedText], url: str) -> str:
    """The pairs of entities that were confused most often."""
    pairs = Counter(
        ((gold.id, gold.title), (link.id, link.title), link.kind)
        for finding in findings
        for gold, link in finding.confused
    )
    rows = [
        [
            _entity(*gold, url),
            _entity(*link, url),
            f'<span class="chip {kind}">{kind}</span>',
            str(n),
        ]
        for (gold, link, kind), n in pairs.most_common(MOST_CONFUSED)
    ]
    if not rows:
        return "<p>No mention was linked to another entity.</p>"
    return _table(["gold entity", "linked to", "", "count"], rows)


def _row(number: int, finding: AnalyzedText, url: str) -> str:
    kinds = " ".join(dict.fromkeys(finding.kinds)) or "empty"
    lines = [("gold", lane) for lane in lanes(finding.gold)] + [
        ("linked", lane) for lane in lanes(finding.predicted)
    ]
    body = "".join(
        f'<div class="line"><span class="who">{who}</span>'
        f'<span class="text">{_marked(finding.text, lane, url)}</span></div>'
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
    hint = f' title="{escape(mention.hint)}"' if mention.hint else ""
    entity = _entity(mention.id, mention.title, url)
    return f'<mark class="{mention.kind}"{hint}>{escape(surface)}{entity}</mark>'


def _entity(id_: str, title: str, url: str) -> str:
    address = escape(url.replace("{}", quote(id_, safe="")))
    name = "" if title == id_ else f"{escape(title)} "
    return (
        f'<a href="{address}" target="_blank" rel="noopener">{name}<small>{escape(id_)}</small></a>'
    )


def _legend(kind: str, count: int) -> str:
    return (
        f'<button type="button" class="{kind}" data-kind="{kind}" aria-pressed="false" '
        f'title="{escape(KINDS[kind])}"><b>{count}</b> {kind}</button>'
    )
