"""How fast pretraining is: reading texts, and whole steps of both encoders.

python benchmarks/pretraining.py [--encoder bert-large-uncased] [--batch-size 128] [--words 100]
    [--steps 20] [--gpu-id 0] [--peak 989] [--checkpointing]

Texts and entities are made up. Prints the CPU time of the streaming reader for a text, and of the
shuffling that spaCy does instead where all texts are in memory; then the time of a step, and
wordpieces a second. With `--peak`, the TFLOPS of the processor in the numbers it trains in, also
the share of them that the matrix products of the layers take: 6 operations for each weight and
wordpiece, attention and a repeated forward pass not counted.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from spacy.cli._util import setup_gpu
from spacy.training.initialize import init_nlp
from spacy.util import load_config, minibatch, registry
from wasabi import table

from spacy_elq.corpora.streamed import create_streamed_reader
from spacy_elq.encoders.question import get_transformer
from spacy_elq.ml.model import get_encoder

CONFIG = Path(__file__).parents[1] / "configs" / "pretrain.cfg"
ENTITIES, MENTIONS, WARM_UP = 500, 5, 2
WORDS = [a + b for a in ("ba", "con", "der", "mo", "ste") for b in ("th", "rin", "ly", "ver")]


class Counter:
    """Counts the wordpieces that a transformer reads, and what its layers compute for them."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        self.pieces = 0
        self.weights = sum(p.numel() for p in transformer.encoder.parameters() if p.dim() == 2)
        transformer.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, module, args, options) -> None:
        mask, ids = options.get("attention_mask"), options["input_ids"]
        self.pieces += ids.numel() if mask is None else int(mask.sum())

    @property
    def operations(self) -> float:
        return 6.0 * self.weights * self.pieces


def write_data(directory: Path, n_texts: int, n_words: int) -> None:
    """Entities, and texts with some mentions each in four parts."""
    rng = random.Random(0)
    names = [f"{' '.join(rng.choices(WORDS, k=2))} {i}".title() for i in range(ENTITIES)]
    entities = [{"id": f"Q{i}", "title": name} for i, name in enumerate(names)]
    (directory / "entities.jsonl").write_text("\n".join(map(json.dumps, entities)))
    (directory / "texts").mkdir()
    for part in range(4):
        rows = [make_text(rng, names, n_words) for _ in range(-(-n_texts // 4))]
        file = directory / "texts" / f"part-{part:05}.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)))


def make_text(rng: random.Random, names: list[str], n_words: int) -> dict:
    text, spans = "", []
    for _ in range(MENTIONS):
        text += " ".join(rng.choices(WORDS, k=max(1, n_words // MENTIONS - 3))) + " "
        row = rng.randrange(len(names))
        spans.append({"start": len(text), "end": len(text) + len(names[row]), "id": f"Q{row}"})
        text += names[row] + " "
    return {"text": text, "spans": spans}


def measure(
    encoder: str,
    *,
    batch_size: int,
    words: int,
    steps: int,
    gpu_id: int = -1,
    peak: float = 0.0,
    checkpointing: bool = False,
) -> list[tuple[str, str]]:
    """RETURNS (list): What was measured, and the figure."""
    setup_gpu(gpu_id)
    with TemporaryDirectory() as name:
        directory = Path(name)
        write_data(directory, batch_size * (steps + WARM_UP), words)
        overrides = {
            "paths.train": str(directory / "texts"),
            "paths.kb": str(directory / "entities.jsonl"),
            "paths.encoder": encoder,
            "components.elq.training.gradient_checkpointing": checkpointing,
        }
        nlp = init_nlp(load_config(CONFIG, overrides), use_gpu=gpu_id)
        rows = time_reading(nlp, directory / "texts")
        return rows + time_steps(nlp, directory / "texts", batch_size, peak)


def time_reading(nlp, path: Path) -> list[tuple[str, str]]:
    start = time.process_time()
    examples = list(create_streamed_reader(path)(nlp))
    streamed, start = time.process_time() - start, time.process_time()
    random.shuffle(examples)
    kept = time.process_time() - start
    return [
        ("streamed, CPU time a text", f"{1e6 * streamed / len(examples):.1f} µs"),
        ("in memory, CPU time a text", f"{1e6 * kept / len(examples):.1f} µs"),
    ]


def time_steps(nlp, path: Path, batch_size: int, peak: float) -> list[tuple[str, str]]:
    elq = nlp.get_pipe("elq")
    sgd = registry.resolve(nlp.config.interpolate()["training"])["optimizer"]
    modules = get_transformer(get_encoder(elq.model)), elq.entity_encoder.transformer
    batches = list(minibatch(create_streamed_reader(path)(nlp), batch_size))
    for number, batch in enumerate(batches):
        if number == WARM_UP:
            counters, start = [Counter(module) for module in modules], now()
        nlp.update(batch, sgd=sgd)
    seconds = now() - start
    speed = sum(counter.operations for counter in counters) / seconds / 1e12
    pieces = sum(counter.pieces for counter in counters)
    steps = len(batches) - WARM_UP
    rows = [
        ("a step", f"{1000 * seconds / steps:.0f} ms"),
        ("texts a second", f"{batch_size * steps / seconds:,.1f}"),
        ("wordpieces a second", f"{pieces / seconds:,.0f}"),
        ("layers", f"{speed:.3f} TFLOPS"),
    ]
    return [*rows, ("share of the peak", f"{speed / peak:.1%}")] if peak else rows


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--words", type=int, default=40)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--gpu-id", type=int, default=-1)
    parser.add_argument("--peak", type=float, default=0.0)
    parser.add_argument("--checkpointing", action="store_true")
    args = parser.parse_args()
    options = vars(args)
    print(table(measure(options.pop("encoder"), **options)))


if __name__ == "__main__":
    main()
