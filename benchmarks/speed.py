"""How much of the encoder's own speed the component keeps, as ratios within one run.

python benchmarks/speed.py PIPELINE TEXTS.jsonl [--texts 2000] [--repeat 5] [--threads 2]
python benchmarks/speed.py --build ENTITIES.jsonl [--entities 50000] [--repeat 5] [--threads 2]

Comparisons, each the median of several runs taken in turns:
  pipe     texts/s of `nlp.pipe` (batch 64) over texts/s of the bare transformers forward on the
           same wordpieces in padded batches of 64; of texts sorted by their number of wordpieces,
           and of texts as they come
  latency  time of `nlp(text)` over the bare forward of that text and one exact search; and the rest
           of it: what is not spent in the encoder
  step     time of an `nlp.update` over a bare PyTorch loop with the same arithmetic: forward,
           span and entity losses, backward, clipping, AdamW; both in the pipeline's precision
  build    entities/s of `kb build` over those of a plain loop of transformers, on the first 512:
           each name and each "name: description" of 48 entities in one padded batch; and how the
           resident memory of a build grows after 2,000 entities
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from unittest import mock

import numpy as np
import spacy
import torch
from spacy.training import Example
from thinc.api import Adam
from torch.nn import functional as F

from spacy_elq.corpora.spans_jsonl import docs_from_texts, read_spans_jsonl
from spacy_elq.encoders import question
from spacy_elq.encoders.entity import EntityEncoder, load_entity_encoder
from spacy_elq.encoders.precision import autocast, uses_bf16
from spacy_elq.encoders.windows import cut_windows, pad
from spacy_elq.entities.reader import read_entities
from spacy_elq.kb.build import build_kb
from spacy_elq.linking.boundaries import boundary_masks
from spacy_elq.ml.heads import torch_span_logits
from spacy_elq.ml.model import get_encoder, get_heads
from spacy_elq.training.targets import find_targets
from spacy_elq.types import Entity

BATCH = 64


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def in_turns(runs: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """RETURNS (dict): Median seconds of each, after one warm-up; taken in turns, so that whatever
    else the machine does falls on all of them."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeat):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return {name: statistics.median(values) for name, values in times.items()}


def consume(nlp, texts: list[str]) -> None:
    for _ in nlp.pipe(texts, batch_size=BATCH):
        pass


