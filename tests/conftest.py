"""A tiny encoder with random weights, a knowledge base and texts for it: no network."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.training import Example

from spacy_elq.corpora.spans_jsonl import docs_from_texts, text_from_dict

WIDTH = 32

ENTITIES: list[dict[str, Any]] = [
    {"id": "Q1", "title": "Paris", "description": "capital of France", "type": "city"},
    {"id": "Q2", "title": "Paris Hilton", "description": "media personality", "aliases": ["Paris"],
     "type": "person"},
    {"id": "Q3", "title": "Georgia", "description": "country in the Caucasus", "type": "country"},
    {"id": "Q4", "title": "Georgia", "description": "state of the USA", "type": "state"},
    {"id": "Q5", "title": "Mercury", "description": "planet nearest to the sun", "rank": 1},
    {"id": "Q6", "title": "mercury", "description": "liquid metal", "aliases": ["quicksilver"]},
]  # fmt: skip

TEXTS: list[dict[str, Any]] = [
    {"text": "what river runs through paris", "spans": [{"start": 24, "end": 29, "id": "Q1"}]},
    {"text": "who did paris marry", "spans": [{"start": 8, "end": 13, "id": "Q2"}]},
    {"text": "is georgia north of armenia", "spans": [{"start": 3, "end": 10, "id": "Q3"}]},
    {"text": "who is governor of georgia", "spans": [{"start": 19, "end": 26, "id": "Q4"}]},
    {"text": "how hot is mercury", "spans": [{"start": 11, "end": 18, "id": "Q5"}]},
    {"text": "is mercury in thermometers", "spans": [{"start": 3, "end": 10, "id": "Q6"}]},
    {"text": "what time is it", "spans": []},
]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers, 32 wide, random weights, whose vocabulary spells words in letters."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    directory = tmp_path_factory.mktemp("tiny-bert")
    words = sorted({w for row in TEXTS for w in row["text"].split()})
    marks = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused2]", *words[::2], *marks]
    pieces += [f"##{letter}" for letter in string.ascii_lowercase + string.digits]
    (directory / "vocab.txt").write_text("\n".join(dict.fromkeys(pieces)), encoding="utf8")
    tokenizer = BertTokenizerFast(str(directory / "vocab.txt"), model_max_length=64)
    tokenizer.save_pretrained(str(directory))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertModel(config).eval().save_pretrained(str(directory))
    return directory


@pytest.fixture(scope="session")
def entities_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("entities") / "entities.jsonl"
    path.write_text("\n".join(map(json.dumps, ENTITIES)), encoding="utf8")
    return path


@pytest.fixture(scope="session")
def elq_config(tiny_bert: Path) -> dict[str, Any]:
    """Configuration of the component with the tiny encoder on both sides."""
    return {
        "model": {
            "encoder": {"name": str(tiny_bert), "max_length": 64, "overlap": 24},
            "pretrained": None,
        },
        "entity_encoder": {"source": str(tiny_bert)},
        "training": {
            "freeze": [],
            "precision": "fp32",
            "name_dropout": 0.0,
            "entity_dropout": 0.0,
        },
    }


@pytest.fixture(scope="session")
def kb_path(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path, entities_path: Path) -> Path:
    from spacy_elq.encoders.entity import EntityEncoder
    from spacy_elq.entities.reader import read_entities
    from spacy_elq.kb.build import build_kb

    out = tmp_path_factory.mktemp("kb") / "kb"
    build_kb(read_entities(entities_path), out, EntityEncoder(str(tiny_bert)), progress=False)
    return out


@pytest.fixture
def make_nlp(elq_config: dict[str, Any], kb_path: Path) -> Callable[..., Language]:
    """Makes an initialized pipeline; keyword arguments go into the component's config."""

    def make(**config: Any) -> Language:
        from spacy.util import fix_random_seed

        from spacy_elq.kb.knowledge_base import FaissKB

        fix_random_seed(0)
        nlp = spacy.blank("en")
        merged = {**elq_config, **config}
        for key in elq_config:
            merged[key] = {**elq_config[key], **config.get(key, {})}
        nlp.add_pipe("elq", config=merged)
        nlp.initialize()
        # Shared by all tests: changes must not be written there.
        nlp.get_pipe("elq").set_kb(FaissKB.open(kb_path, nlp.vocab, in_place=False))
        return nlp

    return make


@pytest.fixture(scope="session")
def trained_path(
    tmp_path_factory: pytest.TempPathFactory, elq_config: dict[str, Any], kb_path: Path
) -> Path:
    """A pipeline that has learned the texts by heart."""
    from spacy.util import fix_random_seed

    from spacy_elq.kb.loaders import kb_from_directory

    fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("elq", config=elq_config)
    nlp.initialize()
    nlp.get_pipe("elq").set_kb(kb_from_directory(kb_path))
    train(nlp, steps=80)
    path = tmp_path_factory.mktemp("trained") / "pipeline"
    nlp.to_disk(path)
    return path


def examples(nlp: Language, rows: list[dict[str, Any]] = TEXTS) -> list[Example]:
    """Gold examples in the pipeline's vocabulary."""
    golds = docs_from_texts(nlp, [text_from_dict(row, "test") for row in rows])
    return [Example(nlp.make_doc(gold.text), gold) for gold in golds]


def train(nlp: Language, steps: int = 60, rate: float = 3e-3) -> dict[str, float]:
    """Overfit the texts above. RETURNS (dict): The losses of the last step."""
    from thinc.api import Adam

    optimizer = Adam(rate, grad_clip=1.0, L2=0.0, use_averages=False)
    gold = examples(nlp)
    losses: dict[str, float] = {}
    for _ in range(steps):
        losses = nlp.update(gold, sgd=optimizer, losses={})
    return losses
