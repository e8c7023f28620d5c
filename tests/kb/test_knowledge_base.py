import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import srsly
from spacy.kb import Candidate
from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_elq.errors import ElqError
from spacy_elq.kb.build import build_kb
from spacy_elq.kb.files.names import ALIAS, TITLE, loose_key, name_words, verbatim_hash
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.types import Entity

from .helpers import (
    CHANGED,
    ENTITIES,
    NEW,
    WIDTH,
    HashEncoder,
    change,
    check_equal,
    ids_named,
    reference_scores,
)


def test_a_built_one(kb, encoder, queries):
    check_equal(kb, ENTITIES, encoder, queries)
    assert (kb.view.n_rows, kb.entity_vector_length) == (45, WIDTH)
    assert (kb.fingerprint, kb.is_empty()) == ("hash-1", False)


def test_changes_are_seen_at_once(kb, encoder, queries):
    removed_row = kb.row("Q8409")
    old_row = kb.row("Q90")
    entities = change(kb, encoder)
    check_equal(kb, entities, encoder, queries)
    assert kb.entity("Q8409") is None
    assert "Q90" not in ids_named(kb, "Paris")
    dead = np.array([[removed_row, old_row, -1, 999]] * len(queries))
    assert np.isneginf(kb.scores(queries, dead)).all()
    assert kb.records([removed_row, old_row]) == [ENTITIES[2], ENTITIES[0]]  # for calls under way
    with pytest.raises(ElqError, match="ELQ220"):
        kb.records([kb.view.n_rows])


def test_find_names_tells_whose_names_and_how(kb, encoder):
    change(kb, encoder)
    asked = [name_words(name) for name in ("paris", "nobody", "paris", "Citys of Light")]
    places, entries = kb.find_names(np.array([loose_key(name) for name in asked], dtype="u8"))
    assert places.tolist() == [0, 2]
    assert entries["row"].tolist() == [1, 1]  # Q90 is called something else now
    assert entries["kind"].tolist() == [TITLE, TITLE]
    assert entries["verbatim"].tolist() == [verbatim_hash("Paris")] * 2
    places, entries = kb.find_names(np.array([loose_key(["city", "of", "lights"])], "u8"))
    assert (entries["row"].tolist(), entries["kind"].tolist()) == ([kb.row("Q90")], [ALIAS])


def test_vectors_of_some(kb, encoder):
    entities = change(kb, encoder)
    rows = np.array([kb.row(id_) for id_ in ("Q90", "E5", "N1", "Q167646")])
    vectors, places = kb.vectors_of(rows)
    by_id = {entity.id: entity for entity in entities}
    expected = [
        (place, encoder.vector(by_id[id_], name))
        for place, id_ in enumerate(("Q90", "E5", "N1", "Q167646"))
        for name in by_id[id_].names
    ]
    assert places.tolist() == [place for place, _ in expected]
    np.testing.assert_array_equal(vectors, np.stack([vector for _, vector in expected]))


@pytest.mark.slow
def test_an_addition_can_be_changed_and_removed(kb, encoder, queries):
    entities = change(kb, encoder)
    again = Entity("N1", "Port Moresby", "another capital")
    kb.add([again], *encoder.encode([again]))
    check_equal(kb, [e for e in entities if e != NEW] + [again], encoder, queries)
    kb.remove(["N1", "Q90"])
    check_equal(kb, [e for e in entities if e not in (NEW, CHANGED)], encoder, queries)
    back = ENTITIES[2]
    kb.add([back], *encoder.encode([back]))
    assert ids_named(kb, "Alexander") == ["Q167646", "Q8409"]


def test_without_any_files(vocab, encoder, queries, tmp_path):
    kb = FaissKB(vocab, WIDTH, fingerprint="hash-1")
    assert kb.is_empty()
    assert kb.search(queries, 2).rows.tolist() == [[-1, -1]] * len(queries)
    assert kb.lookup(["Paris", ""])[0].tolist() == []
    assert kb.row("Q90") is None
    kb.add(ENTITIES, *encoder.encode(ENTITIES))
    check_equal(kb, ENTITIES, encoder, queries)
    kb.to_disk(tmp_path / "kb")
    again = FaissKB.open(tmp_path / "kb", vocab)
    check_equal(again, ENTITIES, encoder, queries)
    assert again.fingerprint == "hash-1"


