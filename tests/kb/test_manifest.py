import json
import os
import threading
from dataclasses import fields

import numpy as np
import pytest

from spacy_elq.errors import ElqError
from spacy_elq.files import link_or_copy
from spacy_elq.kb.build.vector_writers import NpyAppender
from spacy_elq.kb.files import atomic, locks
from spacy_elq.kb.files.atomic import atomic_directory
from spacy_elq.kb.files.manifest import FIRST_RELEASE, Manifest, check_replaceable
from spacy_elq.kb.knowledge_base import FaissKB


def edit(directory, **changes):
    values = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps({**values, **changes}))


def test_manifest_round_trip(directory):
    manifest = Manifest.read(directory)
    assert Manifest.from_json(manifest.to_json(), directory) == manifest
    assert (manifest.entities, manifest.width, manifest.fingerprint) == (45, 8, "hash-1")
    assert set(manifest.files) == {path.name for path in directory.iterdir()} - {"manifest.json"}
    manifest.verify(directory)


def test_every_wrong_case_has_its_own_error(directory, tmp_path):
    with pytest.raises(ElqError, match=r"ELQ200.*nowhere"):
        Manifest.read(tmp_path / "nowhere")
    with pytest.raises(ElqError, match=r"ELQ200.*manifest\.json"):
        Manifest.read(tmp_path)
    vectors = directory / "vectors.npy"
    content = vectors.read_bytes()
    vectors.write_bytes(content[:-1])
    with pytest.raises(ElqError, match=r"ELQ223.*vectors\.npy"):
        Manifest.read(directory)
    vectors.unlink()
    with pytest.raises(ElqError, match=r"ELQ223.*vectors\.npy"):
        Manifest.read(directory)
    vectors.write_bytes(content[:-1] + b"x")
    with pytest.raises(ElqError, match=r"ELQ223.*vectors\.npy"):
        Manifest.read(directory).verify(directory)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "ELQ223"),
        ("[]", "ELQ223"),
        ('{"format_version": 1}', "ELQ223.*no 'entities'"),
        ('{"format_version": 2}', "ELQ205.*version 2.*version 1"),
    ],
)
def test_broken_manifest(tmp_path, text, message):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ElqError, match=message):
        Manifest.read(tmp_path)


def test_manifest_values_are_checked(directory):
    edit(directory, width="8")
    with pytest.raises(ElqError, match=r"ELQ223.*width"):
        Manifest.read(directory)
    edit(directory, width=8, files={"../outside": {"size": 1, "sha256": ""}})
    with pytest.raises(ElqError, match=r"ELQ223.*outside"):
        Manifest.read(directory)


def test_unknown_fields_of_later_releases_are_ignored(directory):
    edit(directory, invented_later=1)
    assert Manifest.read(directory).width == 8


def replacing(path):
    return atomic_directory(path, check_replaceable)


def fill(path, text):
    with replacing(path) as work:
        (work / "manifest.json").write_text(text)


def test_directory_appears_whole(tmp_path):
    path = tmp_path / "deep" / "kb"
    with replacing(path) as work:
        (work / "manifest.json").write_text("one")
        assert not path.exists()
    assert (path / "manifest.json").read_text() == "one"
    fill(path, "two")
    assert (path / "manifest.json").read_text() == "two"
    assert [item.name for item in path.parent.iterdir()] == ["kb"]


def test_interruption_keeps_the_old_directory(tmp_path):
    fill(tmp_path / "kb", "old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "kb") as work:
        (work / "manifest.json").write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "kb" / "manifest.json").read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["kb"]


def test_what_a_killed_save_left_is_removed_by_the_next(tmp_path):
    killed = os.fork()
    if not killed:
        with replacing(tmp_path / "kb"):
            os._exit(9)
    os.waitpid(killed, 0)
    (left,) = (item for item in tmp_path.iterdir() if item.is_dir())
    other = tmp_path / ".kb.mine"
    other.mkdir()
    with replacing(tmp_path / "kb") as work:
        assert not left.exists()
        (work / "manifest.json").write_text("one")
        fill(tmp_path / "kb", "two")  # leaves what is being written
        assert work.exists()
    assert (tmp_path / "kb" / "manifest.json").read_text() == "one"
    assert {item.name for item in tmp_path.iterdir()} == {"kb", ".kb.mine"}


def test_failed_rename_keeps_the_old_directory(tmp_path, monkeypatch):
    fill(tmp_path / "kb", "old")
    rename = atomic.Path.rename

    def fail_for_new(self, target):
        if self.name == "new":
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(atomic.Path, "rename", fail_for_new)
    with pytest.raises(OSError, match="disk full"):
        fill(tmp_path / "kb", "new")
    assert (tmp_path / "kb" / "manifest.json").read_text() == "old"


def test_killed_between_the_renames_is_put_right(directory, vocab):
    # What a process leaves behind that dies after the first rename and before the second.
    directory.rename(directory.with_name(".kb.old"))
    assert Manifest.read(directory).entities == 45
    assert not directory.with_name(".kb.old").exists()


def test_a_link_moved_away_by_a_killed_process_is_put_back(directory, tmp_path):
    (tmp_path / ".link.old").symlink_to(directory)
    atomic.recover(tmp_path / "link")
    assert (tmp_path / "link").resolve() == directory.resolve()


