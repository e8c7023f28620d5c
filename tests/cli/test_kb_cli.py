import gzip
import hashlib
import json
import os

import numpy as np
import pytest
from typer.testing import CliRunner

from spacy_elq.cli.kb import app

LINES = [
    {"id": "Q90", "title": "Paris", "description": "capital of France", "mine": 1},
    {"id": "Q220", "title": "Rome", "aliases": ["Eternal City"]},
    {"id": "Q64", "title": "Berlin"},
]


class TitleEncoder:
    """The same title, the same vector: a search for a title finds its entity at score 1."""

    width = 16
    normalized = True

    def __init__(self, source):
        if source == "none":
            raise OSError("no such encoder")
        self.fingerprint = f"title-{source}"

    def encode(self, entities):
        seeds = [list(hashlib.sha256(e.title.encode()).digest()) for e in entities]
        vectors = np.stack([np.random.default_rng(s).standard_normal(self.width) for s in seeds])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors.astype("f4"), np.arange(len(entities))


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(autouse=True)
def fake_encoder(monkeypatch):
    monkeypatch.setattr("spacy_elq.encoders.entity.load_entity_encoder", TitleEncoder)


@pytest.fixture
def entities(tmp_path):
    return write(tmp_path / "entities.jsonl", LINES)


@pytest.fixture
def kb(entities, tmp_path):
    result = run("build", entities, tmp_path / "kb", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    return tmp_path / "kb"


def export(kb):
    return [json.loads(line) for line in run("export", kb, "-").stdout.splitlines()]


def fails(result, message):
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_build_says_what_it_made_on_stderr(entities, tmp_path):
    result = run("build", entities, tmp_path / "kb")
    assert result.exit_code == 0
    assert "3 entities, 3 vectors" in result.stderr
    assert result.stdout == ""


def test_build_reuses_an_older_one_and_takes_its_place(kb, tmp_path, monkeypatch):
    seen = []
    encode = TitleEncoder.encode
    monkeypatch.setattr(
        TitleEncoder, "encode", lambda self, found: seen.extend(found) or encode(self, found)
    )
    newer = write(tmp_path / "newer.jsonl", [*LINES[:2], {"id": "Q1741", "title": "Vienna"}])
    fails(run("build", newer, kb, "--reuse", kb), "ELQ211")
    fails(run("build", newer, kb, "--reuse", kb, "--merge"), "ELQ461")
    fails(run("build", newer, kb, "--reuse", kb, "-O", "-e", "other"), "ELQ288")
    result = run("build", newer, kb, "--reuse", kb, "--overwrite")
    assert result.exit_code == 0
    table = [line.split() for line in result.stderr.splitlines()[-5:]]
    counts = {"reused": "2", "renamed": "0", "changed": "0", "added": "1", "removed": "1"}
    assert dict(table) == counts
    assert [entity.id for entity in seen] == ["Q1741"]
    assert [line["id"] for line in export(kb)] == ["Q90", "Q220", "Q1741"]


def test_tables_without_a_header(tmp_path):
    (tmp_path / "e.csv").write_text("Q90,Paris,capital\n")
    fails(run("build", tmp_path / "e.csv", tmp_path / "kb", "-q"), "--columns id,title,desc")
    options = ("-q", "--columns", "id,title,description")
    assert run("build", tmp_path / "e.csv", tmp_path / "kb", *options).exit_code == 0
    (tmp_path / "e.csv").write_text("Q64,Berlin,capital\n")
    assert run("add", tmp_path / "kb", tmp_path / "e.csv", *options).exit_code == 0
    assert [line["id"] for line in export(tmp_path / "kb")] == ["Q90", "Q64"]


def test_build_refuses_bad_input(entities, kb, tmp_path):
    fails(run("build", entities, kb, "-q"), "ELQ211")
    assert run("build", entities, kb, "-q", "--overwrite").exit_code == 0
    fails(run("build", tmp_path / "no.jsonl", tmp_path / "new", "-q"), "ELQ218")
    fails(run("build", entities, tmp_path / "new", "-q", "--index", "x"), "ELQ215")
    fails(run("build", entities, tmp_path / "new", "-q", "--encoder", "none"), "no such encoder")
    bad = write(tmp_path / "bad.jsonl", [*LINES, {"id": "Q1"}])
    fails(run("build", bad, tmp_path / "new", "-q"), "bad.jsonl:4: 'title' is missing")
    assert not (tmp_path / "new").exists()


def test_interrupted_build_goes_on(entities, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TitleEncoder, "encode", interrupt)
        result = run("build", entities, tmp_path / "kb", "-q")
    assert result.exit_code == 130
    assert "same command again" in result.stderr
    assert not (tmp_path / "kb").exists()
    assert run("build", entities, tmp_path / "kb", "-q").exit_code == 0


@pytest.mark.slow
def test_few_entities_are_kept_by_an_interrupted_build_too(tmp_path, monkeypatch):
    encode, calls = TitleEncoder.encode, []

    def interrupt(encoder, entities):
        calls.append(len(entities))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode(encoder, entities)

    many = [{"id": f"Q{i}", "title": f"name {i}"} for i in range(1000)]
    entities = write(tmp_path / "many.jsonl", many)
    monkeypatch.setattr(TitleEncoder, "encode", interrupt)
    assert run("build", entities, tmp_path / "kb", "-q").exit_code == 130
    result = run("build", entities, tmp_path / "kb")
    assert f"{calls[0]} entities have their vectors" in result.stderr
    assert sum(calls) - calls[1] == 1000 > 2 * calls[0]


def test_another_field_is_the_popularity(tmp_path):
    lines = [{**line, "views": 10**i} for i, line in enumerate(LINES)]
    out = tmp_path / "viewed"
    source = write(tmp_path / "viewed.jsonl", lines)
    assert run("build", source, out, "-q", "--popularity-field", "views").exit_code == 0
    assert (
        run("add", out, write(tmp_path / "more.jsonl", [{**lines[0], "views": 7}])).exit_code == 0
    )
    assert {line["id"]: line["popularity"] for line in export(out)} == {
        "Q90": 7,
        "Q220": 10,
        "Q64": 100,
    }
    assert 'known of 3 entities, from "views"' in run("info", out, "-q").stdout
    with pytest.warns(UserWarning, match="ELQ284"):
        run("build", source, out, "-qO", "--popularity-field", "view")


def test_info(kb):
    result = run("info", kb, "-q")
    rows = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if "," not in line)
    assert rows["entities"] == "3"
    assert rows["index"] == "exact"
    assert rows["encoder"] == "title-minilm"
    assert rows["source"] == "entities.jsonl"
    fails(run("info", kb / "nowhere"), "ELQ200")
    fails(run("info", kb / "manifest.json"), "that is not a directory")


