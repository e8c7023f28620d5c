"""What the small checkpoint in the published formats consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from spacy_elq.interop.checkpoint import CheckpointFiles

from ..helpers import TEXTS

ENTITIES: list[dict[str, Any]] = [
    {
        "text": " capital of France",
        "idx": "w1",
        "title": "Paris",
        "entity": "Paris",
        "kb_idx": "Q1",
    },
    {"text": " person", "idx": "w2", "title": "paris", "entity": "paris", "kb_idx": "Q2"},
    {"text": " country in the Caucasus", "idx": "w3", "title": "Georgia", "entity": "Georgia"},
    {"text": " planet", "idx": "w4", "title": "mercury", "entity": "mercury", "kb_idx": "Q5"},
    {"text": " metal", "idx": "w5", "title": "quicksilver", "entity": "x", "kb_idx": "Q5"},
    *(
        {
            "text": f" number {i}",
            "idx": f"n{i}",
            "title": f"n {i}",
            "entity": "n",
            "kb_idx": f"N{i}",
        }
        for i in range(35)
    ),
]
IDS = ["Q1", "Q2", "w3", "Q5", "Q5#4", *(f"N{i}" for i in range(35))]
MAX_LENGTH = 12
LINKED_TEXTS = [row["text"] for row in TEXTS] + [
    "who did paris marry in the capital of georgia north of armenia and how hot is mercury",
    "?",
]


@dataclass
class Published:
    """Published files, and the modules whose weights they hold."""

    files: CheckpointFiles
    question: torch.nn.Module
    entity: torch.nn.Module
    scorer: torch.nn.Linear
    vectors: np.ndarray
    tokenizer: Any
    state: dict[str, torch.Tensor]
    params: dict[str, Any]
