"""Ranked mentions → links with the records of their entities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .linking import Mentions
from .types import Candidate, Entity, Link

if TYPE_CHECKING:
    from .kb.view import View


def make_links(mentions: Mentions, kb: View) -> list[Link | None]:
    """Links with the records of their entities; None for a mention of special tokens alone."""
    rows = sorted({row for row in mentions.rows.ravel().tolist() if row >= 0})
    records = dict(zip(rows, kb.records(rows), strict=True))
    columns = (
        mentions.chars.tolist(),
        mentions.joint.tolist(),
        mentions.mention_score.tolist(),
        mentions.rows.tolist(),
        mentions.entity_scores.tolist(),
    )
    return [
        _make_link(chars[0], chars[1], joint, mention, [records[r] for r in rows if r >= 0], scores)
        if chars[0] >= 0
        else None
        for chars, joint, mention, rows, scores in zip(*columns, strict=True)
    ]


def _make_link(
    start: int,
    end: int,
    joint: float,
    mention_score: float,
    entities: Sequence[Entity],
    scores: Sequence[float],
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
    )