def test_other_directories_are_not_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ElqError, match="ELQ212"):
        fill(tmp_path / "mine", "kb")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_files_are_copied_where_links_are_impossible(tmp_path, monkeypatch):
    def no_links(*args):
        raise OSError("cross-device link")

    (tmp_path / "a").write_bytes(b"content")
    monkeypatch.setattr(os, "link", no_links)
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"content"


@pytest.mark.parametrize("shape, dtype", [((3,), "float32"), ((), "int32"), ((2,), "float16")])
def test_growing_npy(tmp_path, shape, dtype):
    blocks = [np.full((n, *shape), n, dtype=dtype) for n in (2, 0, 5)]
    file = NpyAppender(tmp_path / "a.npy", shape, dtype)
    for block in blocks:
        file.append(block)
        file.flush()
    file.append(np.full((4, *shape), 9, dtype=dtype))  # never flushed: an interrupted run
    file.close()
    again = NpyAppender(tmp_path / "a.npy", shape, dtype, rows=7)
    again.append(np.full((1, *shape), 3, dtype=dtype))
    again.flush()
    again.close()
    found = np.load(tmp_path / "a.npy", mmap_mode="r", allow_pickle=False)
    expected = np.concatenate([*blocks, np.full((1, *shape), 3, dtype=dtype)])
    assert found.dtype == expected.dtype
    assert (found == expected).all()


def test_readers_wait_for_the_end_of_a_replacement(directory, monkeypatch):
    """What opens the directory between the two renames must not put the old one back."""
    rename, readers, found = atomic.Path.rename, [], []

    def read():
        found.append(Manifest.read(directory).source)

    def meanwhile(self, target):
        if self.name == "new":
            readers.append(threading.Thread(target=read))
            readers[0].start()
            readers[0].join(0.2)
            assert not directory.exists()
        return rename(self, target)

    monkeypatch.setattr(atomic.Path, "rename", meanwhile)
    with replacing(directory) as work:
        Manifest(source="new").write(work)
    readers[0].join(10)
    assert found == ["new"]
    assert [item.name for item in directory.parent.iterdir()] == ["kb"]


def test_a_replacement_that_fails_reports_why(directory, monkeypatch):
    """The rollback finds the old directory back in its place."""
    rename = atomic.Path.rename

    def fail(self, target):
        if self.name == "new":
            rename(atomic.Path(f"{directory.parent}/.kb.old"), target)
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(atomic.Path, "rename", fail)
    with pytest.raises(OSError, match="disk full"), replacing(directory) as work:
        Manifest().write(work)
    assert Manifest.read(directory).entities == 45


def test_a_lock_keeps_others_out_until_its_end(tmp_path):
    path, order = tmp_path / "lock", []

    def other():
        with locks.exclusive_lock(path):
            order.append("other")

    thread = threading.Thread(target=other)
    with locks.exclusive_lock(path):
        with pytest.raises(ElqError, match="ELQ240"), locks.exclusive_lock(path, busy="ELQ240"):
            pass
        thread.start()
        thread.join(0.1)
        order.append("first")
    thread.join(10)
    assert order == ["first", "other"]
    assert not path.exists()


HUGE = 10**30


@pytest.mark.parametrize(
    "name, value",
    [
        *(
            (name, value)
            for name in ("entities", "vectors", "width", "generation")
            for value in (-3, HUGE, 1.5, 8.0, "8", None, True, [], float("nan"), float("inf"))
        ),
        *(("dtype", value) for value in ("float64", "object", "", 3, None)),
        *((name, value) for name in ("index", "digest", "created") for value in (3, None, [])),
        *(("normalized", value) for value in (1, "true", None)),
        *(("search", value) for value in ([], None, "exact")),
        *(("files", value) for value in ([], None, {}, {"vectors.npy": 3}, {"vectors.npy": {}})),
        *(("files", {"vectors.npy": {"size": size, "sha256": "0" * 64}}) for size in (-1, 1.5)),
        *(("files", {"evil.py": {"size": 1, "sha256": "0" * 64}}),),
    ],
)
def test_impossible_values_of_a_manifest_are_refused(directory, vocab, name, value):
    edit(directory, **{name: value})
    with pytest.raises(ElqError, match="ELQ223"):
        FaissKB.open(directory, vocab)


@pytest.mark.parametrize(
    "name, value", [("entities", 46), ("vectors", 3), ("width", 9), ("dtype", "float16")]
)
def test_numbers_of_a_manifest_must_fit_the_files(directory, vocab, name, value):
    edit(directory, **{name: value})
    with pytest.raises(ElqError, match="ELQ223"):
        FaissKB.open(directory, vocab)


@pytest.mark.parametrize(
    "missing", [f.name for f in fields(Manifest) if f.name not in FIRST_RELEASE]
)
def test_every_value_of_a_manifest_is_needed(directory, vocab, missing):
    values = json.loads((directory / "manifest.json").read_text())
    del values[missing]
    (directory / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(ElqError, match=f"ELQ223.*no '{missing}'"):
        FaissKB.open(directory, vocab)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"format_version": ' + "1" * 5000 + "}", '{"a": 1}', "\0" * 50, "null"]
)
def test_a_manifest_that_is_not_one(directory, vocab, text):
    (directory / "manifest.json").write_text(text)
    with pytest.raises(ElqError, match="ELQ2"):
        FaissKB.open(directory, vocab)
