"""What a build adds to the bare forward of the entity encoder: tokenization, sorting, writing.

    python benchmarks/embedding.py entities.jsonl [--entities 3000] [--encoder minilm]

In one run and one thread, each batch of the build is followed by the forward alone, over the same
padded batches; the ratio is of the CPU time of both, which other processes on the machine disturb
alike. Beside it, the entities per second of CPU time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from spacy_elq.encoders import entity as entity_module
from spacy_elq.encoders.entity import load_entity_encoder
from spacy_elq.encoders.inference import infer
from spacy_elq.entities.reader import read_entities
from spacy_elq.kb.build import VectorSource, build_kb
from spacy_elq.types import Entity


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("entities_file", type=Path)
    parser.add_argument("--entities", type=int, default=3000)
    parser.add_argument("--encoder", default="minilm")
    args = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_entity_encoder(args.encoder)
    entities = list(islice(read_entities(args.entities_file), args.entities))
    encoder.encode(entities[:64])  # warm
    batches: list[tuple[np.ndarray, np.ndarray]] = []
    bare = 0.0

    def noted(transformer, ids, mask, settings):  # type: ignore[no-untyped-def]
        batches.append((ids, mask))
        return infer(transformer, ids, mask, settings)

    def batch(some: Sequence[Entity], first: int) -> tuple[np.ndarray, np.ndarray]:
        nonlocal bare
        made = encoder.encode(some)
        began = time.process_time()
        for ids, mask in batches:
            infer(encoder.transformer, ids, mask, encoder.inference)
        bare += time.process_time() - began
        batches.clear()
        return made

    entity_module.infer = noted  # type: ignore[assignment]
    source = replace(VectorSource.from_encoder(encoder), batch=batch)
    with tempfile.TemporaryDirectory() as name:
        began = time.process_time()
        build_kb(entities, Path(name) / "kb", source, progress=False)
        whole = time.process_time() - began - bare
    rate = len(entities) / whole
    print(f"bare forward / whole build: {bare / whole:.3f}; {rate:.0f} entities per CPU second")


if __name__ == "__main__":
    main()
