"""More to learn from than the questions: what they lack for texts of other kinds.

python scripts/augment.py ENTITIES TRAIN MORE_ENTITIES MORE_TRAIN [--seed 0]

The questions name one entity each, by its full name, and hardly need a context to tell namesakes
apart. So the linker also learns from

  descriptions  texts made of an entity's name and description, with the entities named in it
  surnames      people by their last name, which many share: in descriptions, and in the questions
  pairs         two descriptions in one text; two questions' mentions in one question
  strangers     questions about names that no entity has: nothing to link

MORE_ENTITIES has the last names as aliases. All is drawn at random, the same for the same seed.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import srsly

LinkedText = dict[str, Any]
# Start, end and entity id of a mention.
Mention = tuple[int, int, str]

DESCRIPTIONS, PAIRS, JOINED, STRANGERS = 3500, 900, 1300, 2500
# Shares of: last names among names of people, in descriptions and in questions; small letters.
LAST_NAMES, LAST_NAMES_ASKED, LOWERED = 0.6, 0.35, 0.6

PERSON = re.compile(
    r"\b(act(or|ress)|singer|musician|politician|player|director|producer|(song|screen)?writer"
    r"|author|president|composer|comedian|philosopher|physicist|king|queen|rapper|journalist"
    r"|footballer|poet|painter|model|scientist|businessman|lawyer|novelist|guitarist|drummer"
    r"|bassist|economist|mathematician|historian|coach|artist|activist|emperor|pianist|host)\b",
    re.IGNORECASE,
)
NO_PERSON = re.compile(r"\b(film|series) (about|by)\b|band\b|album\b|fictional")
FULL_NAME = re.compile(r"^[A-Z][\w'\u2019-]+( [A-Z][\w'\u2019.-]*)? [A-Z][\w'\u2019-]{2,}$")
CAPITALISED = re.compile(r"[A-Z][\w'-]+(?: (?:of |the )?[A-Z][\w'-]+)*")

# {n}: name, {d}: description, {a}: its article.
TEMPLATES = (
    "{n} is {a}{d}",
    "{n}, {d}",
    "{d} {n}",
    "who is {n} the {d}",
    "the {d} {n}",
    "is {n} {a}{d}?",
    "{n} was {a}{d}.",
    "what is {n}, {a}{d}",
    "tell me about {d} {n}",
    "when did {n} become {a}{d}",
    "what made {n} {a}{d}?",
    "{a}{d} called {n}",
    "how did {d} {n} get known",
    "Is there {a}{d} other than {n}?",
    "why do people like {n} as {a}{d}",
    "{n} and other {d}s",
    "in {n}, {a}{d}, it was a quiet day.",
    "which {d} is named {n}",
)


@dataclass
class Text:
    """A text with its mentions, put together piece by piece."""

    text: str
    mentions: list[Mention]

    def __add__(self, other: Text | str) -> Text:
        if isinstance(other, str):
            return Text(self.text + other, self.mentions)
        shift = len(self.text)
        moved = [(start + shift, end + shift, id_) for start, end, id_ in other.mentions]
        return Text(self.text + other.text, self.mentions + moved)

    def row(self, *, lower: bool) -> LinkedText:
        lowered = self.text.lower()
        # Some capitals become two characters: the offsets would be wrong.
        text = lowered if lower and len(lowered) == len(self.text) else self.text
        spans = [{"start": s, "end": e, "id": id_} for s, e, id_ in sorted(set(self.mentions))]
        return {"text": text, "spans": spans}


class Augmenter:
    """entities, questions (list[LinkedText]): What to draw from. seed (int): Of all that is
    drawn."""

    def __init__(self, entities: list[LinkedText], questions: list[LinkedText], seed: int) -> None:
        self.random = random.Random(seed)
        self.questions = [row for row in questions if len(row["spans"]) == 1]
        self.people = {e["id"]: e["title"].split() for e in entities if _is_person(e)}
        self.entities = [self._with_last_name(entity) for entity in entities]
        titles: dict[str, list[str]] = {}
        for entity in entities:
            titles.setdefault(entity["title"], []).append(entity["id"])
        self.of_title = {title: ids[0] for title, ids in titles.items() if len(ids) == 1}
        names = (name for e in self.entities for name in (e["title"], *e["aliases"]))
        self.known = {name.lower() for name in names}

    def rows(self) -> Iterator[LinkedText]:
        described = [entity for entity in self.entities if len(entity.get("description") or "") > 4]
        chosen = self.random.sample(described, min(len(described), 2 * DESCRIPTIONS))
        texts = [self.describe(entity) for entity in chosen]
        for text in texts[:DESCRIPTIONS]:
            yield self._row(text)
        for first, second in self._twos(texts, PAIRS):
            yield self._row(first + self.random.choice((" and ", " or ", "; ", ", ")) + second)
        for row in self.questions:
            if row["spans"][0]["id"] in self.people and self.random.random() < LAST_NAMES_ASKED:
                yield from self.by_last_name(row)
        for first, second in self._twos(self.questions, JOINED):
            yield self._row(self.join(first, second))
        for row in self.random.sample(self.questions, min(len(self.questions), STRANGERS)):
            yield from self.about_a_stranger(row)

    def describe(self, entity: LinkedText) -> Text:
        """A text made of an entity's name, and its description or a part of it."""
        parts = [p.strip() for p in re.split(r",| and ", entity["description"]) if p.strip()]
        parts = parts or [entity["description"]]
        chosen = (entity["description"], parts[0], self.random.choice(parts))
        description = self.random.choice(chosen)
        article = "an " if description[0].lower() in "aeiou" else "a "
        pieces: dict[str, Text | str] = {
            "{n}": self._name(entity),
            "{d}": Text(description, self._named_in(description, entity["id"])),
            "{a}": "" if re.match(r"(the|a|an|[A-Z]\w+ of)\b", description) else article,
        }
        text = Text("", [])
        for piece in re.split(r"(\{[nad]\})", self.random.choice(TEMPLATES)):
            text += pieces.get(piece, piece)
        return text

    def by_last_name(self, row: LinkedText) -> Iterator[LinkedText]:
        """A question about a person, by the last name alone."""
        (span,) = row["spans"]
        asked = row["text"][span["start"] : span["end"]]
        words = self.people[span["id"]]
        if asked.lower() == " ".join(words).lower():
            name = words[-1].lower() if asked == asked.lower() else words[-1]
            yield self._row(_in_place(row, Text(name, [(0, len(name), span["id"])])))

    def join(self, first: LinkedText, second: LinkedText) -> Text:
        """A question with its mention, and after it that of another question."""
        (a,), (b,) = first["spans"], second["spans"]
        word = self.random.choice((" and ", " or ", ", ", " in ", " with "))
        names = _mention(first, a) + word + _mention(second, b)
        return _in_place(first, names)

    def about_a_stranger(self, row: LinkedText) -> Iterator[LinkedText]:
        """A question about somebody or something that is not an entity."""
        if self.random.random() < 0.6:
            people = list(self.people.values())
            name = f"{self.random.choice(people)[0]} {self.random.choice(people)[-1]}"
        else:
            words = [w for _ in "ab" for w in self.random.choice(self.entities)["title"].split()]
            name = " ".join(self.random.sample(words, 2))
        if name.lower() not in self.known:
            lower = row["text"] == row["text"].lower()
            yield self._row(_in_place(row, Text(name.lower() if lower else name, [])))

    def _with_last_name(self, entity: LinkedText) -> LinkedText:
        aliases = list(entity.get("aliases") or ())
        if entity["id"] in self.people:
            aliases = list(dict.fromkeys((*aliases, self.people[entity["id"]][-1])))
        return {**entity, "aliases": aliases}

    def _name(self, entity: LinkedText) -> Text:
        names = [entity["title"], *entity["aliases"]]
        if entity["id"] in self.people and self.random.random() < LAST_NAMES:
            name = self.people[entity["id"]][-1]
        else:
            name = self.random.choice(names[:4])
        return Text(name, [(0, len(name), entity["id"])])

    def _named_in(self, description: str, owner: str) -> list[Mention]:
        """Entities that the description names by a title that no other entity has."""
        names = CAPITALISED.finditer(description)
        found = ((*m.span(), self.of_title.get(m[0], owner)) for m in names)
        return [mention for mention in found if mention[2] != owner]

    def _twos(self, items: list[Any], count: int) -> Iterator[tuple[Any, Any]]:
        for _ in range(count if len(items) > 1 else 0):
            first, second = self.random.sample(items, 2)
            yield first, second

    def _row(self, text: Text) -> LinkedText:
        return text.row(lower=self.random.random() < LOWERED)


def _is_person(entity: LinkedText) -> bool:
    description = entity.get("description") or ""
    return bool(
        FULL_NAME.match(entity["title"])
        and PERSON.search(description)
        and not NO_PERSON.search(description)
    )


def _mention(row: LinkedText, span: LinkedText) -> Text:
    name = row["text"][span["start"] : span["end"]]
    return Text(name, [(0, len(name), span["id"])])


def _in_place(row: LinkedText, name: Text) -> Text:
    """A question of one mention with another one in its place."""
    (span,) = row["spans"]
    return Text(row["text"][: span["start"]], []) + name + row["text"][span["end"] :]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("entities", "train", "more_entities", "more_train"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    questions = list(srsly.read_jsonl(args.train))
    augmenter = Augmenter(list(srsly.read_jsonl(args.entities)), questions, args.seed)
    rows = [*questions, *augmenter.rows()]
    augmenter.random.shuffle(rows)
    args.more_train.parent.mkdir(parents=True, exist_ok=True)
    srsly.write_jsonl(args.more_entities, augmenter.entities)
    srsly.write_jsonl(args.more_train, rows)
    print(f"{args.more_train}: {len(rows)}, of them questions as they were: {len(questions)}")


if __name__ == "__main__":
    main()
