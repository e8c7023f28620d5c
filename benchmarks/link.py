"""How much of the encoder's own speed `elq link` keeps, and how its memory grows.

python benchmarks/link.py PIPELINE TEXTS.jsonl [--texts 4000] [--repeat 3] [--threads 2]
    [--sizes 10000 100000]

  speed    texts/s from a JSONL file to a JSONL file over texts/s of the bare transformers forward
           on the same length-sorted batches, tokenized before; medians of runs taken in turns
  memory   the command in a process of its own over so many texts (the file's, repeated): peak
           resident memory, texts/s with the start of the program
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import spacy
import torch
import wasabi
from speed import BATCH, Bare, in_turns

from spacy_elq.bulk import BATCHES_AHEAD, link_rows
from spacy_elq.corpora.questions import read_questions
from spacy_elq.corpora.resume import to_line


def link_file(nlp, source: Path, output: Path) -> None:
    with output.open("wb") as file:
        for rows in link_rows(nlp, read_questions(source), BATCH):
            file.write(b"".join(map(to_line, rows)))


def sorted_texts(source: Path) -> list[str]:
    """In the order in which `link_rows` gives them to the encoder."""
    texts = [row.text for row in read_questions(source)]
    ahead = BATCH * BATCHES_AHEAD
    chunks = [texts[start : start + ahead] for start in range(0, len(texts), ahead)]
    return [text for chunk in chunks for text in sorted(chunk, key=len)]


def compare_speed(pipeline: str, source: Path, work: Path, repeat: int) -> list[tuple[str, ...]]:
    nlp = spacy.load(pipeline)
    gc.freeze()  # as the command does
    bare = Bare(nlp.get_pipe("elq"))
    texts = sorted_texts(source)
    batches = bare.batches(texts)
    times = in_turns(
        {
            "bare forward": lambda: bare.forward(batches),
            "link": lambda: link_file(nlp, source, work / "out.jsonl"),
        },
        repeat,
    )
    fastest = times["bare forward"]
    return [
        (name, str(len(texts)), f"{len(texts) / t:.0f}", f"{fastest / t:.3f}", "-")
        for name, t in times.items()
    ]


def run_command(pipeline: str, source: Path, work: Path, size: int) -> tuple[str, ...]:
    command = [sys.executable, "-m", "spacy", "elq", "link", pipeline, "-q", "-O"]
    start = time.perf_counter()
    child = subprocess.Popen([*command, "-i", str(source), "-o", str(work / "linked.jsonl")])
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"the command failed: status {status}")
    speed = size / (time.perf_counter() - start)
    return ("command", str(size), f"{speed:.0f}", "-", f"{usage.ru_maxrss / 1024:.0f}")


def repeated(source: Path, size: int, target: Path) -> Path:
    """The first lines of a file, over and over, each time another text."""
    with source.open(encoding="utf8") as lines, target.open("w", encoding="utf8") as out:
        for number, line in enumerate(islice(cycle(lines.readlines()), size)):
            out.write(line.replace('{"text": "', f'{{"text": "n{number} ', 1))
    return target


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("pipeline")
    parser.add_argument("texts", type=Path, help="spans JSONL")
    parser.add_argument("--texts", dest="n", type=int, default=4000, help="0: no speed")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        if args.n:
            some = repeated(args.texts, args.n, work / "some.jsonl")
            rows += compare_speed(args.pipeline, some, work, args.repeat)
        for size in args.sizes:
            many = repeated(args.texts, size, work / "many.jsonl")
            rows.append(run_command(args.pipeline, many, work, size))
    header = ("run", "texts", "texts/s", "of bare", "peak MB")
    print(wasabi.table(rows, header=header, divider=True, aligns=list("lrrrr")))


if __name__ == "__main__":
    main()