class Bare:
    """The same transformer and arithmetic without spaCy, thinc, records or annotations."""

    def __init__(self, elq) -> None:
        self.elq = elq
        self.transformer = get_encoder(elq.model).layers[0]
        self.bert = self.transformer.transformer
        self.tokenizer = self.transformer.tokenizer

    def sorted(self, texts: list[str]) -> list[str]:
        """By their number of wordpieces."""
        windows = cut_windows(self.tokenizer, texts, 512, 64)
        return [texts[window.doc] for window in sorted(windows, key=len)]

    def batches(self, texts: list[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        result = []
        for start in range(0, len(texts), BATCH):
            windows = cut_windows(self.tokenizer, texts[start : start + BATCH], 512, 64)
            windows.sort(key=len, reverse=True)
            ids, mask = pad([window.ids for window in windows], self.tokenizer.pad_token_id)
            result.append((torch.from_numpy(ids), torch.from_numpy(mask).long()))
        return result

    def forward(self, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.bert.eval()
        with torch.inference_mode():
            for ids, mask in batches:
                self.bert(input_ids=ids, attention_mask=mask)

    def forward_and_search(self, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.bert.eval()
        with torch.inference_mode():
            for ids, mask in batches:
                vector = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
                self.elq.kb.search(vector.numpy(), 10)


def rest_seconds(nlp, texts: list[str], repeat: int) -> float:
    """RETURNS (float): Seconds of `nlp(text)` outside the encoder, for all texts; the median."""
    inside, infer = [], question.infer

    def timed(*args):
        start = time.perf_counter()
        vectors = infer(*args)
        inside.append(time.perf_counter() - start)
        return vectors

    rests = []
    with mock.patch.object(question, "infer", timed):
        for _ in range(repeat):
            inside.clear()
            total = seconds(lambda: [nlp(text) for text in texts])
            rests.append(total - sum(inside))
    return statistics.median(rests)


def training_batch(elq, gold: list[Example]):
    """What one step needs, made once: wordpieces, allowed boundaries, gold spans and entities."""
    docs = [example.reference for example in gold]
    texts = [doc.text for doc in docs]
    bare = Bare(elq)
    windows = cut_windows(bare.tokenizer, texts, 512, 64)
    ids, mask = pad([window.ids for window in windows], bare.tokenizer.pad_token_id)
    starts, ends = boundary_masks(windows, texts, mask, words=True, special_tokens=False)

    targets = find_targets(windows, docs, elq.kb.row, Counter())
    return ids, mask, starts, ends, targets


def bare_step(elq, optimizer: torch.optim.Optimizer, rows: torch.Tensor, owners: np.ndarray, batch):
    """Forward, both losses over the whole knowledge base, backward, clip, step."""
    ids, mask, starts, ends, targets = batch
    bert, heads = Bare(elq).bert, get_heads(elq.model)
    bert.train()
    with autocast(elq.training.precision, "cpu"):
        hidden = bert(
            input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask).long()
        ).last_hidden_state.float()
    scores = torch_span_logits(
        heads.mention_scorer(hidden), torch.from_numpy(starts), torch.from_numpy(ends), 10
    )
    gold = torch.zeros(scores.shape)
    width = targets.last - targets.first
    gold[targets.window, targets.first, width] = 1
    real = scores > -torch.inf
    mention = F.binary_cross_entropy_with_logits(scores[real], gold[real], reduction="sum")
    spans = np.stack([targets.window, targets.first, targets.last], 1)
    queries = heads.queries(hidden, spans, mask.sum(1))
    products = (queries.to(rows.dtype) @ rows).float()
    best = torch.full((len(queries), elq.kb.view.n_rows), -torch.inf)
    best = best.scatter_reduce(
        1, torch.from_numpy(owners).expand(len(queries), -1), products, "amax"
    )
    entity = F.cross_entropy(best, torch.from_numpy(targets.row))
    (mention / len(ids) + entity).backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad()


def compare_steps(nlp, elq, gold: list[Example], repeat: int) -> dict[str, float]:
    vectors, owners = elq.kb.vector_matrix()
    dtype = torch.bfloat16 if uses_bf16(elq.training.precision, "cpu") else torch.float32
    rows = torch.tensor(np.asarray(vectors), dtype=dtype).T.contiguous()
    elq.set_training(context_weight=0.0)  # the bare loop has no second forward for it either
    adam = Adam(1e-6, grad_clip=1.0, L2=0.0, use_averages=False)
    nlp.update(gold, sgd=adam)  # freezes what is not trained
    heads, bert = get_heads(elq.model), Bare(elq).bert
    trained = [p for m in (bert, heads) for p in m.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6, weight_decay=0.0)
    batch = training_batch(elq, gold)
    return in_turns(
        {
            "bare": lambda: bare_step(elq, optimizer, rows, owners.astype(np.int64), batch),
            "spacy": lambda: nlp.update(gold, sgd=adam),
        },
        repeat,
    )


class Watched:
    """An entity encoder that notes the resident memory, in MB, after each chunk of entities."""

    def __init__(self, encoder: EntityEncoder) -> None:
        self.encoder = encoder
        self.resident: dict[int, float] = {0: resident_mb()}

    def __getattr__(self, name: str):
        return getattr(self.encoder, name)

    def encode(self, entities: list[Entity]):
        encoded = self.encoder.encode(entities)
        self.resident[max(self.resident) + len(entities)] = resident_mb()
        return encoded


def resident_mb() -> float:
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1000


def embed_plainly(encoder: EntityEncoder, entities: list[Entity]) -> None:
    for start in range(0, len(entities), 48):
        named = [(name, e.description) for e in entities[start : start + 48] for name in e.names]
        texts = [name for name, _ in named]
        texts += [f"{name}: {description}" for name, description in named if description]
        batch = encoder.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            hidden = encoder.transformer(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1).numpy()


def compare_builds(path: Path, n: int, repeat: int) -> dict[str, float]:
    entities = list(islice(read_entities(path), n))
    encoder = load_entity_encoder("minilm")
    watched = Watched(encoder)
    with tempfile.TemporaryDirectory() as directory:
        build = partial(build_kb, out=Path(directory) / "kb", progress=False, overwrite=True)
        build(entities, vectors=watched)
        some = entities[:512]
        times = in_turns(
            {
                "bare": lambda: embed_plainly(encoder, some),
                "build": lambda: build(some, vectors=encoder),
            },
            repeat,
        )
    early = [mb for seen, mb in watched.resident.items() if 0 < seen <= 2000]
    return {
        "entities": len(entities),
        "build entities/s": round(len(some) / times["build"], 1),
        "bare entities/s": round(len(some) / times["bare"], 1),
        "build / bare": round(times["bare"] / times["build"], 2),
        "MB up to 2,000 entities": round(max(early)),
        "MB more in the end": round(max(watched.resident.values()) - max(early)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("pipeline", nargs="?")
    parser.add_argument("texts", type=Path, nargs="?", help="spans JSONL")
    parser.add_argument("--build", type=Path, help="a file of entities; alone")
    parser.add_argument("--entities", type=int, default=50_000)
    parser.add_argument("--texts", dest="n", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    report = compare_builds(args.build, args.entities, args.repeat) if args.build else compare(args)
    print(json.dumps(report, indent=1))


def compare(args: argparse.Namespace) -> dict[str, float]:
    nlp = spacy.load(args.pipeline)
    elq = nlp.get_pipe("elq")
    bare = Bare(elq)
    rows = list(islice(read_spans_jsonl(args.texts), args.n))
    texts = [row.text for row in rows]

    by_length = bare.sorted(texts)
    pipe, pipe_as_they_come = (
        in_turns(
            {
                "bare": partial(bare.forward, bare.batches(some)),
                "spacy": partial(consume, nlp, some),
            },
            args.repeat,
        )
        for some in (by_length, texts)
    )
    some = texts[:200]
    singles = [bare.batches([text])[0] for text in some]
    latency = in_turns(
        {
            "bare": lambda: bare.forward_and_search(singles),
            "spacy": lambda: [nlp(text) for text in some],
        },
        args.repeat,
    )
    rest = rest_seconds(nlp, some, args.repeat)
    with_spans = [row for row in rows if row.spans][:BATCH]
    gold = [Example(nlp.make_doc(doc.text), doc) for doc in docs_from_texts(nlp, with_spans)]
    step = compare_steps(nlp, elq, gold, 4 * args.repeat)

    return {
        "texts": len(texts),
        "threads": args.threads,
        "entities": len(elq.kb),
        "pipe texts/s": round(len(texts) / pipe["spacy"], 1),
        "bare texts/s": round(len(texts) / pipe["bare"], 1),
        "pipe / bare": round(pipe["bare"] / pipe["spacy"], 3),
        "as they come": round(pipe_as_they_come["bare"] / pipe_as_they_come["spacy"], 3),
        "latency ms": round(1000 * latency["spacy"] / len(some), 2),
        "rest ms": round(1000 * rest / len(some), 2),
        "bare latency ms": round(1000 * latency["bare"] / len(some), 2),
        "latency / bare": round(latency["spacy"] / latency["bare"], 3),
        "step ms": round(1000 * step["spacy"], 1),
        "bare step ms": round(1000 * step["bare"], 1),
        "step / bare": round(step["spacy"] / step["bare"], 3),
    }


if __name__ == "__main__":
    main()
