"""Changes that are on disk when they are acknowledged, seen by all who open or refresh."""

import os
import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from spacy.vocab import Vocab

from spacy_elq.errors import ElqError
from spacy_elq.kb.build import build_kb
from spacy_elq.kb.build import builder as build_module
from spacy_elq.kb.check import check_files
from spacy_elq.kb.files.manifest import Manifest
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.kb.live import change_log as log_module
from spacy_elq.kb.live.delta import MANY
from spacy_elq.types import Entity

from .helpers import CHANGED, ENTITIES, NEW, HashEncoder, change, check_equal

OTHER = Entity("N2", "Suva", "capital of Fiji")


def add(kb, *entities):
    kb.add(entities, *HashEncoder().encode(entities))


def files_of(directory):
    return {path.name for path in directory.iterdir()}


@pytest.mark.slow
def test_a_change_is_on_disk_when_it_is_made(kb, encoder, queries, directory):
    entities = change(kb, encoder)
    check_equal(FaissKB.open(directory, Vocab()), entities, encoder, queries)
    kb.to_disk(directory)
    check_equal(FaissKB.open(directory, Vocab()), entities, encoder, queries)


def test_opening_and_reading_write_nothing(kb, directory, queries):
    before = files_of(directory)
    kb.refresh()
    kb.search(queries, 3)
    with pytest.raises(ElqError, match="ELQ210"):
        FaissKB.open(directory, Vocab()).remove(["nobody"])
    assert files_of(directory) - before <= {"delta.sqlite"}
    assert len(FaissKB.open(directory, Vocab())) == len(ENTITIES)


@pytest.mark.slow
def test_others_see_changes_when_they_refresh(kb, encoder, queries, directory):
    reader = FaissKB.open(directory, Vocab())
    assert not reader.refresh()
    entities = change(kb, encoder)
    check_equal(reader, ENTITIES, encoder, queries)
    assert reader.refresh()
    check_equal(reader, entities, encoder, queries)
    assert not reader.refresh()
    assert not kb.refresh()
    kb.remove(["N1"])
    assert reader.refresh()
    assert reader.row("N1") is None


@pytest.mark.slow
def test_writers_build_on_each_others_changes(kb, queries, directory, encoder):
    other = FaissKB.open(directory, Vocab())
    add(kb, NEW)
    other.remove(["N1", "Q90"])  # sees it without being asked to refresh
    add(other, OTHER)
    with pytest.raises(ElqError, match=r"ELQ210.*N1"):
        kb.remove(["N1"])
    add(kb, CHANGED)
    expected = [e for e in ENTITIES if e.id != "Q90"] + [OTHER, CHANGED]
    for one in (kb, FaissKB.open(directory, Vocab())):
        check_equal(one, expected, encoder, queries)


def test_a_second_writer_waits_and_is_then_refused(kb, directory, monkeypatch):
    monkeypatch.setattr(log_module, "WAIT", 0.05)
    add(kb, NEW)
    with sqlite3.connect(directory / "delta.sqlite") as db:
        db.execute("BEGIN IMMEDIATE")
        other = FaissKB.open(directory, Vocab())  # readers are let in
        with pytest.raises(ElqError, match="ELQ240"):
            add(other, OTHER)
        assert other.row("N2") is None
    add(other, OTHER)
    assert kb.refresh()
    assert kb.entity("N2") == OTHER


@pytest.mark.slow
def test_a_forked_process_goes_on_by_itself(kb, encoder, queries, directory):
    add(kb, NEW)
    child = os.fork()
    if not child:
        try:
            add(kb, OTHER)
            kb.remove(["Q90"])
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert kb.refresh()
    expected = [e for e in ENTITIES if e.id != "Q90"] + [NEW, OTHER]
    check_equal(kb, expected, encoder, queries)
    add(kb, CHANGED)
    check_equal(FaissKB.open(directory, Vocab()), [*expected, CHANGED], encoder, queries)


@pytest.mark.slow
def test_a_write_that_fails_changes_nothing(kb, encoder, queries, directory, monkeypatch):
    def full(*args):
        raise sqlite3.OperationalError("database or disk is full")

    add(kb, NEW)
    with monkeypatch.context() as patch:
        patch.setattr(log_module, "INSERT", "INSERT INTO nowhere VALUES (?, ?, ?, ?, ?)")
        with pytest.raises(ElqError, match=r"ELQ241.*nowhere"):
            add(kb, OTHER)
    for one in (kb, FaissKB.open(directory, Vocab())):
        check_equal(one, [*ENTITIES, NEW], encoder, queries)
    add(kb, OTHER)
    check_equal(FaissKB.open(directory, Vocab()), [*ENTITIES, NEW, OTHER], encoder, queries)


