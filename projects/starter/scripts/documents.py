"""Documents and questions → training texts.

python scripts/documents.py OUT --documents FILE … --tokenized FILE … --questions FILE …
    --held-out FILE … [--seed 0]

Files are spans JSONL. Most documents are annotated in part ("complete": false): their other names
are neither right nor wrong. Documents are changed as follows:

  tokenized  texts whose tokens are separated by spaces get back the spaces of writers
  pronouns   are no mentions, but not wrong either: they become "unknown"
  case       some texts are in small letters or capitals, as posts and headlines are. What was
             Capitalised in a text that is annotated in part becomes "unknown"

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

# Shares of documents in small letters and in capitals.
LOWERED, RAISED = 0.09, 0.03
# Fields of a text that are lists of spans.
SPAN_LISTS = ("spans", "nil", "unknown")

PRONOUNS = re.compile(
    r"i|me|my|mine|you|your|he|him|his|himself|she|hers?|herself|its?|itself|we|us|our"
    r"|they|them|their|theirs|themselves|who|whom|whose|which|that|this",
    re.IGNORECASE,
)
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
    texts = [vary_case(without_pronouns(text), rng) for text in documents]
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


def vary_case(text: LinkedText, rng: random.Random) -> LinkedText:
    """Write some texts in small letters, or in capitals."""
    chance = rng.random()
    if chance < LOWERED:
        return _rewritten(text, str.lower)
    return _rewritten(text, str.upper) if chance < LOWERED + RAISED else text


def _rewritten(text: LinkedText, write: Callable[[str], str]) -> LinkedText:
    before = text["text"]
    after = write(before)
    if len(after) != len(before):  # "ß" in capitals is two letters
        return text
    unknown = list(text.get("unknown", ()))
    if text.get("complete") is False:
        unknown += _names_outside(before, [*text["spans"], *text.get("nil", ())])
    return {**text, "text": after, "unknown": unknown}


def _names_outside(text: str, spans: Iterable[dict[str, int]]) -> Iterator[dict[str, int]]:
    """What is Capitalised, and touches none of the spans."""
    taken = [(span["start"], span["end"]) for span in spans]
    for name in CAPITALISED.finditer(text):
        start, end = name.span()
        if not any(start < other_end and other_start < end for other_start, other_end in taken):
            yield {"start": start, "end": end}


def _with_spans(text: LinkedText, change: Callable[[LinkedText], LinkedText]) -> LinkedText:
    changed = {key: [change(span) for span in text[key]] for key in SPAN_LISTS if key in text}
    return {**text, **changed}


def _moved(span: LinkedText, places: list[int]) -> LinkedText:
    return {**span, "start": places[span["start"]], "end": places[span["end"]]}


def _read(paths: Iterable[Path]) -> list[LinkedText]:
    return [text for path in paths for text in srsly.read_jsonl(path)]


if __name__ == "__main__":
    main()
