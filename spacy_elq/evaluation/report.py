"""Render `report.html`: one page about a pipeline on an evaluation set, with nothing remote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import jinja2
import numpy as np
from spacy.training import Example

from ..gold import gold_spans, triples
from ..linking.calibration import Calibration, Reliability, measure_reliability
from .error_analysis import KINDS, MISSED, SPURIOUS, AnalyzedText, Mention, analyze
from .metrics import LinkMetrics
from .plots import can_draw, plot_curve, plot_reliability, to_svg
from .scorer import predicted_spans
from .threshold_curve import Curve, ScoredLinks, compute_curve, is_correct

CONFUSED_ROWS = 12
# Scores of a set, if known → their names on the page.
FACTS = {
    "elq_r1": "gold entity ranked first (R@1)",
    "elq_r10": "gold entity in the first ten (R@10)",
    "elq_topic_r": "topic of the text linked",
    "elq_seen_weak_f": "weak F1, entities seen in training",
    "elq_unseen_weak_f": "weak F1, unseen entities",
}


@dataclass(frozen=True)
class ScoredSet:
    """The links of a set, from which the curves are drawn.

    texts (Sequence[ScoredLinks]): Links above `floor`.
    threshold (float): The pipeline's threshold.
    calibration (Calibration | None): The pipeline's calibration.
    """

    texts: Sequence[ScoredLinks]
    floor: float
    threshold: float
    calibration: Calibration | None


class MatchRow(NamedTuple):
    """Precision, recall and F1 by one definition of a match."""

    name: str
    meaning: str
    p: float
    r: float
    f: float


class KindRow(NamedTuple):
    """How often a kind of mention occurs; a share is None if it is undefined."""

    name: str
    meaning: str
    total: int
    of_gold: float | None
    of_links: float | None


@dataclass(frozen=True)
class Curves:
    """SVG figures and the numbers of their captions.

    best_f, best_threshold (float): The highest F1 on the set, and its threshold.
    reliability_svg (str): Empty if no link is above the threshold.
    """

    curve_svg: str
    best_f: float
    best_threshold: float
    reliability_svg: str = ""
    error: float = 0.0


def render_report(
    examples: Sequence[Example],
    *,
    heading: str,
    scores: Mapping[str, Any],
    kb_url_template: str,
    limit: int = 0,
    scored: ScoredSet | None = None,
    title_of: Callable[[str], str] = str,
    spans_key: str = "elq",
) -> str:
    """Render the page.

    examples (Sequence[Example]): The whole set: gold mentions in the reference documents, links in
        the predicted ones.
    heading (str): Title of the page.
    scores (Mapping[str, Any]): `elq_*` scores of the set.
    kb_url_template (str): Address of an entity, with {} for its id, as in displaCy.
    limit (int): Number of texts to show, 0 for all. The numbers always cover the whole set.
    scored (ScoredSet | None): For the curves; without it, the page has none.
    title_of (Callable): Entity id → title, for gold entities.
    spans_key (str): The span group that holds titles and scores of the links.
    RETURNS (str): The page.
    """
    texts = [analyze(example, title_of, spans_key) for example in examples]
    counts = _count_links(examples)
    curves = _draw_curves(scored) if scored is not None and can_draw() else None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        heading=heading,
        texts=texts[: limit or None],
        n_texts=len(texts),
        matches=_match_rows(scores, counts),
        facts={name: scores[key] for key, name in FACTS.items() if key in scores},
        counts=counts,
        scored=scored,
        curves=curves,
        kinds=_kind_rows(texts),
        confused=_most_confused(texts),
        lanes=assign_lanes,
        segments=_segments,
        address=lambda id_: kb_url_template.replace("{}", quote(id_, safe="")),
    )


def _count_links(examples: Sequence[Example]) -> LinkMetrics:
    counts = LinkMetrics()
    for example in examples:
        gold, predicted = gold_spans(example.reference), predicted_spans(example.predicted)
        counts.add(triples(gold), triples(predicted))
    return counts


def _match_rows(scores: Mapping[str, Any], counts: LinkMetrics) -> list[MatchRow]:
    linked = [
        MatchRow(name, meaning, *(scores.get(f"elq_{key}_{measure}", 0.0) for measure in "prf"))
        for key, name, meaning in (
            ("weak", "weak match", "same entity, overlapping bounds"),
            ("strong", "strong match", "same entity, same bounds"),
        )
        if f"elq_{key}_f" in scores
    ]
    found = [
        MatchRow(name, meaning, counted.p, counted.r, counted.f)
        for counted, name, meaning in (
            (counts.mention_overlap, "mentions", "any entity, overlapping bounds"),
            (counts.mention_exact, "exact mentions", "any entity, same bounds"),
        )
    ]
    return linked + found


def _draw_curves(scored: ScoredSet) -> Curves | None:
    """Draw the threshold curve, and the reliability of the links that the pipeline keeps."""
    curve = compute_curve(scored.texts, scored.floor)
    if not len(curve.scores):
        return None
    drawn = to_svg(
        plot_curve(curve, scored.threshold), "Precision, recall and F1 over the threshold"
    )
    best_f, best_threshold = _best_point(curve)
    found = _kept_reliability(scored)
    if found is None:
        return Curves(drawn, best_f, best_threshold)
    label = "exp(score)" if scored.calibration is None else "calibrated"
    figure = plot_reliability({label: found})
    title = "Share of correct links over their probability"
    return Curves(drawn, best_f, best_threshold, to_svg(figure, title), found.error)


def _best_point(curve: Curve) -> tuple[float, float]:
    return float(curve.f.max()), float(curve.thresholds[curve.best()])


def _kept_reliability(scored: ScoredSet) -> Reliability | None:
    scores = np.array([score for text in scored.texts for score in text.scores])
    kept = scores > scored.threshold
    if not kept.any():
        return None
    raw = np.exp(np.minimum(scores, 0))
    probs = raw if scored.calibration is None else scored.calibration(scores)
    return measure_reliability(probs[kept], is_correct(scored.texts)[kept])


def _kind_rows(texts: Sequence[AnalyzedText]) -> list[KindRow]:
    counts = Counter(kind for text in texts for kind in text.kinds)
    n_gold = sum(len(text.gold) for text in texts)
    n_links = sum(len(text.predicted) for text in texts)

    def share(kind: str, undefined: str, total: int) -> float | None:
        return None if kind == undefined or not total else counts[kind] / total

    return [
        KindRow(
            kind,
            meaning,
            counts[kind],
            share(kind, SPURIOUS, n_gold),
            share(kind, MISSED, n_links),
        )
        for kind, meaning in KINDS.items()
    ]


def _most_confused(texts: Sequence[AnalyzedText]) -> list[tuple[Mention, Mention, int]]:
    """A gold mention and a link for each of the most frequent pairs of entities, and its count."""
    pairs = [pair for text in texts for pair in text.confused]
    keys = [(gold.id, link.id, link.kind) for gold, link in pairs]
    first = dict(zip(reversed(keys), reversed(pairs), strict=True))
    return [(*first[key], count) for key, count in Counter(keys).most_common(CONFUSED_ROWS)]


def assign_lanes(mentions: Sequence[Mention]) -> list[list[Mention]]:
    """RETURNS (list[list[Mention]]): Mentions in the order of the text, on as few lines as keep
    overlapping ones apart; at least one line."""
    lanes: list[list[Mention]] = [[]]
    for mention in sorted(mentions, key=lambda m: (m.start, -m.end)):
        lane = next((lane for lane in lanes if not lane or lane[-1].end <= mention.start), None)
        if lane is None:
            lanes.append(lane := [])
        lane.append(mention)
    return lanes


def _segments(text: str, lane: Sequence[Mention]) -> Iterator[tuple[str, Mention | None]]:
    """YIELDS (tuple[str, Mention | None]): The pieces of a text: mentions, and what is between."""
    end = 0
    for mention in lane:
        yield text[end : mention.start], None
        yield text[mention.start : mention.end], mention
        end = mention.end
    yield text[end:], None