@pytest.mark.slow
def test_a_directory_that_cannot_be_written_keeps_changes_in_memory(
    directory, encoder, queries, monkeypatch, tmp_path
):
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and real(path, mode))
    kb = FaissKB.open(directory, Vocab())
    with pytest.warns(UserWarning, match=r"ELQ252.*in memory") as warned:
        entities = change(kb, encoder)
    assert len(warned) == 1  # of two changes
    check_equal(kb, entities, encoder, queries)
    check_equal(FaissKB.open(directory, Vocab()), ENTITIES, encoder, queries)
    assert not kb.refresh()
    with pytest.raises(ElqError, match="ELQ246"):
        kb.compact()
    kb.to_disk(tmp_path / "saved")
    check_equal(FaissKB.open(tmp_path / "saved", Vocab()), entities, encoder, queries)


@pytest.mark.slow
@pytest.mark.parametrize("installed", ["site-packages", "dist-packages"])
def test_the_files_of_an_installed_package_stay_as_they_are(
    directory, encoder, queries, installed, tmp_path
):
    package = tmp_path / "lib" / installed / "en_football" / "kb"
    shutil.copytree(directory, package)
    kb = FaissKB.open(package, Vocab())
    with pytest.warns(UserWarning, match=r"ELQ252.*installed package"):
        entities = change(kb, encoder)
    check_equal(kb, entities, encoder, queries)
    check_equal(FaissKB.open(package, Vocab()), ENTITIES, encoder, queries)
    kb.to_disk(tmp_path / "saved")
    check_equal(FaissKB.open(tmp_path / "saved", Vocab()), entities, encoder, queries)


def test_a_snapshot_keeps_its_rows(kb, encoder, queries):
    snapshot = kb.view
    found = snapshot.search(queries, 5)
    before = snapshot.records(found.rows.ravel())
    change(kb, encoder)
    kb.compact(progress=False)
    add(kb, NEW)
    assert snapshot.records(found.rows.ravel()) == before
    with ThreadPoolExecutor(1) as pool:  # a thread that has opened no file of it yet
        assert pool.submit(snapshot.records, found.rows.ravel()).result() == before


@pytest.mark.slow
def test_many_changes_of_one_entity_take_little_room():
    vectors = np.ones((1, 8), "f4")
    memory = FaissKB(Vocab(), 8)
    for i in range(2 * MANY + 50):
        memory.add([Entity("Q1", f"Title {i}")], vectors)
    assert len(memory) == 1
    assert memory.view.n_rows <= MANY + 2
    assert memory.entity("Q1").title == f"Title {2 * MANY + 49}"
    assert [e.title for e in memory.named(f"title {2 * MANY + 49}")]
    assert not memory.named("Title 5")


# Compaction


@pytest.mark.slow
@pytest.mark.parametrize("index", ["exact", "HNSW8"])
def test_compact(tmp_path, encoder, queries, index):
    build_kb(ENTITIES, tmp_path / "kb", encoder, index=index, progress=False, source="all.jsonl")
    kb = FaissKB.open(tmp_path / "kb", Vocab())
    reader = FaissKB.open(tmp_path / "kb", Vocab())
    assert not kb.compact(progress=False)
    entities = change(kb, encoder)
    reader.refresh()
    assert kb.compact(progress=False)
    check_equal(kb, entities, encoder, queries, k=3)
    check_equal(reader, entities, encoder, queries, k=3)
    assert (tmp_path / "kb" / "vectors.npy").exists()  # the reader has it open
    assert reader.refresh()
    check_equal(reader, entities, encoder, queries, k=3)
    kb.tidy()
    assert files_of(tmp_path / "kb") == {"manifest.json", "generation-1"}
    again = FaissKB.open(tmp_path / "kb", Vocab())
    check_files(again)
    check_equal(again, entities, encoder, queries, k=3)
    assert (again.view.n_removed, again.manifest.entities) == (0, len(entities))
    assert (again.manifest.index, again.manifest.source) == (index, "all.jsonl")


@pytest.mark.slow
def test_compact_again_and_again(kb, encoder, queries, directory, tmp_path):
    entities = change(kb, encoder)
    kb.compact(progress=False)
    add(kb, OTHER)
    kb.to_disk(tmp_path / "copy")
    kb.remove([e.id for e in ENTITIES if e.id.startswith("E")])
    kb.compact(progress=False)
    left = [e for e in [*entities, OTHER] if not e.id.startswith("E")]
    check_equal(FaissKB.open(directory, Vocab()), left, encoder, queries, k=4)
    assert files_of(directory) == {"manifest.json", "generation-2"}
    copy = FaissKB.open(tmp_path / "copy", Vocab())
    check_equal(copy, [*entities, OTHER], encoder, queries)
    check_equal(
        FaissKB(Vocab(), 1).from_bytes(copy.to_bytes()), [*entities, OTHER], encoder, queries
    )


