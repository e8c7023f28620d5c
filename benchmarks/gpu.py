"""What a GPU does: pretraining, embedding, and projects/wikipedia from a dump to a package.

    python benchmarks/gpu.py [pretraining] [embedding] [sample] [--device cuda] [--size large]
        [--peak-tflops T] [--batch-size 128] [--checkpointing] [--dump DUMP]
    python benchmarks/gpu.py --device cpu --size tiny      # that it runs, without a GPU

Without names, all three. Texts, entities and the dump are made up; encoders have the shape of
BERT-large, random weights and MiniLM's vocabulary. So nothing is downloaded.

"pretraining" measures steps of configs/pretrain.cfg that train both encoders, as
benchmarks/pretraining.py does, which says what its share of the peak counts. "embedding" is of
entities whose texts have 128 wordpieces each, one vector for each entity: the encoder's forward
alone, and the whole of `kb build` with tokenization and writing. "sample" gives the seconds of each
command of `spacy project run all --vars.size sample`, with MiniLM, on a dump (--dump).

The share of the peak is that of dense bfloat16 products, which is looked up by the GPU's name, or
given by --peak-tflops. A text of L wordpieces takes, in each layer of width h and inner width f,

    2 L (4 h^2 + 2 h f)    products with the weights: query, key, value, output; the inner ones
    4 L^2 h                attention: query with key, and the weights with value

operations, a multiplication and an addition being two: 78.9 * 10^9 in BERT-large's 24 layers with
L = 128, h = 1024, f = 4096. Embeddings, norms, activations and pooling are left out.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from pretraining import WORDS, measure, now
from spacy.cli._util import setup_gpu
from transformers import AutoTokenizer, BertConfig, BertModel
from wasabi import msg, table

from spacy_elq.encoders.entity import EntityEncoder, EntityEncoderSettings
from spacy_elq.encoders.inference import infer
from spacy_elq.encoders.model_paths import resolve_model_path
from spacy_elq.kb.build import build_kb
from spacy_elq.types import Entity

ROOT = Path(__file__).parents[1]
PARTS = ("pretraining", "embedding", "sample")
COMMANDS = ("parse", "split", "pretrain", "embed", "negatives", "finetune")
COMMANDS += ("attach", "evaluate", "package")
LENGTH = 128
PUBLISHED = EntityEncoderSettings(template="elq", pooling="cls", normalize=False)
# Words of a text that is about as long in wordpieces; and of one that is certainly longer.
WORDS_OF_TEXT, WORDS_OF_ENTITY = 40, 130
WARM_UP = 3
# TFLOPS in bfloat16, dense, as the makers give them.
PEAKS = {
    **{"B200": 2250, "H200": 989, "GH200": 989, "H100 PCIe": 756, "H100 NVL": 835, "H100": 989},
    **{"A100": 312, "A40": 150, "A10G": 70, "A10": 125, "L40S": 362, "L40": 181, "L4": 121},
    **{"RTX 4090": 165, "RTX 3090": 71, "MI300X": 1307},
}


class Size(NamedTuple):
    """The shape of the encoders, and how much is done."""

    layers: int
    width: int
    heads: int
    inner: int
    batch: int
    steps: int
    entities: int
    pages: int


SIZES = {
    "large": Size(24, 1024, 16, 4096, batch=128, steps=20, entities=20_000, pages=1_000),
    "tiny": Size(2, 32, 2, 64, batch=4, steps=2, entities=64, pages=40),
}
Rows = list[tuple[str, str]]


def peak_of(device: str) -> float:
    """RETURNS (float): TFLOPS of a GPU, by its name; 0 if they are not known."""
    names = sorted(PEAKS, key=len, reverse=True)
    return next((PEAKS[name] for name in names if re.search(rf"\b{name}\b", device)), 0.0)


def operations(size: Size, length: int = LENGTH) -> float:
    """RETURNS (float): Those of the forward for a text; see above."""
    weights = 4 * size.width**2 + 2 * size.width * size.inner
    return size.layers * (2.0 * length * weights + 4.0 * length**2 * size.width)


def write_encoder(directory: Path, size: Size) -> None:
    tokenizer = AutoTokenizer.from_pretrained(resolve_model_path("minilm"), model_max_length=512)
    tokenizer.save_pretrained(directory)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.inner,
    )
    BertModel(config).save_pretrained(directory)


def made_up(rng: random.Random, n_words: int) -> str:
    return " ".join(rng.choices(WORDS, k=n_words))


def time_pretraining(directory: Path, size: Size, args: argparse.Namespace) -> Rows:
    return measure(
        str(directory / "encoder"),
        batch_size=args.batch_size or size.batch,
        words=WORDS_OF_TEXT,
        steps=size.steps,
        gpu_id=args.gpu_id,
        peak=args.peak_tflops,
        checkpointing=args.checkpointing,
    )


def time_embedding(directory: Path, size: Size, args: argparse.Namespace) -> Rows:
    setup_gpu(args.gpu_id)
    encoder = EntityEncoder(str(directory / "encoder"), PUBLISHED)
    rng = random.Random(0)
    entities = [
        Entity(f"Q{i}", made_up(rng, 2), made_up(rng, WORDS_OF_ENTITY))
        for i in range(size.entities)
    ]
    assert encoder.count_wordpieces(entities[:10]) == 10 * LENGTH
    speeds = {"forward": forwards_per_second(encoder, size.entities)}
    began = now()
    build_kb(entities, directory / "kb", encoder, index="exact", progress=False)
    speeds["kb build"] = size.entities / (now() - began)
    rows = [("in", encoder.inference_name)]
    for what, speed in speeds.items():
        tflops = speed * operations(size) / 1e12
        share = f", {tflops / args.peak_tflops:.1%} of the peak" if args.peak_tflops else ""
        rows.append((what, f"{speed:,.1f} entities a second, {tflops:.3f} TFLOPS{share}"))
    return rows


def forwards_per_second(encoder: EntityEncoder, count: int) -> float:
    """RETURNS (float): Texts that the transformer reads, in batches as `kb build` has them."""
    batch = encoder.max_batch_items // LENGTH
    ids = np.random.default_rng(0).integers(
        1000, encoder.transformer.config.vocab_size, (batch, LENGTH)
    )
    mask, times = np.ones(ids.shape, dtype=bool), max(1, count // batch)
    for step in range(WARM_UP + times):
        if step == WARM_UP:
            began = now()
        infer(encoder.transformer, ids, mask, encoder.inference)
    return batch * times / (now() - began)


def time_sample(directory: Path, size: Size, args: argparse.Namespace) -> Rows:
    project = directory / "projects" / "wikipedia"
    shutil.copytree(ROOT / "configs", directory / "configs")
    shutil.copytree(ROOT / "projects" / "wikipedia", project)
    options = {"size": "sample", "gpu_id": args.gpu_id, "workers": 1}
    options["dump"] = (
        args.dump.resolve() if args.dump else write_dump(directory / "dump.xml", size.pages)
    )
    if args.size == "tiny":
        options["encoder"] = directory / "encoder"
    pairs = [part for name, value in options.items() for part in (f"--vars.{name}", str(value))]
    return list(seconds_of_commands(project, pairs))


def seconds_of_commands(project: Path, options: list[str]) -> Iterator[tuple[str, str]]:
    whole = now()
    for command in COMMANDS:
        began = now()
        line = [sys.executable, "-m", "spacy", "project", "run", command, str(project), *options]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
        yield command, f"{now() - began:.1f} s"
    yield "all", f"{now() - whole:.1f} s"


def write_dump(path: Path, n_pages: int) -> Path:
    """RETURNS (Path): A dump of made-up cities, each of which links three others."""
    rng = random.Random(0)
    names = [f"{made_up(rng, 1)} {i}".capitalize() for i in range(n_pages)]
    with path.open("w", encoding="utf8") as file:
        file.write('<mediawiki xml:lang="en">\n')
        for name in names:
            a, b, c = rng.sample(names, 3)
            text = f"'''{name}''' is a city near [[{a}]] and [[{b}]], {made_up(rng, 20)}.\n\n"
            text += f"Many people from [[{c}]] live there, {made_up(rng, 20)}."
            revision = f"<revision><text>{text}</text></revision>"
            file.write(f"<page><title>{name}</title><ns>0</ns>{revision}</page>\n")
        file.write("</mediawiki>\n")
    return path


TIMED = dict(zip(PARTS, (time_pretraining, time_embedding, time_sample), strict=True))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu")
    parser.add_argument("--size", choices=SIZES, default="large")
    parser.add_argument("--peak-tflops", type=float, help="default: looked up by the device's name")
    parser.add_argument("--batch-size", type=int, default=0, help="texts of a step of pretraining")
    parser.add_argument("--checkpointing", action="store_true", help="of gradients")
    parser.add_argument("--dump", type=Path, help="for the sample; default: one that is made up")
    args = parser.parse_args(arguments)
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    kind, _, number = args.device.partition(":")
    args.gpu_id = -1 if kind == "cpu" else int(number or 0)
    return args


def main(arguments: list[str] | None = None) -> None:
    args, on_gpu = parse(arguments), torch.cuda.is_available()
    name = torch.cuda.get_device_name(args.gpu_id) if args.gpu_id >= 0 and on_gpu else args.device
    args.peak_tflops = args.peak_tflops or peak_of(name)
    print(f"{name}, peak {args.peak_tflops or 'unknown'} TFLOPS, torch {torch.__version__}")
    for part in args.parts or PARTS:
        with TemporaryDirectory() as directory:
            write_encoder(Path(directory) / "encoder", SIZES[args.size])
            msg.divider(part)
            print(table(TIMED[part](Path(directory), SIZES[args.size], args)))


if __name__ == "__main__":
    main()
