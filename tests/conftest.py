"""A tiny encoder with random weights, a knowledge base, pipelines: no network."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import spacy
from hypothesis import HealthCheck, settings
from spacy.language import Language

from .helpers import ENTITIES, TEXTS, WIDTH, train

# No test depends on how fast the machine is.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def same_precision_on_every_processor() -> Iterator[None]:
    """The processor says that it has no bfloat16."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
        yield


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
