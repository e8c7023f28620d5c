"""Links as the published code writes them: entities by line number, spans in wordpieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from spacy.tokens import Doc

from ..annotate import without_overlaps
from ..encoders.question import encoder_settings
from ..encoders.windows import WINDOW_KEY
from ..entities.elq import LINE_FIELD
from ..errors import ElqError, Errors
from ..linking.decoding import JOINT, TOP_ENTITY
from ..ml.model import get_encoder

if TYPE_CHECKING:
    from ..linking.ranked import RankedMentions
    from ..pipeline.component import ElqLinker


class PieceLink(NamedTuple):
    """A link in wordpieces.

    entity (str): The entity's line number, as the published code names it; its id if the entity
        was not imported.
    start, end (int): Wordpieces of the text, end exclusive; -1 is [CLS].
    score (float): The ranking score: the joint log-score, or the raw inner product for threshold
        types other than "joint".
    """

    entity: str
    start: int
    end: int
    score: float


def predict_links(elq: ElqLinker, docs: Sequence[Doc]) -> list[list[PieceLink]]:
    """Find and link with the published decoding, without changing the documents.

    elq (ElqLinker): Reads a text in one window, as imported pipelines do.
    RETURNS (list[list[PieceLink]]): The links of each document, best first, as `pred_triples` and
        `scores` in the published output.
    """
    if not getattr(encoder_settings(get_encoder(elq.model)), "truncate", False):
        raise ElqError(Errors.ELQ518)
    settings = elq.settings
    mentions = elq.rank_mentions(docs)
    mentions = mentions.select(mentions.passes(settings))
    score = mentions.joint if settings.threshold_type == JOINT else mentions.raw_scores[:, 0]
    names = _names(elq, mentions)
    result = []
    for i, doc in enumerate(docs):
        chosen = np.flatnonzero(mentions.doc == i)
        chosen = chosen[_ranked(score[chosen], mentions.select(chosen), settings.threshold_type)]
        # The first wordpiece of a window is [CLS]; a given window may start inside the text.
        shift = int(doc.user_data.get(WINDOW_KEY, {}).get("start", 0)) - 1
        first, end = mentions.first[chosen] + shift, mentions.last[chosen] + 1 + shift
        columns = (chosen.tolist(), first.tolist(), end.tolist(), score[chosen].tolist())
        result.append([PieceLink(names[m], *rest) for m, *rest in zip(*columns, strict=True)])
    return result


def _ranked(score: np.ndarray, mentions: RankedMentions, threshold_type: str) -> list[int]:
    """Best first. Overlaps are kept if mentions are chosen by their own score alone."""
    order = np.argsort(-score, kind="stable").tolist()
    if threshold_type == TOP_ENTITY:
        return order
    ranges = [(int(mentions.first[i]), int(mentions.last[i]) + 1) for i in order]
    return [order[i] for i in without_overlaps(ranges)]


def _names(elq: ElqLinker, mentions: RankedMentions) -> list[str]:
    entities = elq.kb.records(mentions.rows[:, 0])
    return [str(entity.extra.get(LINE_FIELD, entity.id)) for entity in entities]
