"""Parts are what the readers of entities read, and the manifest says what they are."""

from __future__ import annotations

import pytest

from spacy_elq.dumps.parts import FORMATS, DumpManifest, part_path, write_part
from spacy_elq.entities.reader import read_entities
from spacy_elq.errors import ElqError

RECORDS = [
    {"id": "Q1", "title": "One", "aliases": ["Uno", {"name": "Eins", "count": 3}]},
    {"id": "Q2", "title": "Two", "type": "number", "popularity": 2},
]


@pytest.mark.parametrize("format", FORMATS)
def test_parts_are_read_as_entities(tmp_path, format):
    for number, record in enumerate(RECORDS):
        write_part(part_path(tmp_path, number, format), [record])
    one, two = read_entities(tmp_path)
    assert (one.id, one.aliases, one.counts) == ("Q1", ("Uno", "Eins"), {"Eins": 3})
    assert (two.title, two.aliases, two.type, two.popularity) == ("Two", (), "number", 2)


def test_a_part_is_written_whole_or_not_at_all(tmp_path):
    def failing():
        yield RECORDS[0]
        raise RuntimeError

    path = part_path(tmp_path, 0)
    with pytest.raises(RuntimeError):
        write_part(path, failing())
    assert not list(tmp_path.iterdir())


def test_a_manifest_is_read_back(tmp_path):
    manifest = DumpManifest("wikidata", "2026-01-01", ["en"], "CC0-1.0", {"entities": 2})
    manifest.write(tmp_path)
    assert DumpManifest.read(tmp_path) == manifest


@pytest.mark.parametrize("content", [None, "{", "[]", '{"kind": "x", "other": 1}'])
def test_a_broken_manifest_is_an_error(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ElqError, match="ELQ362"):
        DumpManifest.read(tmp_path)
