"""What the mentions of one document tell each other.

A text names an entity in full, then in short: "Angela Merkel", later "Merkel"; "World Health
Organization (WHO)", later "WHO". And a name that occurs twice mostly means the same. So an entity
that a mention means with confidence becomes likelier for the other mentions of the document that
have the same words, its last words, or its initials.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from heapq import nlargest
from typing import NamedTuple

import numpy as np
from spacy.tokens import Doc

from ..encoders.windows import NO_CHARS
from ..kb.files.names import POSSESSIVE, words
from .decoding import log_sigmoid, log_softmax
from .ranked import RankedMentions

# A mention is evidence for an entity from this joint probability on.
CONFIDENT = 0.2
# What certain evidence adds to an entity's score: from the same words, and from a longer form.
REPEATED = 1.0
SHORTENED = 4.0
# Share of the highest bonus that the mention's logit gets too.
LIFT = 0.5
# Number of entities that a form may stand for: in a book, "John" begins hundreds of names.
MAX_ENTITIES = 8
# Length of initials, and of words that may have none in them: "of", "the".
MAX_INITIALS = 6
SMALL_WORD = 3
# Ways to write a name. Only those of the same kind are compared.
LOWER, CAPITAL, INITIALS = range(3)
_ARTICLES = ("the", "a", "an")
# What follows them in a name is another name: "Bank of England".
PREPOSITIONS = ("of", "in", "at", "for", "on", "and")


class Form(NamedTuple):
    """How a document writes a name: folded words, without an article and the s of a possessive."""

    doc: int
    kind: int
    words: tuple[str, ...]


class Evidence(NamedTuple):
    """A mention that means an entity, with its confidence."""

    confidence: float
    mention: int


@dataclass(frozen=True)
class Said:
    """What the mentions with one form mean.

    places (set[int]): Their first characters.
    entities (dict[int, dict[int, Evidence]]): Row of an entity → place → the evidence there.
    """

    places: set[int] = field(default_factory=set)
    entities: dict[int, dict[int, Evidence]] = field(default_factory=dict)

    def add(self, place: int, row: int, evidence: Evidence) -> None:
        """Of mentions at one place, such as "Bulls" and "the Bulls", the best counts."""
        known = self.entities.setdefault(row, {})
        known[place] = max(evidence, known.get(place, evidence))


@dataclass(frozen=True)
class Offer:
    """An entity that mentions of one form mean, for mentions of the same or a shorter form.

    worth (float): What certain evidence adds to the entity's score.
    said (dict[int, Evidence]): Place → evidence.
    places (set[int]): All places of the form.
    total (float): The sum of all confidences.
    best (list[Evidence]): The best evidence, from two places.
    """

    row: int
    worth: float
    said: dict[int, Evidence]
    places: set[int]
    total: float
    best: list[Evidence]

    @classmethod
    def of(cls, row: int, worth: float, said: dict[int, Evidence], places: set[int]) -> Offer:
        total = sum(evidence.confidence for evidence in said.values())
        return cls(row, worth, said, places, total, nlargest(2, said.values()))

    def elsewhere(self, place: int) -> Evidence:
        """RETURNS (Evidence): The mean confidence at other places, and the best mention there."""
        own = self.said.get(place)
        others = len(self.places) - (place in self.places)
        best = [evidence for evidence in self.best if evidence != own]
        if not others or not best:
            return Evidence(0.0, -1)
        return Evidence((self.total - (own.confidence if own else 0.0)) / others, best[0].mention)


@dataclass(frozen=True)
class Written:
    """A mention in its text.

    forms (list[Form]): Its form; if it is in capitals, also the form of initials.
    starts (list[int]): First characters of the form's words.
    """

    forms: list[Form]
    starts: list[int]


class Gain(NamedTuple):
    """What an entity of a mention gets: added to its score, from the mention at a position."""

    bonus: float
    source: int


NO_GAIN = Gain(0.0, -1)
# Position of a mention → row of an entity → its gain.
Gains = dict[int, dict[int, Gain]]


def find_gains(mentions: RankedMentions, docs: Sequence[Doc], weight: float) -> Gains:
    """Find what each mention is told by others of its document.

    weight (float): Factor of every bonus; with 0, nothing is told.
    RETURNS (Gains): Without mentions that are told nothing.
    """
    if not weight or not (written := _with_repetitions(_read(mentions, docs))):
        return {}
    confidence = np.exp(mentions.mention_score[:, None] + mentions.entity_scores)
    where = np.nonzero((confidence > CONFIDENT) & (mentions.rows >= 0))
    told = [(i, c) for i, c in zip(*(x.tolist() for x in where), strict=True) if i in written]
    offers = _Offers(_said(mentions, confidence, written, told))
    longest = _longest(written[i] for i in {i for i, _ in told})
    gains = {}
    for i, mention in written.items():
        if not _is_within(mention, longest):
            own = dict(zip(mentions.rows[i].tolist(), confidence[i].tolist(), strict=True))
            if found := _gains(mention, offers, own, weight):
                gains[i] = found
    return gains


def _apart(mentions: RankedMentions) -> np.ndarray:
    """RETURNS (ndarray): Whether each mention's document has two that don't overlap, bool (N,)."""
    if len(mentions) < 2:
        return np.zeros(len(mentions), dtype=bool)
    n_docs = mentions.doc.max() + 1
    last_start, first_end = np.full(n_docs, NO_CHARS), np.full(n_docs, np.iinfo(np.int64).max)
    np.maximum.at(last_start, mentions.doc, mentions.chars[:, 0])
    np.minimum.at(first_end, mentions.doc, mentions.chars[:, 1])
    return (last_start >= first_end)[mentions.doc]


def _read(mentions: RankedMentions, docs: Sequence[Doc]) -> dict[int, Written]:
    """RETURNS (dict[int, Written]): The mentions that have words, candidates and company."""
    has_words = mentions.chars[:, 0] != NO_CHARS
    chosen = np.flatnonzero(_apart(mentions) & has_words & (mentions.rows[:, 0] >= 0))
    of_docs = mentions.doc[chosen].tolist()
    texts = {doc: docs[doc].text for doc in set(of_docs)}
    read = {}
    for i, doc, (start, end) in zip(
        chosen.tolist(), of_docs, mentions.chars[chosen].tolist(), strict=True
    ):
        if mention := _written(doc, texts[doc][start:end], start):
            read[i] = mention
    return read


def _written(doc: int, surface: str, start: int) -> Written | None:
    split = words(surface)
    if len(split) > 1 and split[-1].folded == POSSESSIVE:
        split.pop()
    if len(split) > 1 and split[0].folded in _ARTICLES:
        split.pop(0)
    if not split or split[-1].folded in _ARTICLES:
        return None
    folded = tuple(word.folded for word in split)
    bare = surface[split[0].start : split[-1].end]
    forms = [Form(doc, LOWER if bare == bare.lower() else CAPITAL, folded)]
    if _are_initials(bare, folded):
        forms.append(Form(doc, INITIALS, ("".join(folded),)))
    return Written(forms, [start + word.start for word in split])


def _are_initials(bare: str, folded: Sequence[str]) -> bool:
    """RETURNS (bool): Whether a name may be initials: "WHO", "U.N."."""
    is_one = len(folded) == 1 or all(len(word) == 1 for word in folded)
    return is_one and bare.isupper() and 1 < sum(map(len, folded)) <= MAX_INITIALS


def _with_repetitions(written: dict[int, Written]) -> dict[int, Written]:
    """RETURNS (dict[int, Written]): The mentions of documents in which a last word occurs again, or
    which have initials: few short texts, and no others have anything to tell."""
    docs: set[int] = set()
    places: dict[tuple[int, str], int] = {}
    for mention in written.values():
        (doc, _, split), last = mention.forms[0], mention.starts[-1]
        if len(mention.forms) > 1 or places.setdefault((doc, split[-1]), last) != last:
            docs.add(doc)
    return {i: mention for i, mention in written.items() if mention.forms[0].doc in docs}


def _said(
    mentions: RankedMentions,
    confidence: np.ndarray,
    written: dict[int, Written],
    told: Sequence[tuple[int, int]],
) -> dict[Form, Said]:
    """told (Sequence[tuple[int, int]]): Mentions and columns of the candidates that they mean.
    RETURNS (dict[Form, Said]): What the mentions with each form mean."""
    said: dict[Form, Said] = defaultdict(Said)
    for mention in written.values():
        said[mention.forms[0]].places.add(mention.starts[0])
    for i, column in told:
        evidence = Evidence(float(confidence[i, column]), i)
        row, mention = int(mentions.rows[i, column]), written[i]
        said[mention.forms[0]].add(mention.starts[0], row, evidence)
    return said


class _Offers:
    """What the mentions of a form are told.

    said (dict[Form, Said]): What the mentions with each form mean.
    """

    def __init__(self, said: dict[Form, Said]) -> None:
        self.sources: dict[Form, list[tuple[float, Said]]] = defaultdict(list)
        for form, meant in said.items():
            if meant.entities:
                self.sources[form].append((REPEATED, meant))
                for short in _short_forms(form):
                    self.sources[short].append((SHORTENED, meant))
        self.cache: dict[Form, list[Offer]] = {}

    def of(self, form: Form) -> list[Offer]:
        """RETURNS (list[Offer]): The entities that are most evident for a form."""
        if form not in self.cache:
            offers = [
                Offer.of(row, worth, said, meant.places)
                for worth, meant in self.sources.get(form, ())
                for row, said in meant.entities.items()
            ]
            offers.sort(key=lambda offer: -offer.worth * offer.total / len(offer.places))
            self.cache[form] = offers[:MAX_ENTITIES]
        return self.cache[form]


def _short_forms(form: Form) -> set[Form]:
    """RETURNS (set[Form]): The last words of a name, and its initials. Its first words mostly name
    something else, "American" or "Boston" as often as "Angela"."""
    doc, kind, split = form
    short = {
        Form(doc, kind, split[first:])
        for first in range(1, len(split))
        if split[first - 1] not in PREPOSITIONS
    }
    if kind == CAPITAL and len(split) > 1:
        for counted in (split, [word for word in split if len(word) > SMALL_WORD]):
            initials = "".join(word[0] for word in counted)
            if 1 < len(initials) <= MAX_INITIALS:
                short.add(Form(doc, INITIALS, (initials,)))
    return short


def _longest(written: Iterable[Written]) -> dict[tuple[int, int], int]:
    """RETURNS (dict): For the document and first character of each word in these mentions, the
    number of words of the longest that has it."""
    longest: dict[tuple[int, int], int] = {}
    for mention in written:
        for start in mention.starts:
            place = mention.forms[0].doc, start
            longest[place] = max(longest.get(place, 0), len(mention.starts))
    return longest


def _is_within(mention: Written, longest: dict[tuple[int, int], int]) -> bool:
    place = mention.forms[0].doc, mention.starts[0]
    return longest.get(place, 0) > len(mention.starts)


def _gains(
    mention: Written, offers: _Offers, own: dict[int, float], weight: float
) -> dict[int, Gain]:
    """own (dict[int, float]): The confidence of the mention itself in entities.
    RETURNS (dict[int, Gain]): The gain of each entity."""
    gains: dict[int, Gain] = {}
    for form in mention.forms:
        for offer in offers.of(form):
            told = offer.elsewhere(mention.starts[0])
            bonus = weight * offer.worth * (told.confidence - own.get(offer.row, 0.0))
            if bonus > gains.get(offer.row, NO_GAIN).bonus:
                gains[offer.row] = Gain(bonus, told.mention)
    return gains


def add_gains(mentions: RankedMentions, gains: Gains) -> RankedMentions:
    """Add bonuses to the scores of entities. An entity that a mention lacks joins its candidates:
    its own score would be no higher than that of the last.

    RETURNS (RankedMentions): With the candidates ranked again.
    """
    if not gains:
        return mentions
    pairs = [(i, row, gain.bonus) for i, found in gains.items() for row, gain in found.items()]
    which, row, bonuses = map(np.array, zip(*pairs, strict=True))
    rows, raw, scores = _with_candidates(mentions, which, row)
    bonus = np.zeros(rows.shape, dtype=np.float32)
    bonus[which, (rows[which] == row[:, None]).argmax(axis=1)] = bonuses
    raw = raw + bonus
    joined = np.concatenate([scores + bonus, mentions.nil_score[:, None]], axis=1)
    told = list(gains)
    joined[told] = log_softmax(joined[told])
    order = np.argsort(-raw, axis=1, kind="stable")
    logit = mentions.logit + LIFT * bonus.max(axis=1)
    return replace(
        mentions,
        logit=logit,
        mention_score=np.where(mentions.given >= 0, 0.0, log_sigmoid(logit)),
        rows=np.take_along_axis(rows, order, axis=1),
        raw_scores=np.take_along_axis(raw, order, axis=1),
        entity_scores=np.take_along_axis(joined[:, :-1], order, axis=1),
        nil_score=joined[:, -1],
    )


def _with_candidates(
    mentions: RankedMentions, which: np.ndarray, row: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """which, row (ndarray): Mentions, ascending, and an entity that is to be a candidate of each.
    RETURNS (tuple): Rows, raw scores and log-probabilities, with columns for new candidates."""
    rows, raw, scores = mentions.rows, mentions.raw_scores, mentions.entity_scores
    new = ~(rows[which] == row[:, None]).any(axis=1)
    which, row = which[new], row[new]
    if len(which):
        column = rows.shape[1] + np.arange(len(which)) - np.searchsorted(which, which)
        last = (rows >= 0).sum(axis=1)[which] - 1
        wide = mentions.widened(column.max() + 1)
        rows, raw, scores = wide.rows, wide.raw_scores, wide.entity_scores
        rows[which, column], raw[which, column] = row, raw[which, last]
        scores[which, column] = scores[which, last]
    return rows, raw, scores
