"""A Wikidata dump becomes parts of entities, whole or not."""

from __future__ import annotations

import bz2
import gzip
import json
from functools import partial

import pytest

from spacy_elq.dumps import entity_parts, item_reading, line_blocks
from spacy_elq.dumps.wikidata import WikidataOptions, convert_wikidata
from spacy_elq.entities.reader import read_entities
from spacy_elq.errors import ElqError

from .wikidata_json import dump_of, item, term

HUMAN, WRITER, CITY, LIST, INTERNAL = 5, 6, 7, 13406463, 17442446
CLASSES = [
    item(HUMAN, "human"),
    item(WRITER, "writer", parents=(HUMAN,)),
    item(CITY, "city"),
    item(LIST, "list article", parents=(INTERNAL,)),
]
ITEMS = [
    item(42, "Douglas Adams", classes=(HUMAN, WRITER)),
    item(1741, "Vienna", classes=(CITY,)),
    item(100, "List of cities", classes=(LIST,)),
    item(101, "A poet", classes=(WRITER,)),
    item(102, labels={"fr": term("x")}),
    {"type": "property", "id": "P31"},
    {"type": "lexeme", "id": "L1"},
    {"entity": "Q7000", "redirect": "Q42"},
]


def convert(tmp_path, data, name="dump.json", **options):
    dump, out = tmp_path / name, tmp_path / "out"
    dump.write_bytes(data)
    run = {key: options.pop(key) for key in ("workers", "overwrite") if key in options}
    manifest = convert_wikidata(dump, out, WikidataOptions(**options), **run)
    return manifest, [*read_entities(out / "entities")]


def titles(entities):
    return [entity.title for entity in entities]


def test_types_are_labels_of_classes_before_and_after(tmp_path):
    manifest, entities = convert(tmp_path, dump_of(CLASSES[:2] + ITEMS + CLASSES[2:]))
    types = {entity.title: entity.type for entity in entities}
    assert types == {
        "human": "",
        "writer": "",
        "Douglas Adams": "human",
        "Vienna": "city",
        "A poet": "writer",
        "city": "",
        "list article": "",
    }
    assert manifest.counts == {
        "entities": 7,
        "no label": 1,
        "properties": 1,
        "lexemes": 1,
        "redirects": 1,
        "pages of Wikimedia": 1,
    }
    assert not manifest.problems


@pytest.mark.parametrize(
    ("types", "found"),
    [
        (["Q5"], ["Douglas Adams", "A poet"]),
        (["human"], ["Douglas Adams", "A poet"]),
        (["writer", "Q7"], ["Douglas Adams", "Vienna", "A poet"]),
        ([f"Q{LIST}"], ["List of cities"]),
    ],
)
def test_types_that_are_asked_for_have_subclasses(tmp_path, types, found):
    manifest, entities = convert(tmp_path, dump_of(ITEMS + CLASSES), types=types)
    assert titles(entities) == found
    assert manifest.counts["entities"] + manifest.counts["of other types"] >= 6


def test_the_type_is_the_one_that_is_asked_for(tmp_path):
    _, entities = convert(tmp_path, dump_of(ITEMS + CLASSES), types=["writer"])
    assert [entity.type for entity in entities] == ["writer", "writer"]


def test_labels_of_classes_that_are_no_entities(tmp_path):
    _, entities = convert(
        tmp_path,
        dump_of([item(1, "x", classes=(5,), sitelinks={"enwiki": "x"}), item(5, "human")]),
        min_sitelinks=1,
    )
    assert [(entity.title, entity.type) for entity in entities] == [("x", "human")]


def test_json_lines_are_a_dump_too(tmp_path):
    data = "\n".join(map(json.dumps, ITEMS)).encode()
    manifest, entities = convert(tmp_path, data)
    assert titles(entities) == ["Douglas Adams", "Vienna", "A poet"]
    assert not manifest.problems


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_formats(tmp_path, format):
    data = dump_of([item(1, "One", aliases={"en": [term("Uno")]}), item(2, "Two")])
    _, (one, two) = convert(tmp_path, data, format=format)
    assert (one.aliases, two.aliases, two.popularity) == (("Uno",), (), 0)


