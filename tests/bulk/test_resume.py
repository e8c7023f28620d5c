"""Outputs that an interrupted run goes on with."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_elq import ElqError
from spacy_elq.bulk.resume import hash_directory, open_output
from spacy_elq.corpora.spans_jsonl import LinkedSpan, LinkedText, jsonl_line

SETTINGS = {"pipeline": "abc", "threshold": -2.5}
INPUT = [LinkedText(f"text {i} é", (), {"id": i, "nan": float("nan")}) for i in range(6)]


def linked(row):
    return jsonl_line(LinkedText(row.text, (LinkedSpan(0, 4, "Q1"),), row.fields))


WHOLE = b"".join(map(linked, INPUT))


def run(path, rows=INPUT, settings=SETTINGS, *, overwrite=False, stop=None):
    """RETURNS (int): How many lines were there. `stop` texts are linked, then it is interrupted."""
    stream = iter(rows)
    file, done = open_output(path, settings, stream, overwrite=overwrite)
    with file:
        for row in list(stream)[:stop]:
            file.write(linked(row))
    return done


@pytest.mark.slow
@given(st.integers(0, len(WHOLE)))
def test_goes_on_from_wherever_it_was_torn(tmp_path_factory, at):
    path = tmp_path_factory.mktemp("out") / "out.jsonl"
    assert run(path, stop=0) == 0
    path.write_bytes(WHOLE[:at])
    assert run(path) == WHOLE[:at].count(b"\n")
    assert path.read_bytes() == WHOLE


def test_a_long_torn_line_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr("spacy_elq.bulk.resume.BLOCK", 4)
    path = tmp_path / "out.jsonl"
    run(path, stop=2)
    with path.open("ab") as file:
        file.write(b'{"text": "torn ')
    assert run(path) == 2
    assert path.read_bytes() == WHOLE


def test_a_finished_output_stays_and_a_longer_input_is_gone_on_with(tmp_path):
    path = tmp_path / "new" / "out.jsonl"
    assert run(path, INPUT[:4]) == 0
    assert run(path, INPUT[:4]) == 4
    assert run(path, INPUT) == 4
    assert path.read_bytes() == WHOLE


def test_overwrite_starts_over(tmp_path):
    path = tmp_path / "out.jsonl"
    run(path)
    other = {**SETTINGS, "threshold": -1.0}
    assert run(path, INPUT[:2], other, overwrite=True) == 0
    assert len(path.read_bytes().splitlines()) == 2
    assert run(path, INPUT[:2], other) == 2


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        (INPUT, {**SETTINGS, "threshold": -1.0}, r"ELQ426.*threshold was -2.5, is -1.0\)"),
        (INPUT, {**SETTINGS, "pipeline": "x"}, "ELQ426.*pipeline"),
        (INPUT, {"pipeline": "abc"}, "ELQ426.*threshold was -2.5, is null"),
        ([LinkedText("other"), *INPUT[1:]], SETTINGS, r"ELQ427.*out.jsonl:1\b"),
        (
            [*INPUT[:2], LinkedText(INPUT[2].text, (), {"id": 0}), INPUT[3]],
            SETTINGS,
            "ELQ427.*jsonl:3",
        ),
        (INPUT[:3], SETTINGS, "ELQ427.*jsonl:4"),
    ],
)
def test_another_run_is_refused_and_nothing_is_changed(tmp_path, rows, settings, message):
    path = tmp_path / "out.jsonl"
    run(path, stop=4)
    before = path.read_bytes()
    with pytest.raises(ElqError, match=message):
        run(path, rows, settings)
    assert path.read_bytes() == before


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("mine\n")
    with pytest.raises(ElqError, match="ELQ425"):
        run(path)
    for broken in ("{", "[1]", "3"):
        (tmp_path / "out.jsonl.run.json").write_text(broken)
        with pytest.raises(ElqError, match="ELQ430"):
            run(path)
    (tmp_path / "out.jsonl.run.json").write_text(json.dumps(SETTINGS))
    with pytest.raises(ElqError, match="ELQ302"):
        run(path)
    assert path.read_text() == "mine\n"
    with pytest.raises(ElqError, match="ELQ428"):
        run(tmp_path / "out.jsonl.gz")


def test_fingerprints_tell_pipelines_apart(tmp_path):
    kb = tmp_path / "elq" / "kb"
    kb.mkdir(parents=True)
    (kb / "manifest.json").write_text('{"files": {"vectors.npy": {"size": 3}}}')
    (kb / "vectors.npy").write_bytes(b"abc")
    (tmp_path / "model").write_bytes(b"weights")
    first = hash_directory(tmp_path)
    assert first == hash_directory(tmp_path)
    # Large files of the knowledge base go by the manifest.
    (kb / "vectors.npy").write_bytes(b"xyz")
    assert hash_directory(tmp_path) == first
    changes = [(kb / "manifest.json", b"{}"), (tmp_path / "model", b"w"), (kb / "delta", b"d")]
    for path, data in changes:
        path.write_bytes(data)
        assert hash_directory(tmp_path) != first
        first = hash_directory(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_pipe_is_written_to_and_stays(tmp_path, overwrite):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(path.read_bytes)
        assert run(path, overwrite=overwrite) == 0
        assert read.result(timeout=10) == WHOLE
    assert path.is_fifo()
    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]
