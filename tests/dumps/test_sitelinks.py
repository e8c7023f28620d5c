"""Titles of a Wikipedia lead to items, from a dump and from the entities made of it."""

from __future__ import annotations

import gzip

import pytest

from spacy_elq.dumps.sitelinks import Sitelinks, write_sitelinks
from spacy_elq.dumps.wikidata import WikidataOptions, convert_wikidata
from spacy_elq.errors import ElqError

from .wikidata_json import claim, dump_of, item

ITEMS = [
    item(1741, "Vienna", sitelinks={"enwiki": "Vienna", "dewiki": "Wien"}),
    item(42, "Douglas Adams", sitelinks={"enwiki": "Douglas Adams"}),
    item(3, "nowhere", claims={"P373": [claim('"enwiki"')]}),
    {"type": "property", "id": "P31", "sitelinks": {"enwiki": {"title": "x"}}},
    item(7, "quoted", sitelinks={"enwiki": 'A "quoted" título'}),
]
TITLES = {"Vienna": "Q1741", "Douglas_Adams": "Q42", 'A "quoted" título': "Q7"}


@pytest.fixture
def dump(tmp_path):
    path = tmp_path / "dump.json.gz"
    path.write_bytes(gzip.compress(dump_of(ITEMS)))
    return path


def check(path):
    with Sitelinks(path) as links:
        assert {title: links.get(title) for title in TITLES} == TITLES
        assert links.get("Wien") is links.get("x") is None
        assert len(links) == 3


def test_of_a_dump(dump, tmp_path):
    write_sitelinks(dump, "enwiki", tmp_path / "links")
    check(tmp_path / "links")


def test_of_a_cut_dump(dump, tmp_path):
    dump.write_bytes(dump_of(ITEMS)[:-4] + b'\n{"enwiki"')
    write_sitelinks(dump, "dewiki", tmp_path / "links")
    with Sitelinks(tmp_path / "links") as links:
        assert links.get("Wien") == "Q1741"


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_of_entities(dump, tmp_path, format):
    convert_wikidata(dump, tmp_path / "out", WikidataOptions(format=format))
    for source in (tmp_path / "out", tmp_path / "out" / "entities"):
        write_sitelinks(source, "enwiki", tmp_path / "links")
        check(tmp_path / "links")


def test_none_is_an_error(dump, tmp_path):
    with pytest.raises(ElqError, match="ELQ358"):
        write_sitelinks(dump, "frwiki", tmp_path / "links")
    assert not (tmp_path / "links").exists()
