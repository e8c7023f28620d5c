"""Linking many files: whole parts, resumed, repeated, in order."""

import json

import pyarrow as pa
import pyarrow.parquet
import pytest

from spacy_elq.batch.parts import plan_parts
from spacy_elq.batch.processes import map_in_processes
from spacy_elq.errors import ElqError

from ..helpers import TEXTS, run, write_jsonl

ROWS = [{"text": row["text"], "n": n} for n, row in enumerate(TEXTS)]


@pytest.fixture
def parts(tmp_path):
    directory = tmp_path / "texts"
    directory.mkdir()
    write_jsonl(directory / "part-0.jsonl", ROWS[:3])
    pa.parquet.write_table(pa.Table.from_pylist(ROWS[3:5]), directory / "part-1.parquet")
    write_jsonl(directory / "part-2.json", ROWS[5:])
    return directory


def linked(directory):
    texts = [path.read_text(encoding="utf8") for path in sorted(directory.glob("*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.splitlines()]


@pytest.mark.slow
def test_parts_are_linked_as_one_file_is(parts, trained_path, tmp_path):
    one = write_jsonl(tmp_path / "all.jsonl", ROWS)
    assert run("link", trained_path, "-i", one, "-o", tmp_path / "one.jsonl").exit_code == 0
    out = tmp_path / "linked"
    result = run("link", trained_path, "-i", parts, "-o", out)
    assert f"3 parts (0 were there), {len(ROWS)} texts" in result.stderr
    assert [row["n"] for row in linked(out)] == [row["n"] for row in ROWS]
    wanted = [*map(json.loads, (tmp_path / "one.jsonl").read_text().splitlines())]
    for one, other in zip(linked(out), wanted, strict=True):
        assert [s["id"] for s in one["spans"]] == [s["id"] for s in other["spans"]]
    # Resumed: only what is missing is linked again.
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.jsonl")}
    (out / "part-1.jsonl").unlink()
    result = run("link", trained_path, "-i", parts, "-o", out)
    assert "3 parts (2 were there)" in result.stderr
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*.jsonl")}
    assert {name for name in before if before[name] != after[name]} == {"part-1.jsonl"}
    # Other settings or other texts are not mixed in.
    result = run("link", trained_path, "-i", parts, "-o", out, "--threshold", "-1")
    assert result.exit_code == 1 and "ELQ426" in result.stderr
    write_jsonl(parts / "part-0.jsonl", ROWS[:4])
    result = run("link", trained_path, "-i", parts, "-o", out)
    assert result.exit_code == 1 and "ELQ427" in result.stderr
    result = run("link", trained_path, "-i", parts, "-o", out, "-O")
    assert "3 parts (0 were there), " in result.stderr and len(linked(out)) == len(ROWS) + 1


@pytest.mark.slow
def test_bad_lines_are_left_out_and_reported_each_time(parts, trained_path, tmp_path):
    (parts / "part-0.jsonl").write_text('{"text": "paris"}\n{"txt": 1}\n')
    for _ in range(2):
        result = run("link", trained_path, "-i", f"{parts}/part-*", "-o", tmp_path / "linked")
        assert result.exit_code == 1
        assert "Left out: [ELQ304]" in result.stderr and "part-0.jsonl:2" in result.stderr
    assert len(linked(tmp_path / "linked")) == 1 + len(ROWS[3:])


@pytest.mark.parametrize(
    "names, message",
    [
        (["a.jsonl", "a.b.jsonl", "a.csv"], r"ELQ462.*a\.csv.*a\.jsonl"),
        ([], r"ELQ315.*files? of texts"),
    ],
)
def test_outputs_have_names_of_their_own(tmp_path, names, message):
    (tmp_path / "texts").mkdir()
    for name in names:
        (tmp_path / "texts" / name).touch()
    with pytest.raises(ElqError, match=message):
        plan_parts(tmp_path / "texts", tmp_path / "out", {}, overwrite=False)


@pytest.mark.parametrize(
    "options, code",
    [
        (("-i", "texts"), "ELQ465"),
        (("-i", "texts", "-o", "texts/part-0.jsonl"), "ELQ465"),
        (("a text", "--engine", "ray"), "ELQ465"),
        (("-i", "texts", "-o", "out", "--engine", "spark"), "ELQ466"),
    ],
)
def test_options(parts, monkeypatch, options, code):
    monkeypatch.chdir(parts.parent)
    result = run("link", "nowhere", *options)
    assert result.exit_code == 1
    assert f"[{code}]" in result.stderr


def square(number):
    if number == 9:
        raise ElqError("nine")
    return number**2


@pytest.mark.slow
def test_processes_keep_the_order():
    found = []
    with pytest.raises(ElqError, match="nine"):
        for result in map_in_processes(square, range(12), 2):
            found.append(result)
    assert found == [n**2 for n in range(9)]
