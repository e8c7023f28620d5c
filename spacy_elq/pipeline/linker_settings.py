"""The settings of the component itself: attributes that may change between two calls."""

from __future__ import annotations

from typing import Any, Self

from pydantic import field_validator, model_validator

from ..errors import ElqError, Errors
from ..linking.calibration import Calibration
from ..linking.decoding import JOINT, DecodingSettings
from ..settings import FIND, Number
from ..types import Link


class LinkerSettings(DecodingSettings):
    """How the component finds and writes links.

    mentions (str): "find" them, or only link those in "ents" or in the span group of that key.
    spans_key (str): Key of the span group for all links, overlapping ones too.
    span_group_threshold (float | None): Joint log-score that links need for the span group, if it
        should hold more than those above the threshold.
    calibration (dict | None): Turns scores into the probability that a link is right, as `spacy
        elq tune` stores it: `calibration.Calibration.to_dict`.
    overwrite (bool): Let a link replace an overlapping entity of `doc.ents`.
    rank_gold (bool): In evaluation, link the gold mentions too, for entity accuracy (R@1, R@10).
    save_entity_encoder (bool): Write the entity encoder to disk with the pipeline. Without it,
        entities can be added after loading only if the encoder's source is there.
    """

    mentions: str = FIND
    spans_key: str = "elq"
    span_group_threshold: Number | None = None
    calibration: dict[str, Any] | None = None
    overwrite: bool = True
    rank_gold: bool = True
    save_entity_encoder: bool = True

    @field_validator("calibration")
    @classmethod
    def _as_fitted(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if value is None else Calibration.from_dict(value).to_dict()

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        if self.mentions == self.spans_key:
            raise ElqError(Errors.ELQ109.format(key=self.spans_key))
        return self

    def is_above(self, link: Link) -> bool:
        """RETURNS (bool): Whether a link belongs to `doc.ents`, not only to the span group."""
        return self.threshold_type != JOINT or link.score > self.threshold

    def for_span_group(self) -> Self:
        """RETURNS (LinkerSettings): Those with the lower of the two thresholds."""
        if self.span_group_threshold is None or self.threshold_type != JOINT:
            return self
        threshold = min(self.span_group_threshold, self.threshold)
        return self.model_copy(update={"threshold": threshold})
