"""How much of the encoder's own speed is left on documents, and how fast another checkout is.

python benchmarks/documents.py PIPELINE [TEXTS.jsonl] [--articles 20] [--repeat 3] [--threads 2]
    [--max-length 128] [--against CHECKOUT] [--book CHARACTERS]

Articles are TEXTS of 3,000 characters and more, or are made of the texts and descriptions in
`assets/`. Medians of several runs in turns:
  pipe     characters/s of `nlp.pipe` over those of the bare transformers forward on the same text,
           in windows without overlap, as long as the component's
  against  characters/s over those of the code in another checkout, which reads the same pipeline
           with its own `max_length`; each run in a process of its own, after a warm-up
  book     with `--book`, and in place of the others: resident memory in MB that linking a single
           document of so many characters takes at most, and keeps, beyond the pipeline, which is
           warm, and the document (on Linux)
CPU seconds (`--cpu`) in place of seconds tell more where other work runs beside.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import spacy
import torch

ASSETS = Path(__file__).parents[1] / "assets"
# Characters of an article made of short texts, and of the shortest in a file.
SHORTEST, LONGEST = 3_000, 6_000
# Texts of a paragraph of such an article.
PARAGRAPH = 6
# Wordpieces of a batch of the bare forward, padding included.
BATCH = 4096


def articles(path: Path | None, n: int) -> list[str]:
    if path is not None:
        long = [text for text in texts_of(path, "text") if len(text) >= SHORTEST]
        return long[:n]
    sentences = [*texts_of(ASSETS / "test.jsonl", "text")]
    sentences += texts_of(ASSETS / "entities.jsonl", "description")
    rng = random.Random(0)
    return [article(sentences, rng) for _ in range(n)]


def texts_of(path: Path, field: str) -> Iterator[str]:
    with path.open(encoding="utf8") as file:
        yield from filter(None, (json.loads(line).get(field) for line in file))


def article(sentences: list[str], rng: random.Random) -> str:
    text, length = "", rng.randint(SHORTEST, LONGEST)
    while len(text) < length:
        chosen = rng.choices(sentences, k=PARAGRAPH)
        text += " ".join(s[0].upper() + s[1:].rstrip(".?! ") + "." for s in chosen) + "\n\n"
    return text


class Bare:
    """The transformer alone, on windows that share nothing."""

    def __init__(self, nlp, texts: list[str], max_length: int) -> None:
        from spacy_elq.encoders.windows import pad
        from spacy_elq.ml.model import get_encoder

        transformer = get_encoder(nlp.get_pipe("elq").model).layers[0]
        self.bert, tokenizer = transformer.transformer.eval(), transformer.tokenizer
        room = max_length - tokenizer.num_special_tokens_to_add()
        rows = []
        for text in texts:
            ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            parts = [ids[start : start + room] for start in range(0, len(ids), room)]
            rows += map(tokenizer.build_inputs_with_special_tokens, parts)
        rows.sort(key=len, reverse=True)
        size = BATCH // max_length
        groups = [rows[start : start + size] for start in range(0, len(rows), size)]
        padded = [pad(group, tokenizer.pad_token_id) for group in groups]
        self.batches = [(torch.from_numpy(ids), torch.from_numpy(mask)) for ids, mask in padded]

    def forward(self) -> None:
        with torch.inference_mode():
            for ids, mask in self.batches:
                self.bert(input_ids=ids, attention_mask=mask.long())


def consume(nlp, texts: list[str]) -> None:
    for _ in nlp.pipe(texts, batch_size=64):
        pass


def in_turns(runs: dict[str, Callable[[], float]], repeat: int) -> dict[str, float]:
    """RETURNS (dict): Median seconds of each."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeat):
        for name, run in runs.items():
            times[name].append(run())
    return {name: statistics.median(values) for name, values in times.items()}


def timed(run: Callable[[], None], clock: Callable[[], float]) -> float:
    start = clock()
    run()
    return clock() - start


def book(nlp, texts: list[str], chars: int) -> dict[str, float]:
    """RETURNS (dict): What linking one document takes, made of the articles again and again."""
    text = "\n\n".join(texts * (1 + chars // sum(map(len, texts))))[:chars]
    consume(nlp, texts[:1])  # warm
    doc = nlp.make_doc(text)
    before = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    start = time.process_time()
    (linked,) = nlp.pipe([doc])
    return {
        "characters": len(text),
        "links": len(linked.ents),
        "CPU seconds": round(time.process_time() - start),
        "peak MB": round(memory_mb("VmHWM") - before),
        "kept MB": round(memory_mb("VmRSS") - before),
    }


def memory_mb(field: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def in_process(checkout: Path, args: argparse.Namespace, max_length: int | None) -> float:
    """RETURNS (float): Seconds that the code of a checkout takes for the articles."""
    command = [sys.executable, __file__, args.pipeline, *map(str, filter(None, [args.texts]))]
    command += ["--once", "--articles", str(args.articles), "--threads", str(args.threads)]
    command += ["--cpu"] * args.cpu
    command += [] if max_length is None else ["--max-length", str(max_length)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("pipeline")
    parser.add_argument("texts", type=Path, nargs="?", help="JSONL with a field `text`")
    parser.add_argument("--articles", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-length", type=int, help="default: the pipeline's")
    parser.add_argument("--against", type=Path, help="another checkout of this repository")
    parser.add_argument("--book", type=int, metavar="CHARACTERS", help="memory of one document")
    parser.add_argument("--cpu", action="store_true", help="count CPU seconds")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    texts = articles(args.texts, args.articles)
    nlp = spacy.load(args.pipeline)
    elq = nlp.get_pipe("elq")
    elq.max_length = args.max_length or elq.max_length
    if args.book:
        print(json.dumps(book(nlp, texts, args.book), indent=1))
        return
    clock = time.process_time if args.cpu else time.perf_counter
    consume(nlp, texts[: 1 + len(texts) // 4])  # warm
    if args.once:
        print(timed(lambda: consume(nlp, texts), clock))
        return
    bare = Bare(nlp, texts, elq.max_length)
    times = in_turns(
        {
            "bare": lambda: timed(bare.forward, clock),
            "pipe": lambda: timed(lambda: consume(nlp, texts), clock),
        },
        args.repeat,
    )
    chars = sum(map(len, texts))
    report = {
        "articles": len(texts),
        "characters": chars,
        "threads": args.threads,
        "max_length": elq.max_length,
        "entities": len(elq.kb),
        "pipe characters/s": round(chars / times["pipe"]),
        "bare characters/s": round(chars / times["bare"]),
        "pipe / bare": round(times["bare"] / times["pipe"], 3),
    }
    if args.against:
        here = Path(__file__).parents[1]
        times = in_turns(
            {
                "here": lambda: in_process(here, args, args.max_length),
                "other": lambda: in_process(args.against, args, None),
            },
            args.repeat,
        )
        report["here / against"] = round(times["other"] / times["here"], 2)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