def test_check(kb):
    result = run("check", kb, "-q")
    assert result.exit_code == 0
    assert "recall  1.000" in result.stdout
    content = bytearray((kb / "vectors.npy").read_bytes())
    content[-1] ^= 1
    (kb / "vectors.npy").write_bytes(content)
    fails(run("check", kb, "-q"), "ELQ223")


@pytest.mark.parametrize("name", ["vectors.npy", "entities.sqlite", "name_keys.npy"])
def test_check_names_the_file_that_does_not_even_open(kb, name):
    content = (kb / name).read_bytes()
    (kb / name).write_bytes((b"damage" * 30 + content[180:])[: len(content)])
    result = run("check", kb, "-q")
    fails(result, "ELQ223")
    assert name in result.stderr
    fails(run("export", kb, "-", "-q"), "ELQ223")


def test_search_shows_names_first(kb):
    result = run("search", kb, "eternal city", "-k", 2, "-q")
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert lines[0] == ["name", "Q220", "Rome", ""]
    assert len(lines) == 3
    lines = run("search", kb, "Paris", "-k", 9, "-q").stdout.splitlines()
    assert lines[:2] == [
        "name\tQ90\tParis\tcapital of France",
        "1.000\tQ90\tParis\tcapital of France",
    ]
    assert len(lines) == 4
    fails(run("search", kb, "Paris", "--encoder", "other"), "ELQ213")
    fails(run("search", kb, " "), "ELQ273")


@pytest.mark.slow
def test_add_replaces_and_remove_removes(kb, tmp_path):
    more = write(
        tmp_path / "more.jsonl", [{"id": "Q64", "title": "Bonn"}, {"id": "N", "title": "n"}]
    )
    result = run("add", kb, more)
    assert "1 added, 1 replaced, 4 now" in result.stderr
    assert run("remove", kb, "Q90").exit_code == 0
    assert [line["id"] for line in export(kb)] == ["Q220", "Q64", "N"]
    assert export(kb)[1]["title"] == "Bonn"
    fails(run("remove", kb, "Q220", "Q90"), "ELQ210")
    fails(run("add", kb, more, "--encoder", "other"), "ELQ213")
    assert len(export(kb)) == 3
    assert run("check", kb, "-q").exit_code == 0


