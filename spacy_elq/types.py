"""Records that modules pass to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# (entity id, start, end): end exclusive, in characters, tokens or wordpieces.
Triple = tuple[str, int, int]

# Label of linked spans whose entity has no type: spaCy drops entities with an empty label.
DEFAULT_LABEL = "ENTITY"


@dataclass(frozen=True)
class Entity:
    """One record of a knowledge base.

    id (str): Unique identifier, for example a Wikidata QID.
    title (str): The name that is displayed.
    description (str): One to a few sentences; encoded together with the title.
    aliases (tuple[str, ...]): Other names.
    type (str): Becomes the label of linked spans; empty if unknown.
    extra (Mapping[str, Any]): Other fields of the record, unchanged.
    counts (Mapping[str, int]): How often a name refers to this entity, for names with known counts.
    popularity (float | None): Any measure of it that is 0 or more; None if unknown.
    link_probabilities (Mapping[str, float]): Share of the occurrences of a name that are links, to
        whatever entity, for names of which it is known.
    """

    id: str
    title: str
    description: str = ""
    aliases: tuple[str, ...] = ()
    type: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    popularity: float | None = None
    link_probabilities: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.aliases, (tuple, str)):  # a string is refused where it is used
            object.__setattr__(self, "aliases", tuple(self.aliases))

    @property
    def names(self) -> tuple[str, ...]:
        """RETURNS (tuple[str, ...]): The title, then the aliases, without duplicates."""
        return tuple(dict.fromkeys((self.title, *self.aliases)))

    @property
    def label(self) -> str:
        """RETURNS (str): The label of spans linked to this entity, never empty."""
        return self.type or DEFAULT_LABEL


class Candidate(NamedTuple):
    """A candidate entity of a mention.

    score (float): log P(entity | mention); comparable within one mention only.
    """

    id: str
    title: str
    score: float


@dataclass(frozen=True)
class Link:
    """A mention linked to an entity: what `span._.elq` returns.

    start, end (int): Character offsets into the document's text, end exclusive: the mention alone,
        where its span also has what the tokenizer does not separate from it, as in "Jordan🏀".
    score (float): Joint log-score, log P(mention) + log P(entity | mention).
    mention_score (float): log P(mention).
    entity_score (float): log P(entity | mention).
    candidates (tuple[Candidate, ...]): Candidate entities, best first; the first is this link's.
    prob (float | None): Probability that the link is correct; None if the pipeline is not
        calibrated or the mention was given.
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
