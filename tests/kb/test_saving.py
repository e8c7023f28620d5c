"""Saving a knowledge base over itself, while others change it."""

import copy
import gc

import numpy as np
import pytest
from spacy.vocab import Vocab

from spacy_elq.errors import ElqError
from spacy_elq.kb.build import build_kb
from spacy_elq.kb.knowledge_base import FaissKB

from .helpers import CHANGED, ENTITIES, NEW, WIDTH, check_equal


def test_a_deep_copy_outlives_what_it_was_copied_from(kb, vocab, encoder, queries):
    original = FaissKB(vocab, WIDTH).from_bytes(kb.to_bytes())
    copied = copy.deepcopy({"vocab": vocab, "kb": original})["kb"]
    original.remove(["Q90"])
    del original
    gc.collect()
    assert copied.vocab is not vocab
    check_equal(copied, ENTITIES, encoder, queries)


@pytest.mark.parametrize("spelling", ["link", "nowhere/../kb"])
def test_saving_over_itself_under_another_name(kb, directory, encoder, spelling):
    (directory.parent / "link").symlink_to(directory)
    other = FaissKB.open(directory, Vocab())
    other.add([NEW], *encoder.encode([NEW]))
    kb.to_disk(directory.parent / spelling)
    assert FaissKB.open(directory, Vocab()).entity("N1") == NEW
    assert (directory.parent / "link").is_symlink()
    other.compact(progress=False)
    kb.to_disk(directory.parent / spelling)
    assert FaissKB.open(directory, Vocab()).entity("N1") == NEW


@pytest.mark.parametrize("compact", [False, True])
def test_changes_in_memory_do_not_undo_those_of_others(directory, encoder, compact, tmp_path):
    kb, other = FaissKB.open(directory, Vocab(), in_place=False), FaissKB.open(directory, Vocab())
    kb.remove(["Q90"])
    other.add([NEW], *encoder.encode([NEW]))
    if compact:
        other.compact(progress=False)
    with pytest.raises(ElqError, match="ELQ254"):
        kb.to_disk(directory)
    assert FaissKB.open(directory, Vocab()).entity("N1") == NEW
    kb.to_disk(tmp_path / "copy")
    assert FaissKB.open(tmp_path / "copy", Vocab()).row("Q90") is None


def test_changes_in_memory_can_be_saved_where_they_came_from(directory, encoder):
    kb = FaissKB.open(directory, Vocab(), in_place=False)
    for entity in (NEW, CHANGED):
        kb.add([entity], *encoder.encode([entity]))
        kb.to_disk(directory)
        assert FaissKB.open(directory, Vocab()).entity(entity.id) == entity
        assert kb.entity(entity.id) == entity


def test_adding_nothing_changes_nothing(directory, encoder):
    kb, other = FaissKB.open(directory, Vocab(), in_place=False), FaissKB.open(directory, Vocab())
    kb.add([], np.zeros((0, WIDTH), "f4"))
    other.add([NEW], *encoder.encode([NEW]))
    assert kb.refresh()
    assert kb.entity("N1") == NEW


def test_what_cannot_be_stored_is_not_added(tmp_path, encoder):
    build_kb(ENTITIES, tmp_path / "kb", encoder, dtype="float16", progress=False)
    kb = FaissKB.open(tmp_path / "kb", Vocab())
    with pytest.raises(ElqError, match=r"ELQ229.*'N1'"):
        kb.add([NEW], np.full((1, WIDTH), 1e5, "f4"))
    kb.add([NEW], np.full((1, WIDTH), 6e4, "f4"))
    assert kb.compact(progress=False)