def test_workers_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(line_blocks.line_blocks, "__defaults__", (0, 200))
    data = dump_of([item(i, f"name {i}") for i in range(1, 60)])
    one = convert(tmp_path, data)
    assert convert(tmp_path, data, workers=2, overwrite=True) == one
    assert len(one[1]) == 59


# What may be wrong with a dump: what remains of it, and what is said.


def test_a_missing_bracket(tmp_path):
    manifest, entities = convert(tmp_path, dump_of(ITEMS[:2]).rstrip(b"]\n"))
    assert titles(entities) == ["Douglas Adams", "Vienna"]
    assert manifest.problems == ["there is no closing bracket: the end may be missing"]


def test_broken_lines(tmp_path):
    lines = dump_of(ITEMS[:2]).split(b"\n")
    lines[2:2] = [
        b'{"type": "item", "id"',
        b"7,",
        b'"x"',
        rb'{"type": "item", "id": "Q8", "labels": {"en": {"value": "\ud800"}}},',
    ]
    manifest, entities = convert(tmp_path, b"\n".join(lines))
    assert titles(entities) == ["Douglas Adams", "Vienna"]
    assert manifest.counts["broken lines"] == 4
    named = [problem.split(":")[0] for problem in manifest.problems]
    assert named == ["line 3", "line 4", "line 5", "line 6"]


