"""The public files → entities and spans JSONL that the starter linker is trained and measured on.

python scripts/prepare.py ASSETS CORPUS

entity2wikidata.json
    {"/m/…": {"wikidata_id", "label", "description", "alternatives", "wikipedia"}, …}
annotated_wd_data_{train,valid}_answerable.txt
    subject [tab] property [tab] object [tab] question
webquestions.examples.train.json.bz2
    [{"utterance": …, "url": "http://www.freebase.com/view/en/…"}, …]

A question is kept when its subject is among the entities and named in it; the longest name that
stands there is the mention. WebQuestions has no development part: the last seventh of it is held
out, and its questions whose topic is not named stay there, with the topic and without a span.
"""

from __future__ import annotations

import argparse
import bz2
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import srsly

from spacy_elq.kb.files.names import fold, words

WEBQUESTIONS_DEV = 7  # one part in so many

LinkedText = dict[str, Any]


def read_entities(path: Path) -> list[LinkedText]:
    entities: dict[str, LinkedText] = {}
    for freebase, record in json.loads(path.read_text(encoding="utf8")).items():
        if record["wikidata_id"] and record["label"]:
            entity = {
                "id": record["wikidata_id"],
                "title": record["label"],
                "description": record["description"] or "",
                "aliases": list(record["alternatives"]),
                "freebase": freebase,
                "wikipedia": record["wikipedia"] or "",
            }
            entities.setdefault(entity["id"], entity)
    return list(entities.values())


def find_mention(question: str, entity: LinkedText) -> tuple[int, int] | None:
    """RETURNS (tuple | None): Characters of the longest name of the entity in a question."""
    names = {fold(name) for name in (entity["title"], *entity["aliases"])}
    split = words(question)
    best = None
    for i, first in enumerate(split):
        for last in split[i:]:
            if fold(question[first.start : last.end]) in names and (
                best is None or last.end - first.start > best[1] - best[0]
            ):
                best = (first.start, last.end)
    return best


def to_row(question: str, entity: LinkedText) -> LinkedText:
    mention = find_mention(question, entity)
    spans = [{"start": mention[0], "end": mention[1], "id": entity["id"]}] if mention else []
    return {"text": question, "topic_id": entity["id"], "spans": spans}


def simple_questions(path: Path, entities: Iterable[LinkedText]) -> Iterator[LinkedText]:
    by_id = {entity["id"]: entity for entity in entities}
    for line in path.read_text(encoding="utf8").splitlines():
        subject, _, _, question = line.split("\t")
        row = to_row(question, by_id[subject]) if subject in by_id else None
        if row and row["spans"]:
            yield row


def web_questions(path: Path, entities: Iterable[LinkedText]) -> Iterator[LinkedText]:
    by_page = {_letters(entity["wikipedia"].rpartition("/wiki/")[2]): entity for entity in entities}
    for example in json.loads(bz2.decompress(path.read_bytes())):
        entity = by_page.get(_letters(example["url"].rpartition("/en/")[2]))
        if entity:
            yield to_row(example["utterance"], entity)


def _letters(name: str) -> str:
    """Freebase's keys and Wikipedia's pages name a topic alike but for case and punctuation."""
    return re.sub(r"[\W_]", "", unquote(name)).casefold()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("assets", type=Path)
    parser.add_argument("corpus", type=Path)
    args = parser.parse_args()
    entities = read_entities(args.assets / "entity2wikidata.json")
    annotated = "annotated_wd_data_{}_answerable.txt"
    simple = list(simple_questions(args.assets / annotated.format("train"), entities))
    simple_dev = list(simple_questions(args.assets / annotated.format("valid"), entities))
    web = list(web_questions(args.assets / "webquestions.examples.train.json.bz2", entities))
    kept = len(web) - len(web) // WEBQUESTIONS_DEV
    args.corpus.mkdir(parents=True, exist_ok=True)
    web_train = [row for row in web[:kept] if row["spans"]]
    for name, rows in {
        "entities": entities,
        "train": simple + 2 * web_train,  # real queries, but fewer: they count twice
        "simplequestions-dev": simple_dev,
        "webquestions-dev": web[kept:],
    }.items():
        srsly.write_jsonl(args.corpus / f"{name}.jsonl", rows)
        print(f"{args.corpus / name}.jsonl: {len(rows)}")


if __name__ == "__main__":
    main()