@pytest.mark.slow
def test_compact(kb, tmp_path):
    result = run("compact", kb)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing to compact, 3 entities" in result.stderr
    more = write(tmp_path / "more.jsonl", [{"id": "N", "title": "n"}])
    assert run("add", kb, more, "-q").exit_code == 0
    (kb / "generation-9.building").mkdir()  # of an interrupted compaction
    assert run("check", kb, "-q").exit_code == 0
    assert not (kb / "generation-9.building").exists()
    assert "compacted, 4 entities" in run("compact", kb).stderr
    assert sorted(path.name for path in kb.iterdir()) == ["generation-1", "manifest.json"]
    assert [line["id"] for line in export(kb)] == ["Q90", "Q220", "Q64", "N"]
    assert run("search", kb, "n", "-q").stdout.startswith("name\tN\t")
    assert "recall  1.000" in run("check", kb, "-q").stdout
    info = run("info", kb, "-q").stdout
    assert "built" in info and "4 entities" in info


def test_what_was_added_stays_when_the_rest_cannot_be_read(kb, tmp_path, monkeypatch):
    monkeypatch.setattr("spacy_elq.cli.kb.BATCH", 2)
    lines = [{"id": f"N{i}", "title": f"n {i}"} for i in range(3)]
    bad = write(tmp_path / "bad.jsonl", [*lines, {"id": "N3"}])
    result = run("add", kb, bad, "-q")
    fails(result, "bad.jsonl:4")
    assert "The first 2 entities of the input were added" in result.stderr
    assert [line["id"] for line in export(kb)][3:] == ["N0", "N1"]


def test_an_id_that_comes_twice_far_apart(kb, tmp_path, monkeypatch):
    monkeypatch.setattr("spacy_elq.cli.kb.BATCH", 2)
    lines = [{"id": f"N{i % 4}", "title": f"n {i}"} for i in range(5)]
    result = run("add", kb, write(tmp_path / "more.jsonl", lines), "-q")
    fails(result, "'N0' occurs more than once, as entity 1 and as entity 5 of the input")
    assert "The first 4 entities" in result.stderr
    assert [line["title"] for line in export(kb)][3:] == ["n 0", "n 1", "n 2", "n 3"]


def test_other_formats(kb, tmp_path):
    (tmp_path / "more.csv").write_text("id,title,aliases\nN,n,a|b\n")
    assert run("add", kb, tmp_path / "more.csv", "-q").exit_code == 0
    assert export(kb)[3] == {"id": "N", "title": "n", "aliases": ["a", "b"]}
    elq = write(tmp_path / "entity.jsonl", [{"title": "m", "text": "d", "kb_idx": "M"}])
    fails(run("build", elq, tmp_path / "elq", "-q"), "ELQ232")
    assert run("build", elq, tmp_path / "elq", "-q", "--from", "elq").exit_code == 0
    assert export(tmp_path / "elq") == [{"id": "M", "title": "m", "description": "d", "line": 0}]


def test_a_knowledge_base_that_cannot_be_written(kb, tmp_path, monkeypatch):
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and real(path, mode))
    more = write(tmp_path / "more.jsonl", [{"id": "N", "title": "n"}])
    for command in (("add", kb, more), ("remove", kb, "Q90"), ("compact", kb)):
        fails(run(*command, "-q"), "ELQ249")
    assert export(kb) == LINES


def test_export_is_what_was_read(kb, tmp_path):
    assert export(kb) == LINES
    assert run("export", kb, tmp_path / "out.jsonl", "-q").exit_code == 0
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").open()] == LINES
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "out.jsonl")
    (tmp_path / "out.jsonl").write_text("")
    for out in ("link.jsonl", "deep/er.jsonl"):
        assert run("export", kb, tmp_path / out, "-q").exit_code == 0
        assert [json.loads(line) for line in (tmp_path / out).open()] == LINES
    assert (tmp_path / "link.jsonl").is_symlink()
    assert run("export", kb, tmp_path / "out.jsonl.gz", "-q").exit_code == 0
    with gzip.open(tmp_path / "out.jsonl.gz", "rt") as packed:
        assert [json.loads(line) for line in packed] == LINES
    (tmp_path / "table.csv").write_text("id,title\n")
    for out in ("table.csv", "table.csv.gz", "table"):
        fails(run("export", kb, tmp_path / out, "-q"), "ELQ449")
    assert (tmp_path / "table.csv").read_text() == "id,title\n"
    assert run("export", kb, "/dev/null", "-q").exit_code == 0


