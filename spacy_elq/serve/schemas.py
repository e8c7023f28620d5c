"""What requests may ask, and what answers hold. Offsets count characters (code points) as Python
does, the end is exclusive."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, model_validator
from pydantic_core import PydanticCustomError

# Bounds of a request, besides its characters.
MAX_TEXTS = 256
MAX_TOP_K = 100
MAX_LISTED = 10_000
MAX_FOUND = 100
MAX_NAME = 1000


def _writable(text: str) -> str:
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise PydanticCustomError("surrogate", "has half of a surrogate pair, which is no text")
    return text


Text = Annotated[str, AfterValidator(_writable)]
Listed = Annotated[list[Text], Field(min_length=1, max_length=MAX_LISTED)]


class Mention(BaseModel):
    """Where a mention is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=1)]


class LinkRequest(BaseModel):
    """One text or several, and how to link them. What is left out is as in the pipeline."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"text": "who coached jordan", "threshold": -2.0}]},
    )

    text: Text | None = Field(None, description="The text; or give texts.")
    texts: list[Text] | None = Field(None, min_length=1, max_length=MAX_TEXTS)
    threshold: FiniteFloat | None = Field(
        None, description="Joint log-score that a link must exceed."
    )
    floor: FiniteFloat | None = Field(
        None, description="Also list all mentions above this score, overlapping ones too."
    )
    top_k: int | None = Field(
        None, ge=1, le=MAX_TOP_K, description="Entities retrieved for a mention."
    )
    mention_kinds: Literal["names", "all"] | None = Field(
        None, description="Names alone, or concepts and roles too."
    )
    types: Listed | None = Field(None, description="Link only to entities of one of these types,")
    ids: Listed | None = Field(None, description="or with one of these ids.")
    mentions: list[Mention] | list[list[Mention]] | None = Field(
        None, description="The mentions, if they are known: a list for text, a list each for texts."
    )
    explain: bool = Field(False, description="Every span considered, and what cut it.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.text is None) == (self.texts is None):
            raise PydanticCustomError("texts", "give either text or texts")
        for text, mentions in zip(self.all_texts, self.all_mentions, strict=True):
            for mention in mentions or ():
                if not mention.start < mention.end <= len(text):
                    message = "a mention is not inside of its text, or ends before it begins"
                    raise PydanticCustomError("mentions", message)
        return self

    @property
    def all_texts(self) -> list[str]:
        """RETURNS (list[str]): The texts."""
        return [self.text] if self.text is not None else self.texts or []

    @property
    def all_mentions(self) -> list[list[Mention] | None]:
        """RETURNS (list): The given mentions of each text; None if they are to be found."""
        if self.mentions is None:
            return [None] * len(self.all_texts)
        lists: list[Any] = [self.mentions] if self.text is not None else self.mentions
        nested = all(isinstance(each, list) for each in lists)
        flat = nested and not any(isinstance(each, list) for part in lists for each in part)
        if not flat or len(lists) != len(self.all_texts):
            message = "must be a list of mentions for text, and one list for each of texts"
            raise PydanticCustomError("mentions", message)
        return lists


class CandidateAnswer(BaseModel):
    """An entity that a mention may mean; score is log P(entity | mention)."""

    id: str
    title: str
    score: float | None


class LinkAnswer(BaseModel):
    """A mention and its entity. score = mention_score + entity_score."""

    start: int
    end: int
    tokens: tuple[int, int] = Field(description="Characters of the whole tokens of the mention.")
    text: str
    id: str
    title: str
    description: str
    type: str
    score: float
    mention_score: float
    entity_score: float
    prob: float | None = Field(description="Probability; of a calibrated pipeline.")
    candidates: list[CandidateAnswer]


class TextAnswer(BaseModel):
    """The links of one text, in its order."""

    links: list[LinkAnswer]
    considered: list[LinkAnswer] | None = Field(
        None, description="With floor: all mentions above it, the best first."
    )
    explanation: dict[str, Any] | None = Field(
        None, description="With explain: as `elq explain --json` prints it."
    )


class LinksAnswer(BaseModel):
    """One result for each text."""

    results: list[TextAnswer]


class EntityBody(BaseModel):
    """An entity. Other fields are kept."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "title": "Ken Barlow",
                    "description": "A teacher in Weatherfield.",
                    "aliases": ["Kenneth Barlow"],
                    "type": "person",
                }
            ]
        },
    )

    title: str
    description: str | None = ""
    aliases: list[Any] | None = []
    type: str | None = ""
    popularity: float | None = None


class EntityAnswer(EntityBody):
    """An entity of the knowledge base."""

    id: str


class FoundAnswer(BaseModel):
    """Entities with this name, then the nearest by vector."""

    entities: list[EntityAnswer]


class HealthAnswer(BaseModel):
    """What runs here."""

    status: Literal["ok"]
    version: str
    pipeline: str
    entities: int
    threshold: float | None = Field(description="None if scores are not compared with one number.")
    writable: bool = Field(description="Whether entities can be changed here.")
    needs_token: bool = Field(description="Whether that needs the token.")
    max_chars: int


class ErrorAnswer(BaseModel):
    """What is wrong."""

    code: str
    message: str
