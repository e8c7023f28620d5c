"""How much of the encoder's own speed `elq link` keeps, and how its memory grows.

python benchmarks/link.py PIPELINE TEXTS.jsonl [--texts 4000] [--repeat 3] [--threads 2]
    [--processes 1 2] [--sizes 10000 100000]

  speed    texts/s from a JSONL file to a JSONL file over texts/s of the bare transformers forward
           on padded batches of 64 of the same texts, tokenized before: sorted by characters, and
           sorted by wordpieces, which leaves hardly any padding; with as many processes, which
           share the threads; medians of runs taken in turns, without the start of the processes
  memory   the command over so many texts (the file's, repeated, each another text): peak resident
           memory of its largest process, texts/s with the start of the program
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import spacy
import torch
import wasabi
from speed import Bare, in_turns

from spacy_elq.bulk.link import link_stream
from spacy_elq.bulk.workers import Workers
from spacy_elq.cli._common import BATCH_SIZE
from spacy_elq.corpora.input_texts import read_texts
from spacy_elq.corpora.spans_jsonl import jsonl_line

BY_CHARACTERS = "bare forward, by characters"
BY_WORDPIECES = "bare forward, by wordpieces"


def link_file(nlp, source: Path, output: Path, workers: Workers | None) -> None:
    with output.open("wb") as file:
        for rows in link_stream(nlp, read_texts(source), BATCH_SIZE, workers=workers):
            file.write(b"".join(map(jsonl_line, rows)))


def compare_speed(
    pipeline: str, source: Path, work: Path, repeat: int, processes: list[int]
) -> list[tuple[str, ...]]:
    nlp = spacy.load(pipeline)
    gc.freeze()  # as the command does
    bare = Bare(nlp.get_pipe("elq"))
    texts = [row.text for row in read_texts(source)]
    runs: dict[str, Callable[[], object]] = {
        BY_CHARACTERS: partial(bare.forward, bare.batches(sorted(texts, key=len))),
        BY_WORDPIECES: partial(bare.forward, bare.batches(bare.sorted(texts))),
    }
    with ExitStack() as stack:
        for count in processes:
            workers = None
            if count > 1:
                workers = stack.enter_context(Workers(partial(spacy.load, pipeline), count))
            runs[f"link -n {count}"] = partial(link_file, nlp, source, work / "out.jsonl", workers)
        times = in_turns(runs, repeat)
    return [
        (
            name,
            str(len(texts)),
            f"{len(texts) / t:.0f}",
            f"{times[BY_CHARACTERS] / t:.3f}",
            f"{times[BY_WORDPIECES] / t:.3f}",
            "-",
        )
        for name, t in times.items()
    ]


def run_command(
    pipeline: str, source: Path, work: Path, size: int, processes: int
) -> tuple[str, ...]:
    command = [sys.executable, "-m", "spacy", "elq", "link", pipeline, "-q", "-O"]
    command += ["-n", str(processes), "-i", str(source), "-o", str(work / "linked.jsonl")]
    start = time.perf_counter()
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"the command failed: status {status}")
    speed = size / (time.perf_counter() - start)
    peak = f"{usage.ru_maxrss / 1024:.0f}"
    return (f"command -n {processes}", str(size), f"{speed:.0f}", "-", "-", peak)


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
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        if args.n:
            lines = args.texts.read_text(encoding="utf8").splitlines(keepends=True)
            some = work / "some.jsonl"
            some.write_text("".join(islice(cycle(lines), args.n)), encoding="utf8")
            rows += compare_speed(args.pipeline, some, work, args.repeat, args.processes)
        for size in args.sizes:
            many = repeated(args.texts, size, work / "many.jsonl")
            for processes in args.processes:
                rows.append(run_command(args.pipeline, many, work, size, processes))
    header = ("run", "texts", "texts/s", "of bare, by chars", "by wordpieces", "peak MB")
    print(wasabi.table(rows, header=header, divider=True, aligns=list("lrrrrr")))


if __name__ == "__main__":
    main()
