"""Links as the published code writes them: entities by line number, spans in wordpieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from spacy.tokens import Doc

from ..entities.elq import LINE_FIELD
from ..errors import ElqError, Errors
from ..linking.decoding import JOINT, TOP_ENTITY, without_overlaps
from ..ml.model import get_encoder
from .windows import window_start

if TYPE_CHECKING:
    from ..linking.rank import RankedMentions
    from ..pipeline.component import ElqLinker


class PieceLink(NamedTuple):
    """A link in wordpieces.

    entity (str): The entity's line number, as the published code names it; the id of one that was
        not imported.
    start, end (int): Wordpieces of the text, end exclusive; -1 is [CLS].
    score (float): What links are ranked by: the joint log-score, or for the threshold types other
        than "joint" the raw inner product.
    """

    entity: str
    start: int
    end: int
    score: float


def predict_links(elq: ElqLinker, docs: Sequence[Doc]) -> list[list[PieceLink]]:
    """Find and link with the published decoding to the end, without changing the documents.

    elq (ElqLinker): Reads a text in one window, as imported pipelines do.
    RETURNS (list[list[PieceLink]]): The links of each document, best first, as `pred_triples` and
        `scores` in the published output.
    """
    if not get_encoder(elq.model).attrs.get("truncate"):
        raise ElqError(Errors.ELQ518)
    settings = elq.decoding
    mentions = elq.rank_mentions(docs)
    mentions = mentions.select(mentions.passes(settings))
    score = mentions.joint if settings.threshold_type == JOINT else mentions.raw_scores[:, 0]
    names = _names(elq, mentions)
    result = []
    for i, doc in enumerate(docs):
        chosen = np.flatnonzero(mentions.doc == i)
        chosen = chosen[_ranked(score[chosen], mentions.select(chosen), settings.threshold_type)]
        shift = window_start(doc) - 1  # [CLS] is no wordpiece of the text
        result.append(
            [
                PieceLink(
                    names[m],
                    int(mentions.first[m]) + shift,
                    int(mentions.last[m]) + 1 + shift,
                    float(score[m]),
                )
                for m in chosen.tolist()
            ]
        )
    return result


def _ranked(score: np.ndarray, mentions: RankedMentions, threshold_type: str) -> list[int]:
    """Best first; overlaps stay where mentions are chosen by their own score alone."""
    if threshold_type == TOP_ENTITY:
        return np.argsort(-score, kind="stable").tolist()
    return without_overlaps(score, mentions.first, mentions.last + 1)


def _names(elq: ElqLinker, mentions: RankedMentions) -> list[str]:
    entities = elq.kb.records(mentions.rows[:, 0])
    return [str(entity.extra.get(LINE_FIELD, entity.id)) for entity in entities]
