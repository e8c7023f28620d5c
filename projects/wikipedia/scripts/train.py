"""One stage of training: `elq train` with the numbers of a size.

python scripts/train.py {pretrain,negatives,finetune} --size {sample,full} --train … --dev … --kb …
                        [--pipeline …] [--encoder …] [--lang en] [--gpu-id -1]

Several GPUs: `torchrun --nproc-per-node 8 -m spacy elq train` with the arguments that this prints.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import NamedTuple

CONFIGS = {
    "pretrain": "pretrain.cfg",
    "negatives": "pretrain-frozen.cfg",
    "finetune": "pretrain-frozen.cfg",
}


class Numbers(NamedTuple):
    """steps, warmup: Of the optimizer.
    rate: Highest learning rate.
    batch: Texts of a step.
    every: Steps from one evaluation, and checkpoint, to the next.
    """

    steps: int
    warmup: int
    rate: float
    batch: int
    every: int


ENCODERS = {"sample": "minilm", "full": "bert-base-uncased"}
NUMBERS = {
    "sample": {
        "pretrain": Numbers(20, 2, 1e-4, 8, 10),
        "negatives": Numbers(20, 2, 1e-4, 8, 10),
        "finetune": Numbers(20, 2, 2e-5, 8, 10),
    },
    "full": {
        "pretrain": Numbers(70_000, 7_000, 5e-5, 128, 5_000),
        "negatives": Numbers(70_000, 7_000, 5e-5, 128, 1_000),
        "finetune": Numbers(2_300, 230, 1e-5, 128, 500),
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=CONFIGS)
    parser.add_argument("--size", choices=NUMBERS, required=True)
    for name in ("train", "dev", "kb"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--pipeline")
    parser.add_argument("--encoder", default="")
    parser.add_argument("--lang", default="en")
    parser.add_argument("--gpu-id", default="-1")
    args = parser.parse_args()
    command = ["-m", "spacy", "elq", "train", *arguments(args)]
    print("python", *command, flush=True)
    sys.exit(subprocess.call([sys.executable, *command]))


def arguments(args: argparse.Namespace) -> list[str]:
    """RETURNS (list[str]): Those of `elq train`."""
    numbers = NUMBERS[args.size][args.stage]
    values = {
        "nlp.lang": args.lang,
        "output": f"training/{args.stage}",
        "paths.train": args.train,
        "paths.dev": args.dev,
        "paths.kb": args.kb,
        "paths.curve": f"training/{args.stage}.jsonl",
        "variables.batch_size": numbers.batch,
        "variables.steps": numbers.steps,
        "variables.warmup_steps": numbers.warmup,
        "variables.rate": numbers.rate,
        "variables.eval_frequency": numbers.every,
    }
    if args.pipeline:
        values["paths.pipeline"] = args.pipeline
    else:
        values["paths.encoder"] = args.encoder or ENCODERS[args.size]
    pairs = [part for name, value in values.items() for part in (f"--{name}", str(value))]
    return [f"../../configs/{CONFIGS[args.stage]}", *pairs, "--gpu-id", args.gpu_id]


if __name__ == "__main__":
    main()
