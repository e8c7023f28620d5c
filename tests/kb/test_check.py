"""`kb check` finds what is wrong with a knowledge base and with the changes on top of it."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from spacy.vocab import Vocab

from spacy_elq.errors import ElqError
from spacy_elq.kb.build import build_kb
from spacy_elq.kb.check import check_files
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.kb.live import change_log
from spacy_elq.kb.live.change_log import checksum_of
from spacy_elq.kb.live.delta import Change
from spacy_elq.types import Entity

from ..helpers import run
from .helpers import ENTITIES, NEW, HashEncoder, change, check_equal

OTHER = Entity("N2", "Suva", "capital of Fiji")


@pytest.fixture
def delta(kb, encoder, directory):
    """The changes of a knowledge base that nobody has open."""
    change(kb, encoder)
    return directory / "delta.sqlite"


def check(path):
    kb = FaissKB.open(path, Vocab())
    check_files(kb)
    return kb


def execute(path, statement, *values):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement, values)


def test_a_whole_knowledge_base_passes(delta, encoder, queries):
    kb = check(delta.parent)
    assert kb.row("N1") is not None
    kb.compact(progress=False)
    check(delta.parent)


@pytest.mark.parametrize("left", [None, 0, 1, 50, 100, 512, 4096, 8192, -200])
def test_changes_that_are_gone_are_missed(delta, left):
    content = delta.read_bytes()
    delta.unlink()
    if left is not None:
        delta.write_bytes(content[:left])
    with pytest.raises(ElqError, match=r"ELQ282|ELQ216"):
        FaissKB.open(delta.parent, Vocab())
    result = run("kb", "check", delta.parent)
    assert (result.exit_code, "delta.sqlite" in result.stderr) == (1, True)


def test_going_back_to_the_files_takes_two_deletions(delta, encoder, queries):
    delta.unlink()
    delta.with_name("delta.made").unlink()
    check_equal(check(delta.parent), ENTITIES, encoder, queries)


def test_changes_of_another_generation_are_refused(delta, tmp_path, encoder):
    build_kb(ENTITIES[:9], tmp_path / "other", encoder, progress=False)
    FaissKB.open(tmp_path / "other", Vocab()).add([NEW], *encoder.encode([NEW]))
    delta.write_bytes((tmp_path / "other" / "delta.sqlite").read_bytes())
    with pytest.raises(ElqError, match=r"ELQ216.*another"):
        FaissKB.open(delta.parent, Vocab())


@pytest.mark.parametrize("column", ["id", "record", "vectors", "base_row"])
def test_a_changed_value_is_found(delta, column):
    change = f"UPDATE changes SET {column} = CAST(replace({column}, ?, ?) AS BLOB) WHERE id = 'N1'"
    if column in ("id", "record"):
        execute(delta, f"UPDATE changes SET {column} = replace({column}, 'N', 'M')")
    elif column == "base_row":
        execute(delta, "UPDATE changes SET base_row = 7 WHERE id = 'N1'")
    else:
        execute(delta, change.replace("replace", "trim").replace(", ?, ?", ""))
        execute(delta, f"UPDATE changes SET {column} = zeroblob(length({column}))")
    with pytest.raises(ElqError, match=r"ELQ216.*checksum"):
        FaissKB.open(delta.parent, Vocab())


ROW = Change.of(OTHER, None, np.ones((1, 8), "f4"))


@pytest.mark.parametrize(
    ("wrong", "message", "opens"),
    [
        (ROW._replace(base_row=99), "row 99", False),
        (ROW._replace(base_row=-1), "row -1", False),
        (ROW._replace(vectors=b"abc"), "cut", False),
        (ROW._replace(vectors=b""), "no vector", False),
        (ROW._replace(names=b"abc"), "cut", False),
        (ROW._replace(record=b"\0"), "wrong type", False),
        (ROW._replace(base_row=3), "replaces row 3 instead of None", True),
        (ROW._replace(record="{"), "can't be read", True),
        (ROW._replace(record="[" * 100_000), "can't be read", True),
        (ROW._replace(id="N3"), "has the record of 'N2'", True),
        (ROW._replace(names=b""), "other names", True),
        (ROW._replace(vectors=np.full(8, np.nan, "<f4").tobytes()), "not finite", True),
    ],
)
def test_rows_that_contradict_are_found(delta, wrong, message, opens):
    """Whoever wrote them computed the checksum."""
    statement = "INSERT INTO changes (id, base_row, record, names, vectors, checksum)"
    execute(delta, f"{statement} VALUES (?, ?, ?, ?, ?, ?)", *wrong, checksum_of(wrong))
    with pytest.raises(ElqError, match=f"ELQ216.*{message}"):
        kb = FaissKB.open(delta.parent, Vocab())
        assert opens
        check_files(kb)
    if opens and message.startswith("can't"):
        with pytest.raises(ElqError, match="ELQ216"):
            list(FaissKB.open(delta.parent, Vocab()))


def test_changes_of_earlier_releases_are_read_and_added_to(
    directory, encoder, queries, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(change_log, "SCHEMA", change_log.FIRST_SCHEMA)
        expected = change(FaissKB.open(directory, Vocab()), encoder)
    (directory / "delta.made").unlink()
    kb = check(directory)
    check_equal(kb, expected, encoder, queries)
    kb.add([OTHER], *HashEncoder().encode([OTHER]))
    check_equal(check(directory), [*expected, OTHER], encoder, queries)
    assert (directory / "delta.made").exists()


def test_records_that_contradict_are_found(directory):
    for statement in (
        "UPDATE entities SET aliases = '[' WHERE row = 3",
        "UPDATE entities SET extra = '5' WHERE row = 3",
        "UPDATE entities SET title = x'00' WHERE row = 3",
    ):
        execute(directory / "entities.sqlite", statement)
        kb = FaissKB.open(directory, Vocab())
        with pytest.raises(ElqError, match=r"ELQ223.*entities\.sqlite"):
            kb.records([3])


@pytest.mark.slow
def test_a_damaged_index_is_named_before_it_is_opened(tmp_path, encoder):
    build_kb(ENTITIES, tmp_path / "kb", encoder, index="HNSW8", progress=False)
    index = tmp_path / "kb" / "index.faiss"
    content = bytearray(index.read_bytes())
    content[len(content) // 2] ^= 255
    index.write_bytes(content)
    result = run("kb", "check", tmp_path / "kb")
    assert (result.exit_code, "checksum of index.faiss" in result.stderr) == (1, True)
    with pytest.raises(ElqError, match=r"ELQ223.*index\.faiss"):
        FaissKB.open(tmp_path / "kb", Vocab())
