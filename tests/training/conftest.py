"""A config that trains for a few steps on texts in parts."""

import pytest
from thinc.api import Config

from ..helpers import TEXTS, write_jsonl
from .training_runs import EVERY, STEPS


@pytest.fixture(scope="module")
def texts_path(tmp_path_factory):
    """The texts in parts."""
    directory = tmp_path_factory.mktemp("texts")
    for part in range(3):
        blank = {"text": " ", "spans": []}
        write_jsonl(directory / f"part-{part:05}.jsonl", [*TEXTS[part:], blank] * 2)
    return directory


@pytest.fixture
def make_config(tiny_bert, kb_path, texts_path, tmp_path):
    """Writes a config; keyword arguments are values of its section `training`, except those of the
    reader and the component."""

    def make(streamed=True, name="config.cfg", reader=None, elq=None, **training):
        reader = {"@readers": "spacy-elq.StreamedTexts.v1", "shuffle_buffer": 6, **(reader or {})}
        if not streamed:
            reader = {"@readers": "spacy-elq.SpansJsonl.v1"}
        train = texts_path if streamed else texts_path / "part-00000.jsonl"
        config = Config(
            {
                "system": {"seed": 1},
                "nlp": {"lang": "en", "pipeline": ["elq"], "batch_size": 8},
                "components": {
                    "elq": {
                        "factory": "elq",
                        "kb_path": str(kb_path),
                        "model": {
                            "@architectures": "spacy-elq.ELQ.v1",
                            "pretrained": None,
                            "encoder": {
                                "@architectures": "spacy-elq.Transformer.v1",
                                "name": str(tiny_bert),
                                "max_length": 64,
                                "overlap": 24,
                            },
                        },
                        "entity_encoder": {"source": str(tiny_bert)},
                        "training": {
                            "freeze": [],
                            "precision": "fp32",
                            "name_dropout": 0.4,
                            "entity_dropout": 0.4,
                            "context_weight": 1.0,
                            **(elq or {}),
                        },
                    }
                },
                "corpora": {
                    "train": {**reader, "path": str(train)},
                    "dev": {
                        "@readers": "spacy-elq.SpansJsonl.v1",
                        "path": str(texts_path / "part-00000.jsonl"),
                    },
                },
                "training": {
                    "train_corpus": "corpora.train",
                    "dev_corpus": "corpora.dev",
                    "seed": 1,
                    "gpu_allocator": None,
                    "max_epochs": -1 if streamed else 0,
                    "max_steps": STEPS,
                    "eval_frequency": EVERY,
                    "batcher": {"@batchers": "spacy.batch_by_sequence.v1", "size": 4},
                    "optimizer": {
                        "@optimizers": "Adam.v1",
                        "grad_clip": 1.0,
                        "L2": 0.01,
                        "use_averages": False,
                        "learn_rate": {
                            "@schedules": "warmup_linear.v1",
                            "initial_rate": 3e-3,
                            "warmup_steps": 4,
                            "total_steps": 20,
                        },
                    },
                    **training,
                },
            }
        )
        config.to_disk(tmp_path / name)
        return tmp_path / name

    return make