def test_compact_to_nothing_and_back(kb, encoder, queries, directory):
    kb.remove([entity.id for entity in ENTITIES])
    kb.compact(progress=False)
    assert kb.is_empty()
    assert FaissKB.open(directory, Vocab()).is_empty()
    add(kb, NEW)
    check_equal(FaissKB.open(directory, Vocab()), [NEW], encoder, queries, k=1)
    kb.compact(progress=False)
    check_equal(FaissKB.open(directory, Vocab()), [NEW], encoder, queries, k=1)


@pytest.mark.slow
def test_another_writer_goes_on_after_a_compaction(kb, encoder, queries, directory):
    other = FaissKB.open(directory, Vocab())
    entities = change(kb, encoder)
    kb.compact(progress=False)
    add(other, OTHER)  # its files and their log are no longer those of the knowledge base
    for one in (other, FaissKB.open(directory, Vocab())):
        check_equal(one, [*entities, OTHER], encoder, queries)


@pytest.mark.slow
def test_writers_are_refused_while_readers_go_on(kb, encoder, queries, directory, monkeypatch):
    monkeypatch.setattr(log_module, "WAIT", 0.05)
    entities = change(kb, encoder)
    other, seen = FaissKB.open(directory, Vocab()), []
    make_index = build_module.make_index

    def meanwhile(*args, **settings):
        other.refresh()
        seen.append(list(other))
        seen.append(list(FaissKB.open(directory, Vocab())))
        with pytest.raises(ElqError, match="ELQ240"):
            add(other, OTHER)
        return make_index(*args, **settings)

    monkeypatch.setattr(build_module, "make_index", meanwhile)
    kb.compact(progress=False)
    assert seen == [entities, entities]
    add(other, OTHER)
    check_equal(FaissKB.open(directory, Vocab()), [*entities, OTHER], encoder, queries)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["_write_vectors", "make_index", "finish", "resume"])
def test_an_interrupted_compaction_changes_nothing(
    kb, encoder, queries, directory, monkeypatch, where
):
    entities = change(kb, encoder)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build_module, where, interrupt)
        with pytest.raises(KeyboardInterrupt):
            kb.compact(progress=False)
    assert Manifest.read(directory).generation == 0
    for one in (kb, FaissKB.open(directory, Vocab())):
        check_equal(one, entities, encoder, queries)
    assert any(name.startswith("generation-1") for name in files_of(directory))
    add(FaissKB.open(directory, Vocab()), OTHER)  # the next writer removes what is left
    assert not any(name.startswith("generation-1") for name in files_of(directory))
    kb.compact(progress=False)
    check_equal(FaissKB.open(directory, Vocab()), [*entities, OTHER], encoder, queries)


def test_a_rebuild_is_taken_over_if_it_is_of_the_same_encoder(kb, encoder, queries, directory):
    build_kb([NEW], directory, encoder, overwrite=True, progress=False)
    assert kb.row("N1") is None
    assert kb.refresh()
    check_equal(kb, [NEW], encoder, queries, k=1)
    build_kb([OTHER], directory, HashEncoder(fingerprint="b"), overwrite=True, progress=False)
    assert not kb.refresh()
    check_equal(kb, [NEW], encoder, queries, k=1)
    with pytest.raises(ElqError, match="ELQ222"):
        add(kb, OTHER)


def test_a_rebuild_at_the_moment_when_changes_are_read(
    kb, encoder, queries, directory, monkeypatch
):
    def rebuilt_first(log):
        monkeypatch.undo()
        build_kb([NEW], directory, encoder, overwrite=True, progress=False)
        add(FaissKB.open(directory, Vocab()), OTHER)  # in a log of its own
        return log.is_new()

    monkeypatch.setattr(log_module.ChangeLog, "is_new", rebuilt_first)
    assert kb.refresh()
    check_equal(kb, [NEW, OTHER], encoder, queries, k=2)


@pytest.mark.slow
def test_threads_search_while_one_changes_and_compacts(kb, encoder, queries):
    stop, problems = threading.Event(), []

    def search():
        try:
            while not stop.is_set():
                kb.refresh()
                view = kb.view
                rows = view.search(queries, 8).rows
                view.records(rows[rows >= 0])
                view.lookup(["Paris", "Suva"])
        except BaseException as err:
            problems.append(err)
            raise

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(60):
        add(kb, OTHER, NEW)
        kb.remove(["N2"])
        if i % 20 == 10:
            kb.compact(progress=False)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert not problems
