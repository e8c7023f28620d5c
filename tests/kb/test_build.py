import threading

import numpy as np
import pytest
from spacy.vocab import Vocab

from spacy_elq.entities.reader import read_entities
from spacy_elq.entities.records import entity_to_dict
from spacy_elq.errors import ElqError
from spacy_elq.files import write_jsonl
from spacy_elq.kb.build import VectorSource, build_kb
from spacy_elq.kb.build import build_state as work
from spacy_elq.kb.build.build_state import building_directory, digest_of
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.kb.loaders import empty_kb, kb_from_directory, kb_from_entities, rebuild
from spacy_elq.types import Entity

from .helpers import ENTITIES, HashEncoder


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
    assert building_directory(out).exists()


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
    assert not building_directory(tmp_path / "again").exists()


def test_rows_after_the_last_record_of_progress_are_dropped(tmp_path, directory, encoder):
    break_off(tmp_path / "again")
    for name in ("vectors.npy", "owners.npy"):
        with (building_directory(tmp_path / "again") / name).open("ab") as file:
            file.write(b"\xff" * 300)
    build_kb(ENTITIES, tmp_path / "again", encoder, progress=False)
    assert files(tmp_path / "again") == files(directory)


def write_parts(directory, *parts):
    for number, entities in enumerate(parts):
        write_jsonl(directory / f"part-{number:05}.jsonl", map(entity_to_dict, entities))
    return directory


def test_parts_are_one_catalogue_however_they_are_cut(tmp_path, directory, encoder):
    one = write_parts(tmp_path / "one", ENTITIES[:30], ENTITIES[30:])
    other = write_parts(tmp_path / "other", ENTITIES[:7], ENTITIES[7:29], ENTITIES[29:])
    break_off(tmp_path / "again", entities=read_entities(one))
    build_kb(read_entities(other), tmp_path / "again", encoder, progress=False)
    assert encoder.encoded[45:] == [entity.id for entity in ENTITIES[20:]]
    assert files(tmp_path / "again") == files(directory)


def test_an_id_in_two_parts_is_found(tmp_path, encoder):
    parts = write_parts(tmp_path / "parts", ENTITIES[:30], ENTITIES[29:])
    with pytest.raises(ElqError, match=r"ELQ207.*'E24' .* entity 30 and as entity 31"):
        build_kb(read_entities(parts), tmp_path / "kb", encoder, progress=False)


@pytest.mark.parametrize("what", ["entities", "encoder", "progress"])
def test_starts_over_when_something_else_is_built(tmp_path, what, capsys):
    break_off(tmp_path / "kb", fingerprint="other" if what == "encoder" else "hash-1")
    if what == "progress":
        (building_directory(tmp_path / "kb") / "progress.json").write_text("{")
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


def test_two_builds_of_one_output_do_not_mix(tmp_path, directory):
    out, problems = tmp_path / "again", []

    class Meanwhile(HashEncoder):
        def encode(self, entities):
            with pytest.raises(ElqError, match="ELQ240") as problem:
                build_kb(ENTITIES, out, HashEncoder(), progress=False)
            problems.append(problem.value)
            return super().encode(entities)

    build_kb(ENTITIES, out, Meanwhile(), progress=False)
    assert problems
    assert files(out) == files(directory)
    assert {path.name for path in tmp_path.iterdir()} == {"kb", "again"}
    with pytest.raises(ElqError, match="ELQ211"):
        build_kb(ENTITIES, out, HashEncoder(), progress=False)


def test_goes_on_after_it_could_not_be_given_its_name(tmp_path, encoder, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(work, "publish", fail)
        with pytest.raises(OSError, match="disk full"):
            build_kb(ENTITIES, tmp_path / "kb", encoder, progress=False)
    build_kb(ENTITIES, tmp_path / "kb", encoder, progress=False)
    assert len(encoder.encoded) == len(ENTITIES)
    assert not (tmp_path / "kb" / "progress.json").exists()


def test_a_directory_of_somebody_else_is_no_place_to_work_in(tmp_path, encoder):
    mine = building_directory(tmp_path / "kb")
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for entities in ([], ENTITIES):
        with pytest.raises(ElqError, match=r"ELQ251.*thesis\.txt"):
            build_kb(entities, tmp_path / "kb", encoder, progress=False)
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("same", [True, False])
def test_what_an_unfinished_build_left_is_not_published(tmp_path, encoder, same):
    break_off(tmp_path / "kb", fingerprint="hash-1" if same else "other")
    for name in ("queries.npy", "index.part", ".index.part.1f.tmp"):
        (building_directory(tmp_path / "kb") / name).write_bytes(b"left")
    manifest = build_kb(ENTITIES, tmp_path / "kb", encoder, progress=False)
    assert set(manifest.files) == set(files(tmp_path / "kb"))
    assert not {"queries.npy", "index.part", ".index.part.1f.tmp"} & set(files(tmp_path / "kb"))


def test_an_index_that_is_given_has_no_queries(tmp_path, directory):
    vectors = HashEncoder().encode(ENTITIES)[0][: len(ENTITIES)]
    source, settings = VectorSource.from_matrix(vectors, "f"), {"progress": False, "index": "Flat"}
    build_kb(ENTITIES, tmp_path / "one", source, **settings)
    with pytest.raises(FileNotFoundError):
        build_kb(ENTITIES, tmp_path / "two", source, index_file=tmp_path / "nowhere", **settings)
    (building_directory(tmp_path / "two") / "queries.npy").write_bytes(b"left")
    index_file = tmp_path / "one" / "index.faiss"
    manifest = build_kb(ENTITIES, tmp_path / "two", source, index_file=index_file, **settings)
    assert "queries.npy" not in manifest.files


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


def test_changes_stay_out_of_the_cache(entities_file, vocab, encoder, tmp_path):
    load = kb_from_entities(entities_file, cache=tmp_path / "cache")
    load(vocab, encoder).add([Entity("NEW", "new")], np.ones((1, 8), "f4"))
    assert [entity.id for entity in load(vocab, encoder)] == ["a", "b"]


def test_a_knowledge_base_is_no_cache(entities_file, directory, vocab, encoder):
    with pytest.raises(ElqError, match="ELQ253"):
        kb_from_entities(entities_file, cache=directory)(vocab, encoder)
    assert len(FaissKB.open(directory, vocab)) == len(ENTITIES)


def test_a_cache_that_another_process_builds_is_waited_for(entities_file, vocab, tmp_path):
    """The second loads what the first built, and embeds nothing."""
    load = kb_from_entities(entities_file, cache=tmp_path / "cache")
    second, found = HashEncoder(), []
    thread = threading.Thread(target=lambda: found.append(load(vocab, second)))

    class First(HashEncoder):
        def encode(self, entities):
            thread.start()
            thread.join(0.1)
            return super().encode(entities)

    assert len(load(vocab, First())) == 2
    thread.join(10)
    assert [len(kb) for kb in found] == [2]
    assert not second.encoded


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


def test_a_path_that_is_not_filled_in_is_told():
    with pytest.raises(ElqError, match=r"ELQ458.*--paths\.kb"):
        kb_from_directory(None)(Vocab())
