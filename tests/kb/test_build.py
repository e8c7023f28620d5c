import numpy as np
import pytest

from spacy_elq.errors import ElqError
from spacy_elq.kb.build import build_kb, digest_of, working_directory
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.kb.loaders import empty_kb, kb_from_directory, kb_from_entities, rebuild
from spacy_elq.types import Entity

from .conftest import ENTITIES, HashEncoder


class Breaking(HashEncoder):
    """An encoder that is interrupted after some batches."""

    def __init__(self, batches, **settings):
        super().__init__(**settings)
        self.left = batches

    def encode(self, entities):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return super().encode(entities)


def files(path):
    return {file.name: file.read_bytes() for file in path.iterdir() if file.suffix != ".json"}


def break_off(out, batches=2, entities=ENTITIES, **settings):
    with pytest.raises(KeyboardInterrupt):
        build_kb(entities, out, Breaking(batches, **settings), batch_size=10, progress=False)
    assert not out.exists()
    assert working_directory(out).exists()


def test_manifest_says_what_was_built(tmp_path, encoder):
    manifest = build_kb(
        iter(ENTITIES), tmp_path / "kb", encoder, progress=False, source="x", snapshot="2020-01-01"
    )
    assert (manifest.entities, manifest.index, manifest.width) == (45, "exact", 8)
    assert manifest.vectors == sum(len(entity.names) for entity in ENTITIES)
    assert (manifest.source, manifest.snapshot) == ("x", "2020-01-01")
    assert manifest.digest == digest_of(ENTITIES) != digest_of(ENTITIES[:-1])
    assert [path.name for path in tmp_path.iterdir()] == ["kb"]


def test_goes_on_where_it_broke_off(tmp_path, directory, encoder):
    break_off(tmp_path / "again")
    build_kb(ENTITIES, tmp_path / "again", encoder, batch_size=10, progress=False)
    # After the fixture's own build: what was left, and nothing else.
    assert encoder.encoded[45:] == [entity.id for entity in ENTITIES[20:]]
    assert files(tmp_path / "again") == files(directory)
    assert not working_directory(tmp_path / "again").exists()


def test_rows_after_the_last_record_of_progress_are_dropped(tmp_path, directory, encoder):
    break_off(tmp_path / "again")
    for name in ("vectors.npy", "owners.npy"):
        with (working_directory(tmp_path / "again") / name).open("ab") as file:
            file.write(b"\xff" * 300)
    build_kb(ENTITIES, tmp_path / "again", encoder, progress=False)
    assert files(tmp_path / "again") == files(directory)


@pytest.mark.parametrize("what", ["entities", "encoder", "progress"])
def test_starts_over_when_something_else_is_built(tmp_path, what, capsys):
    break_off(tmp_path / "kb", fingerprint="other" if what == "encoder" else "hash-1")
    if what == "progress":
        (working_directory(tmp_path / "kb") / "progress.json").write_text("{")
    entities = ENTITIES[:-1] if what == "entities" else ENTITIES
    encoder = HashEncoder()
    build_kb(entities, tmp_path / "kb", encoder, progress=what != "progress")
    assert len(encoder.encoded) == len(entities)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("starting over" in captured.err) == (what != "progress")


def test_the_output_is_never_overwritten_unasked(directory, encoder, tmp_path):
    with pytest.raises(ElqError, match="ELQ211"):
        build_kb(ENTITIES[:1], directory, encoder, progress=False)
    assert build_kb(ENTITIES[:1], directory, encoder, progress=False, overwrite=True).entities == 1
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ElqError, match="ELQ212"):
        build_kb(ENTITIES, tmp_path / "file", encoder, progress=False, overwrite=True)


def test_bad_input_leaves_nothing_behind(tmp_path, encoder):
    with pytest.raises(ElqError, match="ELQ214"):
        build_kb([], tmp_path / "kb", encoder, progress=False)
    with pytest.raises(ElqError, match=r"ELQ207.*'a'"):
        build_kb([Entity("a", "A")] * 2, tmp_path / "kb", encoder, progress=False)
    with pytest.raises(ElqError, match="ELQ215"):
        build_kb(ENTITIES, tmp_path / "kb", encoder, index="Nope", progress=False)
    assert not list(tmp_path.iterdir())


def test_broken_vectors_name_their_entity(tmp_path, encoder, monkeypatch):
    whole = encoder.vector
    monkeypatch.setattr(
        encoder, "vector", lambda e, name: whole(e, name) * (np.nan if e.id == "E7" else 1)
    )
    with pytest.raises(ElqError, match=r"ELQ208.*'E7'"):
        build_kb(ENTITIES, tmp_path / "kb", encoder, progress=False)


# Loaders


@pytest.fixture
def entities_file(tmp_path):
    path = tmp_path / "entities.jsonl"
    path.write_text('{"id": "a", "title": "A"}\n{"id": "b", "title": "B", "aliases": ["Bee"]}\n')
    return path


def test_directory_loader(directory, vocab, encoder, tmp_path):
    load = kb_from_directory(directory)
    assert len(load(vocab)) == len(load(vocab, encoder)) == 45
    with pytest.raises(ElqError, match=r"ELQ213.*'hash-1'.*'other'"):
        load(vocab, HashEncoder(fingerprint="other"))
    with pytest.raises(ElqError, match="ELQ200"):
        kb_from_directory(tmp_path / "nowhere")(vocab)


def test_entities_loader(entities_file, vocab, encoder, tmp_path):
    load = kb_from_entities(entities_file)
    kb = load(vocab, encoder)
    assert [entity.id for entity in kb] == ["a", "b"]
    files_at = kb.path
    assert files_at.exists()
    del kb
    assert not files_at.exists()
    with pytest.raises(ElqError, match="ELQ217"):
        load(vocab)
    with pytest.raises(ElqError, match=r"ELQ218.*nowhere"):
        kb_from_entities(tmp_path / "nowhere")(vocab, encoder)


def test_entities_loader_with_a_cache(entities_file, vocab, encoder, tmp_path):
    load = kb_from_entities(entities_file, cache=tmp_path / "cache")
    assert len(load(vocab, encoder)) == len(load(vocab, encoder)) == 2
    assert encoder.encoded == ["a", "b"]
    entities_file.write_text('{"id": "c", "title": "C"}\n')
    assert [entity.id for entity in load(vocab, encoder)] == ["c"]
    other = HashEncoder(fingerprint="other")
    assert load(vocab, other).fingerprint == "other"
    assert other.encoded == ["c"]


def test_empty_kb(vocab):
    kb = empty_kb()(vocab, 12)
    assert isinstance(kb, FaissKB)
    assert kb.is_empty()
    assert kb.entity_vector_length == 12


def test_rebuild_embeds_the_live_entities_again(directory, vocab, encoder):
    kb = FaissKB.open(directory, vocab)
    kb.remove(["Q90"])
    other = HashEncoder(width=5, fingerprint="other")
    again = rebuild(kb, other)
    assert list(again) == list(kb)
    assert (again.fingerprint, again.entity_vector_length) == ("other", 5)
    expected = other.vector(ENTITIES[3], ENTITIES[3].title)
    np.testing.assert_array_equal(again.get_vector("Q3"), expected)