def test_fewer_entities_than_asked_for(kb, queries):
    found = kb.search(queries, 60)
    assert found.rows.shape == found.scores.shape == (len(queries), 60)
    assert (found.rows[:, 45:] == -1).all()
    assert np.isneginf(found.scores[:, 45:]).all()
    assert kb.search(queries[:0], 3).rows.shape == (0, 3)


@pytest.mark.slow
@pytest.mark.parametrize("index", ["Flat", "HNSW8", "SQfp16"])
def test_other_indexes_give_the_same_scores(tmp_path, vocab, encoder, queries, index):
    build_kb(ENTITIES, tmp_path / "kb", encoder, index=index, progress=False)
    kb = FaissKB.open(tmp_path / "kb", vocab)
    assert kb.manifest.index == index
    check_equal(kb, ENTITIES, encoder, queries, k=3)
    check_equal(kb, change(kb, encoder), encoder, queries, k=3)


def test_remove_is_all_or_nothing(kb):
    with pytest.raises(ElqError, match=r"ELQ210.*nobody, noone"):
        kb.remove(["Q90", "nobody", "noone"])
    assert kb.row("Q90") == 0
    assert kb.remove(["Q90", "Q90"]) == 1
    with pytest.raises(ElqError, match=r"ELQ210.*Q90"):
        kb.remove(["Q90"])


def test_bad_additions_change_nothing(kb, encoder, queries):
    with pytest.raises(ElqError, match=r"ELQ208.*'N1'"):
        kb.add([NEW], np.full((1, WIDTH), np.nan))
    with pytest.raises(ElqError, match="ELQ209"):
        kb.add([NEW], np.ones((1, WIDTH + 1)))
    with pytest.raises(ElqError, match=r"ELQ207.*'N1'.*1 and as entity 2"):
        kb.add([NEW, NEW], np.ones((2, WIDTH)))
    check_equal(kb, ENTITIES, encoder, queries)


def test_queries_of_another_width(kb):
    with pytest.raises(ElqError, match=r"ELQ219.*\(2, 9\).*8"):
        kb.search(np.ones((2, 9)), 1)


def test_half_precision(tmp_path, vocab, encoder, queries):
    build_kb(ENTITIES, tmp_path / "kb", encoder, dtype="float16", progress=False)
    kb = FaissKB.open(tmp_path / "kb", vocab)
    expected = np.sort(reference_scores(ENTITIES, encoder, queries), axis=1)[:, ::-1][:, :3]
    found = kb.search(queries, 3)
    assert found.scores.dtype == kb.vector_matrix()[0].dtype == np.float32
    np.testing.assert_allclose(found.scores, expected, atol=0.02)


# Files


def in_memory(directory):
    return FaissKB.open(directory, Vocab(), in_place=False)


@pytest.mark.slow
def test_saved_and_opened(encoder, queries, tmp_path, directory):
    kb = in_memory(directory)
    entities = change(kb, encoder)
    kb.to_disk(tmp_path / "saved")
    check_equal(FaissKB.open(tmp_path / "saved", Vocab()), entities, encoder, queries)
    check_equal(FaissKB.open(directory, Vocab()), ENTITIES, encoder, queries)
    linked = (tmp_path / "saved" / "vectors.npy", directory / "vectors.npy")
    assert linked[0].stat().st_ino == linked[1].stat().st_ino


@pytest.mark.slow
def test_copies_share_the_files_but_not_the_changes(kb, encoder, queries, tmp_path, directory):
    entities = change(kb, encoder)
    kb.to_disk(tmp_path / "saved")
    copy = FaissKB.open(tmp_path / "saved", Vocab())
    copy.remove(["N1"])
    check_equal(kb, entities, encoder, queries)
    check_equal(FaissKB.open(directory, Vocab()), entities, encoder, queries)
    kb.to_disk(tmp_path / "saved")  # the same files: only changes are written
    assert copy.refresh()
    check_equal(copy, entities, encoder, queries)


