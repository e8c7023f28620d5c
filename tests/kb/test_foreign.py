"""Knowledge bases that somebody else crafted, and those made of symbolic links: what is refused,
and that nothing is written or removed elsewhere."""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import faiss
import numpy as np
import pytest
from spacy.vocab import Vocab

from spacy_elq import ElqError
from spacy_elq.encoders.entity import EntityEncoder
from spacy_elq.files import link_or_copy, write_json
from spacy_elq.kb.build import build_kb
from spacy_elq.kb.files.database import NAMES_ANOTHER, WRITING, open_database
from spacy_elq.kb.files.manifest import CATALOGUE, DELTA, DELTA_MADE, INDEX, MANIFEST, sha256
from spacy_elq.kb.knowledge_base import FaissKB

from .helpers import ENTITIES, NEW, WIDTH, HashEncoder, change, check_equal

ENDLESS = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i FROM n) SELECT i FROM n"
# What a schema can hold besides the table that it must have.
EXTRAS = [
    "CREATE TRIGGER evil AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END",
    "CREATE TRIGGER evil BEFORE DELETE ON {table} BEGIN SELECT load_extension('evil'); END",
    "CREATE VIEW evil AS SELECT * FROM {table}",
    f"ALTER TABLE {{table}} RENAME TO old; CREATE VIEW {{table}} AS {ENDLESS}",
    "ALTER TABLE {table} ADD COLUMN evil AS (id || 'x')",
    "CREATE INDEX evil ON {table} (lower(id))",
    "CREATE TABLE evil (a DEFAULT (load_extension('evil')))",
    "CREATE VIRTUAL TABLE evil USING fts5(a)",
    "CREATE VIRTUAL TABLE evil USING rtree(a, b, c)",
]


def tree(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def note_file(directory: Path, name: str) -> None:
    """Let the manifest describe a changed file, as its author would."""
    manifest = json.loads((directory / MANIFEST).read_text())
    file = directory / name
    manifest["files"][name] = {"size": file.stat().st_size, "sha256": sha256(file)}
    write_json(directory / MANIFEST, manifest)


def craft(file: Path, script: str) -> None:
    try:
        with sqlite3.connect(file) as db:
            db.executescript(script)
    except sqlite3.OperationalError as err:
        pytest.skip(f"this SQLite has no such module ({err})")
    finally:
        db.close()


# Schemas


@pytest.mark.parametrize("script", EXTRAS)
def test_records_with_code(directory, vocab, script):
    craft(directory / CATALOGUE, script.format(table="entities"))
    note_file(directory, CATALOGUE)
    before = tree(directory)
    with pytest.raises(ElqError, match=r"ELQ223.*entities\.sqlite"):
        FaissKB.open(directory, vocab)
    assert tree(directory) == before


@pytest.mark.parametrize("script", EXTRAS)
def test_changes_with_code(kb, directory, vocab, encoder, script):
    change(kb, encoder)
    craft(directory / DELTA, script.format(table="changes"))
    before = tree(directory)
    with pytest.raises(ElqError, match="ELQ216"):
        FaissKB.open(directory, vocab)
    with pytest.raises(ElqError, match="ELQ216"):  # who has it open
        kb.add([NEW], *encoder.encode([NEW]))
    assert tree(directory) == before


def test_code_that_comes_while_it_is_open(kb, directory, encoder):
    """Also without a change that would be read first."""
    craft(directory / DELTA, "CREATE VIEW meta AS " + ENDLESS)
    with pytest.raises(ElqError, match="ELQ216"):
        kb.add([NEW], *encoder.encode([NEW]))


def test_a_journal_that_names_another_file(kb, directory, tmp_path, encoder, vocab):
    """SQLite repairs the file from it, then removes the journal that it names, whatever that is."""
    change(kb, encoder)
    victim = tmp_path / "precious.txt"
    victim.write_text("precious")
    name, size = str(victim).encode(), (directory / DELTA).stat().st_size
    header = NAMES_ANOTHER + struct.pack(">5I", 0, 1, size // 4096, 512, 4096)
    end = struct.pack(">I", 2**30 // 4096 + 1) + name + struct.pack(">2I", len(name), sum(name))
    (directory / f"{DELTA}-journal").write_bytes(header.ljust(512, b"\0") + end + NAMES_ANOTHER)
    with pytest.raises(ElqError, match=r"ELQ216.*names another file"):
        FaissKB.open(directory, vocab)
    assert victim.read_text() == "precious"
    # It is what it is said to be: SQLite itself follows it.
    with sqlite3.connect(directory / DELTA) as db:
        db.execute("SELECT 1 FROM meta")
    assert not victim.exists()


def test_a_journal_that_vanishes(kb, directory, encoder, monkeypatch):
    """Another process's transaction ends between two looks at its journal."""
    change(kb, encoder)
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    with closing(open_database(directory / DELTA, WRITING)) as db:
        assert db.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,)


# Files that name files


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "..", ".", "", "a/b", "evil.py", MANIFEST, DELTA, "C:x"]
)
def test_a_manifest_that_names_other_files(directory, vocab, name):
    manifest = json.loads((directory / MANIFEST).read_text())
    manifest["files"][name] = {"size": 0, "sha256": ""}
    write_json(directory / MANIFEST, manifest)
    before = tree(directory)
    with pytest.raises(ElqError, match="ELQ223"):
        FaissKB.open(directory, vocab)
    assert tree(directory) == before


