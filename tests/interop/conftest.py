"""A small checkpoint in the published formats, with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spacy_elq.interop.checkpoint import CheckpointFiles

from ..helpers import WIDTH
from .helpers import ENTITIES, MAX_LENGTH, Published


def entity_vectors(bert: torch.nn.Module, tokenizer: Any) -> np.ndarray:
    """[CLS] title [unused2] text [SEP] → the last layer at [CLS], one entity at a time."""
    rows = []
    for record in ENTITIES:
        pieces = [*tokenizer.tokenize(record["title"]), "[unused2]"]
        pieces += tokenizer.tokenize(record["text"])
        ids = tokenizer.convert_tokens_to_ids(["[CLS]", *pieces[:22], "[SEP]"])
        with torch.no_grad():
            rows.append(bert(input_ids=torch.tensor([ids])).last_hidden_state[0, 0].numpy())
    return np.stack(rows)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Published:
    from transformers import AutoModel, AutoTokenizer

    path = tmp_path_factory.mktemp("published")
    tokenizer = AutoTokenizer.from_pretrained(str(tiny_bert))
    torch.manual_seed(1)
    question, entity = (AutoModel.from_pretrained(str(tiny_bert)).eval() for _ in range(2))
    for module in (question, entity):
        for parameter in module.parameters():  # far from the weights in the directory
            parameter.data += 0.1 * torch.randn_like(parameter)
    scorer = torch.nn.Linear(WIDTH, 3)
    prefixes = {
        "context_encoder.bert_model": question,
        "cand_encoder.bert_model": entity,
        "classification_heads.mention_scores.bound_classifier": scorer,
    }
    state = {
        f"{prefix}.{name}": tensor
        for prefix, module in prefixes.items()
        for name, tensor in module.state_dict().items()
    }
    params = {
        "bert_model": str(tiny_bert),
        "lowercase": True,
        "mention_scoring_method": "qa_linear",
        "mention_aggregation_type": "all_avg",
        "max_mention_length": 4,
        "max_context_length": MAX_LENGTH,
        "max_cand_length": 24,
        "path_to_model": None,
        "add_linear": False,
    }
    vectors = entity_vectors(entity, tokenizer)
    torch.save(state, path / "elq.bin")
    torch.save(torch.from_numpy(vectors), path / "all_entities.t7")
    (path / "elq_params.txt").write_text(str(params))
    (path / "entity.jsonl").write_text("".join(json.dumps(e) + "\n" for e in ENTITIES))
    files = CheckpointFiles(
        path / "elq.bin",
        path / "elq_params.txt",
        path / "entity.jsonl",
        path / "all_entities.t7",
    )
    return Published(files, question, entity, scorer, vectors, tokenizer, state, params)


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory, published: Published) -> Path:
    from spacy_elq.interop.checkpoint import import_checkpoint

    out = tmp_path_factory.mktemp("imported") / "pipeline"
    import_checkpoint(published.files, out, progress=False)
    return out


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes a variant of a checkpoint: `save(state, params)` → files beside each other."""

    def write(name: str, value: Any) -> Path:
        path = tmp_path / name
        if isinstance(value, str):
            path.write_text(value)
        else:
            torch.save(value, path)
        return path

    return write
