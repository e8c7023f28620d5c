"""Documents and questions → training texts.

python scripts/documents.py OUT --documents FILE … --tokenized FILE … --questions FILE …
    --held-out FILE … [--seed 0]

Files are spans JSONL. Most documents are annotated in part ("complete": false): their other names
are neither right nor wrong. Documents are changed as follows:

  tokenized  texts whose tokens are separated by spaces get back the spaces of writers
  pronouns   are no mentions, but not wrong either: they become "unknown"
  case       some texts are in small letters, in capitals or With A Capital For Each Word, as posts
             and headlines are. What was Capitalised in a text that is annotated in part becomes
             "unknown". In other texts some names are in CAPITALS, as where news begin
  dates      days and months of texts that are annotated in part are mentions of no entity

Questions stay as they are. A text of the held-out files is left out. All is drawn at random, the
same for the same seed.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import srsly

LinkedText = dict[str, Any]

# Shares of documents in small letters, in capitals, with a capital for each word, and with a name
# in capitals.
LOWERED, RAISED, TITLED, NAME_RAISED = 0.09, 0.03, 0.06, 0.08
# Fields of a text that are lists of spans.
SPAN_LISTS = ("spans", "nil", "unknown")

PRONOUNS = re.compile(
    r"i|me|my|mine|you|your|he|him|his|himself|she|hers?|herself|its?|itself|we|us|our"
    r"|they|them|their|theirs|themselves|who|whom|whose|which|that|this",
    re.IGNORECASE,
)
# Days and months, but not those that are other words too, nor where a name may go on.
DATES = re.compile(
    r"\b(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|January|February|April|June|July|August"
    r"|September|October|November|December)\b(?!-| [A-Z])"
)
WORD = re.compile(r"\w[\w'-]*")
CAPITALISED = re.compile(r"\b[A-Z][\w.&'-]*(?:[ -][A-Z][\w.&'-]*)*")
# Spaces that tokenizers add: before closing marks and clitics, after opening marks, around hyphens,
# and runs of them.
ADDED = re.compile(
    r" +(?=[,.;:!?%)\]]|'s\b|'(?:re|ve|ll|d|m|t)\b|n't\b)"
    r"|(?<=[(\[$£€]) +"
    r"|(?<=\w) (?=- \w)|(?<=\w -) (?=\w)"
    r"|(?<= ) +"
)
QUOTED = re.compile(r'" *([^"]*?) *"')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    for option in ("documents", "tokenized", "questions", "held-out"):
        parser.add_argument(f"--{option}", type=Path, nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    held_out = {text["text"].casefold() for text in _read(args.held_out)}
    documents = [*_read(args.documents), *map(as_written, _read(args.tokenized))]
    texts = [vary_case(with_dates(without_pronouns(text)), rng) for text in documents]
    texts += _read(args.questions)
    texts = [text for text in texts if text["text"].casefold() not in held_out]
    rng.shuffle(texts)
    srsly.write_jsonl(args.out, texts)


def as_written(text: LinkedText) -> LinkedText:
    """Take away the spaces that a tokenizer added."""
    before = text["text"]
    added = {i for match in ADDED.finditer(before) for i in range(*match.span())}
    for quoted in QUOTED.finditer(before):
        added |= {
            *range(quoted.start() + 1, quoted.start(1)),
            *range(quoted.end(1), quoted.end() - 1),
        }
    places = [0]
    for i in range(len(before)):
        places.append(places[-1] + (i not in added))
    after = "".join(char for i, char in enumerate(before) if i not in added)
    return _with_spans({**text, "text": after}, lambda span: _moved(span, places))


def without_pronouns(text: LinkedText) -> LinkedText:
    """Leave it open whether pronouns are mentions."""
    kept = {}
    unknown = list(text.get("unknown", ()))
    for key in ("spans", "nil"):
        kept[key] = []
        for span in text.get(key, ()):
            is_pronoun = PRONOUNS.fullmatch(text["text"][span["start"] : span["end"]])
            (unknown if is_pronoun else kept[key]).append(span)
    places = [{"start": span["start"], "end": span["end"]} for span in unknown]
    return {**text, **kept, "unknown": places}


def with_dates(text: LinkedText) -> LinkedText:
    """Say of days and months that they are no entity: where names may lack their annotation, the
    loss would leave them out."""
    if text.get("complete") is not False:
        return text
    taken = [(span["start"], span["end"]) for key in SPAN_LISTS for span in text.get(key, ())]
    found = (match.span() for match in DATES.finditer(text["text"]))
    dates = [
        {"start": start, "end": end} for start, end in found if not _touches(start, end, taken)
    ]
    return {**text, "nil": [*text.get("nil", ()), *dates]}


def vary_case(text: LinkedText, rng: random.Random) -> LinkedText:
    """Write some texts, or some of their names, with other capitals."""
    chance = rng.random()
    for share, write in ((LOWERED, str.lower), (RAISED, str.upper), (TITLED, titled)):
        if chance < share:
            return _rewritten(text, write)
        chance -= share
    return _with_raised_name(text, rng) if chance < NAME_RAISED else text


def titled(text: str) -> str:
    """RETURNS (str): The text with a capital for each word; other letters stay as they are."""
    return WORD.sub(lambda word: word[0][0].upper() + word[0][1:], text)


def _rewritten(text: LinkedText, write: Callable[[str], str]) -> LinkedText:
    before = text["text"]
    after = write(before)
    if len(after) != len(before):  # "ß" in capitals is two letters
        return text
    if text.get("complete") is not False:
        return {**text, "text": after}
    unknown = [*text.get("unknown", ()), *_names_outside(before, _annotated(text))]
    rewritten = {**text, "text": after, "unknown": unknown}
    if write is titled:  # where the new capitals are is known to be no name
        rewritten["complete"] = True
    return rewritten


def _with_raised_name(text: LinkedText, rng: random.Random) -> LinkedText:
    before = text["text"]
    names = [span for span in text["spans"] if before[span["start"]].isupper()]
    if not names:
        return text
    name = rng.choice(names)
    start, end = name["start"], name["end"]
    raised = before[start:end].upper()
    same = len(raised) == end - start
    return {**text, "text": before[:start] + raised + before[end:]} if same else text


def _annotated(text: LinkedText) -> list[dict[str, int]]:
    return [*text["spans"], *text.get("nil", ())]


def _names_outside(text: str, spans: Iterable[dict[str, int]]) -> Iterator[dict[str, int]]:
    """What is Capitalised, and touches none of the spans."""
    taken = [(span["start"], span["end"]) for span in spans]
    for name in CAPITALISED.finditer(text):
        start, end = name.span()
        if not _touches(start, end, taken):
            yield {"start": start, "end": end}


def _touches(start: int, end: int, taken: Iterable[tuple[int, int]]) -> bool:
    return any(start < other_end and other_start < end for other_start, other_end in taken)


def _with_spans(text: LinkedText, change: Callable[[LinkedText], LinkedText]) -> LinkedText:
    changed = {key: [change(span) for span in text[key]] for key in SPAN_LISTS if key in text}
    return {**text, **changed}


def _moved(span: LinkedText, places: list[int]) -> LinkedText:
    return {**span, "start": places[span["start"]], "end": places[span["end"]]}


def _read(paths: Iterable[Path]) -> list[LinkedText]:
    return [text for path in paths for text in srsly.read_jsonl(path)]


if __name__ == "__main__":
    main()
