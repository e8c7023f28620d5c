"""How well long texts are linked, by the length of the windows that they are read in.

python benchmarks/windows.py PIPELINE GOLD.jsonl [GOLD.jsonl ...] [--joined 1 3 10 40]
    [--windows 32 48 64 128 512]

Texts are joined, so many at a time and in random order, to one: weak F1 of the links in it. Nothing
that is true of one of them helps with the next, so this is harder than a document is. With
`--related` texts that share an entity are joined.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import spacy
import wasabi
from spacy.util import minibatch

from spacy_elq.corpora.spans_jsonl import LinkedText, read_spans_jsonl
from spacy_elq.evaluation.metrics import LinkMetrics
from spacy_elq.types import Triple

# Of the joined texts, so that a row of the table takes about as long as another.
CHARACTERS = 40_000


def join(rows: Iterable[LinkedText]) -> tuple[str, list[Triple]]:
    """RETURNS (tuple[str, list[Triple]]): One text, and the gold mentions in it."""
    text, gold = "", []
    for row in rows:
        gold += [(span.id, span.start + len(text), span.end + len(text)) for span in row.spans]
        text += row.text + (" " if row.text.rstrip().endswith((".", "?", "!")) else ". ")
    return text, gold


def related(rows: Iterable[LinkedText], most: int) -> list[list[LinkedText]]:
    """RETURNS (list[list[LinkedText]]): Texts with one entity in common."""
    groups = defaultdict(list)
    for row in rows:
        for id_ in {span.id for span in row.spans}:
            groups[id_].append(row)
    return [group[:most] for group in groups.values() if len(group) > 1]


def weak_f1(nlp, groups: Iterable[Iterable[LinkedText]]) -> float:
    metrics, characters = LinkMetrics(), 0
    for text, gold in map(join, groups):
        links = [(e.kb_id_, e.start_char, e.end_char) for e in nlp(text).ents if e.kb_id_]
        metrics.add(gold, links)
        characters += len(text)
        if characters > CHARACTERS:
            break
    return metrics.weak.f


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("pipeline")
    parser.add_argument("gold", type=Path, nargs="+", help="spans JSONL")
    parser.add_argument("--joined", type=int, nargs="+", default=[1, 3, 10, 40])
    parser.add_argument("--windows", type=int, nargs="+", default=[32, 48, 64, 128, 512])
    parser.add_argument("--related", action="store_true", help="join texts that share an entity")
    args = parser.parse_args()
    nlp = spacy.load(args.pipeline)
    elq = nlp.get_pipe("elq")
    rows = list(chain.from_iterable(read_spans_jsonl(path) for path in args.gold))
    random.Random(0).shuffle(rows)
    table = []
    for n in args.joined:
        groups = related(rows, n) if args.related else list(minibatch(rows, n))
        scores = []
        for elq.max_length in args.windows:
            scores.append(f"{weak_f1(nlp, groups):.3f}")
        table.append((n, *scores))
    header = ("texts joined", *(f"window {length}" for length in args.windows))
    print(wasabi.table(table, header=header, divider=True, aligns=["r"] * len(header)))


if __name__ == "__main__":
    main()
