import gzip
import json

import pytest

from spacy_elq.corpora.entities import entity_from_dict, entity_to_dict, read_entities
from spacy_elq.errors import ElqError
from spacy_elq.types import Entity

FULL = {
    "id": "Q90",
    "title": "Paris",
    "description": "capital of France",
    "aliases": ["City of Light"],
    "type": "city",
    "wikipedia": "https://en.wikipedia.org/wiki/Paris",
    "rank": {"views": [1, 2.5, None]},
}


def write(path, *lines):
    path.write_text("\n".join(lines), encoding="utf8")
    return path


def test_fields(tmp_path):
    path = write(tmp_path / "e.jsonl", json.dumps(FULL), "", '{"id": "Q1", "title": "Été"}\r')
    full, least = read_entities(path)
    assert full == Entity(
        "Q90",
        "Paris",
        "capital of France",
        ("City of Light",),
        "city",
        {"wikipedia": FULL["wikipedia"], "rank": FULL["rank"]},
    )
    assert least == Entity("Q1", "Été")
    assert entity_to_dict(full) == FULL
    assert entity_to_dict(least) == {"id": "Q1", "title": "Été"}
    assert entity_from_dict(entity_to_dict(full)) == full


def test_null_is_absent():
    record = {"id": "Q1", "title": "T", "description": None, "aliases": None, "type": None}
    assert entity_from_dict(record) == Entity("Q1", "T")


def test_gzip_and_byte_order_mark(tmp_path):
    line = '{"id": "Q1", "title": "Ü"}\n'
    with gzip.open(tmp_path / "e.jsonl.gz", "wt", encoding="utf8") as file:
        file.write(line)
    (tmp_path / "bom.jsonl").write_text(line, encoding="utf-8-sig")
    for name in ("e.jsonl.gz", "bom.jsonl"):
        assert list(read_entities(tmp_path / name)) == [Entity("Q1", "Ü")]


def test_reads_a_line_at_a_time(tmp_path):
    entities = read_entities(write(tmp_path / "e.jsonl", '{"id": "Q1", "title": "T"}', "broken"))
    assert next(entities).id == "Q1"
    with pytest.raises(ElqError, match="ELQ230"):
        next(entities)


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"id": "Q1", "title": "T"', "ELQ230.*:2: not a line of JSON"),
        ('{"id": "\\ud800", "title": "T"}', "ELQ230.*surrogates"),
        ('["Q1", "T"]', "ELQ231"),
        ('{"title": "T"}', "ELQ232.*'id'"),
        ('{"id": "Q1"}', "ELQ232.*'title'"),
        ('{"id": "Q1", "title": null}', "ELQ232.*'title'"),
        ('{"id": 90, "title": "T"}', "ELQ233.*'id' must be a string, not 90"),
        ('{"id": "Q1", "title": "T", "aliases": "U"}', "ELQ233.*'aliases'.*a list of strings"),
        ('{"id": "Q1", "title": "T", "aliases": [1]}', r"ELQ233.*'aliases'.*\[1\]"),
        ('{"id": "Q1", "title": "T", "description": []}', "ELQ233.*'description'"),
        ('{"id": " ", "title": "T"}', "ELQ234.*'id'"),
        ('{"id": "Q1", "title": ""}', "ELQ234.*'title'"),
    ],
)
def test_errors_name_file_and_line(tmp_path, line, message):
    path = write(tmp_path / "entities.jsonl", '{"id": "Q0", "title": "T"}', line)
    with pytest.raises(ElqError, match=message) as caught:
        list(read_entities(path))
    assert "entities.jsonl:2: " in str(caught.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(ElqError, match=r"ELQ218.*nowhere"):
        list(read_entities(tmp_path / "nowhere.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes('{"id": "Q1", "title": "é"}\n'.encode("latin1"))
    (tmp_path / "no.jsonl.gz").write_bytes(b"plain")
    whole = gzip.compress(b'{"id": "Q1", "title": "T"}\n' * 9)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-6])
    for name in ("latin.jsonl", "no.jsonl.gz", "cut.jsonl.gz"):
        with pytest.raises(ElqError, match=rf"ELQ235.*{name}:"):
            list(read_entities(tmp_path / name))
