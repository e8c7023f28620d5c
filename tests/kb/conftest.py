"""A small knowledge base whose vectors are known, and arithmetic to check it with."""

import hashlib

import numpy as np
import pytest
from spacy.vocab import Vocab

from spacy_elq.kb.build import build_kb
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.types import Entity

WIDTH = 8
ENTITIES = [
    Entity("Q90", "Paris", "capital of France", ("City of Light",), "city", {"wiki": "Paris"}),
    Entity("Q167646", "Paris", "son of Priam", ("Alexander",), "person"),
    Entity("Q8409", "Alexander the Great", "king of Macedon", ("Alexander", "alexander")),
    Entity("Q3", "Straße", extra={"rank": [1, {"deep": None}]}),
    Entity("Q4", "!!!", "band from Sacramento"),
    *(Entity(f"E{i}", f"Thing {i}", aliases=(f"It {i % 3}",)) for i in range(40)),
]


class HashEncoder:
    """One vector for each name, made from nothing but the text."""

    def __init__(self, width=WIDTH, fingerprint="hash-1"):
        self.width = width
        self.fingerprint = fingerprint
        self.normalized = False
        self.encoded = []

    def vector(self, entity, name):
        seed = hashlib.sha256(f"{entity.id} {name} {entity.description}".encode()).digest()
        return np.random.default_rng(list(seed)).standard_normal(self.width).astype("f4")

    def encode(self, entities):
        self.encoded.extend(entity.id for entity in entities)
        pairs = [(i, name) for i, entity in enumerate(entities) for name in entity.names]
        vectors = np.stack([self.vector(entities[i], name) for i, name in pairs])
        return vectors, np.array([i for i, _ in pairs])


def reference_scores(kb_entities, encoder, queries):
    """(M, N): best inner product of each entity, by plain loops in double precision."""
    scores = np.empty((len(queries), len(kb_entities)))
    for column, entity in enumerate(kb_entities):
        vectors = [encoder.vector(entity, name).astype("f8") for name in entity.names]
        scores[:, column] = [max(float(q @ v) for v in vectors) for q in queries.astype("f8")]
    return scores


@pytest.fixture
def encoder():
    return HashEncoder()


@pytest.fixture
def vocab():
    return Vocab()


@pytest.fixture
def directory(tmp_path, encoder):
    build_kb(ENTITIES, tmp_path / "kb", encoder, progress=False)
    return tmp_path / "kb"


@pytest.fixture
def kb(directory, vocab):
    return FaissKB.open(directory, vocab)


@pytest.fixture
def queries():
    return np.random.default_rng(5).standard_normal((6, WIDTH)).astype("f4")
