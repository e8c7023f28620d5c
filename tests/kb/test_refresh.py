"""A knowledge base of a newer dump keeps the vectors of unchanged entities, and its readers."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace

import pytest
from spacy.vocab import Vocab

from spacy_elq.errors import ElqError
from spacy_elq.kb.build import build_kb
from spacy_elq.kb.build.parts import build_part, merged_parts
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.kb.refresh import OldVectors, RefreshCounts

from .helpers import CHANGED, ENTITIES, NEW, HashEncoder, change, check_equal

OTHER_FIELDS = replace(
    ENTITIES[2], popularity=3, extra={"a": 1}, type="king", counts={"Alexander": 5}
)
NEWER = [NEW, *ENTITIES[5:], OTHER_FIELDS, CHANGED]
COUNTS = RefreshCounts(reused=41, changed=1, added=1, removed=3)


def refresh(kb, out, entities, encoder, **options):
    old = OldVectors(kb.view, kb.manifest, encoder)
    build_kb(old.counted(entities), out, old.source(), progress=False, **options)
    return old.counts


@pytest.fixture
def second():
    return HashEncoder()


def test_only_what_is_new_is_embedded(kb, tmp_path, second, queries, vocab):
    assert refresh(kb, tmp_path / "new", NEWER, second) == COUNTS
    assert sorted(second.encoded) == ["N1", "Q90"]
    check_equal(FaissKB.open(tmp_path / "new", vocab), NEWER, second, queries)


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Paris!"},
        {"description": ""},
        {"aliases": ()},
        {"aliases": ("a", "City of Light")},
    ],
)
def test_what_is_encoded_decides(kb, tmp_path, second, changes):
    entities = [replace(ENTITIES[0], **changes), *ENTITIES[1:]]
    assert refresh(kb, tmp_path / "new", entities, second).changed == 1
    assert second.encoded == ["Q90"]


def test_only_new_names_are_embedded_if_each_has_its_vector(kb, tmp_path, queries, vocab):
    class NameEncoder(HashEncoder):
        embeds_names = True

        def encode(self, entities):
            self.names = [entity.names for entity in entities]
            return super().encode(entities)

    names = {"Q90": ("Lutetia", "City of Light", "Paname"), "Q167646": (), "Q4": ("chk", "Paris")}
    entities = [
        replace(entity, aliases=names.get(entity.id, entity.aliases)) for entity in ENTITIES
    ]
    encoder = NameEncoder()
    counts = refresh(kb, tmp_path / "new", [NEW, *entities], encoder)
    assert counts == RefreshCounts(reused=42, renamed=3, added=1)
    assert encoder.encoded == ["N1", "Q90", "Q4"]
    assert encoder.names == [NEW.names, ("Paris", "Lutetia", "Paname"), ("!!!", "chk", "Paris")]
    check_equal(FaissKB.open(tmp_path / "new", vocab), [NEW, *entities], encoder, queries)


def test_live_changes_of_the_old_one_count(kb, encoder, tmp_path, second, queries, vocab):
    entities = change(kb, encoder)
    counts = refresh(kb, tmp_path / "new", entities, second)
    assert counts == RefreshCounts(reused=len(entities))
    assert not second.encoded
    check_equal(FaissKB.open(tmp_path / "new", vocab), entities, encoder, queries)


def test_an_interrupted_refresh_goes_on(kb, tmp_path, vocab, queries):
    class Failing(HashEncoder):
        def encode(self, entities):
            if "Q90" in [entity.id for entity in entities]:
                raise KeyboardInterrupt
            return super().encode(entities)

    with pytest.raises(KeyboardInterrupt):
        refresh(kb, tmp_path / "new", NEWER, Failing(), batch_size=10)
    encoder = HashEncoder()
    assert refresh(kb, tmp_path / "new", NEWER, encoder, batch_size=10) == COUNTS
    assert encoder.encoded == ["Q90"]
    check_equal(FaissKB.open(tmp_path / "new", vocab), NEWER, encoder, queries)


def test_parts_reuse_too(kb, tmp_path, second, queries, vocab):
    for number in (1, 2):
        old = OldVectors(kb.view, kb.manifest, second)
        part = f"{number}/2"
        build_part(old.counted(NEWER), tmp_path / "new", old.source(), part, progress=False)
    assert sorted(second.encoded) == ["N1", "Q90"]
    build_kb(NEWER, tmp_path / "new", merged_parts(tmp_path / "new"), progress=False)
    check_equal(FaissKB.open(tmp_path / "new", vocab), NEWER, second, queries)


def test_vectors_of_other_encoders_are_not_reused(kb):
    with pytest.raises(ElqError, match="ELQ288"):
        OldVectors(kb.view, kb.manifest, HashEncoder(fingerprint="other"))
    other = HashEncoder()
    other.inference_name = "onnx int8"
    with pytest.raises(ElqError, match="ELQ288"):
        OldVectors(kb.view, kb.manifest, other)


def test_two_bytes_stay_two_bytes(tmp_path, encoder, vocab):
    build_kb(ENTITIES, tmp_path / "half", encoder, dtype="float16", progress=False)
    kb = FaissKB.open(tmp_path / "half", vocab)
    refresh(kb, tmp_path / "new", NEWER, encoder)
    new = FaissKB.open(tmp_path / "new", vocab)
    assert new.manifest.dtype == "float16"
    assert (new.get_vector("E1") == kb.get_vector("E1")).all()
    with pytest.raises(ElqError, match="ELQ289"):
        OldVectors(kb.view, kb.manifest, encoder).source("float32")


def read_on(directory, queries, ready, stop, said):
    """Answer until stopped, as a pipeline does: refresh, then ask."""
    kb = FaissKB.open(directory, Vocab())
    answers = []
    while not stop.is_set() or len(answers) < 3:
        kb.refresh()
        view = kb.view
        first = view.records(view.search(queries, 1).rows[:, 0])
        titles = (kb.entity("Q90").title, kb.row("Q3") is not None, len(kb))
        if titles not in answers:
            answers.append(titles)
        assert all(view.entity(entity.id) == entity for entity in first)
        ready.set()
    said.put(answers)


@pytest.mark.slow
def test_a_reader_in_another_process_goes_on(directory, encoder, queries, tmp_path):
    context = multiprocessing.get_context("fork")
    ready, stop, said = context.Event(), context.Event(), context.Queue()
    reader = context.Process(target=read_on, args=(directory, queries, ready, stop, said))
    reader.start()
    try:
        assert ready.wait(30)
        versions = [NEWER, [CHANGED, ENTITIES[3]]]
        for entities in versions:
            kb = FaissKB.open(directory, Vocab())
            ready.clear()
            refresh(kb, directory, entities, HashEncoder(), overwrite=True)
            assert ready.wait(30)
            ready.clear()
            assert ready.wait(30)  # a whole round after the replacement
        stop.set()
        answers = said.get(timeout=30)
    finally:
        stop.set()
        reader.join(30)
    assert reader.exitcode == 0
    assert answers == [("Paris", True, 45), ("Lutetia", False, 43), ("Lutetia", True, 2)]
