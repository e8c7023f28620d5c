"""The small records that travel between the modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# (entity id, start, end): end exclusive, any one unit of offsets.
Triple = tuple[str, int, int]

# Label of a linked span whose entity has no type: spaCy drops entities whose label is empty.
DEFAULT_LABEL = "ENTITY"


@dataclass(frozen=True)
class Entity:
    """One record of a knowledge base.

    id (str): Unique identifier, for example a Wikidata QID.
    title (str): The name that the entity is shown by.
    description (str): One to a few sentences; encoded together with the title.
    aliases (tuple[str, ...]): Other names.
    type (str): Becomes the span's label; empty where unknown.
    extra (Mapping): Whatever other fields the record had, kept as they came.
    counts (Mapping): How often a name means this entity, for the names of which that is known.
    """

    id: str
    title: str
    description: str = ""
    aliases: tuple[str, ...] = ()
    type: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """RETURNS (tuple[str, ...]): The title and the aliases, each once, the title first."""
        return tuple(dict.fromkeys((self.title, *self.aliases)))

    @property
    def label(self) -> str:
        """RETURNS (str): The label of spans linked to this entity, never empty."""
        return self.type or DEFAULT_LABEL


class Candidate(NamedTuple):
    """An entity that was considered for a mention.

    score (float): Entity score, comparable within one mention only.
    """

    id: str
    title: str
    score: float


@dataclass(frozen=True)
class Link:
    """A mention linked to an entity: what `span._.elq` returns.

    start, end (int): Character offsets into the document's text, end exclusive.
    score (float): Joint log-score, log P(mention) + log P(entity | mention).
    mention_score (float): log P(mention).
    entity_score (float): log P(entity | mention).
    candidates (tuple[Candidate, ...]): The entities considered, best first, this one among them.
    prob (float | None): Probability that the link is right; None where the pipeline is not
        calibrated, or was given the mention.
    """

    start: int
    end: int
    id: str
    title: str
    description: str
    label: str
    score: float
    mention_score: float
    entity_score: float
    candidates: tuple[Candidate, ...] = ()
    prob: float | None = None
