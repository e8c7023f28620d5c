"""Opening: files that are damaged, files that are replaced meanwhile, settings, devices."""

import json
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from spacy.vocab import Vocab

from spacy_elq.errors import ElqError
from spacy_elq.kb.build import build_kb
from spacy_elq.kb.files.manifest import NAMES_VERSION, Manifest
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.kb.search.faiss_index import FaissIndex
from spacy_elq.kb.search.file_vectors import FileVectorStore
from spacy_elq.types import Entity

from .helpers import ENTITIES, NEW


@pytest.mark.parametrize("index", ["exact", "IVF2,Flat"])
def test_opening_reports_damage(tmp_path, encoder, vocab, index):
    build_kb(ENTITIES, tmp_path / "kb", encoder, index=index, progress=False)
    names = Manifest.read(tmp_path / "kb").files
    for name in names:
        file = tmp_path / "kb" / name
        content = file.read_bytes()
        file.write_bytes(b"damage" * 30 + content[180:])
        with pytest.raises(ElqError, match="ELQ223"):
            FaissKB.open(tmp_path / "kb", vocab)
        file.write_bytes(content)
    assert len(FaissKB.open(tmp_path / "kb", vocab)) == len(ENTITIES)


def test_reading_reports_damaged_records(directory, vocab):
    file = directory / "entities.sqlite"
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"damage" * ((len(content) - 4096) // 6 + 1))
    with file.open("r+b") as cut:
        cut.truncate(len(content))
    kb = FaissKB.open(directory, vocab)
    for read in (list, len, lambda kb: kb.row("Q90"), lambda kb: kb.records([1])):
        with pytest.raises(ElqError, match=r"ELQ223.*entities\.sqlite"):
            read(kb) if read is not len else kb.view.base.catalogue.__len__()


def test_it_opens_while_another_process_removes_old_files(tmp_path, encoder, monkeypatch):
    build_kb(ENTITIES, tmp_path / "kb", encoder, index="IVF2,Flat", progress=False)
    other = FaissKB.open(tmp_path / "kb", Vocab())
    other.add([NEW], *encoder.encode([NEW]))
    open_index, done = FaissIndex.open.__func__, []

    def meanwhile(cls, path):
        if not done:
            done.append(path)
            other.compact(progress=False)
            path.unlink()
        return open_index(cls, path)

    monkeypatch.setattr(FaissIndex, "open", classmethod(meanwhile))
    assert len(FaissKB.open(tmp_path / "kb", Vocab())) == len(ENTITIES) + 1


def test_settings_of_a_later_release_are_passed_over(tmp_path, encoder):
    build_kb(ENTITIES, tmp_path / "kb", encoder, index="IVF2,Flat", progress=False)
    manifest = Manifest.read(tmp_path / "kb")
    search = {**manifest.search, "invented_later": 1}
    replace(manifest, search=search).write(tmp_path / "kb")
    table = FaissKB.open(tmp_path / "kb", Vocab()).view.base.vectors
    assert (table.index.effort, table.rerank) == (search["effort"], search["depth"])


def test_names_of_an_older_release_are_made_anew(directory, encoder, vocab):
    kb = FaissKB.open(directory, vocab)
    expected = [[e.id for e in kb.named(entity.title)] for entity in ENTITIES]
    new, more = Entity("new", "Łódź"), Entity("more", "Þórr")
    kb.add([new], *encoder.encode([new]))
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest.pop("names_version") == NAMES_VERSION
    (directory / "manifest.json").write_text(json.dumps(manifest))
    keys = np.load(directory / "name_keys.npy")
    np.save(directory / "name_keys.npy", np.zeros_like(keys))
    with sqlite3.connect(directory / "delta.sqlite") as delta:
        delta.execute("UPDATE changes SET names = zeroblob(length(names))")
    delta.close()

    def check(kb):
        assert [[e.id for e in kb.named(entity.title)] for entity in ENTITIES] == expected
        assert [e.id for e in kb.named("lodz")] == ["new"]

    with pytest.warns(UserWarning, match="ELQ275.*kb compact"):
        kb = FaissKB.open(directory, vocab)
    check(kb)
    kb.add([more], *encoder.encode([more]))
    assert kb.compact(progress=False)
    check(kb)
    check(FaissKB.open(directory, vocab))
    assert [e.id for e in kb.named("Thorr")] == ["more"]
    assert not kb.compact(progress=False)


def test_searches_stay_on_the_gpu(directory, encoder, monkeypatch):
    devices = []
    monkeypatch.setattr(
        FileVectorStore, "use_gpu", lambda self, device: devices.append((self, device))
    )
    kb = FaissKB.open(directory, Vocab(), device=3)
    other = FaissKB.open(directory, Vocab())
    other.add([NEW], *encoder.encode([NEW]))
    other.compact(progress=False)
    kb.refresh()
    assert devices[-1] == (kb.view.base.vectors, 3)
    assert len({id(table) for table, _ in devices}) == 2
