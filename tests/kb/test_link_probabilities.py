"""Link probabilities: what a knowledge base keeps of them, through builds, live changes and
compaction."""

from dataclasses import replace

import numpy as np
import pytest
from spacy.vocab import Vocab

from spacy_elq.kb.build import build_kb
from spacy_elq.kb.check import check_files
from spacy_elq.kb.files.manifest import NAME_ENTRIES
from spacy_elq.kb.files.names import ENTRY, LEAST_PROBABILITY, loose_key, name_words
from spacy_elq.kb.knowledge_base import FaissKB

from .helpers import ENTITIES, NEW, HashEncoder

PARIS, OTHER, *REST = ENTITIES
ROWS = [
    replace(PARIS, aliases=("City of Light", "Paris"), link_probabilities={"Paris": 0.25}),
    replace(OTHER, link_probabilities={"Alexander": 0.0}),
    *REST,
]
ADDED = replace(NEW, link_probabilities={"Port-de-France": 0.75})


def known(kb, *names):
    """The link probabilities of each name's entities, in the order of rows."""
    keys = np.array([loose_key(name_words(name)) for name in names], dtype=np.uint64)
    places, entries = kb.view.find_names(keys)
    return [entries["link_probability"][places == i].tolist() for i in range(len(names))]


@pytest.fixture
def kb(tmp_path):
    build_kb(ROWS, tmp_path / "kb", HashEncoder(), progress=False)
    return FaissKB.open(tmp_path / "kb", Vocab())


def test_they_are_in_the_mapped_names(kb):
    expected = [[0.25, 0], [LEAST_PROBABILITY, 0, 0], [0]]
    assert known(kb, "Paris", "Alexander", "City of Light") == expected
    assert list(kb) == ROWS
    assert np.load(kb.path / NAME_ENTRIES).dtype == ENTRY
    assert isinstance(kb.view.base.names.entries.base, np.memmap)


def test_live_changes_and_compaction_keep_them(kb, tmp_path):
    changed = replace(ROWS[0], link_probabilities={"Paris": 0.5, "City of Light": 1.0})
    kb.add([ADDED, changed], *HashEncoder().encode([ADDED, changed]))
    names = ("Paris", "Port-de-France", "City of Light", "Alexander")
    expected = [[0, 0.5], [0.75], [1.0], [LEAST_PROBABILITY, 0, 0]]
    assert known(kb, *names) == known(FaissKB.open(kb.path, Vocab()), *names) == expected
    kb.to_disk(tmp_path / "copy")
    assert kb.compact(progress=False)
    for other in (
        kb,
        FaissKB.open(tmp_path / "copy", Vocab()),
        FaissKB(Vocab(), 1).from_bytes(kb.to_bytes()),
    ):
        assert sorted(known(other, "Paris")[0]) == [0, 0.5]
        assert known(other, *names[1:]) == expected[1:]
        assert (other.entity("Q90"), other.entity("N1")) == (changed, ADDED)
        check_files(other)