@pytest.mark.parametrize(
    "name", ["build", "info", "check", "search", "add", "remove", "compact", "export"]
)
def test_help_has_an_example(name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"elq kb {name}" in " ".join(result.output.split())


def places(tmp_path, count=1500):
    kinds = ("city", "river")
    lines = ({"id": f"P{i}", "title": f"Place {i}", "type": kinds[i % 2]} for i in range(count))
    return write(tmp_path / "places.jsonl", lines)


@pytest.mark.slow
def test_build_with_an_index_that_is_chosen_and_tuned(tmp_path, monkeypatch):
    monkeypatch.setattr("spacy_elq.kb.build.choose_index.EXACT_UP_TO", 1000)
    entities, queries = places(tmp_path), tmp_path / "names.txt"
    queries.write_text("".join(f"Place {i}\n" for i in range(0, 1500, 7)))
    settings = ("--queries", queries, "--min-recall", "0.9", "--max-ram", "1GB")
    result = run("build", entities, tmp_path / "kb", *settings)
    assert result.exit_code == 0, result.stderr
    told = " ".join(result.stderr.split())
    assert "index: RR16,IVF64,RaBitQ (one bit per dimension)" in told
    assert "of the exact 10 best" in told and "exact search" in told
    facts = dict(line.split("  ", 1) for line in run("info", tmp_path / "kb").stdout.splitlines())
    assert facts["index"].strip() == "RR16,IVF64,RaBitQ" or "SQ8" in facts["index"]
    assert "names.txt, mentions, encoded as entities" in facts["tried with"]
    assert "of the exact 10 best" in facts["recall"]
    recall = run("check", tmp_path / "kb", "-q").stdout.split("recall")[1].split()[0]
    assert float(recall) >= 0.9
    lines = run("search", tmp_path / "kb", "Place 8", "-k", 3, "-q").stdout.splitlines()
    assert lines[1].split("\t")[:3] == ["1.000", "P8", "Place 8"]


def test_build_refuses_bad_index_options(tmp_path):
    entities = places(tmp_path, 3)
    for option, value, message in (
        ("--max-ram", "much", "ELQ236"),
        ("--min-recall", "2", "ELQ239"),
        ("--queries", tmp_path / "no.txt", "ELQ218"),
        ("--queries", write(tmp_path / "bad.npy", ["no array"]), "ELQ257"),
        ("--dtype", "int8", "ELQ110"),
    ):
        fails(run("build", entities, tmp_path / "kb", "-q", option, value), message)


def test_search_for_a_type(tmp_path):
    run("build", places(tmp_path, 60), tmp_path / "kb", "-q")
    result = run("search", tmp_path / "kb", "Place 8", "-k", 5, "--type", "river", "-q")
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert len(lines) == 5
    assert all(int(line[1][1:]) % 2 for line in lines)
    fails(run("search", tmp_path / "kb", "x", "--type", "lake"), "ELQ237")


@pytest.fixture
def lite():
    """Stops the server that Milvus Lite starts in this process."""
    pytest.importorskip("pymilvus")
    manager = pytest.importorskip("milvus_lite.server_manager")
    yield
    manager.server_manager_instance.release_all()


@pytest.mark.slow
def test_vectors_in_milvus_lite(entities, tmp_path, lite):
    kb, more = tmp_path / "kb", write(tmp_path / "more.jsonl", [{"id": "Q84", "title": "London"}])
    index = f"milvus:{tmp_path / 'vectors.db'}#places"
    result = run("build", entities, kb, "-q", "--index", index)
    assert (result.exit_code, result.output) == (0, "")
    assert not (kb / "vectors.npy").exists()
    info = dict(line.split(maxsplit=1) for line in run("info", kb, "-q").stdout.splitlines()[4:])
    assert info["index"] == index
    assert info["collection"].startswith("places_")
    assert run("add", kb, more, "-q").exit_code == 0
    assert run("remove", kb, "Q64", "-q").exit_code == 0
    assert run("compact", kb, "-q").exit_code == 0
    assert [entity["id"] for entity in export(kb)] == ["Q90", "Q220", "Q84"]
    assert run("search", kb, "London", "-k", "1", "-q").stdout.splitlines()[-1].startswith("1.000")
    assert "recall  1.000" in run("check", kb, "-q").stdout
    fails(
        run("build", entities, tmp_path / "new", "-q", "--index", "milvus:http://localhost:1"),
        "ELQ262",
    )
