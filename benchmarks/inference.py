"""What each way of inference gains over torch in float32, as ratios within one run.

python benchmarks/inference.py PIPELINE TEXTS.jsonl [--texts 500] [--entities 300] [--repeat 5]
                               [--threads 1]

Comparisons, each the median of several runs taken in turns:
  single  `nlp(text)`, one after the other
  pipe    `nlp.pipe`, batch 64
  embed   the entity encoder, on entities of the knowledge base, as in `kb build`

The scores of each way are those of `elq evaluate` on what `elq optimize` writes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import spacy
import torch
from speed import BATCH, in_turns

from spacy_elq.corpora.spans_jsonl import read_spans_jsonl
from spacy_elq.encoders.inference import InferenceSettings
from spacy_elq.encoders.precision import uses_bf16

WAYS = [
    InferenceSettings(backend="torch", precision="fp32"),
    InferenceSettings(backend="torch", precision="bf16"),
    InferenceSettings(backend="onnx", precision="fp32"),
    InferenceSettings(backend="onnx", precision="int8"),
]
# Texts that are linked one by one.
SINGLE = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pipeline")
    parser.add_argument("texts_path", type=Path)
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--entities", type=int, default=300)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    nlp = spacy.load(args.pipeline)
    elq = nlp.get_pipe("elq")
    rows = islice(read_spans_jsonl(args.texts_path), args.texts)
    texts = [row.text for row in rows]
    entities = list(islice(elq.kb.view, args.entities))
    # Emulated bfloat16 would only take long.
    ways = [way for way in WAYS if way.precision != "bf16" or uses_bf16("auto", "cpu")]
    jobs: dict[str, tuple[int, Callable[[], object]]] = {
        "single": (len(texts[:SINGLE]), lambda: [nlp(text) for text in texts[:SINGLE]]),
        "pipe": (len(texts), lambda: list(nlp.pipe(texts, batch_size=BATCH))),
        "embed": (len(entities), lambda: elq.entity_encoder.encode(entities)),
    }
    found: dict[str, dict[str, float]] = {}
    for job, (count, run) in jobs.items():
        runs = {way.name_on("cpu"): partial(in_way, elq, way, run) for way in ways}
        times = in_turns(runs, args.repeat)
        reference = times[ways[0].name_on("cpu")]
        for name, seconds in times.items():
            numbers = found.setdefault(name, {})
            numbers[f"{job} / s"] = round(count / seconds, 1)
            numbers[f"{job}, times"] = round(reference / seconds, 3)
    print(json.dumps({"threads": args.threads, "entities": len(elq.kb), **found}, indent=2))


def in_way(elq, way: InferenceSettings, run: Callable[[], object]) -> None:
    elq.set_inference(**way.model_dump())
    run()


if __name__ == "__main__":
    main()
