"""Hold out texts of `elq wikipedia` for development.

python scripts/split.py WIKIPEDIA CORPUS --size {sample,full}

CORPUS/train/part-*.jsonl    the other texts
CORPUS/dev.jsonl             some texts of whole pages, chosen by a hash of their titles
CORPUS/dev-entities.jsonl    the entities of the dev texts, and the most popular others: few enough
                             to embed them at each evaluation of pretraining
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import srsly
from tqdm import tqdm

Row = dict[str, Any]
# One page in so many, how many of its texts, and how many others of the entities.
SHARES = {"sample": 4, "full": 20_000}
DEV_TEXTS = {"sample": 200, "full": 5_000}
MOST_POPULAR = {"sample": 200, "full": 20_000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wikipedia", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--size", choices=SHARES, required=True)
    args = parser.parse_args()
    dev = split_texts(args.wikipedia / "texts", args.corpus, SHARES[args.size])
    dev = dev[: DEV_TEXTS[args.size]]
    if not dev:
        raise SystemExit(
            f"{args.wikipedia} has too few pages to hold one in {SHARES[args.size]} out"
        )
    gold = {span["id"] for row in dev for span in row["spans"]}
    entities = choose_entities(args.wikipedia / "entities", gold, MOST_POPULAR[args.size])
    srsly.write_jsonl(args.corpus / "dev-entities.jsonl", entities)
    srsly.write_jsonl(args.corpus / "dev.jsonl", dev)  # last: it says that all is there


def split_texts(texts: Path, corpus: Path, share: int) -> list[Row]:
    """Write the parts of the training texts.

    RETURNS (list[Row]): The texts of one page in `share`."""
    dev: list[Row] = []
    (corpus / "train").mkdir(parents=True, exist_ok=True)
    for part in tqdm(sorted(texts.glob("*.jsonl")), "texts", unit=" parts"):
        rows = list(srsly.read_jsonl(part))
        held_out = [crc32(row["page"].encode()) % share == 0 for row in rows]
        dev += [row for row, out in zip(rows, held_out, strict=True) if out]
        train = [row for row, out in zip(rows, held_out, strict=True) if not out]
        srsly.write_jsonl(corpus / "train" / part.name, train)
    return dev


def choose_entities(entities: Path, gold: set[str], n_others: int) -> list[Row]:
    """RETURNS (list[Row]): The gold entities, and the most popular others."""
    found: list[Row] = []

    def others() -> Iterator[Row]:
        for part in tqdm(sorted(entities.glob("*.jsonl")), "entities", unit=" parts"):
            for entity in srsly.read_jsonl(part):
                if entity["id"] in gold:
                    found.append(entity)
                else:
                    yield entity

    popular = heapq.nlargest(n_others, others(), key=lambda entity: entity.get("popularity") or 0)
    return found + popular


if __name__ == "__main__":
    main()