@pytest.mark.parametrize("generation", ["../x", "/x", -1, 1.5, True, None, 10**30])
def test_a_manifest_with_another_generation(directory, vocab, generation):
    manifest = json.loads((directory / MANIFEST).read_text())
    write_json(directory / MANIFEST, {**manifest, "generation": generation})
    with pytest.raises(ElqError, match="ELQ223"):
        FaissKB.open(directory, vocab)


def test_an_index_that_names_another_file(tmp_path, vocab):
    build_kb(ENTITIES, tmp_path / "kb", HashEncoder(), index="IVF2,Flat", progress=False)
    lists = tmp_path / "lists"
    vectors = np.load(tmp_path / "kb" / "vectors.npy")
    quantizer = faiss.IndexFlatIP(WIDTH)
    index = faiss.IndexIVFFlat(quantizer, WIDTH, 2, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    on_disk = faiss.OnDiskInvertedLists(2, index.code_size, str(lists))
    index.replace_invlists(on_disk)
    index.add(vectors)
    file = tmp_path / "kb" / INDEX
    file.unlink()
    faiss.write_index(index, str(file))
    note_file(tmp_path / "kb", INDEX)
    with pytest.raises(ElqError, match="ELQ223"):
        FaissKB.open(tmp_path / "kb", vocab)


# Symbolic links


def as_in_a_cache(source: Path, cache: Path) -> Path:
    """RETURNS: A directory of relative links to blobs, as the cache of a model hub has them."""
    blobs, snapshot = cache / "blobs", cache / "snapshots" / "1"
    for number, file in enumerate(sorted(f for f in source.rglob("*") if f.is_file())):
        link = snapshot / file.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        blobs.mkdir(exist_ok=True)
        shutil.copyfile(file, blobs / str(number))
        up = "../" * (len(link.relative_to(cache).parts) - 1)
        link.symlink_to(f"{up}blobs/{number}")
    return snapshot


def links_in(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_symlink()]


@pytest.fixture
def cached(kb, directory, encoder, tmp_path):
    """A knowledge base with changes, made of links, and its entities."""
    entities = change(kb, encoder)
    kb._directory._log.close()
    return as_in_a_cache(directory, tmp_path / "cache"), entities


def test_links_are_read_and_saved_as_files(cached, tmp_path, vocab, encoder, queries):
    path, entities = cached
    kb = FaissKB.open(path, vocab)
    check_equal(kb, entities, encoder, queries)
    kb.to_disk(tmp_path / "copy")
    shutil.rmtree(tmp_path / "cache")
    assert not links_in(tmp_path / "copy")
    check_equal(FaissKB.open(tmp_path / "copy", vocab), entities, encoder, queries)


def test_nothing_is_written_through_links(cached, tmp_path, vocab, encoder):
    path, _ = cached
    before = tree(tmp_path / "cache")
    kb = FaissKB.open(path, vocab)
    kb.tidy()
    with pytest.warns(UserWarning, match="ELQ252"):
        kb.remove(["Q3"])
    with pytest.raises(ElqError, match="ELQ246"):
        kb.compact(progress=False)
    with pytest.raises(ElqError, match="ELQ249"):
        kb.to_disk(path)
    assert tree(tmp_path / "cache") == before
    kb.to_disk(tmp_path / "copy")
    assert "Q3" not in FaissKB.open(tmp_path / "copy", vocab)


@pytest.mark.parametrize("name", [DELTA, f"{DELTA}-journal", f"{DELTA}-wal", DELTA_MADE, MANIFEST])
@pytest.mark.parametrize("there", [True, False])
def test_a_link_where_a_change_would_be_written(directory, tmp_path, vocab, encoder, name, there):
    elsewhere = tmp_path / "elsewhere"
    if there:
        elsewhere.touch()
    if name == MANIFEST:
        elsewhere.write_bytes((directory / MANIFEST).read_bytes())
        (directory / MANIFEST).unlink()
    (directory / name).symlink_to(elsewhere)
    before = elsewhere.read_bytes() if elsewhere.exists() else None
    try:
        kb = FaissKB.open(directory, vocab)
        with pytest.warns(UserWarning, match="ELQ252"):
            kb.add([NEW], *encoder.encode([NEW]))
    except ElqError as err:
        assert str(err).startswith(("[ELQ282]", "[ELQ216]"))
    assert (elsewhere.read_bytes() if elsewhere.exists() else None) == before


def test_a_linked_generation(kb, directory, tmp_path, vocab, encoder):
    change(kb, encoder)
    assert kb.compact(progress=False)
    (directory / "generation-1").rename(tmp_path / "elsewhere")
    (directory / "generation-1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ElqError, match="ELQ281"):
        FaissKB.open(directory, vocab)


@pytest.mark.parametrize("name", ["generation-7", "generation-1", "generation-1.building"])
def test_links_to_directories_are_removed_without_their_targets(
    directory, tmp_path, vocab, encoder, name
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in ("precious", "vectors.npy", "upload.json"):
        (elsewhere / file).write_text("{}")
    (directory / name).symlink_to(elsewhere)
    before = tree(elsewhere)
    kb = FaissKB.open(directory, vocab)
    kb.tidy()
    kb.add([NEW], *encoder.encode([NEW]))
    assert kb.compact(progress=False)
    assert tree(elsewhere) == before
    assert not (directory / name).is_symlink()


def test_a_build_in_a_linked_directory(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "kb.building").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ElqError, match="ELQ281"):
        build_kb(ENTITIES, tmp_path / "kb", HashEncoder(), progress=False)
    assert not any((tmp_path / "elsewhere").iterdir())


def test_saving_over_a_link_replaces_the_link(kb, directory, tmp_path, vocab):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / MANIFEST).write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    kb.to_disk(tmp_path / "link")
    assert (tmp_path / "elsewhere" / MANIFEST).read_text() == "precious"
    assert len(FaissKB.open(tmp_path / "link", vocab)) == len(ENTITIES)


@pytest.mark.parametrize("target", ["old", "nowhere"])
def test_a_knowledge_base_built_over_a_link(directory, tmp_path, target):
    shutil.copytree(directory, tmp_path / "old")
    before = tree(tmp_path / "old")
    (tmp_path / "link").symlink_to(target)
    for n_entities in (3, 5):
        build_kb(
            ENTITIES[:n_entities],
            tmp_path / "link",
            HashEncoder(),
            progress=False,
            overwrite=True,
        )
        assert len(FaissKB.open(tmp_path / "link", Vocab())) == n_entities
        assert not (tmp_path / "link").is_symlink()
    assert tree(tmp_path / "old") == before
    assert not list(tmp_path.glob(".link*"))


def test_changes_are_not_saved_through_a_link(kb, directory, tmp_path):
    kb.to_disk(tmp_path / "copy")
    before = tree(tmp_path / "copy")
    (tmp_path / "link").symlink_to("copy")
    changed = FaissKB.open(directory, Vocab(), in_place=False)
    changed.remove(["Q90"])
    for _ in range(2):
        changed.to_disk(tmp_path / "link")
        assert FaissKB.open(tmp_path / "link", Vocab()).row("Q90") is None
    assert tree(tmp_path / "copy") == before


def test_a_link_that_leads_nowhere(cached, tmp_path, vocab):
    path, _ = cached
    kb = FaissKB.open(path, vocab)
    (path / "vectors.npy").resolve().unlink()
    with pytest.raises(ElqError, match=r"ELQ280.*vectors\.npy"):
        kb.to_disk(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    with pytest.raises(ElqError, match="ELQ223"):
        FaissKB.open(path, Vocab())


def test_a_loop_of_links(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(ElqError, match="ELQ280"):
        link_or_copy(tmp_path / "a", tmp_path / "c")


# Encoders made of links


def test_an_encoder_of_links_is_saved_as_files(tiny_bert, tmp_path):
    encoder = EntityEncoder(str(as_in_a_cache(tiny_bert, tmp_path / "cache")))
    vectors, _ = encoder.encode(ENTITIES[:2])
    encoder.to_disk(tmp_path / "copy")
    shutil.rmtree(tmp_path / "cache")
    assert not links_in(tmp_path / "copy")
    again, _ = EntityEncoder(str(tmp_path / "copy")).encode(ENTITIES[:2])
    np.testing.assert_array_equal(again, vectors)


def test_an_encoder_with_a_link_that_leads_nowhere(tiny_bert, tmp_path):
    path = as_in_a_cache(tiny_bert, tmp_path / "cache")
    (path / "model.safetensors").resolve().unlink()
    with pytest.raises(ElqError, match=r"ELQ280.*model\.safetensors"):
        EntityEncoder(str(path)).to_disk(tmp_path / "copy")


def test_an_encoder_saved_over_links(tiny_bert, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "config.json").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").symlink_to(tmp_path / "there" / "config.json")
    (tmp_path / "out" / "model.safetensors").symlink_to(tmp_path / "there" / "new")
    (tmp_path / "out" / "entity_encoder.json").symlink_to(tmp_path / "there" / "new.json")
    (tmp_path / "linked").symlink_to(tmp_path / "there")
    for out in (tmp_path / "out", tmp_path / "linked"):
        EntityEncoder(str(tiny_bert)).to_disk(out)
        assert not links_in(out)
    assert tree(tmp_path / "there") == {"config.json": b"precious"}
