"""Ranked mentions → links, with the records of their entities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..types import Candidate, Entity, Link
from .calibration import Calibration
from .ranked import RankedMentions

if TYPE_CHECKING:
    from ..kb.live.view import View


def make_links(
    mentions: RankedMentions, kb: View, calibration: Calibration | None = None
) -> list[Link | None]:
    """Look up the entities' records and make links.

    calibration (Calibration | None): Sets `Link.prob` of found mentions.
    RETURNS (list[Link | None]): One for each mention; None for a mention of special tokens alone.
    """
    rows = sorted({row for row in mentions.rows.ravel().tolist() if row >= 0})
    records = dict(zip(rows, kb.records(rows), strict=True))
    columns = (
        mentions.chars.tolist(),
        mentions.joint.tolist(),
        mentions.mention_score.tolist(),
        mentions.rows.tolist(),
        mentions.entity_scores.tolist(),
        _probs(mentions, calibration),
    )
    return [
        _make_link(
            chars[0], chars[1], joint, mention, [records[r] for r in rows if r >= 0], scores, prob
        )
        if chars[0] >= 0
        else None
        for chars, joint, mention, rows, scores, prob in zip(*columns, strict=True)
    ]


def _probs(mentions: RankedMentions, calibration: Calibration | None) -> list[float | None]:
    if calibration is None:
        return [None] * len(mentions)
    # The joint score of a given mention lacks log P(mention), so the calibration does not apply.
    probs, is_given = calibration(mentions.joint).tolist(), (mentions.given >= 0).tolist()
    return [None if given else prob for given, prob in zip(is_given, probs, strict=True)]


def _make_link(
    start: int,
    end: int,
    joint: float,
    mention_score: float,
    entities: Sequence[Entity],
    scores: Sequence[float],
    prob: float | None,
) -> Link:
    best = entities[0]
    return Link(
        start=start,
        end=end,
        id=best.id,
        title=best.title,
        description=best.description,
        label=best.label,
        score=joint,
        mention_score=mention_score,
        entity_score=scores[0],
        candidates=tuple(
            Candidate(entity.id, entity.title, score)
            for entity, score in zip(entities, scores, strict=False)
        ),
        prob=prob,
    )