@pytest.mark.parametrize("compress", [partial(bz2.compress, compresslevel=1), gzip.compress])
def test_a_cut_file(tmp_path, compress):
    data = compress(dump_of([item(i, f"name {i * 7919}") for i in range(1, 2001)]))
    manifest, entities = convert(tmp_path, data[: len(data) * 2 // 3])
    assert 500 < len(entities) < 2000
    assert titles(entities) == [f"name {i * 7919}" for i in range(1, len(entities) + 1)]
    assert "it ends early, after line" in manifest.problems[-2]
    assert "no closing bracket" in manifest.problems[-1]


@pytest.mark.parametrize("data", [b"", b"[]", b"[\n]\n", b"<mediawiki>\n", b"x" * 100, b"\0" * 100])
def test_no_dump(tmp_path, data):
    with pytest.raises(ElqError, match="ELQ364"):
        convert(tmp_path, data)


def test_little_is_read_of_a_file_that_is_no_dump(tmp_path, monkeypatch):
    monkeypatch.setattr(line_blocks.line_blocks, "__defaults__", (0, 1000))
    with pytest.raises(ElqError, match=r"ELQ364.*\(10[0-9]{2} broken lines; line 1: "):
        convert(tmp_path, b"<page>\n" * 50_000)


def test_no_entity_of_the_language(tmp_path):
    with pytest.raises(ElqError, match="7 no label"):
        convert(tmp_path, dump_of(ITEMS[:2] + ITEMS[3:] + CLASSES[:3]), languages=["xx"])


def test_an_unknown_type(tmp_path):
    with pytest.raises(ElqError, match="ELQ367"):
        convert(tmp_path, dump_of(ITEMS), types=["humna"])
    # The dump is not read again.
    _, entities = convert(tmp_path, dump_of(ITEMS), types=["Q5"])
    assert titles(entities) == ["Douglas Adams"]


def test_a_line_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(line_blocks, "MAX_LINE", 1000)
    monkeypatch.setattr(line_blocks.line_blocks, "__defaults__", (0, 100))
    with pytest.raises(ElqError, match="ELQ363"):
        convert(tmp_path, b"[" + b"x" * 5000)


# Interrupted runs.


class Killed(Exception):
    pass


@pytest.mark.parametrize("stop_at", [0, 1, 2, 7, 30])
def test_a_run_goes_on_where_it_was_killed(tmp_path, monkeypatch, stop_at):
    values = [item(i, f"name {i}", classes=(1 + i % 3,)) for i in range(1, 200)]
    whole, expected = convert(tmp_path, dump_of(values))
    monkeypatch.setattr(line_blocks.line_blocks, "__defaults__", (0, 500))
    monkeypatch.setattr(item_reading, "COMMIT_EVERY", -1)
    monkeypatch.setattr(entity_parts, "PART_SIZE", 50)
    calls = []

    def kill(position, lines):
        calls.append(lines)
        if len(calls) > stop_at:
            raise Killed

    out = tmp_path / "resumed"
    with pytest.raises(Killed):
        convert_wikidata(tmp_path / "dump.json", out, WikidataOptions(), on_progress=kill)
    first = []
    manifest = convert_wikidata(
        tmp_path / "dump.json",
        out,
        WikidataOptions(),
        on_progress=lambda position, lines: first.append(lines),
    )
    assert first[0] >= calls[max(0, stop_at - 1)]
    assert manifest == whole
    assert [*read_entities(out / "entities")] == expected
    assert len([*(out / "entities").iterdir()]) == 4


def test_parts_are_not_written_twice(tmp_path, monkeypatch):
    values = [item(i, f"name {i}", classes=(LIST if i % 2 else CITY,)) for i in range(1, 101)]
    monkeypatch.setattr(entity_parts, "PART_SIZE", 10)
    write, written = entity_parts.write_part, []

    def fail_once(path, records, schema):
        if len(written) == 3:
            written.append("")
            raise OSError(28, "No space left on device", str(path))
        write(path, records, schema)
        written.append(path.name)

    monkeypatch.setattr(entity_parts, "write_part", fail_once)
    with pytest.raises(OSError):
        convert(tmp_path, dump_of(values))
    manifest, entities = convert(tmp_path, dump_of(values))
    assert written == [
        "part-00000.jsonl",
        "part-00001.jsonl",
        "part-00002.jsonl",
        "",
        "part-00003.jsonl",
        "part-00004.jsonl",
    ]
    assert len(entities) == manifest.counts["entities"] == 50
    assert manifest.counts["pages of Wikimedia"] == 50


def test_what_a_killed_run_was_writing_is_removed(tmp_path):
    out = tmp_path / "out"
    (out / "entities").mkdir(parents=True)
    left = ("entities/.part-00000.jsonl.0a1b.tmp", ".manifest.json.2c3d.tmp")
    for name in (*left, "unfinished.sqlite", "unfinished.sqlite-journal"):
        (out / name).touch()
    convert(tmp_path, dump_of(ITEMS))
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert found == {"manifest.json", "entities/part-00000.jsonl"}


def test_other_settings_do_not_go_on(tmp_path):
    with pytest.raises(ElqError, match="ELQ367"):
        convert(tmp_path, dump_of(ITEMS), types=["humna"])
    with pytest.raises(ElqError, match="ELQ359"):
        convert(tmp_path, dump_of(ITEMS), languages=["fr"])
    _, entities = convert(tmp_path, dump_of(ITEMS), languages=["fr"], overwrite=True)
    assert titles(entities) == ["x"]


def test_what_is_there_is_not_replaced(tmp_path):
    convert(tmp_path, dump_of(ITEMS))
    with pytest.raises(ElqError, match="ELQ368"):
        convert(tmp_path, dump_of(ITEMS))
    (tmp_path / "out" / "texts").mkdir()
    for overwrite in (False, True):
        with pytest.raises(ElqError, match="ELQ369"):
            convert(tmp_path, dump_of(ITEMS), overwrite=overwrite)
    assert (tmp_path / "out" / "manifest.json").exists()


def test_the_date_is_in_the_name_or_in_the_items(tmp_path):
    data = dump_of([item(1, "x", modified="2024-05-06T07:08:09Z")])
    assert convert(tmp_path, data)[0].snapshot == "2024-05-06"
    name = "wikidata-20260105-all.json"
    assert convert(tmp_path, data, name, overwrite=True)[0].snapshot == "2026-01-05"