@pytest.mark.slow
def test_saved_onto_its_own_directory(encoder, queries, directory):
    kb = in_memory(directory)
    before = (directory / "vectors.npy").stat()
    entities = change(kb, encoder)
    check_equal(FaissKB.open(directory, Vocab()), ENTITIES, encoder, queries)
    kb.to_disk(directory)
    check_equal(FaissKB.open(directory, Vocab()), entities, encoder, queries)
    check_equal(kb, entities, encoder, queries)
    after = (directory / "vectors.npy").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    FaissKB.open(directory, Vocab()).to_disk(directory)
    check_equal(FaissKB.open(directory, Vocab()), entities, encoder, queries)


def test_saved_over_another_one(kb, encoder, queries, tmp_path, vocab):
    build_kb([NEW], tmp_path / "other", encoder, progress=False)
    other = FaissKB.open(tmp_path / "other", vocab)
    kb.to_disk(tmp_path / "other")
    check_equal(FaissKB.open(tmp_path / "other", vocab), ENTITIES, encoder, queries)
    assert other.row("N1") == 0  # still open, still its old self
    assert other.search(queries, 1).rows.tolist() == [[0]] * len(queries)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(other.row, "N1").result() == 0


def test_interrupted_save_keeps_what_was_there(kb, encoder, queries, tmp_path, vocab, monkeypatch):
    build_kb([NEW], tmp_path / "other", encoder, progress=False)
    change(kb, encoder)

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("spacy_elq.kb.live.change_log.ChangeLog.write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        kb.to_disk(tmp_path / "other")
    assert len(FaissKB.open(tmp_path / "other", vocab)) == 1
    with pytest.raises(KeyboardInterrupt):
        kb.to_disk(tmp_path / "new")
    with pytest.raises(ElqError, match="ELQ200"):
        FaissKB.open(tmp_path / "new", vocab)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kb", "other"]


def test_interrupted_delta_write_keeps_the_old_delta(kb, encoder, directory, monkeypatch):
    kb.add([NEW], *encoder.encode([NEW]))
    other = FaissKB.open(directory, Vocab(), in_place=False)
    other.remove(["Q90", "N1"])

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("spacy_elq.kb.live.change_log.ChangeLog.write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        other.to_disk(directory)
    again = FaissKB.open(directory, Vocab())
    assert again.row("Q90") == 0
    assert again.row("N1") is not None
    assert not list(directory.glob(".*"))


def test_broken_delta(directory, vocab, encoder, queries):
    (directory / "delta.sqlite").touch()  # as it is between its making and the first commit
    check_equal(FaissKB.open(directory, vocab), ENTITIES, encoder, queries)
    (directory / "delta.sqlite").write_bytes(b"not sqlite at all" * 100)
    with pytest.raises(ElqError, match="ELQ216"):
        FaissKB.open(directory, vocab)


def test_delta_of_another_one(kb, encoder, directory, vocab, tmp_path):
    build_kb([NEW], tmp_path / "other", encoder, progress=False)
    kb.remove(["Q90"])
    (directory / "delta.sqlite").rename(tmp_path / "other" / "delta.sqlite")
    with pytest.raises(ElqError, match=r"ELQ216.*another"):
        FaissKB.open(tmp_path / "other", vocab)


@pytest.mark.slow
def test_bytes(kb, encoder, queries):
    entities = change(kb, encoder)
    again = FaissKB(Vocab(), 3).from_bytes(kb.to_bytes())
    check_equal(again, entities, encoder, queries)
    check_equal(FaissKB(Vocab(), 3).from_bytes(again.to_bytes()), entities, encoder, queries)
    for data in (b"", b"\x00", b"nonsense"):
        with pytest.raises(ElqError, match="ELQ221"):
            again.from_bytes(data)
    state = srsly.msgpack_loads(kb.to_bytes())
    del state["files"]["owners.npy"]
    with pytest.raises(ElqError, match=r"ELQ221.*owners\.npy"):
        again.from_bytes(srsly.msgpack_dumps(state))
    check_equal(again, entities, encoder, queries)


@pytest.mark.slow
def test_pickle_names_the_files(kb, encoder, queries, tmp_path):
    assert b"vectors.npy" in pickle.dumps(kb)
    check_equal(pickle.loads(pickle.dumps(kb)), ENTITIES, encoder, queries)
    entities = change(kb, encoder)
    check_equal(pickle.loads(pickle.dumps(kb)), entities, encoder, queries)
    unsaved = FaissKB.open(kb.path, Vocab(), in_place=False)
    unsaved.remove(["N1"])
    again = pickle.loads(pickle.dumps(unsaved))
    check_equal(again, [e for e in entities if e != NEW], encoder, queries)
    again.remove(["E1"])  # goes nowhere
    check_equal(kb, entities, encoder, queries)
    assert not kb.refresh()
    data = pickle.dumps(unsaved)
    build_kb([NEW], kb.path, encoder, overwrite=True, progress=False)
    with pytest.raises(ElqError, match="ELQ222"):
        pickle.loads(data)


def search_ids(kb, queries, sink):
    sink.put([entity.id for entity in kb.records(kb.search(queries, 1).rows[:, 0])])


@pytest.mark.slow
def test_works_in_a_spawned_process(kb, encoder, queries):
    entities = change(kb, encoder)
    context = multiprocessing.get_context("spawn")
    sink = context.SimpleQueue()
    process = context.Process(target=search_ids, args=(kb, queries, sink))
    process.start()
    best = reference_scores(entities, encoder, queries).argmax(axis=1)
    assert sink.get() == [entities[i].id for i in best]
    process.join(20)


# spaCy's own interface


def test_candidates_by_name(kb, vocab, encoder):
    doc = Doc(vocab, words=["PÂRIS", "met", "Alexander", "quietly"])
    batch = kb.get_candidates_batch([doc[0:1], doc[2:3], doc[3:4]])
    assert [[c.entity_ for c in found] for found in batch] == [
        ["Q90", "Q167646"],
        ["Q167646", "Q8409"],
        [],
    ]
    (first, second) = kb.get_candidates(doc[0:1])
    assert isinstance(first, Candidate)
    assert (first.alias_, first.prior_prob, second.prior_prob) == ("PÂRIS", 0.5, 0.5)
    np.testing.assert_array_equal(first.entity_vector, encoder.vector(ENTITIES[0], "Paris"))


def test_counts_of_aliases_are_prior_probabilities(kb, vocab, encoder):
    doc = Doc(vocab, words=["the", "ALEXANDER"])
    counted = [
        Entity("A1", "A", aliases=("Alexander", "A"), counts={"Alexander": 4, "A": 100}),
        Entity("A2", "B", aliases=("Alexander", "alexander"), counts={"alexander": 2}),
    ]
    kb.add(counted, *encoder.encode(counted))
    again = FaissKB.open(kb.path, vocab)
    again.compact(progress=False)
    for one in (kb, again):
        found = {c.entity_: c.prior_prob for c in one.get_candidates(doc[1:2])}
        assert found == {"Q167646": 0.125, "Q8409": 0.125, "A1": 0.5, "A2": 0.25}
        assert one.entity("A1") == counted[0]


def test_vectors_by_id(kb, encoder):
    known, unknown = kb.get_vectors(["Q167646", "nobody"])
    np.testing.assert_array_equal(known, encoder.vector(ENTITIES[1], "Paris"))
    assert unknown.tolist() == [0.0] * WIDTH


def test_other_width_is_taken_over(directory, vocab):
    kb = FaissKB(vocab, 300)
    kb.from_disk(directory)
    assert kb.entity_vector_length == WIDTH
    assert HashEncoder().width == len(kb.get_vector("Q90"))
