"""Fixtures of the small knowledge base in `helpers`."""

import numpy as np
import pytest
from spacy.vocab import Vocab

from spacy_elq.kb.build import build_kb
from spacy_elq.kb.knowledge_base import FaissKB

from .helpers import ENTITIES, WIDTH, HashEncoder


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
